"""Whole runs of pytest on an emulated Azure: the quick start's suite, and runs that are killed in each phase."""

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

from pytest_capacity.backends import open_backend
from tests.backends.azure.runs import DB, REGION, SIZE, URN, request
from tests.backends.azure.test_bodies import pieces
from tests.emulated import ROOT, Emulator
from tests.emulator.azure.conftest import SUBSCRIPTION
from tests.safety.phases import TESTS, let_go, said, under_way
from tests.safety.runs import PATIENCE, Going, Suite, suite_in, until

#: The call during which a run is in a phase, and that the weather delays.
CALLS: Final = {
    "making the group": "ResourceGroups_CreateOrUpdate",
    "networking": "VirtualNetworks_CreateOrUpdate",
    "reserving": "CapacityReservations_CreateOrUpdate",
    "launching": "VirtualMachines_CreateOrUpdate",
    "releasing nodes": "VirtualMachines_Delete",
    "releasing the reservation": "CapacityReservations_Delete",
    "releasing the group": "ResourceGroups_Delete",
}
PHASES: Final = (*CALLS, "testing")


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on Azure, with a network and a reservation of its own."""
    with suite_in(tmp_path, emulator_process) as suite:
        suite.configure(
            {"db": {"count": 2, "instance_type": SIZE}},
            backend="azure",
            regions=[REGION],
            zones=["1", "2"],
            aws=None,
            azure={"subscription": SUBSCRIPTION, "image": URN},
        )
        suite.write("test_suite.py", TESTS)
        yield suite


def others(emulator: Emulator) -> list[str]:
    """Make a reservation of another team in the same subscription; the ids of its things in the World."""
    asked = request(emulator, DB, run="another-teams", project="another")
    backend = open_backend(asked)
    for piece in pieces(asked):
        if piece.kind in ("resource-group", "capacity-group", "reservation"):
            backend.create(piece)
    return [str(held["id"]) for held in emulator.held()]


def started(suite: Suite, *arguments: str) -> Going:
    """A run that talks to the emulator as to any endpoint, with the credentials of azure-identity."""
    identity = suite.emulator.ready["clouds"]["azure"]["identity_endpoint"]
    return suite.start(*arguments, env={"IDENTITY_ENDPOINT": identity, "IDENTITY_HEADER": suite.emulator.secret})


def reach(suite: Suite, going: Going, phase: str) -> None:
    """Wait until the run is in the phase."""
    call = CALLS.get(phase)
    if phase.startswith("releasing"):
        let_go(suite)

    def reached() -> bool:
        assert going.process.poll() is None, f"the run ended before {phase}: {going.wait()}"
        return said(suite, "testing-0") is not None if call is None else call in under_way(suite.emulator)

    until(reached, PATIENCE, phase)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("phase", "number"),
    [
        *((phase, signal.SIGKILL) for phase in PHASES),
        *((phase, number) for phase in ("launching", "testing") for number in (signal.SIGTERM, signal.SIGINT)),
    ],
)
def test_a_killed_run_leaves_nothing(suite: Suite, phase: str, number: signal.Signals) -> None:
    """Whatever call was under way, all that is the run's goes, and nothing of another team's."""
    theirs = others(suite.emulator)
    call = CALLS.get(phase)
    suite.emulator.weather(faults=[{"operation": call, "delay_s": 0.5}] if call else [], boot_s=0.2)
    going = started(suite)
    reach(suite, going, phase)
    going.kill(number)
    let_go(suite)
    going.wait()
    suite.nothing_left(but=theirs)


@pytest.mark.matrix
@pytest.mark.parametrize("phase", ["reserving", "launching", "testing", "releasing the group"])
def test_a_second_keeper_goes_on(suite: Suite, phase: str) -> None:
    """SIGKILL of the keeper: another adopts the run, makes nothing twice, and releases all."""
    theirs = others(suite.emulator)
    call = CALLS.get(phase)
    suite.emulator.weather(faults=[{"operation": call, "delay_s": 0.5, "times": 2}] if call else [])
    going = started(suite)
    reach(suite, going, phase)
    for pid in suite.keepers():
        os.kill(pid, signal.SIGKILL)
    let_go(suite)
    ended = going.wait()
    assert ended.code == 0, (ended, suite.logs())
    assert "receipt: 0 things" in ended.text
    suite.nothing_left(but=theirs)
    made = [call for call in suite.emulator.calls("VirtualMachines_CreateOrUpdate") if call["status"] == 201]
    assert len(made) == 2


def test_the_quick_start(tmp_path: Path) -> None:
    """The suite that runs on every cloud passes here, with a zone that is dry late, logins, and a receipt."""
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples/quickstart", folder)
    home: dict[str, Any] = {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
    dropped = ("PYTEST_", "AZURE_", "IDENTITY_", "TOX_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--capacity-config=capacity.azure.yaml"]
    done = subprocess.run(
        [*command, "--capacity-emulator=scenario.azure.yaml"],
        cwd=folder,
        env={**kept, **home, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert "ZonalAllocationFailed" in done.stdout
    assert "in eastus-2" in done.stdout
    assert "receipt: 0 things" in done.stdout
