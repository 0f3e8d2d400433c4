"""Requests for the emulated OCI, and the real backend over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.groups import plain
from pytest_capacity.backends.oci.settings import ImageLookup, OciSettings
from pytest_capacity.model import NodeGroup, Request
from pytest_capacity.testing import ScalingLab
from tests.backends.lab import EmulatedLab, Wanted, request_to
from tests.emulated import Emulator

SHAPE: Final = "VM.Standard.E4.Flex"
OTHER: Final = "VM.Standard3.Flex"
FIXED: Final = "VM.Standard2.1"
REGION: Final = "us-ashburn-1"
DOMAINS: Final = ("Uocm:US-ASHBURN-AD-1", "Uocm:US-ASHBURN-AD-2", "Uocm:US-ASHBURN-AD-3")
COMPARTMENT: Final = "ocid1.compartment.oc1..aaaaaaaaemulatedtests"
TENANCY: Final = "ocid1.tenancy.oc1..aaaaaaaaemulatedtenancy"
#: The image of Oracle Linux 9 in the emulated us-ashburn-1.
IMAGE: Final = "ocid1.image.oc1.iad.aaaaaaaaoraclelinux96202610200"

DB: Final = NodeGroup(name="db", count=2, instance_type=SHAPE, market="on-demand", reserve=True)
LOADER: Final = NodeGroup(name="loader", count=1, instance_type=FIXED, market="on-demand", reserve=True)
SETTINGS: Final = OciSettings(
    compartment=COMPARTMENT,
    image={REGION: ImageLookup(operating_system="Oracle Linux", version="9")},
    ocpus=4.0,
    memory_gb=64.0,
    # A dry domain is an attempt, as the tests count them.
    capacity_report=False,
)


def request(emulator: Emulator, *groups: NodeGroup, settings: OciSettings = SETTINGS, **changes: Any) -> Request:
    """Two database nodes and a loader in the domains 1 and 2, unless something else is asked for."""
    where: dict[str, Any] = {"regions": (REGION,), "zones": ("AD-1", "2"), "settings": plain(settings)}
    return request_to(emulator, "oci", groups or (DB, LOADER), **{**where, **changes})


class OciLab(EmulatedLab):
    """OCI, emulated, for the conformance suite."""

    zones: Sequence[str] = DOMAINS[:2]

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        return request(self.emulator, *groups, **overrides)

    def parts(self, wanted: Wanted) -> dict[str, Any]:
        """A late refusal comes with the launch."""
        faults: list[dict[str, Any]] = []
        if wanted.lose_reply:
            faults.append({"operation": "CreateComputeCapacityReservation", "lose_reply": True, "times": 1})
        for zone in wanted.late:
            out = {"zone": zone, "error": "InternalError", "message": "Out of host capacity.", "late": True}
            faults += [{"cloud": "oci", "operation": one, **out} for one in ("LaunchInstance",)]
        return {
            "stock": {zone: {"*": 0} for zone in wanted.dry},
            "quota": {REGION: {"vcpus": 0}} if wanted.quota else {},
            "faults": faults,
            "boot_s": wanted.slow_s or (0.05 if wanted.late else 0.0),
            "pending_s": wanted.slow_s / 2,
            "stop_s": wanted.slow_s,
        }


class OciScalingLab(OciLab):
    """The same with one reserved group, so that its reservation has no other nodes, for the suite of node groups."""

    # None with local disks: Oracle changes the shape of no instance that has them.
    scaling = ScalingLab(type=SHAPE, larger=OTHER, other_architecture="VM.Standard.A1.Flex", disk_gb=47)

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        return super().request(*(groups or (DB, replace(LOADER, reserve=False))), **overrides)
