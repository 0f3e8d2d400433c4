"""Whole runs of pytest on an emulated OCI whose tests change a node group; and runs that die while one is changed."""

from __future__ import annotations

from msgspec.structs import replace

from tests.backends.oci.runs import OTHER, SHAPE
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
