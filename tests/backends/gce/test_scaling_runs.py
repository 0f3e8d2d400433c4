"""Whole runs of pytest on an emulated GCE whose tests change a node group; and runs that die while one is changed."""

from __future__ import annotations

from msgspec.structs import replace

from tests.backends.gce.test_kills import KILLS
from tests.backends.scaling_runs import ScalingRuns


class TestGce(ScalingRuns):
    """GCE."""

    kills = replace(
        KILLS,
        calls={
            "growing": "reservations.resize",
            "stopping": "instances.stop",
            "changing": "instances.setMachineType",
            "aiming": "instances.update",
            "starting": "instances.start",
            "growing disks": "disks.resize",
        },
    )
    sampled = ("stopping", "aiming")
    types = ("n2-standard-2", "n2-standard-4", "n2-standard-8", "t2a-standard-2")
