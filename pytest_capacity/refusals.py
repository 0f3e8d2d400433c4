"""The words for what a cloud refuses: what it is, how far it reaches, what is done about it.

Frozen values, which travel as JSON like those of `pytest_capacity.model`.
"""

from __future__ import annotations

from typing import Literal

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
    "throttle",
    "transient",
    "timeout",
    "conflict",
    "missing",
    "auth",
    "denied",
    "invalid",
    "account-blocked",
]

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
