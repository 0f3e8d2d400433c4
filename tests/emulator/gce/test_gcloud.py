"""Google's own command line does its work against the emulated Compute Engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.emulated import Emulator

GCLOUD = shutil.which("gcloud")
pytestmark = pytest.mark.skipif(GCLOUD is None, reason="gcloud is not installed here")

ZONE = "us-central1-a"
IMAGE = ("--image-family=debian-12", "--image-project=debian-cloud")
Gcloud = Callable[..., Any]


@pytest.fixture
def gcloud(emulator: Emulator, tmp_path: Path) -> Gcloud:
    """Runs ``gcloud compute ...`` and returns what it says, as JSON unless it is told to say nothing."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSDK_", "GOOGLE_"))},
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{emulator.ready['clouds']['gce']['endpoint']}",
        "CLOUDSDK_AUTH_ACCESS_TOKEN": emulator.secret,
        "CLOUDSDK_CORE_PROJECT": emulator.ready["clouds"]["gce"]["project"],
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }

    def run(*words: str, refused: bool = False) -> Any:
        command = [str(GCLOUD), "compute", *words, "--format=json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert (done.returncode != 0) == refused, done.stderr
        return done.stderr if refused else json.loads(done.stdout or "null")

    return run


def test_a_reservation_and_a_machine_in_it(gcloud: Gcloud, emulator: Emulator) -> None:
    """Made, described, resized, listed, and deleted in the one order that there is."""
    gcloud(
        "reservations",
        "create",
        "held",
        f"--zone={ZONE}",
        "--vm-count=1",
        "--machine-type=n2-standard-2",
        "--require-specific-reservation",
    )
    made = gcloud("reservations", "describe", "held", f"--zone={ZONE}")
    assert (made["status"], made["specificReservation"]["count"]) == ("READY", "1")
    gcloud("reservations", "update", "held", f"--zone={ZONE}", "--vm-count=2")
    gcloud(
        "instances",
        "create",
        "one",
        f"--zone={ZONE}",
        "--machine-type=n2-standard-2",
        *IMAGE,
        "--reservation-affinity=specific",
        "--reservation=held",
        "--labels=team=storage",
    )
    (listed,) = gcloud("instances", "list")
    assert (listed["name"], listed["status"], listed["labels"]) == ("one", "RUNNING", {"team": "storage"})
    assert listed["resourceStatus"]["reservationConsumptionInfo"]["consumedReservation"].endswith("/held")
    assert gcloud("instances", "describe", "one", f"--zone={ZONE}")["name"] == "one"
    (reservation,) = gcloud("reservations", "list")
    assert reservation["specificReservation"]["inUseCount"] == "1"
    assert "already being used by" in gcloud("reservations", "delete", "held", f"--zone={ZONE}", refused=True)
    gcloud("instances", "delete", "one", f"--zone={ZONE}")
    gcloud("reservations", "delete", "held", f"--zone={ZONE}")
    assert emulator.held() == []


def test_many_at_once_and_what_the_zone_has_not(gcloud: Gcloud, emulator: Emulator) -> None:
    """A bulk insert, spot, and a zone that has run dry, in the cloud's words."""
    gcloud(
        "instances",
        "bulk",
        "create",
        "--name-pattern=many-##",
        "--count=3",
        f"--zone={ZONE}",
        "--machine-type=e2-small",
        *IMAGE,
    )
    assert len(emulator.held("instance")) == 3
    emulator.weather(stock={ZONE: {"spot": {"*": 0}}})
    said = gcloud(
        "instances",
        "create",
        "spot",
        f"--zone={ZONE}",
        "--machine-type=e2-small",
        *IMAGE,
        "--provisioning-model=SPOT",
        refused=True,
    )
    assert "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS" in said


def test_what_else_is_there(gcloud: Gcloud) -> None:
    """Types, operations, disks: listed, created, described, deleted."""
    types = gcloud("machine-types", "list", f"--zones={ZONE}", "--filter=name=n2-standard-2")
    assert [one["guestCpus"] for one in types] == [2]
    gcloud("disks", "create", "data", f"--zone={ZONE}", "--size=10GB")
    assert gcloud("disks", "describe", "data", f"--zone={ZONE}")["sizeGb"] == "10"
    operations = gcloud("operations", "list", "--filter=operationType=insert")
    assert [(one["status"], one["operationType"]) for one in operations] == [("DONE", "insert")]
    described = gcloud("operations", "describe", operations[0]["name"], f"--zone={ZONE}")
    assert described["targetLink"].endswith("/disks/data")
    gcloud("disks", "resize", "data", f"--zone={ZONE}", "--size=20GB")
    assert [one["sizeGb"] for one in gcloud("disks", "list")] == ["20"]
    assert "cannot be decreased" in gcloud("disks", "resize", "data", f"--zone={ZONE}", "--size=19GB", refused=True)
    assert gcloud("machine-types", "describe", "n2-standard-2", f"--zone={ZONE}")["memoryMb"] == 8192
    gcloud("disks", "delete", "data", f"--zone={ZONE}")
    assert gcloud("disks", "list") == []
