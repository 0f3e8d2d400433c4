"""``--capacity-plan`` and ``--setup-plan``: what would be tried, and nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, Run

TESTS = """
    import pytest

    @pytest.fixture
    def own(capacity):
        raise AssertionError("this runs")

    def test_uses(own):
        raise AssertionError("this runs")

    def test_other():
        raise AssertionError("this runs")
"""

PLAN = [
    "=* capacity plan =*",
    "aws us-east-1, account 123456789012",
    "default: tried in this order",
    "  #  ZONE  *ASKS FOR  *USD/H  QUOTA",
    "  1  us-east-1a  db 2 x i4i.large reserved on-demand, loader 1 x c6i.xlarge reserved on-demand  ?  *8 of *vCPUs",
    "  2  us-east-1b  db 2 x i4i.large reserved on-demand, loader 1 x c6i.xlarge reserved on-demand  ?  *8 of *vCPUs",
]


def only_reads(cloud: Emulator) -> bool:
    """Something was asked, and nothing was created."""
    operations = {call["operation"] for call in cloud.calls()}
    return bool(operations) and all(operation.startswith(("Describe", "Get", "List")) for operation in operations)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a run would leave its journal."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.parametrize("workers", ["-n2", "-pno:xdist"])
def test_the_plan_takes_the_place_of_the_tests(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, state: Path, workers: str
) -> None:
    """They are collected; no test, worker or keeper starts, no journal is made; a session is not begun."""
    pytester.makepyfile(TESTS)
    result = run_on(workers, "--capacity-plan", "--capacity-session=dev")
    assert result.ret == 0
    result.assert_outcomes()
    result.stdout.fnmatch_lines(["collected 2 items", *PLAN])
    result.stdout.no_fnmatch_line("*receipt*")
    assert only_reads(cloud)
    assert [path for path in state.rglob("*") if path.is_file()] == []


def test_a_topology_with_nothing_to_try(run_on: Run, cloud: Emulator) -> None:
    """1, also where no test was found."""
    result = run_on("--capacity-plan", config=CONFIG.replace("i4i.large", "u-24tb1.112xlarge"))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["default: nothing to try", "  left out: us-east-1a: does not offer u-24tb1.112xlarge"])
    assert only_reads(cloud)


def test_the_hook_of_the_ladder_is_asked(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """What it orders is shown so, what it leaves out is left out; one that fails changes nothing, and that is said."""
    pytester.makeconftest("def pytest_capacity_ladder(rungs): return [rungs[1]]")
    result = run_on("--capacity-plan")
    result.stdout.fnmatch_lines(
        ["  1  us-east-1b *", "  left out: us-east-1a: 1 of its rungs, by the hook pytest_capacity_ladder"]
    )
    assert result.ret == 0
    pytester.makeconftest("def pytest_capacity_ladder(rungs): return [][1]")
    result = run_on("--capacity-plan")
    result.stdout.fnmatch_lines(["trouble: hook pytest_capacity_ladder failed*IndexError*", *PLAN[2:]])
    assert only_reads(cloud)


def test_a_plan_that_cannot_be_read(run_on: Run, cloud: Emulator) -> None:
    """The cloud's words, and 1."""
    cloud.weather(faults=[{"operation": "GetCallerIdentity", "error": "InvalidClientTokenId"}])
    result = run_on("--capacity-plan")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["=* capacity plan =*", "asked the cloud who we are *InvalidClientTokenId*"])


def test_setup_plan_shows_it_beside_pytests_own(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, state: Path
) -> None:
    """Where a selected test uses capacity; otherwise the cloud gets no call."""
    pytester.makepyfile(TESTS)
    other = run_on("--setup-plan", "-k", "other")
    other.stdout.no_fnmatch_line("*capacity plan*")
    assert cloud.calls() == []
    result = run_on("--setup-plan")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SETUP    S capacity", *PLAN])
    assert only_reads(cloud)
    assert [path for path in state.rglob("*") if path.is_file()] == []


def test_nothing_to_plan(run: Run) -> None:
    """Without a backend it is a usage error, which names the flag."""
    result = run("--capacity-plan", config=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is nothing to plan: no backend was chosen. Pass --capacity-backend=NAME*"])
