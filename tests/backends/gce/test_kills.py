"""Whole runs of pytest on an emulated GCE: the quick start's suite, and runs that are killed in each phase."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import requests

from tests.backends.kills import Kills, quick_start
from tests.emulated import Emulator
from tests.safety.runs import Suite

PROJECT: Final = "emulated-project"


def others(emulator: Emulator) -> list[str]:
    """Make a reservation of another team; its id in the World."""
    specific = {"count": "1", "instanceProperties": {"machineType": "n2-standard-2"}}
    body = {"name": "other-team", "specificReservation": specific}
    url = f"{emulator.url}/compute/v1/projects/{PROJECT}/zones/us-central1-a/reservations"
    headers = {"Authorization": f"Bearer {emulator.secret}"}
    requests.post(url, json=body, headers=headers, timeout=60).raise_for_status()
    (held,) = emulator.held()
    return [str(held["id"])]


def environment(emulator: Emulator) -> Mapping[str, str]:
    """Return a token."""
    return {"CLOUDSDK_AUTH_ACCESS_TOKEN": emulator.secret}


KILLS: Final = Kills(
    calls={
        "reserving": "reservations.insert",
        "launching": "instances.bulkInsert",
        "waiting": "zoneOperations.get",
        "releasing": "instances.delete",
        "releasing reservations": "reservations.delete",
    },
    environment=environment,
    others=others,
    weather={"operation_s": 0.2},
    group={"count": 2, "instance_type": "n2-standard-2"},
    settings={
        "backend": "gce",
        "regions": ["us-central1"],
        "gce": {"project": PROJECT},
    },
)


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite on GCE, and a reservation in the same project that is not its own."""
    with KILLS.suite(tmp_path, emulator_process) as suite:
        yield suite


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", KILLS.phases)
def test_a_killed_run_leaves_nothing(suite: Suite, phase: str, number: signal.Signals) -> None:
    """Whatever call was under way, all that is the run's goes, and nothing of another team's."""
    KILLS.killed_run_leaves_nothing(suite, phase, number)


def test_a_lost_reply_and_a_kill(suite: Suite) -> None:
    """The call was granted, its answer lost, and pytest killed: nothing is made twice, and nothing left."""
    going = KILLS.reached(suite, "launching", lose_reply=True, times=1)
    going.kill(signal.SIGKILL)
    suite.until_ending()
    suite.emulator.go_on()
    suite.nothing_left()
    going.wait()
    tokens = {call["token"] for call in suite.emulator.calls("instances.bulkInsert")}
    assert len(tokens) == 1


def test_the_quick_start_runs_on_it(tmp_path: Path) -> None:
    """The same suite as on every cloud, with its own file and scenario: one dry zone, five tests, nothing left."""
    out = quick_start(tmp_path, "gce", "-n", "2")
    assert "us-central1-a: no-capacity after" in out
    assert "(us-central1 read)" in out
