"""The things in a World: machines, reservations, operations, and things of other kinds.

No cloud's words stand here. A face that has to keep more subclasses these and adds fields; one that lists a state in
its cloud's words overrides ``state``. Times are the World's, in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from pytest_capacity.emulator.refusal import Refusal

Market = Literal["on-demand", "spot"]

#: Why a machine ended or stopped: a call, the cloud took its spot machine back, it shut itself down, it did not start.
Cause = Literal["", "call", "preempted", "shutdown", "failed", "maintenance"]

FOREVER: Final = float("inf")


@dataclass(kw_only=True)
class Thing:
    """Anything that exists in a cloud.

    ``id`` is unique over all clouds: the cloud's own id, or a full path where names are only unique in a scope.
    ``number`` counts up, so that listings have an order. ``kind`` is the cloud's word, shown by ``/_world``.
    """

    id: str
    cloud: str
    kind: str
    number: int
    region: str
    made: float
    visible_at: float
    zone: str = ""
    name: str = ""
    #: The id of the thing that it goes with (a resource group, a lease); the World removes them together.
    container: str = ""
    #: Tags or labels.
    tags: dict[str, str] = field(default_factory=dict)
    token: str = ""
    #: Counts up with each change; ETags and fingerprints are made of it.
    version: int = 1
    #: What the face wants to say again when it lists the thing; the World does not look at it.
    details: Mapping[str, Any] = field(default_factory=dict)

    def visible(self, now: float) -> bool:
        """Return whether listings show it yet (eventual consistency)."""
        return now >= self.visible_at

    def state(self, now: float) -> str:
        """Return its state in the cloud's words."""
        return "available"

    def live(self, now: float) -> bool:
        """Return whether it exists."""
        return True


@dataclass(kw_only=True)
class Other(Thing):
    """A thing of any other kind: network, address, disk, key, group.

    ``hourly`` is what it costs (USD); with 0 it has no line on the bill. ``shown`` is whether ``held`` lists it: what
    bills, what blocks others, and what a run has to remove.
    """

    hourly: float = 0.0
    shown: bool = True
    #: The id of the thing that it is fixed to, such as a disk's machine.
    attached_to: str = ""
    removed: float | None = None

    def state(self, now: float) -> str:
        """Return available or deleted."""
        return "available" if self.live(now) else "deleted"

    def live(self, now: float) -> bool:
        """Return whether it exists."""
        return self.removed is None or now < self.removed


@dataclass(kw_only=True)
class Reservation(Thing):
    """Capacity held for ``count`` machines of one type in one zone.

    It is pending until ``active_at``, and ends by `World.end_reservation` or when ``end_date`` is past. With ``error``
    it never becomes active: it is failed at ``active_at``, and billed nothing.
    """

    type: str
    count: int
    active_at: float
    end_date: float | None = None
    ended: float | None = None
    ended_as: str = ""
    error: Refusal | None = None

    def state(self, now: float) -> str:
        """Return pending, active, cancelled, expired or failed."""
        if self.ended is not None and now >= self.ended:
            return self.ended_as
        return "pending" if now < self.active_at else "active"

    def live(self, now: float) -> bool:
        """Return whether it bills and blocks."""
        return self.ended is None or now < self.ended


class Node(Protocol):
    """The real part of a machine: its shell."""

    @property
    def port(self) -> int | None:
        """Return the port of its SSH server; None if it has none."""
        ...

    def console(self) -> str:
        """Return what it wrote to its console, also when it is gone."""
        ...


@dataclass(kw_only=True)
class Machine(Thing):
    """A machine: starting until ``running_at``, leaving from ``leaving_at``, gone at ``gone_at``.

    One that is stopped is stopping from ``stopping_at`` and stopped from ``stopped_at``; `World.start` starts it again.
    """

    type: str
    market: Market = "on-demand"
    running_at: float
    #: The reservation that it sits in, as long as that one lives.
    reservation_id: str | None = None
    leaving_at: float = FOREVER
    gone_at: float = FOREVER
    stopping_at: float = FOREVER
    stopped_at: float = FOREVER
    cause: Cause = ""
    #: Why it did not start.
    error: Refusal | None = None
    #: When a spot machine is taken back; till then it is marked for it.
    taken_at: float | None = None
    #: Whether it then ends; otherwise it stops.
    ends_when_taken: bool = True
    #: When it shuts itself down.
    shutdown_at: float | None = None
    #: Whether it ends by that; otherwise it stops.
    ends_by_shutdown: bool = False
    private_ip: str = ""
    public_ip: str = ""
    #: The name that its shell says; by itself one made of the private address.
    hostname: str = ""
    domain: str = "internal"
    #: The public keys that it lets in (OpenSSH's lines); without one it has no SSH server.
    public_keys: tuple[str, ...] = ()
    #: The user that may log in; empty: any name.
    user: str = ""
    #: Seconds from running to its SSH server, and to the end of cloud-init.
    ssh_delay_s: float = 0.0
    cloud_init_s: float = 0.0
    #: What it is given to run: user data, custom data or a startup script.
    user_data: bytes = b""
    #: Its shell, from running on, if it has one.
    node: Node | None = None

    def stage(self, now: float) -> str:
        """Return starting, running, stopping, stopped, leaving or gone."""
        if now >= self.gone_at:
            return "gone"
        if now >= self.leaving_at:
            return "leaving"
        if now >= self.stopping_at:
            return "stopped" if now >= self.stopped_at else "stopping"
        return "starting" if now < self.running_at else "running"

    def state(self, now: float) -> str:
        """Return its state in the cloud's words."""
        return self.stage(now)

    def live(self, now: float) -> bool:
        """Return whether it exists: a machine that is being removed does, and so does a stopped one."""
        return now < self.gone_at

    def occupies(self, now: float) -> bool:
        """Return whether it takes up capacity: a machine that is being removed still does, a stopped one does not."""
        return self.live(now) and now < self.stopped_at


@dataclass(kw_only=True)
class Operation(Thing):
    """A change that was accepted and takes time: running until ``done_at``, then done, or failed if it has ``error``.

    `World.settle` ends it and calls ``then`` once, with the lock held. ``target`` is the id of the thing it changes.
    """

    verb: str
    target: str
    done_at: float
    error: Refusal | None = None
    ended: bool = False
    then: Callable[[Operation], None] | None = None

    def state(self, now: float) -> str:
        """Return running, done or failed."""
        if now < self.done_at:
            return "running"
        return "done" if self.error is None else "failed"
