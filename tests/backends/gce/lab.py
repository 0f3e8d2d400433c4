"""GCE at the emulator, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_capacity.model import NodeGroup, Request
from pytest_capacity.testing import ScalingLab
from tests.backends.lab import EmulatedLab, Wanted, request_to
from tests.emulated import Emulator

REGION = "us-central1"
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f")
DB = NodeGroup(name="db", count=2, instance_type="n2-standard-2", market="on-demand", reserve=True)
LOADER = NodeGroup(name="loader", count=1, instance_type="e2-standard-4", market="on-demand", reserve=True)


def request(emulator: Emulator, *groups: NodeGroup, **changes: Any) -> Request:
    """What a run wants: two database nodes and a loader, in zones a and b, unless told otherwise."""
    where: dict[str, Any] = {"regions": (REGION,), "zones": ("a", "b")}
    return request_to(emulator, "gce", groups or (DB, LOADER), **{**where, **changes})


class GceLab(EmulatedLab):
    """Compute Engine, emulated."""

    zones: Sequence[str] = ZONES[:2]
    scaling = ScalingLab(
        type="n2-standard-2",
        larger="n2-standard-4",
        other_architecture="t2a-standard-2",
        disk_gb=10,
    )

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        """As `request`."""
        return request(self.emulator, *groups, **overrides)

    def parts(self, wanted: Wanted) -> dict[str, Any]:
        """Every lack of stock is told late here; ``late`` is told later still, and by a scripted error."""
        code = "ZONE_RESOURCE_POOL_EXHAUSTED"
        faults: list[dict[str, Any]] = [
            {"cloud": "gce", "operation": operation, "zone": zone, "error": code, "late": True}
            for zone in wanted.late
            for operation in ("reservations.insert", "instances.insert", "instances.bulkInsert")
        ]
        if wanted.lose_reply:
            faults.append({"operation": "reservations.insert", "lose_reply": True, "times": 1})
        return {
            "stock": {zone: {"*": 0} for zone in wanted.dry},
            "quota": {REGION: {"N2_CPUS": 0, "CPUS": 0}} if wanted.quota else {},
            "faults": faults,
            "operation_s": 0.1 if wanted.late else 0.0,
            "boot_s": wanted.slow_s,
            "stop_s": wanted.slow_s,
        }


def make_reservation(
    lab: GceLab, name: str, type_: str, count: int = 2, zone: str = ZONES[1], specific: bool = True
) -> None:
    """A reservation that is the user's."""
    lab.backend(lab.request())._session.call(  # type: ignore[attr-defined]
        "reservations.insert",
        {"zone": zone},
        body={
            "name": name,
            "specificReservationRequired": specific,
            "specificReservation": {"count": str(count), "instanceProperties": {"machineType": type_}},
        },
    )
