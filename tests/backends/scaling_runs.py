"""Whole runs of pytest on an emulated cloud whose tests change a node group; and runs that die while one is changed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

import pytest

from tests.backends.kills import Kills
from tests.emulated import Emulator
from tests.safety.runs import Suite, suite_in

CHANGES: Final = """
import pytest
from pytest_capacity import ScalingError

_, LARGER, LARGEST, OTHER = {types}

def types(capacity):
    return [node.instance_type for node in capacity.nodes("db")]

def test_changes(capacity):
    first = capacity.nodes("db")
    capacity.scale("db", count=3).wait(300)
    assert [node.name for node in capacity.nodes("db")] == ["db-0", "db-1", "db-2"]
    assert capacity.nodes("db")[:2] == first
    capacity.resize("db", LARGER, mode="in_place").wait(300)
    assert types(capacity) == [LARGER] * 3
    assert capacity.nodes("db")[0].id == first[0].id
    capacity.expand_storage("db", gb=100, restart=True).wait(300)
    with pytest.raises(ScalingError, match="db-2 100 GB: disks never shrink"):
        capacity.expand_storage("db", gb=99, restart=True)
    capacity.resize("db", LARGEST, count=2).wait(300)
    assert types(capacity) == [LARGEST] * 2
    capacity.scale("db", count=1).wait(300)
    (reservation,) = [one for one in capacity.reservations if one.instance_type == LARGEST]
    assert reservation.count == 1
    for ask in (lambda: capacity.scale("db", count=0), lambda: capacity.expand_storage("db", gb=0)):
        with pytest.raises(ScalingError, match="at least 1"):
            ask()
    with pytest.raises(ScalingError, match=OTHER):
        capacity.resize("db", OTHER, mode="in_place")
"""


class ScalingRuns:
    """Subclass it in the folder of a cloud."""

    #: Its calls are those of a change, each of which is delayed in turn.
    kills: ClassVar[Kills]
    #: The phases that are run where time is short; `tox -e matrix` runs all.
    sampled: ClassVar[tuple[str, ...]]
    #: The type of the group, two larger ones, and one of another architecture.
    types: ClassVar[tuple[str, str, str, str]]

    @pytest.fixture
    def suite(self, tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
        """A suite on the cloud whose test changes its nodes."""
        with suite_in(tmp_path, emulator_process) as suite:
            groups = {"db": {"count": 2, "instance_type": self.types[0]}}
            suite.configure(groups, aws=None, scaling={"interval": "1s", "timeout": "180s"}, **self.kills.settings)
            suite.write("test_suite.py", CHANGES.format(types=self.types))
            yield suite

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run what has a phase in each of the cloud's."""
        if "phase" in metafunc.fixturenames:
            marks = {phase: () if phase in self.sampled else pytest.mark.matrix for phase in self.kills.calls}
            metafunc.parametrize("phase", [pytest.param(phase, marks=mark) for phase, mark in marks.items()])

    def test_a_run_changes_its_nodes(self, suite: Suite) -> None:
        """More, in place, larger disks, replaced, fewer; what cannot be is refused; it leaves nothing."""
        ended = suite.start(env=dict(self.kills.environment(suite.emulator))).wait()
        assert ended.code == 0, (ended, suite.logs())
        assert "receipt: 0 things" in ended.text
        suite.nothing_left()

    def test_a_run_that_is_killed_leaves_nothing(self, suite: Suite, phase: str) -> None:
        """SIGKILL of pytest in the middle of a change: nodes of both types go, and both reservations."""
        self.kills.killed_run_leaves_nothing(suite, phase, signal.SIGKILL)

    def test_a_keeper_that_is_killed_is_followed_by_another(self, suite: Suite, phase: str) -> None:
        """It goes on with the change where it was; the test passes, and nothing is left."""
        self.kills.second_keeper_goes_on(suite, phase)
