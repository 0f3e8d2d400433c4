"""Whole runs of pytest on an emulated Azure: the quick start's suite, and runs that are killed in each phase."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from pytest_capacity.backends import open_backend
from tests.backends.azure.runs import DB, REGION, SIZE, URN, request
from tests.backends.azure.test_bodies import pieces
from tests.backends.kills import Kills, quick_start
from tests.emulated import Emulator
from tests.emulator.azure.conftest import SUBSCRIPTION
from tests.safety.runs import Suite


def others(emulator: Emulator) -> list[str]:
    """Make a reservation of another team in the same subscription; the ids of its things in the World."""
    asked = request(emulator, DB, run="another-teams", project="another")
    backend = open_backend(asked)
    for piece in pieces(asked):
        if piece.kind in ("resource-group", "capacity-group", "reservation"):
            backend.create(piece)
    return [str(held["id"]) for held in emulator.held()]


def environment(emulator: Emulator) -> Mapping[str, str]:
    """Return the credentials of azure-identity."""
    identity = emulator.ready["clouds"]["azure"]["identity_endpoint"]
    return {"IDENTITY_ENDPOINT": identity, "IDENTITY_HEADER": emulator.secret}


KILLS: Final = Kills(
    calls={
        "making the group": "ResourceGroups_CreateOrUpdate",
        "networking": "VirtualNetworks_CreateOrUpdate",
        "reserving": "CapacityReservations_CreateOrUpdate",
        "launching": "VirtualMachines_CreateOrUpdate",
        "releasing nodes": "VirtualMachines_Delete",
        "releasing the reservation": "CapacityReservations_Delete",
        "releasing the group": "ResourceGroups_Delete",
    },
    environment=environment,
    others=others,
    weather={"boot_s": 0.2},
    group={"count": 2, "instance_type": SIZE},
    settings={
        "backend": "azure",
        "regions": [REGION],
        "zones": ["1", "2"],
        "azure": {"subscription": SUBSCRIPTION, "image": URN},
    },
)


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on Azure, with a network and a reservation of its own."""
    with KILLS.suite(tmp_path, emulator_process) as suite:
        yield suite


@pytest.mark.matrix
@pytest.mark.parametrize(("phase", "number"), KILLS.cases)
def test_a_killed_run_leaves_nothing(suite: Suite, phase: str, number: signal.Signals) -> None:
    """Whatever call was under way, all that is the run's goes, and nothing of another team's."""
    KILLS.killed_run_leaves_nothing(suite, phase, number)


@pytest.mark.matrix
@pytest.mark.parametrize("phase", ["reserving", "launching", "testing", "releasing the group"])
def test_a_second_keeper_goes_on(suite: Suite, phase: str) -> None:
    """SIGKILL of the keeper: another adopts the run, makes nothing twice, and releases all."""
    KILLS.second_keeper_goes_on(suite, phase)
    made = [call for call in suite.emulator.calls("VirtualMachines_CreateOrUpdate") if call["status"] == 201]
    assert len(made) == 2


def test_the_quick_start(tmp_path: Path) -> None:
    """The suite that runs on every cloud passes here, with a zone that is dry late, logins, and a receipt."""
    out = quick_start(tmp_path, "azure")
    assert "ZonalAllocationFailed" in out
    assert "in eastus-2" in out
