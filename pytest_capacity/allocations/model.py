"""The values that the allocation view returns. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pytest_capacity.usage import ResourceKind

#: Who says so: the journal, or the cloud itself, which knows others' too.
Source = Literal["journal", "cloud"]


class Resource(Struct, frozen=True, kw_only=True):
    """A thing that is allocated. ``id`` is the cloud's own, and is one of ``backend`` and ``region``."""

    id: str
    kind: ResourceKind
    backend: str
    region: str
    zone: str = ""
    #: What people call a host; empty: nothing but its id.
    name: str = ""


class Allocation(Struct, frozen=True, kw_only=True):
    """One reservation on one resource, from the journal; what is not there, from the cloud."""

    resource: str
    #: The cloud's id of the reservation that the node sits in; None: it sits in none.
    reservation: str | None
    #: The cloud's own lease, where it has leases; else the run.
    lease: str
    #: Ours; empty: another's, which bears no stamp of ours.
    run: str
    source: Source = "journal"
    #: Whom the cloud's says it belongs to.
    owner: str = ""
    project: str = ""
    session: str | None = None
    topology: str = ""
    group: str | None = None
    #: The node's name; of what is no node empty.
    name: str = ""
    instance_type: str = ""
    market: str = ""
    #: ``creating``, ``ready``, ``failed``, ``leaving``, ``preempted`` or ``gone``, by the newest event; ``pending``: it
    #: is to come.
    state: str = ""
    since: float
    #: When the cloud, or our stamp, ends it unless it is renewed.
    until: float | None = None
    #: The hard end of its run: it may be renewed until then.
    renewable_until: float | None = None
    #: When it ended; None: it stands, or is still to come.
    ended: float | None = None
    #: When the cloud was read that says so; None: the journal does.
    seen: float | None = None
    #: The tests that held it, in the order of their first use.
    tests: tuple[str, ...] = ()

    @property
    def terminated(self) -> bool:
        """Return whether it has ended."""
        return self.ended is not None

    @property
    def latest_end(self) -> float | None:
        """Return when it has ended, or ends at the latest, for comparison with a time window. None: not known."""
        if self.ended is not None:
            return self.ended
        return max((end for end in (self.until, self.renewable_until) if end is not None), default=None)


class Allocations(Struct, frozen=True, kw_only=True):
    """A resource and its allocations, the earliest first."""

    resource: Resource
    allocations: tuple[Allocation, ...] = ()


class Page(Struct, frozen=True, kw_only=True):
    """Resources in the order in which the journal first named them. ``next`` is for `Filter.after`; None: the end."""

    resources: tuple[Allocations, ...] = ()
    next: int | None = None


class Filter(Struct, frozen=True, kw_only=True):
    """Which allocations. All that is named must hold; what is None or empty does not count."""

    #: By its id, or by what people call it.
    resource: str = ""
    #: A backend, of whose cloud what was read (`AllocationView.note`) counts beside the journal. Empty: the journal
    #: alone.
    cloud: str = ""
    backend: str = ""
    region: str = ""
    #: The lease of the cloud, or the run.
    lease: str = ""
    reservation: str = ""
    #: True: only those that have ended. False: only those that stand or are still to come.
    terminated: bool | None = None
    #: The window: those that may stand at a moment from ``start`` to ``end``.
    start: float | None = None
    end: float | None = None
    #: Whether resources without such an allocation are there too, with none.
    empty: bool = False
    after: int = 0
    limit: int = 1000
