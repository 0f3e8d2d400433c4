"""Compute Engine's own things, as the World holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import FOREVER, Machine, Operation, Other, Reservation


@dataclass(kw_only=True)
class Instance(Machine):
    """A machine. ``body`` is what it was made of; it is made while its operation runs."""

    body: Mapping[str, Any] = field(default_factory=dict)
    labels_changed: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Seconds of its operation: until then it is being provisioned.
    provisioned_at: float = 0.0

    def state(self, now: float) -> str:
        """Return the API's word."""
        if self.taken_at is not None and self.stage(now) == "running":
            # A machine that is taken back has thirty seconds in which it stops.
            return "STOPPING"
        if now < self.provisioned_at:
            return "PROVISIONING"
        return {
            "starting": "STAGING",
            "running": "RUNNING",
            "stopping": "STOPPING",
            "stopped": "TERMINATED",
            "leaving": "STOPPING",
            "gone": "TERMINATED",
        }[self.stage(now)]


@dataclass(kw_only=True)
class GceReservation(Reservation):
    """A reservation."""

    body: Mapping[str, Any] = field(default_factory=dict)
    leaving_at: float = FOREVER
    #: While it is resized: until when, and what its count was.
    updating_until: float = 0.0
    count_before: int = 0

    def told_count(self, now: float) -> int:
        """Return the count that the API shows: the one before while it is resized."""
        return self.count_before if now < self.updating_until else self.count

    def state(self, now: float) -> str:
        """Return the API's word."""
        if now >= self.leaving_at:
            return "DELETING"
        if now < self.updating_until:
            return "UPDATING"
        return "CREATING" if now < self.active_at else "READY"


@dataclass(kw_only=True)
class Disk(Other):
    """A disk. One that is deleted with its machine is there as long as that is."""

    body: Mapping[str, Any] = field(default_factory=dict)
    machine: Instance | None = None
    auto_delete: bool = False

    def live(self, now: float) -> bool:
        """Return whether it exists."""
        if self.auto_delete and self.machine is not None and not self.machine.live(now):
            return False
        return super().live(now)

    def users(self, now: float) -> bool:
        """Return whether a machine has it."""
        return self.machine is not None and self.machine.live(now)


@dataclass(kw_only=True)
class Policy(Other):
    """A resource policy: a placement policy is the only kind here."""

    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class GceOperation(Operation):
    """An operation of the API. ``scope`` is where it is listed: ``zones/Z``, ``regions/R`` or ``global``."""

    scope: str
    target_id: str = ""
    request_id: str = ""
    group: str = ""
    #: More errors than ``error``, in front of it.
    errors: tuple[Refusal, ...] = ()
    #: Of a bulk insert: how many machines were wanted, made and deleted again.
    counts: tuple[int, int, int] | None = None
    #: Its warning where it succeeds: code and words.
    warning: tuple[str, str] | None = None
