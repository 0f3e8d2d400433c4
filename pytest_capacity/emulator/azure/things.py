"""What Azure keeps beside the neutral things: resources with bodies, machines that stay when they have failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import FOREVER, Machine, Other, Reservation


@dataclass(kw_only=True)
class Resource(Other):
    """A resource of any type but machines and members. ``body`` is what it was made with."""

    #: Its id as the client wrote it when it made it.
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    ready_at: float = 0.0
    #: Since when it is being deleted.
    leaving_at: float = FOREVER
    #: The machine with which it goes (``deleteOption: Delete``).
    goes_with: Machine | None = None

    def state(self, now: float) -> str:
        """Return the provisioning state."""
        if now >= self.leaving_at:
            return "Deleting"
        return "Updating" if now < self.ready_at else "Succeeded"

    def live(self, now: float) -> bool:
        """Return whether it exists: what goes with a machine does so when that is gone."""
        return super().live(now) and (self.goes_with is None or self.goes_with.live(now))


@dataclass(kw_only=True)
class Vm(Machine):
    """A virtual machine. One that could not be allocated stays, in state Failed, until it is deleted."""

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    vm_id: str = ""
    failure: Refusal | None = None
    #: Since when ``failure`` is known.
    failed_at: float = FOREVER
    #: The capacity reservation group that it names.
    group_id: str = ""
    #: Why the last start of a deallocated one has failed, and since when.
    start_failure: Refusal | None = None
    start_failed_at: float = FOREVER
    #: Until when a change of it is under way.
    changing_until: float = 0.0
    #: Whether it was started again.
    restarted: bool = False

    def state(self, now: float) -> str:
        """Return the provisioning state."""
        if now >= self.leaving_at:
            return "Deleting"
        if self.failure is not None:
            return "Failed" if now >= self.failed_at else "Creating"
        stage = self.stage(now)
        if stage == "starting":
            return "Updating" if self.restarted else "Creating"
        if stage == "stopping" or now < self.changing_until:
            return "Updating"
        if self.start_failure is not None:
            return "Failed" if now >= self.start_failed_at else "Updating"
        return "Succeeded"

    def occupies(self, now: float) -> bool:
        """Return whether it takes up capacity: one that was not allocated does not."""
        return self.failure is None and super().occupies(now)


@dataclass(kw_only=True)
class Member(Reservation):
    """A capacity reservation in a group. One that could not be allocated stays, in state Failed, and holds nothing.

    One that could not be made larger is Failed too, and holds what it held, until that count is requested again.
    """

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    failure: Refusal | None = None
    #: The count that was requested last, where that is another than it holds.
    wanted: int | None = None
    growth_failure: Refusal | None = None
    #: Until when a change of its count is under way.
    changing_until: float = 0.0

    def state(self, now: float) -> str:
        """Return the provisioning state."""
        if self.failure is not None and now >= self.active_at:
            return "Failed"
        if now < self.active_at:
            return "Creating"
        if now < self.changing_until:
            return "Updating"
        return "Failed" if self.growth_failure is not None else "Succeeded"

    def usable(self, now: float) -> bool:
        """Return whether machines can be put into it."""
        return self.failure is None and (self.growth_failure is None or now < self.changing_until)
