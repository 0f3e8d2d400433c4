"""The things of the emulated OCI, with OCI's words for states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import FOREVER, Machine, Other, Reservation

INSTANCE: Final = "instance"
RESERVATION: Final = "capacity-reservation"
#: The reservation as the API has it, which is one or several configurations.
ENVELOPE: Final = "capacity-reservation-envelope"
HISTORY: Final = "console-history"
CLUSTER: Final = "cluster-placement-group"

_INSTANCE_STATES: Final[Mapping[str, str]] = {
    "starting": "PROVISIONING",
    "running": "RUNNING",
    "stopping": "STOPPING",
    "stopped": "STOPPED",
    "leaving": "TERMINATING",
    "gone": "TERMINATED",
}


@dataclass(kw_only=True)
class Instance(Machine):
    """An instance. ``vnic`` is the OCID of its only VNIC, ``boot_volume`` that of its disk."""

    compartment: str
    domain_name: str
    fault_domain: str
    subnet: str
    vnic: str
    boot_volume: str
    boot_gb: int
    #: Until then its boot volume is being changed.
    boot_ready_at: float = 0.0
    boot_version: int = 1
    #: Whether it was stopped and is started again.
    restarted: bool = False
    #: The OCID of its cluster placement group.
    cluster: str = ""

    def state(self, now: float) -> str:
        """Return the lifecycle state."""
        stage = self.stage(now)
        return "STARTING" if stage == "starting" and self.restarted else _INSTANCE_STATES[stage]


@dataclass(kw_only=True)
class Prepared(Other):
    """A thing that takes time: creating until ``active_at``, deleting from ``leaving_at`` until ``removed``."""

    compartment: str
    active_at: float
    leaving_at: float = FOREVER

    @property
    def domain_name(self) -> str:
        """Return its availability domain."""
        return self.zone

    def state(self, now: float) -> str:
        """Return the lifecycle state."""
        if not self.live(now):
            return "DELETED"
        if now >= self.leaving_at:
            return "DELETING"
        return "CREATING" if now < self.active_at else self.made_state(now)

    def made_state(self, now: float) -> str:
        """Return the lifecycle state between its making and its deletion."""
        return "ACTIVE"


@dataclass(kw_only=True)
class Envelope(Prepared):
    """A capacity reservation; what it holds are `Config`s whose ``container`` it is."""

    #: Until then an update is under way.
    updating_until: float = 0.0

    def made_state(self, now: float) -> str:
        """Return whether an update is under way."""
        return "UPDATING" if now < self.updating_until else "ACTIVE"


@dataclass(kw_only=True)
class Config(Reservation):
    """One configuration of a capacity reservation."""

    fault_domain: str = ""
    #: The OCID of the cluster placement group in which the capacity is.
    cluster: str = ""


@dataclass(kw_only=True)
class Cluster(Prepared):
    """A cluster placement group: failed from ``active_at`` on where it has ``error``."""

    inactive: bool = False
    error: Refusal | None = None

    def made_state(self, now: float) -> str:
        """Return whether it can be used."""
        if self.error is not None:
            return "FAILED"
        return "INACTIVE" if self.inactive else "ACTIVE"


@dataclass(kw_only=True)
class NetworkThing(Other):
    """A VCN, subnet, gateway, route table or security list. ``uses`` are the OCIDs of what it depends on."""

    compartment: str
    vcn: str = ""
    uses: tuple[str, ...] = ()

    def state(self, now: float) -> str:
        """Return the lifecycle state."""
        return "AVAILABLE" if self.live(now) else "TERMINATED"
