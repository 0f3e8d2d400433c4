"""Whole runs of pytest on an emulated OCI: the quick start's suite, and runs that are killed in each phase."""

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
from tests.backends.oci.runs import COMPARTMENT, DB, DOMAINS, REGION, SHAPE, request
from tests.backends.oci.test_backend import IMAGES
from tests.backends.oci.test_plan import order
from tests.emulated import ROOT, Emulator
from tests.safety.phases import TESTS, let_go, said, under_way
from tests.safety.runs import PATIENCE, Going, Suite, suite_in, until

#: The call during which a run is in a phase, and that the weather delays.
CALLS: Final = {
    "networking": "CreateSubnet",
    "grouping": "CreateClusterPlacementGroup",
    "reserving": "CreateComputeCapacityReservation",
    "launching": "LaunchInstance",
    "waiting": "ListVnicAttachments",
    "releasing nodes": "TerminateInstance",
    "releasing the reservation": "DeleteComputeCapacityReservation",
    "releasing the group": "DeleteClusterPlacementGroup",
    "releasing the network": "DeleteVcn",
}
PHASES: Final = (*CALLS, "testing")


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on OCI, with a network, a cluster placement group and a reservation of its own."""
    with suite_in(tmp_path, emulator_process) as suite:
        suite.configure(
            {"db": {"count": 2, "instance_type": SHAPE, "placement_group": True}},
            backend="oci",
            regions=[REGION],
            zones=["AD-1", "AD-2"],
            aws=None,
            oci={"compartment": COMPARTMENT, "image": {"operating_system": "Oracle Linux", "version": "9"}},
        )
        suite.write("test_suite.py", TESTS)
        yield suite


def others(emulator: Emulator) -> list[str]:
    """Make a reservation of another team in the same compartment; its id in the World."""
    asked = request(emulator, DB, run="another-teams", project="another")
    backend = open_backend(asked)
    (piece,) = [one for some in backend.plan(order(asked, facts=IMAGES)) for one in some if one.kind == "reservation"]
    backend.create(piece)
    return [str(held["id"]) for held in emulator.held()]


def started(suite: Suite, *arguments: str) -> Going:
    """A run that talks to the emulator as to any endpoint, with the config file of a user."""
    file = suite.emulator.ready["clouds"]["oci"]["config_file"]
    return suite.start(*arguments, env={"OCI_CONFIG_FILE": file})


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
@pytest.mark.parametrize("phase", ["reserving", "launching", "testing", "releasing the network"])
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
    made = {
        (call["operation"], call["token"])
        for call in suite.emulator.calls()
        if call["operation"] in ("LaunchInstance", "CreateComputeCapacityReservation") and call["status"] == 200
    }
    assert sorted(operation for operation, _ in made) == [
        *["CreateComputeCapacityReservation"] * 2,  # One of them is the other team's.
        *["LaunchInstance"] * 2,
    ]


def test_the_quick_start(tmp_path: Path) -> None:
    """The suite that runs on every cloud passes here, with a dry domain, nodes that are logged in on, and a receipt."""
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples/quickstart", folder)
    home: dict[str, Any] = {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
    dropped = ("PYTEST_", "OCI_", "TOX_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--capacity-config=capacity.oci.yaml"]
    done = subprocess.run(
        [*command, "--capacity-emulator=scenario.oci.yaml"],
        cwd=folder,
        env={**kept, **home, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert "InternalError: Out of host capacity." in done.stdout
    assert f"in {DOMAINS[1]}" in done.stdout
    assert "receipt: 0 things" in done.stdout
