"""Eight workers, one set of nodes: what ``-n 8`` costs the cloud and the processes of pytest."""

from __future__ import annotations

import json

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import Run

SUITE = """
import json, os, pathlib, sys
import pytest

SDKS = ("boto3", "botocore", "s3transfer", "moto", "urllib3")

def note(who):
    loaded = sorted(name for name in sys.modules if name.split(".")[0] in SDKS)
    pathlib.Path(f"loaded-{who}.json").write_text(json.dumps(loaded))

@pytest.mark.parametrize("n", range(16))
def test_nodes(capacity, n):
    assert len(capacity.nodes("db")) == 2
    note(os.environ["PYTEST_XDIST_WORKER"])

@pytest.mark.capacity(group="loader")
def test_one(capacity_node):
    assert capacity_node.group == "loader"
"""

CONFTEST = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        from test_suite import note
        note("controller")
"""


def test_eight_workers_share_one_keeper(run_on: Run, cloud: Emulator, pytester: pytest.Pytester) -> None:
    """One keeper looks the account up once, reserves once a shape and launches once a group, for all of them.

    It alone speaks with the cloud: neither a worker nor the controller loads an SDK.
    """
    pytester.makepyfile(test_suite=SUITE, conftest=CONFTEST)
    result = run_on("-n8", "--dist=load", f"--rootdir={pytester.path}", f"-opythonpath={pytester.path}")
    result.assert_outcomes(passed=17)
    assert len(cloud.calls("GetCallerIdentity")) == 1
    assert len(cloud.calls("CreateCapacityReservation")) == 2
    assert len(cloud.calls("RunInstances")) == 2
    assert cloud.held() == []
    result.stdout.fnmatch_lines(["receipt: 0 things *"])
    notes = {file.stem: json.loads(file.read_text()) for file in pytester.path.glob("loaded-*.json")}
    assert "loaded-controller" in notes
    assert len(notes) > 4
    assert all(loaded == [] for loaded in notes.values()), notes
