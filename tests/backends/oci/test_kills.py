"""Whole runs of pytest on an emulated OCI: the quick start's suite, and runs that are killed in each phase."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from pytest_capacity.backends import open_backend
from tests.backends.kills import Kills, quick_start
from tests.backends.oci.runs import COMPARTMENT, DB, DOMAINS, REGION, SHAPE, request
from tests.backends.oci.test_backend import IMAGES
from tests.backends.oci.test_plan import order
from tests.emulated import Emulator
from tests.safety.runs import Suite


def others(emulator: Emulator) -> list[str]:
    """Make a reservation of another team in the same compartment; its id in the World."""
    asked = request(emulator, DB, run="another-teams", project="another")
    backend = open_backend(asked)
    (piece,) = [one for some in backend.plan(order(asked, facts=IMAGES)) for one in some if one.kind == "reservation"]
    backend.create(piece)
    return [str(held["id"]) for held in emulator.held()]


def environment(emulator: Emulator) -> Mapping[str, str]:
    """Return the config file of a user."""
    return {"OCI_CONFIG_FILE": emulator.ready["clouds"]["oci"]["config_file"]}


KILLS: Final = Kills(
    calls={
        "networking": "CreateSubnet",
        "grouping": "CreateClusterPlacementGroup",
        "reserving": "CreateComputeCapacityReservation",
        "launching": "LaunchInstance",
        "waiting": "ListVnicAttachments",
        "releasing nodes": "TerminateInstance",
        "releasing the reservation": "DeleteComputeCapacityReservation",
        "releasing the group": "DeleteClusterPlacementGroup",
        "releasing the network": "DeleteVcn",
    },
    environment=environment,
    others=others,
    weather={"boot_s": 0.2},
    group={"count": 2, "instance_type": SHAPE, "placement_group": True},
    settings={
        "backend": "oci",
        "regions": [REGION],
        "zones": ["AD-1", "AD-2"],
        "oci": {"compartment": COMPARTMENT, "image": {"operating_system": "Oracle Linux", "version": "9"}},
    },
)


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on OCI, with a network, a cluster placement group and a reservation of its own."""
    with KILLS.suite(tmp_path, emulator_process) as suite:
        yield suite


@pytest.mark.matrix
@pytest.mark.parametrize(("phase", "number"), KILLS.cases)
def test_a_killed_run_leaves_nothing(suite: Suite, phase: str, number: signal.Signals) -> None:
    """Whatever call was under way, all that is the run's goes, and nothing of another team's."""
    KILLS.killed_run_leaves_nothing(suite, phase, number)


@pytest.mark.matrix
@pytest.mark.parametrize("phase", ["reserving", "launching", "testing", "releasing the network"])
def test_a_second_keeper_goes_on(suite: Suite, phase: str) -> None:
    """SIGKILL of the keeper: another adopts the run, makes nothing twice, and releases all."""
    KILLS.second_keeper_goes_on(suite, phase)
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
    out = quick_start(tmp_path, "oci")
    assert "InternalError: Out of host capacity." in out
    assert f"in {DOMAINS[1]}" in out
