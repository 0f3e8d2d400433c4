"""The EC2 fields of machines, reservations and the rest beyond those of every cloud, in EC2's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from pytest_capacity.emulator import things

#: EC2's names of a machine's stages.
STATES: Final = {
    "starting": "pending",
    "running": "running",
    "stopping": "stopping",
    "stopped": "stopped",
    "leaving": "shutting-down",
    "gone": "terminated",
}
#: Why a spot machine ended that was taken back.
SPOT_TAKEN: Final = "Server.SpotInstanceTermination"

#: The state reasons (EC2 API reference, StateReason) by cause: code and text.
_REASONS: Final = {
    "call": ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"),
    "preempted": (SPOT_TAKEN, f"{SPOT_TAKEN}: Spot instance termination"),
    "shutdown": (
        "Client.InstanceInitiatedShutdown",
        "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    ),
    "maintenance": ("Server.ScheduledStop", "Server.ScheduledStop: Stopped due to a scheduled retirement"),
}


@dataclass(kw_only=True)
class Instance(things.Machine):
    """An EC2 instance. What only listings say stands in ``details``, by the API's names."""

    kind: str = "instance"
    launch_id: str
    platform: str
    tenancy: str
    group_name: str = ""
    spot_request_id: str = ""

    def state(self, now: float) -> str:
        """Return the state as EC2 names it."""
        return STATES[self.stage(now)]

    def reason(self) -> tuple[str, str]:
        """Return code and text of the state reason; empty where there is none."""
        if self.cause == "failed":
            return ("", "") if self.error is None else (self.error.code, f"{self.error.code}: {self.error.message}")
        return _REASONS.get(self.cause, ("", ""))

    def transition(self) -> str:
        """Return the StateTransitionReason."""
        code, _ = self.reason()
        if self.cause == "call":
            at = datetime.fromtimestamp(min(self.leaving_at, self.stopping_at), UTC)
            return f"User initiated ({at:%Y-%m-%d %H:%M:%S} GMT)"
        if self.cause == "failed":
            return "Server.InternalError" if code.startswith("Server.") else code
        return SPOT_TAKEN if self.cause == "preempted" else ""


@dataclass(kw_only=True)
class Reservation(things.Reservation):
    """An On-Demand Capacity Reservation."""

    kind: str = "capacity-reservation"
    platform: str
    tenancy: str
    match: str
    group_arn: str
    ebs_optimized: bool = False
    ephemeral_storage: bool = False


@dataclass(kw_only=True)
class PlacementGroup(things.Other):
    """A placement group; its name is unique in its region."""

    kind: str = "placement-group"
    strategy: str
    partitions: int = 0
    spread_level: str = ""


@dataclass(kw_only=True)
class KeyPair(things.Other):
    """The public half of a key pair (OpenSSH's line); its name is unique in its region."""

    kind: str = "key-pair"
    type: str
    fingerprint: str
    public_key: str


@dataclass(kw_only=True)
class ResourceGroup(things.Other):
    """A pool of reservations (ids in ``members``); it neither bills nor blocks. Its id is its ARN."""

    kind: str = "resource-group"
    shown: bool = False
    members: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class SpotRequest(things.Other):
    """The one-time request that a spot machine came from."""

    kind: str = "spot-instances-request"
    shown: bool = False
    type: str
    instance_id: str
    cancelled: bool = False
