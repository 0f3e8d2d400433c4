"""Requests for the emulated Azure, and the real backend over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.settings import AzureSettings
from pytest_capacity.backends.base import Backend
from pytest_capacity.backends.groups import plain
from pytest_capacity.model import NodeGroup, Request, Topology
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
    wanted: dict[str, Any] = {
        "backend": "azure",
        "run": "run-1",
        "project": "tests",
        "topologies": {"default": Topology(groups or (DB, LOADER))},
        "regions": (REGION,),
        "zones": ("1", "2"),
        "duration_s": 5400.0,
        "timeout_s": 60.0,
        "endpoint": emulator.url,
        "emulated": True,
        "settings": plain(settings),
    }
    return Request(**{**wanted, **changes})


class AzureLab:
    """Azure, emulated, for the conformance suite."""

    zones: Sequence[str] = ZONES

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def request(self, **overrides: Any) -> Request:
        """As `request`."""
        return request(self._emulator, **overrides)

    def backend(self, request: Request) -> Backend:
        """The real one."""
        return open_backend(request)

    def weather(
        self,
        *,
        dry: Sequence[str] = (),
        late: Sequence[str] = (),
        lose_reply: bool = False,
        quota: bool = False,
        slow_s: float = 0.0,
    ) -> None:
        """``dry`` is what Azure says at once; most lack of capacity it tells late: ``late`` is an empty zone."""
        faults: list[dict[str, Any]] = [
            {"cloud": "azure", "operation": operation, "zone": zone, "error": "SkuNotAvailable", "message": words}
            for zone in dry
            for operation in ("CapacityReservations_CreateOrUpdate", "VirtualMachines_CreateOrUpdate")
            for words in ["The requested size is not available: Following SKUs have failed for Capacity Restrictions"]
        ]
        if quota:
            # Not by the limit itself: one that is too small for the topology is read before anything is made.
            words = (
                "Operation could not be completed as it results in exceeding approved Total Regional Cores quota. "
                "Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 100, "
                "Current Usage: 96, Additional Required: 16"
            )
            refused = {"error": "OperationNotAllowed", "message": words, "http": 409}
            kinds = ("CapacityReservations", "VirtualMachines")
            faults += [{"operation": f"{kind}_CreateOrUpdate", **refused} for kind in kinds]
        if lose_reply:
            faults.append({"operation": "CapacityReservations_CreateOrUpdate", "lose_reply": True, "times": 1})
        self._emulator.weather(
            stock={zone: {"*": 0} for zone in late},
            faults=faults,
            boot_s=slow_s,
            stop_s=slow_s,
            operation_s=0.05 if late else slow_s / 4,
        )

    def held(self) -> Sequence[str]:
        """The ids of all that is there."""
        return [one["id"] for one in self._emulator.held()]

    def calls(self) -> Sequence[str]:
        """The operations that were called."""
        return [call["operation"] for call in self._emulator.calls()]
