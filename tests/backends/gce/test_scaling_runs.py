"""Whole runs of pytest on an emulated GCE whose tests change a node group; and runs that die while one is changed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from tests.backends.gce.test_kills import KILLS, PROJECT, environment
from tests.emulated import Emulator
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
    capacity.resize("db", "n2-standard-4", mode="in_place").wait(120)
    assert types(capacity) == ["n2-standard-4"] * 3
    assert capacity.nodes("db")[0].id == first[0].id
    capacity.expand_storage("db", gb=30).wait(120)
    capacity.resize("db", "n2-standard-8", count=2).wait(120)
    assert types(capacity) == ["n2-standard-8"] * 2
    capacity.scale("db", count=1).wait(120)
    (reservation,) = [one for one in capacity.reservations if one.instance_type == "n2-standard-8"]
    assert reservation.count == 1
    with pytest.raises(ScalingError, match="ARM64"):
        capacity.resize("db", "t2a-standard-2", mode="in_place")
"""

#: The calls of a change, each delayed in turn.
SCALING: Final = replace(
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
#: As many as two cores take; `tox -e matrix` runs all.
SAMPLED: Final = ("stopping", "aiming")


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on GCE whose test changes its nodes."""
    with suite_in(tmp_path, emulator_process) as suite:
        suite.configure(
            {"db": {"count": 2, "instance_type": "n2-standard-2"}},
            backend="gce",
            regions=["us-central1"],
            aws=None,
            gce={"project": PROJECT},
            scaling={"interval": "1s", "timeout": "180s"},
        )
        suite.write("test_suite.py", CHANGES)
        yield suite


def test_a_run_changes_its_nodes(suite: Suite) -> None:
    """More, in place, larger disks, replaced, fewer; it leaves nothing."""
    ended = suite.start(env=dict(environment(suite.emulator))).wait()
    assert ended.code == 0, (ended, suite.logs())
    assert "receipt: 0 things" in ended.text
    suite.nothing_left()


PHASES: Final = [pytest.param(phase, marks=[] if phase in SAMPLED else pytest.mark.matrix) for phase in SCALING.calls]


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_killed_leaves_nothing(suite: Suite, phase: str) -> None:
    """SIGKILL of pytest in the middle of a change: nodes of both types go, and both reservations."""
    SCALING.killed_run_leaves_nothing(suite, phase, signal.SIGKILL)


@pytest.mark.parametrize("phase", PHASES)
def test_a_keeper_that_is_killed_is_followed_by_another(suite: Suite, phase: str) -> None:
    """It goes on with the change where it was; the test passes, and nothing is left."""
    SCALING.second_keeper_goes_on(suite, phase)
