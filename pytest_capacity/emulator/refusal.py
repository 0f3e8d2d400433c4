"""The refusals of a call by the World and the faces.

The World raises the kinds below, in no cloud's words; a face's `refuse` answers each with its cloud's code and text. A
face raises plain `Refusal` with the cloud's own code for what only it checks (forms of ids, forbidden combinations).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Refusal(Exception):
    """A call is refused: a code, a text, and the HTTP status if it is not the usual one of that code.

    ``details`` is for the face that raises it. ``scripted`` means that a fault of the weather made it, so that its code
    and text are to be sent as they stand.
    """

    def __init__(
        self, code: str, message: str, http: int | None = None, *, details: Any = None, scripted: bool = False
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.http = http
        self.details = details
        self.scripted = scripted


class NoStock(Refusal):
    """A zone cannot give ``count`` machines; ``elsewhere`` are zones of the region that could."""

    def __init__(
        self, zone: str, type_: str, market: str, count: int = 1, elsewhere: Sequence[str] = (), left: int = 0
    ) -> None:
        super().__init__("NoStock", f"{zone} has {left} of {count} {type_} ({market})")
        self.zone, self.type, self.market, self.count = zone, type_, market, count
        self.elsewhere = tuple(elsewhere)
        self.left = left


class OverQuota(Refusal):
    """The account may not have that much: ``metric`` in ``region`` (empty: over all regions) is limited.

    ``used`` and ``wanted`` are in the metric's unit; ``left`` is how many machines would still be allowed.
    """

    def __init__(
        self, region: str, metric: str, limit: float, market: str, *, used: float, wanted: float, left: int
    ) -> None:
        super().__init__("OverQuota", f"{metric} in {region or 'all regions'}: {limit:g}, used {used:g}, +{wanted:g}")
        self.region, self.metric, self.limit, self.market = region, metric, limit, market
        self.used, self.wanted, self.left = used, wanted, left


class Throttled(Refusal):
    """Too many calls of a kind (``read`` or ``write``) in a region."""

    def __init__(self, region: str, kind: str) -> None:
        super().__init__("Throttled", f"too many {kind} calls in {region}")
        self.region, self.kind = region, kind


class NotFound(Refusal):
    """There is no such thing."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__("NotFound", f"there is no {kind} {name!r}")
        self.kind, self.name = kind, name


class AlreadyExists(Refusal):
    """A name is taken in its scope."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__("AlreadyExists", f"there is a {kind} {name!r} already")
        self.kind, self.name = kind, name


class InUse(Refusal):
    """A thing cannot go while others use it."""

    def __init__(self, kind: str, name: str, users: Sequence[str] = ()) -> None:
        super().__init__("InUse", f"the {kind} {name!r} is used by {', '.join(users) or 'others'}")
        self.kind, self.name, self.users = kind, name, tuple(users)


class WrongState(Refusal):
    """A thing's state does not allow it."""

    def __init__(self, kind: str, name: str, state: str) -> None:
        super().__init__("WrongState", f"the {kind} {name!r} is {state}")
        self.kind, self.name, self.state = kind, name, state


class StaleVersion(Refusal):
    """A conditional change (ETag, fingerprint) names another version than the thing has."""

    def __init__(self, kind: str, name: str, expected: str, version: str) -> None:
        super().__init__("StaleVersion", f"the {kind} {name!r} has version {version}, not {expected}")
        self.kind, self.name, self.expected, self.version = kind, name, expected, version


class TokenReused(Refusal):
    """An idempotency token came again with another request."""

    def __init__(self, token: str) -> None:
        super().__init__("TokenReused", f"the token {token!r} belongs to another request")
        self.token = token


class ReservationFull(Refusal):
    """A reservation has no free seat for a machine that is aimed at it."""

    def __init__(self, reservation: str, count: int, free: int) -> None:
        super().__init__("ReservationFull", f"{reservation} has {free} free seats of {count} that are asked for")
        self.reservation, self.count, self.free = reservation, count, free


class BadCredentials(Refusal):
    """A request that is not signed with this emulator's secret."""

    def __init__(self, message: str = "the request does not bear this emulator's secret") -> None:
        super().__init__("BadCredentials", message)


class UnknownRegion(Refusal):
    """The cloud has no such region."""

    def __init__(self, region: str) -> None:
        super().__init__("UnknownRegion", f"there is no region {region!r}")
        self.region = region
