"""Whole runs of pytest on an emulated Azure whose tests change a node group; and runs that die while one is changed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from tests.backends.azure.runs import REGION, URN
from tests.backends.azure.test_kills import KILLS, environment
from tests.emulated import Emulator
from tests.emulator.azure.conftest import SUBSCRIPTION
from tests.safety.runs import Suite, suite_in

CHANGES: Final = """
import pytest
from pytest_capacity import ScalingError

def types(capacity):
    return [node.instance_type for node in capacity.nodes("db")]

def test_changes(capacity):
    first = capacity.nodes("db")
    capacity.scale("db", count=3).wait(120)
    assert [node.name for node in capacity.nodes("db")] == ["db-0", "db-1", "db-2"]
    assert capacity.nodes("db")[:2] == first
    capacity.resize("db", "Standard_D4s_v5", mode="in_place").wait(120)
    assert types(capacity) == ["Standard_D4s_v5"] * 3
    assert capacity.nodes("db")[0].id == first[0].id
    capacity.resize("db", "Standard_D8s_v5", count=2).wait(120)
    assert types(capacity) == ["Standard_D8s_v5"] * 2
    capacity.scale("db", count=1).wait(120)
    (reservation,) = [one for one in capacity.reservations if one.instance_type == "Standard_D8s_v5"]
    assert reservation.count == 1
    with pytest.raises(ScalingError, match="Arm64"):
        capacity.resize("db", "Standard_D2ps_v5", mode="in_place")
    with pytest.raises(ScalingError, match="disks"):
        capacity.expand_storage("db", gb=100)
"""

#: The calls of a change, each delayed in turn.
SCALING: Final = replace(
    KILLS,
    calls={
        "growing": "CapacityReservations_Update",
        "stopping": "VirtualMachines_Deallocate",
        "changing": "VirtualMachines_Update",
        "starting": "VirtualMachines_Start",
    },
)
#: As many as two cores take; `tox -e matrix` runs all.
SAMPLED: Final = ("stopping", "changing")


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on Azure whose test changes its nodes."""
    with suite_in(tmp_path, emulator_process) as suite:
        suite.configure(
            {"db": {"count": 2, "instance_type": "Standard_D2s_v5"}},
            backend="azure",
            regions=[REGION],
            zones=["1"],
            aws=None,
            azure={"subscription": SUBSCRIPTION, "image": URN},
            scaling={"interval": "1s", "timeout": "180s"},
        )
        suite.write("test_suite.py", CHANGES)
        yield suite


def test_a_run_changes_its_nodes(suite: Suite) -> None:
    """More, in place, replaced, fewer; what Azure does not do is refused; it leaves nothing."""
    ended = suite.start(env=dict(environment(suite.emulator))).wait()
    assert ended.code == 0, (ended, suite.logs())
    assert "receipt: 0 things" in ended.text
    suite.nothing_left()


PHASES: Final = [pytest.param(phase, marks=[] if phase in SAMPLED else pytest.mark.matrix) for phase in SCALING.calls]


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_killed_leaves_nothing(suite: Suite, phase: str) -> None:
    """SIGKILL of pytest in the middle of a change: nodes of both sizes go, and both reservations."""
    SCALING.killed_run_leaves_nothing(suite, phase, signal.SIGKILL)


@pytest.mark.parametrize("phase", PHASES)
def test_a_keeper_that_is_killed_is_followed_by_another(suite: Suite, phase: str) -> None:
    """It goes on with the change where it was; the test passes, and nothing is left."""
    SCALING.second_keeper_goes_on(suite, phase)
