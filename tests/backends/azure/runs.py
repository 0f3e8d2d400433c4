"""Requests for the emulated Azure, and the real backend over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pytest_capacity.backends.azure.settings import AzureSettings
from pytest_capacity.backends.groups import plain
from pytest_capacity.model import NodeGroup, Request
from pytest_capacity.testing import ScalingLab
from tests.backends.lab import EmulatedLab, Wanted, request_to
from tests.emulated import Emulator

SIZE: Final = "Standard_L8s_v3"
OTHER: Final = "Standard_D4s_v5"
REGION: Final = "eastus"
ZONES: Final = ("eastus-1", "eastus-2")
URN: Final = "Canonical:ubuntu-24_04-lts:server:latest"

DB: Final = NodeGroup(name="db", count=2, instance_type=SIZE, market="on-demand", reserve=True)
LOADER: Final = NodeGroup(name="loader", count=1, instance_type=OTHER, market="on-demand", reserve=True)
SETTINGS: Final = AzureSettings(image={REGION: URN, "westeurope": URN})


def request(emulator: Emulator, *groups: NodeGroup, settings: AzureSettings = SETTINGS, **changes: Any) -> Request:
    """Two database nodes and a loader in the zones 1 and 2, unless something else is asked for."""
    where: dict[str, Any] = {"regions": (REGION,), "zones": ("1", "2"), "settings": plain(settings)}
    return request_to(emulator, "azure", groups or (DB, LOADER), **{**where, **changes})


class AzureLab(EmulatedLab):
    """Azure, emulated, for the conformance suite."""

    zones: Sequence[str] = ZONES
    scaling = ScalingLab(
        type="Standard_D2s_v5",
        larger="Standard_D4s_v5",
        other_architecture="Standard_D2ps_v5",
        with_local_disks="Standard_L8s_v4",
        disk_gb=30,
    )

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        """As `request`."""
        return request(self.emulator, *groups, **overrides)

    def parts(self, wanted: Wanted) -> dict[str, Any]:
        """Most lack of capacity Azure tells late: ``late`` is an empty zone, ``dry`` is what it says at once."""
        faults: list[dict[str, Any]] = [
            {"cloud": "azure", "operation": operation, "zone": zone, "error": "SkuNotAvailable", "message": words}
            for zone in wanted.dry
            for operation in ("CapacityReservations_CreateOrUpdate", "VirtualMachines_CreateOrUpdate")
            for words in ["The requested size is not available: Following SKUs have failed for Capacity Restrictions"]
        ]
        if wanted.quota:
            # Not by the limit itself: one that is too small for the topology is read before anything is made.
            words = (
                "Operation could not be completed as it results in exceeding approved Total Regional Cores quota. "
                "Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 100, "
                "Current Usage: 96, Additional Required: 16"
            )
            refused = {"error": "OperationNotAllowed", "message": words, "http": 409}
            kinds = ("CapacityReservations", "VirtualMachines")
            faults += [{"operation": f"{kind}_CreateOrUpdate", **refused} for kind in kinds]
        if wanted.lose_reply:
            faults.append({"operation": "CapacityReservations_CreateOrUpdate", "lose_reply": True, "times": 1})
        return {
            "stock": {zone: {"*": 0} for zone in wanted.late},
            "faults": faults,
            "boot_s": wanted.slow_s,
            "stop_s": wanted.slow_s,
            "operation_s": 0.05 if wanted.late else wanted.slow_s / 4,
        }


def given_group(backend: Any, zones: list[str], region: str = REGION) -> str:
    """A capacity reservation group of another user; its id."""
    arm = backend._arm
    home = arm.path("/resourceGroups/theirs")
    arm.call("test", "PUT", home, "2025-04-01", {"location": region})
    group = f"{home}/providers/Microsoft.Compute/capacityReservationGroups/shared"
    arm.call("test", "PUT", group, "2026-04-01", {"location": region, "zones": zones})
    return str(group)
