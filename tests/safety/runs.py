"""Runs of pytest as a user starts them: real processes, a suite on disk, an emulator beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.emulated import IMAGE, ROOT, Emulator, processes

#: After how long nothing is held, with stop time 0 and latency 0; and what a loaded machine is granted. Seconds.
PROMISED: Final = 5.0
GRANTED: Final = 60.0

#: Longer than any run here takes, on any machine. Seconds.
PATIENCE: Final = 240.0

GROUPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "db": {"count": 2, "instance_type": "i4i.large"},
    "loader": {"count": 1, "instance_type": "c6i.xlarge"},
}

#: Two tests that use what is provisioned, and one that does not.
TESTS: Final = """
def test_two(capacity):
    assert len(capacity.nodes("db")) == 2

def test_reserved(capacity_nodes):
    assert all(node.reservation_id for nodes in capacity_nodes.values() for node in nodes)

def test_other():
    assert True
"""


def until(claim: Callable[[], bool], seconds: float, what: str) -> float:
    """Look every 50 ms until ``claim`` holds; how long that took. Fails with ``what`` when it takes too long."""
    began = time.monotonic()
    while not claim():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)
    return time.monotonic() - began


#: Where the secret of the tests' emulators is.
KEPT: Final = ("PYTEST_CAPACITY_EMULATOR_SECRET_FILE",)


class Ended:
    """A run that is over. ``out`` and ``err`` are what it wrote, ``text`` both."""

    def __init__(self, code: int, out: str, err: str, seconds: float) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.text = out + err
        self.seconds = seconds

    def count(self, outcome: str) -> int:
        """How many tests were ``outcome`` ("passed", "failed", "error", "rerun", ...), by pytest's last line."""
        found = re.findall(rf"(\d+) {outcome}s?\b", self.out.rstrip().rpartition("\n")[2])
        return int(found[-1]) if found else 0

    def __repr__(self) -> str:
        return f"<run ended with {self.code} after {self.seconds:.1f} s>\n{self.text}"


class Going:
    """A run under way, the leader of its own session and process group."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._out = out
        self._err = err
        self._began = time.monotonic()

    def written(self) -> str:
        """Its standard output so far."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    def complained(self) -> str:
        """Its standard error so far."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def kill(self, number: int) -> None:
        """A signal to the process that was started alone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill_group(self, number: int) -> None:
        """A signal to it and all its children but those that left the group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Until it ends; fails when it does not."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_group(signal.SIGKILL)
            self.process.wait(60)
            raise AssertionError(f"the run did not end within {seconds:g} s:\n{self.written()}") from None
        err = self._err.read_text(encoding="utf-8", errors="replace")
        ended = Ended(code, self.written(), err, time.monotonic() - self._began)
        print(ended)  # What pytest shows of it beside a failed assertion is cut.
        return ended


class Suite:
    """A test suite in a directory of its own, with its own home, state and temporary directory."""

    def __init__(self, path: Path, emulator: Emulator) -> None:
        self.path = path
        self.emulator = emulator
        self.home = path / "home"
        self.state = path / "state"
        self.tmp = path / "tmp"
        self.tests = path / "suite"
        for directory in (self.home, self.state, self.tmp, self.tests):
            directory.mkdir(parents=True, exist_ok=True)
        self._settings: dict[str, str] = {}
        self.only_ours()
        self.write("test_suite.py", TESTS)
        self.configure()
        self._started: list[Going] = []

    @property
    def journal(self) -> Path:
        """Where the journal stands where no setting says otherwise."""
        return self.state / "pytest-capacity" / "journal.sqlite"

    def only_ours(self, order: str = "-p capacity -p xdist") -> None:
        """Load this plugin and xdist, and nothing else that is installed: a run starts in half the time."""
        self._settings["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        self.write("pytest.ini", f"[pytest]\naddopts = {order}\n")

    def as_installed(self) -> Suite:
        """Load every plugin that is installed, as pytest does by itself."""
        del self._settings["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        # But two of our own environment, which take half of a run's start.
        self.write("pytest.ini", "[pytest]\naddopts = -p no:hypothesispytest -p no:pytest_cov\n")
        return self

    def write(self, name: str, text: str) -> Path:
        """A file of the suite."""
        path = self.tests / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def configure(self, groups: Mapping[str, Mapping[str, Any]] | None = GROUPS, **keys: Any) -> None:
        """Write ``capacity.yaml``: these groups, and other keys as they are given."""
        values = {
            "backend": "aws",
            "regions": ["us-east-1"],
            "zones": ["a", "b"],
            "groups": groups,
            "aws": {"image": {"us-east-1": IMAGE}},
            **keys,
        }
        # JSON is YAML.
        self.write("capacity.yaml", json.dumps({key: value for key, value in values.items() if value is not None}))

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Ours, less what would lead the run to us, and with ``changes``; None removes a variable."""
        own = {"HOME": str(self.home), "XDG_STATE_HOME": str(self.state), "TMPDIR": str(self.tmp)}
        # Under tox pytest keeps one cache for all runs of an environment (TOX_ENV_DIR).
        dropped = ("PYTEST_", "TOX_")
        kept = {name: value for name, value in os.environ.items() if name in KEPT or not name.startswith(dropped)}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        merged: dict[str, str | None] = {**kept, **own, "PYTHONPATH": path, **self._settings, **changes}
        return {name: value for name, value in merged.items() if value is not None}

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        prefix: Sequence[str] = (),
        program: Sequence[str] | None = None,
        endpoint: bool = True,
    ) -> Going:
        """Start pytest on the suite; ``prefix`` stands before the command, ``program`` for `python -m pytest`."""
        number = len(self._started)
        out, err = self.path / f"{number}.out", self.path / f"{number}.err"
        at = [f"--capacity-endpoint={self.emulator.url}"] if endpoint else []
        command = [*prefix, *(program or (sys.executable, "-m", "pytest")), *at, *arguments]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                cwd=cwd or self.tests,
                env=self.environment(**(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        going = Going(process, out, err)
        self._started.append(going)
        return going

    def run(self, *arguments: str, seconds: float = PATIENCE, **how: Any) -> Ended:
        """`start` and wait for the end."""
        return self.start(*arguments, **how).wait(seconds)

    def keepers(self) -> list[int]:
        """The keepers of this suite's runs that live."""
        return self._processes("--listener=")

    def guards(self) -> list[int]:
        """The processes that watch over this suite's kept sessions."""
        return self._processes("--keeper=")

    def _processes(self, *marks: str) -> list[int]:
        path = str(self.path)
        return [pid for pid, line in processes() if path in line and any(mark in line for mark in marks)]

    def nothing_left(self, *, but: Sequence[str] = (), within: float = GRANTED) -> float:
        """Wait until the World holds nothing (``but`` these ids) and no keeper lives; how long that took, seconds."""

        def empty() -> bool:
            return all(_id(held) in but for held in self.emulator.held())

        def over() -> bool:
            # Once more after the last keeper, which may have made something. The processes are the dearest to look for.
            return empty() and not self._processes("--listener=", "--keeper=") and empty()

        try:
            return until(over, within, "the World is empty and no keeper lives")
        except AssertionError as error:
            held = [(one["kind"], _id(one), one["state"]) for one in self.emulator.held()]
            raise AssertionError(f"{error}\nheld: {held}\nkeepers: {self.keepers()}\n{self.logs()}") from None

    def logs(self) -> str:
        """What the keepers of this suite wrote."""
        return "\n".join(log.read_text(errors="replace") for log in sorted(self.path.rglob("*.log")))

    def until_ending(self) -> None:
        """Wait until a keeper has noted that its run is over."""
        until(lambda: " ending: " in self.logs(), GRANTED, "the keeper ends the run")

    def clean_up(self) -> None:
        """End what a failed test left behind."""
        for going in self._started:
            # Workers may live on after the one who was started.
            going.kill_group(signal.SIGKILL)
            going.process.wait(60)
        for pid in self.guards() + self.keepers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def suite_in(path: Path, emulator: Emulator) -> Iterator[Suite]:
    """A suite of one test's own, on an emulator that holds nothing; nothing of it runs afterwards."""
    emulator.renew()
    suite = Suite(path, emulator)
    try:
        yield suite
    finally:
        suite.clean_up()


def launches(emulator: Emulator) -> list[dict[str, Any]]:
    """The launches that the World granted, each logical one once however often it was asked for."""
    granted = {call["token"]: call for call in emulator.calls("RunInstances") if call["status"] == 200}
    return list(granted.values())


def creates(emulator: Emulator) -> list[dict[str, Any]]:
    """Every call that was made to create something, whatever came of it."""
    operations = ("CreateCapacityReservation", "RunInstances", "CreatePlacementGroup")
    return [call for call in emulator.calls() if call["operation"] in operations]


def provisioned_once(suite: Suite, ended: Ended) -> None:
    """One set of creates was made in this run, and nothing of it is left."""
    suite.nothing_left()
    assert len(launches(suite.emulator)) == len(GROUPS), ended
    assert len(creates(suite.emulator)) == 2 * len(GROUPS), ended


def provisioned_nothing(suite: Suite, ended: Ended) -> None:
    """No create call at all was made, and no keeper lives."""
    suite.nothing_left()
    assert creates(suite.emulator) == [], ended


def _id(held: Mapping[str, Any]) -> str:
    return str(held["id"])
