"""Whole runs of pytest on the real Blazar: a suite of a user's, its processes, and what Blazar and Nova have of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pytest_capacity.journal import ReadJournal
from tests.blazar.lab import IMAGE, OURS, ROOT, BlazarLab, environment, until

#: How long a run may take to come into a phase, or to end, on a loaded machine. Seconds.
PATIENCE: Final = 120.0

TESTS: Final = """
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

    def write(self, name: str, text: str) -> None:
        """A file of the suite."""
        (self.path / name).write_text(text)

    def let_go(self) -> None:
        """The waiting test may end."""
        (self.path / "go").touch()

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

    def statuses(self) -> list[str]:
        """Of our leases that have not ended."""
        return [one["status"] for one in self.lab.openstack.leases() if one["name"].startswith(OURS)]

    def servers(self) -> list[dict[str, Any]]:
        """Whatever Nova has."""
        found: list[dict[str, Any]] = self.lab.openstack.world()["servers"]
        return found

    def events(self, kind: str) -> list[Any]:
        """The data of the journal's events of that kind."""
        (path,) = (self.path / "state").rglob("journal.sqlite")
        journal = ReadJournal(path)
        try:
            return [entry.data for entry in journal.events_after(0, (kind,), 10_000) if entry.kind == kind]
        finally:
            journal.close()

    def logs(self) -> str:
        """What keepers have logged."""
        return "".join(log.read_text(errors="replace") for log in (self.path / "state").rglob("*.log"))

    def kill_all(self) -> None:
        """None is left that would release anything. Stopped first: none starts another keeper for one that died."""
        others = self.others()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in others:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def close(self) -> None:
        """Leave no process behind."""
        until(self._gone, "no process of ours is left")

    def _gone(self) -> bool:
        self.kill_all()
        for process in self._going:
            process.poll()
        return not self.others()
