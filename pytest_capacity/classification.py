"""How a refusal is read: the words of the tables of errors, and what comes of reading an SDK's error by them."""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Struct

#: What the engine does about a problem.
#: ``move-on``: this rung has no capacity, try the next. ``back-off``: refused for now (throttled), ask again with a new
#: token. ``ask-again``: the outcome is unknown, ask again with the same token. ``gone``: the thing does not exist.
#: ``stop``: nothing that we could do differently.
Step = Literal["move-on", "back-off", "ask-again", "gone", "stop"]

#: What kind of refusal it is (`docs/reference/errors.md` says each in words).
Kind = Literal[
    "capacity-zone",
    "capacity-region",
    "quota",
    "spot-capacity",
    "spot-quota",
    "spot-price",
    "preempted",
    "type-unsupported",
    "reservation-full",
    "reservation-mismatch",
    "reservation-not-ready",
    "network-exhausted",
    "no-network",
    "throttle",
    "transient",
    "timeout",
    "conflict",
    "missing",
    "auth",
    "denied",
    "form-denied",
    "not-subscribed",
    "invalid",
    "account-blocked",
]

#: The kinds that are a lack of capacity or of quota. Only what ends for nothing else is `Exhausted`, which a user may
#: have skipped or xfailed (``on_exhausted``): a fault of the account or of the configuration is never skipped.
EXHAUSTION: Final[frozenset[str]] = frozenset(
    {
        "capacity-zone",
        "capacity-region",
        "quota",
        "spot-capacity",
        "spot-quota",
        "spot-price",
        "preempted",
        "reservation-full",
    }
)

#: How far a refusal reaches, the narrowest first. ``market`` is the one that was tried; ``family`` are the types that
#: share a quota; ``none`` is this one call.
Scope = Literal[
    "none",
    "reservation",
    "placement-group",
    "type+zone+market",
    "type+zone",
    "family+zone",
    "subnet",
    "zone",
    "type+region+market",
    "type+region",
    "family+region+market",
    "market+region",
    "region",
    "type+market",
    "market",
    "cloud",
]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


class ErrorRow(Struct, frozen=True, kw_only=True):
    """One row of ``errors:``: what a refusal of ``cloud`` means to this user. What is empty matches anything."""

    cloud: str
    kind: Kind
    step: Step
    scope: Scope = "none"
    code: tuple[str, ...] = ()
    #: What the code begins with.
    prefix: str = ""
    #: A regular expression that is searched in the cloud's words; case does not count.
    message: str = ""
    #: HTTP statuses: ``503``, or ``5xx`` for all of them.
    http: tuple[str, ...] = ()


class ErrorPart(Struct, frozen=True):
    """One error of a cloud's answer. ``depth`` counts what it is wrapped in."""

    code: str = ""
    message: str = ""
    http: int | None = None
    #: What the error says outside of its message: the dimensions of a quota.
    beside: str = ""
    depth: int = 0
    #: Zones that it says have what this one has not.
    zones: tuple[str, ...] = ()


class Diagnosis(Struct, frozen=True):
    """An SDK's error, read. ``kind`` and ``scope`` are the table's words, ``code`` and ``words`` the cloud's own."""

    step: Step
    kind: str
    code: str = ""
    words: str = ""
    scope: str = "none"
    #: The call that was refused, by the cloud's name for it; empty where there was none.
    operation: str = ""
    #: Who said it, where it was not the cloud ("the SDK").
    by: str = ""
    #: Zones, by name, that the cloud itself says to try instead.
    hints: tuple[str, ...] = ()
    #: What the user can do, where it is not what the kind advises.
    remedy: str = ""
