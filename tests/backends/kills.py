"""Whole runs of pytest on an emulated cloud, killed in each phase: what is alike on all clouds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from tests.emulated import HELD_OPEN, ROOT, Emulator
from tests.safety.phases import TESTS, go_on, let_go, new_keeper, said, under_way
from tests.safety.runs import PATIENCE, Going, Suite, suite_in, until


class Kills(Struct, frozen=True, kw_only=True):
    """What the runs on one cloud need and do."""

    #: The call during which a run is in a phase, and that is held open.
    calls: Mapping[str, str]
    #: What a run reads to talk to the emulator as to any endpoint.
    environment: Callable[[Emulator], Mapping[str, str]]
    #: Makes a reservation of another team in the same account, and returns the ids of its things in the World.
    others: Callable[[Emulator], Sequence[str]]
    weather: Mapping[str, Any] = field(default_factory=dict)
    #: The group of nodes of the suite, and what its file says beside it.
    group: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def phases(self) -> tuple[str, ...]:
        """All phases."""
        return (*self.calls, "testing")

    @property
    def cases(self) -> list[tuple[str, signal.Signals]]:
        """SIGKILL in each phase, and in two of them the other signals that end a run."""
        others = ((phase, number) for phase in ("launching", "testing") for number in (signal.SIGTERM, signal.SIGINT))
        return [*((phase, signal.SIGKILL) for phase in self.phases), *others]

    @contextmanager
    def suite(self, folder: Path, emulator: Emulator) -> Iterator[Suite]:
        """Give a suite whose tests wait to be let go."""
        with suite_in(folder, emulator) as suite:
            suite.configure({"db": dict(self.group)}, aws=None, **self.settings)
            suite.write("test_suite.py", TESTS)
            yield suite

    def reached(self, suite: Suite, phase: str, **fault: Any) -> Going:
        """Start a run, and wait until it is in the phase; before "releasing" its tests are let go."""
        call = self.calls.get(phase)
        faults = [{"operation": call, "delay_s": HELD_OPEN, **fault}] if call else []
        suite.emulator.weather(faults=faults, **self.weather)
        going = suite.start(env=dict(self.environment(suite.emulator)))
        if phase.startswith("releasing"):
            let_go(suite)

        def reached() -> bool:
            assert going.process.poll() is None, f"the run ended before {phase}: {going.wait()}"
            return said(suite, "testing-0") is not None if call is None else call in under_way(suite.emulator)

        until(reached, PATIENCE, phase)
        return going

    def killed_run_leaves_nothing(self, suite: Suite, phase: str, number: signal.Signals) -> None:
        """Whatever call was under way, all that is the run's goes, and nothing of another team's."""
        theirs = self.others(suite.emulator)
        going = self.reached(suite, phase)
        going.kill(number)
        let_go(suite)
        if number == signal.SIGKILL:
            suite.until_ending()
        elif not phase.startswith("releasing"):
            until(lambda: "capacity: interrupted" in going.written(), PATIENCE, f"the interrupt: {going.written()}")
        go_on(suite)
        going.wait()
        suite.nothing_left(but=theirs)
        assert sorted(str(held["id"]) for held in suite.emulator.held()) == sorted(theirs)

    def second_keeper_goes_on(self, suite: Suite, phase: str) -> None:
        """SIGKILL of the keeper: another adopts the run, and releases all."""
        theirs = self.others(suite.emulator)
        going = self.reached(suite, phase, times=2)
        (first,) = suite.keepers()
        os.kill(first, signal.SIGKILL)
        # What the first one had asked for is held open until the second one has come.
        new_keeper(suite, [first])
        go_on(suite)
        let_go(suite)
        ended = going.wait()
        assert ended.code == 0, (ended, suite.logs())
        assert "receipt: 0 things" in ended.text
        suite.nothing_left(but=theirs)


def quick_start(tmp_path: Path, cloud: str, *options: str) -> str:
    """Run the suite that runs on every cloud with the cloud's own file and scenario; what pytest printed."""
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples" / "quickstart", folder)
    dropped = ("PYTEST_", "TOX_", "AZURE_", "IDENTITY_", "OCI_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    files = (f"--capacity-config=capacity.{cloud}.yaml", f"--capacity-emulator=scenario.{cloud}.yaml")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options, *files]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert "receipt: 0 things" in done.stdout
    return done.stdout
