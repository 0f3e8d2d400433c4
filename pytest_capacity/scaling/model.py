"""The operation request: its kind, its phase, its conditions. Frozen values.

The phases are those of KubeDB (``status.phase`` of its OpsRequests), for every provider: a request of a node group
passes through the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field

Kind = Literal["HorizontalScaling", "VerticalScaling", "VolumeExpansion"]

#: ``""``: the provider has not looked at it yet.
Phase = Literal[
    "", "Pending", "Progressing", "Successful", "WaitingForApproval", "Failed", "Approved", "Denied", "Skipped"
]

PHASES: Final[frozenset[str]] = frozenset(
    {"", "Pending", "Progressing", "Successful", "WaitingForApproval", "Failed", "Approved", "Denied", "Skipped"}
)

#: Phases in which nothing happens any more. Denied is one, though KubeDB's own helpers leave it out.
TERMINAL: Final[frozenset[str]] = frozenset({"Successful", "Failed", "Denied", "Skipped"})

#: Terminal phases after which the target is what it was, or what was asked for.
GOOD: Final[frozenset[str]] = frozenset({"Successful", "Skipped"})

#: Phases in which a provider has accepted a request and not begun with it.
WAITING: Final[frozenset[str]] = frozenset({"", "Pending", "WaitingForApproval", "Approved"})

#: What a target is in. ``SCALING``: its number of replicas or nodes changes; ``UPDATING``: anything else of it does.
Status = Literal["RUNNING", "SCALING", "UPDATING", "FAILED"]

#: How the watching of a request ended. ``timed-out``, ``lost`` (deleted by another), ``not-sent`` (the one before it
#: failed) and ``left`` (the run ended before it did) are ours; the rest are the provider's phases.
Outcome = Literal["successful", "skipped", "failed", "denied", "timed-out", "lost", "not-sent", "left"]

GOOD_OUTCOMES: Final[frozenset[str]] = frozenset({"successful", "skipped"})

#: By what means a request is made: an object of the provider's, a change of the target itself, or the engine.
Via = Literal["ops-request", "patch", "engine"]


class Condition(Struct, frozen=True, kw_only=True):
    """One line of a request's own history, in the provider's words. ``at`` is in epoch seconds."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    at: float | None = None


class OpsRequest(Struct, frozen=True, kw_only=True):
    """One operation request.

    ``token`` is the package's and is known before the request is made; ``name`` and ``uid`` are the provider's. A
    request with no name waits in the package's own queue for the one before it (``after``, a token).
    """

    token: str
    provider: str
    #: Which thing is changed, for people and as a key: ``mongodb/default/orders``, ``group/default/db``.
    target: str
    kind: Kind
    via: Via = "ops-request"
    name: str = ""
    uid: str = ""
    phase: Phase = ""
    conditions: tuple[Condition, ...] = ()
    #: When it was asked for, in epoch seconds.
    created: float = 0.0
    #: When the provider began to act on it, so far as we saw it.
    begun: float | None = None
    finished: float | None = None
    #: How it ended; None: it has not.
    outcome: Outcome | None = None
    #: Why it failed, in one line.
    reason: str = ""
    after: str = ""
    #: What was asked for: ``replicas``, ``size``, ``storage_gb``.
    wanted: Mapping[str, Any] = field(default_factory=dict)
    #: What only the provider reads, among it all that is needed to make the request later.
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Return whether it is to be followed."""
        return self.outcome is None

    @property
    def sent(self) -> bool:
        """Return whether the provider has it."""
        return bool(self.name)

    @property
    def label(self) -> str:
        """Return the label for display."""
        return self.name or f"{self.kind} of {self.target} (queued)"


class TargetState(Struct, frozen=True, kw_only=True):
    """A target as the reconciler has it."""

    target: str
    status: Status = "RUNNING"
    reason: str = ""


def status_of(requests: tuple[OpsRequest, ...] | list[OpsRequest]) -> TargetState | None:
    """Return the state of the one target of ``requests`` (in the order of their creation); None where there is none.

    While one is active the target is changing; then the last one that ended determines the state.
    """
    if not requests:
        return None
    target = requests[0].target
    active = [request for request in requests if request.active]
    if active:
        scaling = any(request.kind == "HorizontalScaling" for request in active[:1])
        return TargetState(target=target, status="SCALING" if scaling else "UPDATING")
    last = requests[-1]
    if last.outcome in GOOD_OUTCOMES:
        return TargetState(target=target)
    return TargetState(target=target, status="FAILED", reason=last.reason)


def why(request: OpsRequest) -> str:
    """Return the reason of a failure, from the conditions: the last that is Failed, or else the last of all."""
    conditions = request.conditions
    failed = [one for one in conditions if "fail" in one.type.lower() or "fail" in one.reason.lower()]
    failed += [one for one in conditions if one.status == "False" and one.message] if not failed else []
    for one in (*reversed(failed), *reversed(conditions)):
        words = ": ".join(part for part in (one.reason or one.type, one.message) if part)
        if words:
            return words
    return f"{request.phase or 'no phase'}, and no condition says why"
