"""Whole runs of pytest on an emulated OCI whose tests change a node group; and runs that die while one is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec.structs import replace

from tests.backends.oci.runs import COMPARTMENT, OTHER, REGION, SHAPE
from tests.backends.oci.test_kills import KILLS
from tests.backends.scaling_runs import ScalingRuns


class TestOci(ScalingRuns):
    """OCI."""

    kills = replace(
        KILLS,
        calls={
            "growing": "UpdateComputeCapacityReservation",
            "stopping": "InstanceAction",
            "changing": "UpdateInstance",
            "growing disks": "UpdateBootVolume",
        },
    )
    sampled = ("changing",)
    types = (SHAPE, OTHER, "VM.Standard.E5.Flex", "VM.Standard.A1.Flex")
    settings: ClassVar[Mapping[str, Any]] = {
        "backend": "oci",
        "regions": [REGION],
        "zones": ["AD-1"],
        "oci": {"compartment": COMPARTMENT, "image": {"operating_system": "Oracle Linux", "version": "9"}},
    }
