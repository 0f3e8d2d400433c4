"""GCE at the emulator, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.base import Backend
from pytest_capacity.model import NodeGroup, Request, Topology
from tests.emulated import Emulator

REGION = "us-central1"
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f")
DB = NodeGroup(name="db", count=2, instance_type="n2-standard-2", market="on-demand", reserve=True)
LOADER = NodeGroup(name="loader", count=1, instance_type="e2-standard-4", market="on-demand", reserve=True)


def request(emulator: Emulator, *groups: NodeGroup, **changes: Any) -> Request:
    """What a run wants: two database nodes and a loader, in zones a and b, unless told otherwise."""
    wanted: dict[str, Any] = {
        "backend": "gce",
        "run": "run-1",
        "project": "tests",
        "topologies": {"default": Topology(groups or (DB, LOADER))},
        "regions": (REGION,),
        "zones": ("a", "b"),
        "duration_s": 5400.0,
        "timeout_s": 60.0,
        "endpoint": emulator.url,
        "emulated": True,
    }
    return Request(**{**wanted, **changes})


class GceLab:
    """Compute Engine, emulated."""

    zones: Sequence[str] = ZONES[:2]

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        """As `request`."""
        return request(self.emulator, *groups, **overrides)

    def backend(self, request: Request) -> Backend:
        """As a keeper opens it."""
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
        """Every lack of stock is told late here; ``late`` is told later still, and by a scripted error."""
        code = "ZONE_RESOURCE_POOL_EXHAUSTED"
        faults: list[dict[str, Any]] = [
            {"cloud": "gce", "operation": "reservations.insert", "zone": zone, "error": code, "late": True}
            for zone in late
        ]
        if lose_reply:
            faults.append({"operation": "reservations.insert", "lose_reply": True, "times": 1})
        self.emulator.weather(
            stock={zone: {"*": 0} for zone in dry},
            quota={REGION: {"N2_CPUS": 0, "CPUS": 0}} if quota else {},
            faults=faults,
            operation_s=0.1 if late else 0.0,
            boot_s=slow_s,
            stop_s=slow_s,
        )

    def held(self) -> Sequence[str]:
        """Ids."""
        return [one["id"] for one in self.emulator.held()]

    def calls(self) -> Sequence[str]:
        """Methods."""
        return [call["operation"] for call in self.emulator.calls()]
