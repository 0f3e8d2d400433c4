"""Oracle's command line and its SDK for JavaScript speak to the emulator; each test runs where they are installed.

They are found by ``PATH``, or by ``CAPACITY_OCI_CLI`` (the command) and ``CAPACITY_OCI_NODE_MODULES`` (the folder that
has ``oci-core``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.emulated import Emulator

COMPARTMENT: Final = "ocid1.compartment.oc1..aaaaaaaaemulatedtests"
DOMAIN: Final = "Uocm:US-ASHBURN-AD-1"

_CLI: Final = os.environ.get("CAPACITY_OCI_CLI") or shutil.which("oci")
_NODE: Final = shutil.which("node")
_MODULES: Final = Path(os.environ.get("CAPACITY_OCI_NODE_MODULES", "node_modules")).absolute()


def _offline(**more: str) -> dict[str, str]:
    """An environment that has no proxy, no credentials, and nothing of the user's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "OCI_CLI_SUPPRESS_FILE_PERMISSIONS_WARNING": "True", "NO_PROXY": "*", **more}


@pytest.mark.skipif(_CLI is None, reason="Oracle's command line (oci-cli) is not installed")
def test_the_command_line(emulator: Emulator) -> None:
    """It reserves, lists, gets and deletes, and reads a refusal."""
    told = emulator.ready["clouds"]["oci"]

    def run(*words: str, fails: bool = False) -> Any:
        command = [str(_CLI), "--config-file", told["config_file"], "--endpoint", told["endpoint"], *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=_offline(), check=False)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else json.loads(done.stdout or "{}").get("data")

    common = ["compute", "capacity-reservation"]
    configs = json.dumps([{"instanceShape": "VM.Standard2.1", "reservedCount": 2}])
    place = ["--compartment-id", COMPARTMENT, "--availability-domain", DOMAIN]
    made = run(*common, "create", *place, "--display-name", "by-hand", "--instance-reservation-configs", configs)
    assert (made["lifecycle-state"], made["reserved-instance-count"]) == ("ACTIVE", 2)
    assert [one["id"] for one in run(*common, "list", "--compartment-id", COMPARTMENT)] == [made["id"]]
    got = run(*common, "get", "--capacity-reservation-id", made["id"])
    assert got["instance-reservation-configs"][0]["instance-shape"] == "VM.Standard2.1"
    run(*common, "delete", "--capacity-reservation-id", made["id"], "--force")
    assert emulator.held() == []
    emulator.weather(stock={DOMAIN: {"*": 0}})
    words = run(*common, "create", *place, "--instance-reservation-configs", configs, "--no-retry", fails=True)
    assert "Out of host capacity" in words
    vcn = run("network", "vcn", "create", "--compartment-id", COMPARTMENT, "--cidr-block", "10.0.0.0/16")
    run("network", "vcn", "delete", "--vcn-id", vcn["id"], "--force")
    assert emulator.held() == []


_SCRIPT: Final = """
const common = require("oci-common");
const core = require("oci-core");
const [configFile, endpoint, compartmentId, availabilityDomain] = process.argv.slice(2);
(async () => {
  const provider = new common.ConfigFileAuthenticationDetailsProvider(configFile, "DEFAULT");
  const client = new core.ComputeClient({ authenticationDetailsProvider: provider });
  client.endpoint = endpoint;
  const details = {
    compartmentId, availabilityDomain, displayName: "by-javascript",
    instanceReservationConfigs: [{ instanceShape: "VM.Standard2.1", reservedCount: 2 }],
  };
  const create = { createComputeCapacityReservationDetails: details, opcRetryToken: "js" };
  const made = (await client.createComputeCapacityReservation(create)).computeCapacityReservation;
  const again = (await client.createComputeCapacityReservation(create)).computeCapacityReservation;
  const capacityReservationId = made.id;
  const listed = (await client.listComputeCapacityReservations({ compartmentId })).items;
  const got = (await client.getComputeCapacityReservation({ capacityReservationId })).computeCapacityReservation;
  await client.deleteComputeCapacityReservation({ capacityReservationId });
  let refused = {};
  try {
    await client.deleteComputeCapacityReservation({ capacityReservationId });
  } catch (error) {
    refused = { status: error.statusCode, code: error.serviceCode };
  }
  console.log(JSON.stringify({ made, again, listed, got, refused }));
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.mark.skipif(
    _NODE is None or not (_MODULES / "oci-core").is_dir(),
    reason="Oracle's SDK for JavaScript (oci-core) is not installed",
)
def test_the_sdk_for_javascript(emulator: Emulator, tmp_path: Path) -> None:
    """It creates once for a retry token, lists, gets and deletes, in its own words for all of it."""
    told = emulator.ready["clouds"]["oci"]
    script = tmp_path / "client.js"
    script.write_text(_SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [str(_NODE), str(script), told["config_file"], told["endpoint"], COMPARTMENT, DOMAIN],
        capture_output=True,
        text=True,
        timeout=120,
        env=_offline(NODE_PATH=str(_MODULES)),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["made"]["lifecycleState"] == "ACTIVE"
    assert said["again"]["id"] == said["made"]["id"]
    assert [one["id"] for one in said["listed"]] == [said["made"]["id"]]
    assert said["got"]["instanceReservationConfigs"][0]["reservedCount"] == 2
    assert said["refused"] == {"status": 404, "code": "NotAuthorizedOrNotFound"}
    assert emulator.held() == []
