"""Whole runs of pytest on an emulated Azure whose tests change a node group; and runs that die while one is changed."""

from __future__ import annotations

from msgspec.structs import replace

from tests.backends.azure.test_kills import KILLS
from tests.backends.scaling_runs import ScalingRuns


class TestAzure(ScalingRuns):
    """Azure."""

    kills = replace(
        KILLS,
        calls={
            "growing": "CapacityReservations_Update",
            "stopping": "VirtualMachines_Deallocate",
            "changing": "VirtualMachines_Update",
            "starting": "VirtualMachines_Start",
            "growing disks": "Disks_Update",
        },
    )
    sampled = ("changing", "growing disks")
    types = ("Standard_D2s_v5", "Standard_D4s_v5", "Standard_D8s_v5", "Standard_D2ps_v5")
