"""Whole runs of pytest on an emulated GCE: the quick start's suite, and runs that are killed in each phase."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from tests.emulated import ROOT, Emulator
from tests.safety.phases import TESTS, let_go, said, under_way
from tests.safety.runs import PATIENCE, Going, Suite, suite_in, until

PROJECT: Final = "emulated-project"

#: The call during which a run is in a phase, and that the weather delays.
CALLS: Final = {
    "reserving": "reservations.insert",
    "launching": "instances.bulkInsert",
    "waiting": "zoneOperations.get",
    "releasing": "instances.delete",
    "releasing reservations": "reservations.delete",
}
PHASES: Final = ("reserving", "launching", "waiting", "testing", "releasing", "releasing reservations")


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on GCE, and a reservation in the same project that is not its own."""
    with suite_in(tmp_path, emulator_process) as suite:
        suite.configure(
            {"db": {"count": 2, "instance_type": "n2-standard-2"}},
            backend="gce",
            regions=["us-central1"],
            aws=None,
            gce={"project": PROJECT},
        )
        suite.write("test_suite.py", TESTS)
        yield suite


def other(emulator: Emulator) -> str:
    """Make a reservation of another team; its id in the World."""
    specific = {"count": "1", "instanceProperties": {"machineType": "n2-standard-2"}}
    body = {"name": "other-team", "specificReservation": specific}
    url = f"{emulator.url}/compute/v1/projects/{PROJECT}/zones/us-central1-a/reservations"
    headers = {"Authorization": f"Bearer {emulator.secret}"}
    requests.post(url, json=body, headers=headers, timeout=10).raise_for_status()
    (held,) = emulator.held()
    return str(held["id"])


def started(suite: Suite, *arguments: str) -> Going:
    """A run that talks to the emulator as to any endpoint, with a token."""
    return suite.start(*arguments, env={"CLOUDSDK_AUTH_ACCESS_TOKEN": suite.emulator.secret})


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_run_leaves_nothing(suite: Suite, phase: str, number: signal.Signals) -> None:
    """Whatever call was under way, all that is the run's goes, and nothing of another team's."""
    theirs = other(suite.emulator)
    call = CALLS.get(phase)
    suite.emulator.weather(faults=[{"operation": call, "delay_s": 1.0}] if call else [], operation_s=0.2)
    going = started(suite)
    if phase.startswith("releasing"):
        let_go(suite)

    def reached() -> bool:
        assert going.process.poll() is None, f"the run ended before {phase}: {going.wait()}"
        return said(suite, "testing-0") is not None if call is None else call in under_way(suite.emulator)

    until(reached, PATIENCE, f"the run is {phase}")
    going.kill(number)
    let_go(suite)
    suite.nothing_left(but=[theirs])
    going.wait()
    assert [held["id"] for held in suite.emulator.held()] == [theirs]


def test_a_lost_reply_and_a_kill(suite: Suite) -> None:
    """The call was granted, its answer lost, and pytest killed: nothing is made twice, and nothing left."""
    fault: dict[str, Any] = {"operation": "instances.bulkInsert", "delay_s": 0.5, "lose_reply": True, "times": 1}
    suite.emulator.weather(faults=[fault])
    going = started(suite)
    until(lambda: "instances.bulkInsert" in under_way(suite.emulator), PATIENCE, "the launch is under way")
    going.kill(signal.SIGKILL)
    suite.nothing_left()
    going.wait()
    tokens = {call["token"] for call in suite.emulator.calls("instances.bulkInsert")}
    assert len(tokens) == 1


def test_the_quick_start_runs_on_it(tmp_path: Path) -> None:
    """The same suite as on every cloud, with its own file and scenario: one dry zone, five tests, nothing left."""
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples" / "quickstart", folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TOX_"))}
    environment |= {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    files = ("--capacity-config=capacity.gce.yaml", "--capacity-emulator=scenario.gce.yaml")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", *files]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert "us-central1-a: no-capacity after" in done.stdout
    assert "(us-central1 read)" in done.stdout
    assert "receipt: 0 things" in done.stdout
