"""Whole runs of pytest on the real Blazar, and what becomes of what they hold when processes are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.blazar.lab import IMAGE, ROOT, BlazarLab, environment, until

TESTS = """
import pathlib, time

HERE = pathlib.Path(__file__).parent

def test_it(capacity):
    assert len(capacity.nodes("db")) == 2
    (found,) = [one for one in capacity.allocations(lease=capacity.run_id) if one.resource.id == capacity.node("db").id]
    assert found.allocations[0].reservation == capacity.node("db").reservation_id
    (HERE / "at").touch()
    while not (HERE / "go").exists():
        time.sleep(0.05)
"""


class Suite:
    """A suite of a user's, in a directory of its own."""

    def __init__(self, path: Path, lab: BlazarLab) -> None:
        self.path = path
        self.lab = lab
        config = {
            "backend": "blazar",
            "regions": ["RegionOne"],
            "zones": list(lab.zones),
            "duration": "1h",
            "blazar": {"image": IMAGE},
            "groups": {
                "db": {"count": 2, "instance_type": "m1.large"},
                "loader": {"count": 1, "instance_type": "m1.small", "blazar": {"reservation": "physical:host"}},
            },
        }
        (path / "capacity.yaml").write_text(json.dumps(config))
        (path / "pytest.ini").write_text("[pytest]\n")
        (path / "test_suite.py").write_text(TESTS)
        self._going: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """``pytest`` in it."""
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))},
            **environment(self.lab.openstack),
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(self.path / "state"),
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-m", "pytest", "-q", *options, str(self.path)]
        with (self.path / "out").open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._going.append(process)
        return process

    @property
    def out(self) -> str:
        """What pytest wrote."""
        return (self.path / "out").read_text(errors="replace")

    def others(self) -> list[int]:
        """The keeper, and whatever guards it: the processes whose environment or command names our state directory."""
        mark = str(self.path / "state").encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    if mark in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found

    def kill_all(self) -> None:
        """Nobody is left who would release anything."""
        for pid in self.others():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Leave no process behind."""
        until(self._gone, "no process of ours is left")

    def _gone(self) -> bool:
        self.kill_all()
        for process in self._going:
            process.poll()
        return not self.others()


@pytest.fixture
def suite(tmp_path: Path, lab: BlazarLab) -> Iterator[Suite]:
    """On an empty Blazar."""
    suite = Suite(tmp_path, lab)
    yield suite
    suite.close()


def statuses(suite: Suite) -> set[str]:
    """Of our lease."""
    return {one["status"] for one in suite.lab.openstack.leases()}


def servers(suite: Suite) -> list[dict[str, Any]]:
    """Whatever Nova has."""
    found: list[dict[str, Any]] = suite.lab.openstack.world()["servers"]
    return found


#: When a process is killed: what the cloud shows then, and the weather that makes it last.
PHASES: dict[str, tuple[Callable[[Suite], object], dict[str, Any]]] = {
    "the lease is asked for": (statuses, {}),
    "the lease stands": (lambda suite: "ACTIVE" in statuses(suite), {}),
    "servers are being built": (servers, {"slow_s": 3.0}),
    "a test runs": (lambda suite: (suite.path / "at").exists(), {}),
}


def test_a_run_is_placed_and_given_back(suite: Suite) -> None:
    """From the configuration to the receipt: nothing is left, and the run says so."""
    (suite.path / "go").touch()
    process = suite.start()
    assert process.wait(120) == 0, suite.out
    assert "1 passed" in suite.out
    assert "receipt: 0 things" in suite.out
    assert suite.lab.held() == []


def test_a_dry_zone_is_left(suite: Suite) -> None:
    """Somebody else has every host of the first zone: the run stands in the second, as a whole."""
    suite.lab.weather(dry=("az-a",))
    (suite.path / "go").touch()
    process = suite.start()
    assert process.wait(120) == 0, suite.out
    assert "az-b" in suite.out
    assert suite.lab.held() == []


@pytest.mark.parametrize("phase", PHASES)
def test_pytest_is_killed(suite: Suite, phase: str) -> None:
    """The keeper gives back the servers and the lease, whatever was under way."""
    there, weather = PHASES[phase]
    suite.lab.openstack.world(weather)
    process = suite.start()
    until(lambda: there(suite), phase)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    until(lambda: not suite.others(), "the keeper has ended", 60)
    assert suite.lab.held() == [], suite.out


@pytest.mark.parametrize("phase", ["the lease stands", "a test runs"])
def test_everything_is_killed(suite: Suite, phase: str) -> None:
    """Pytest and keeper die at once: the lease ends at its end, and Blazar has the servers in it deleted."""
    there, weather = PHASES[phase]
    suite.lab.openstack.world(weather)
    process = suite.start()
    until(lambda: there(suite), phase)
    until(suite._gone, "all are dead")
    process.wait(10)
    assert suite.lab.held() != []
    suite.lab.openstack.world({"ahead_s": 31 * 60})
    until(lambda: not suite.lab.held(), "Blazar has ended it")


def test_an_interrupted_run_gives_back(suite: Suite) -> None:
    """Ctrl-C while a test runs."""
    process = suite.start()
    until((suite.path / "at").exists, "a test runs", 60)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(90) == 2, suite.out
    assert suite.lab.held() == []
