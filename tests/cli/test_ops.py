"""``pytest-capacity ops``: what a run's journal says of its operation requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.cli import main
from pytest_capacity.journal import Journal
from pytest_capacity.model import Request
from pytest_capacity.scaling.model import Condition, OpsRequest
from pytest_capacity.scaling.state import OpsState

REQUEST = OpsRequest(
    token="t1",
    provider="kubedb",
    target="mongodb/default/orders",
    kind="HorizontalScaling",
    created=100.0,
    wanted={"replicas": 5},
)
CREATED = replace(REQUEST, name="orders-horizontal-abcde", uid="u-1")
FAILED = replace(
    CREATED,
    phase="Failed",
    outcome="failed",
    reason="Timeout: pod-3 is not ready",
    begun=101.0,
    finished=130.0,
    conditions=(Condition(type="Failed", status="True", reason="Timeout", message="pod-3 is not ready", at=130.0),),
)
OTHER = replace(REQUEST, token="t2", kind="VerticalScaling", wanted={"size": "db.t3.small"}, name="orders-vertical-x")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A run with a request that failed, and one that is under way."""
    path = tmp_path / "journal.db"
    base = Journal(path)
    request = Request(
        backend="static", run="run-1", project="p", topologies={}, regions=(), duration_s=1.0, timeout_s=1.0
    )
    base.write("run-1", "run-started", data={"run": "run-1", "request": request, "pid": 1})

    def write(kind: str, subject: str, data: Any) -> None:
        base.write("run-1", kind, subject, data)

    state = OpsState((), write, write)
    state.requested(REQUEST)
    state.created(CREATED)
    state.ended(FAILED)
    state.requested(replace(OTHER, name=""))
    state.created(OTHER)
    base.close()
    return path


def run(journal: Path, *arguments: str) -> int:
    return main(["ops", *arguments, f"--journal={journal}"])


def test_ls_shows_all_or_what_is_under_way(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a request, of a run or of all."""
    assert run(journal, "ls") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["REQUEST", "TARGET", "KIND", "PHASE", "WANTED", "AGE", "OUTCOME"]
    assert "orders-horizontal-abcde" in lines[1]
    assert lines[1].endswith("failed")
    assert lines[2].endswith("under way")
    assert run(journal, "ls", "run-1", "--active") == 0
    assert "horizontal" not in capsys.readouterr().out


def test_ls_as_json_has_all_that_is_known(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list, with the run of each."""
    run(journal, "ls", "--json")
    first, second = json.loads(capsys.readouterr().out)
    assert (first["run"], first["uid"], first["reason"]) == ("run-1", "u-1", "Timeout: pod-3 is not ready")
    assert second["outcome"] is None


def test_show_has_the_conditions(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a name's beginning too; what is not there is an error that names what is."""
    assert run(journal, "show", "run-1", "orders-h") == 0
    text = capsys.readouterr().out
    assert "phase    Failed, failed" in text
    assert "00:02:10 Failed True Timeout: pod-3 is not ready" in text
    assert run(journal, "show", "run-1", "orders") == 1
    assert "has several requests whose name begins 'orders'" in capsys.readouterr().err
    assert run(journal, "show", "run-1", "nothing") == 1
    assert "It has: orders-horizontal-abcde, orders-vertical-x" in capsys.readouterr().err


def test_watch_ends_with_the_request(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each step in a line; the status says whether it succeeded."""
    assert run(journal, "watch", "run-1", "orders-horizontal-abcde") == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("HorizontalScaling orders-horizontal-abcde (replicas 5)")
    assert lines[1].endswith("failed: Timeout: pod-3 is not ready")


def test_a_run_without_requests_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That there are none is an answer."""
    assert main(["ops", "ls", f"--journal={tmp_path / 'none.db'}"]) == 0
    assert capsys.readouterr().out == "no operation requests\n"
