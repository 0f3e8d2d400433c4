"""On a screen of 80 columns no line is wider; in a file each line is whole."""

from __future__ import annotations

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, Run

TESTS = """
    def test_nodes(capacity): pass
"""

DENIED = {
    "operation": "CreateCapacityReservation",
    "zone": "us-east-1b",
    "error": "UnauthorizedOperation",
    "message": f"You are not authorized to perform this operation. {'Encoded words of some length. ' * 6}",
}


def wide(lines: list[str], width: int) -> list[str]:
    """The lines that are wider, and could have been folded: those of pytest itself and commands apart."""
    ours = [line for line in lines if not line.startswith(("running: ", "     in: ", "platform ", "rootdir: ", "E  "))]
    return [line for line in ours if len(line) > width and len(line.split()) > 3]


@pytest.mark.parametrize("where", ["-n0", "-n1"])
def test_a_run_fits_the_screen(
    run_on: Run, cloud: Emulator, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Header, live lines, errors of tests and summary, of a run that fell back and was refused."""
    # pytest cuts its own lines to the screen where it does not run in CI.
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(TESTS)
    cloud.weather(stock={"us-east-1a": {"*": 0}}, faults=[DENIED])
    whole = run_on(where)
    assert wide(whole.outlines, 80), "the test shows nothing where no line is long"
    monkeypatch.setenv("COLUMNS", "80")
    result = run_on(where)
    result.assert_outcomes(errors=1)
    assert wide(result.outlines, 80) == []
    # What was folded is all there.
    assert "UnauthorizedOperation" in result.stdout.str()
    assert any(line.startswith("capacity:     ") for line in result.outlines)


def test_a_plan_fits_the_screen(run_on: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table is cut, and the reasons of zones that are left out are folded."""
    config = CONFIG.replace("zones: [a, b]", "").replace("instance_type: i4i.large", "instance_type: p5.48xlarge")
    assert wide(run_on("--capacity-plan", config=config).outlines, 80)
    monkeypatch.setenv("COLUMNS", "80")
    result = run_on("--capacity-plan", config=config)
    assert wide(result.outlines, 80) == []
    result.stdout.fnmatch_lines(["*tried in this order*"])


def test_faults_of_the_configuration_fit_the_screen(run_on: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, one below the other."""
    config = CONFIG.replace("regions: [us-east-1]", "regions: [us-east-1, nowhere at all]") + "retries_of_all: 3\n"
    assert wide(run_on(config=config).errlines, 80)
    monkeypatch.setenv("COLUMNS", "80")
    assert wide(run_on(config=config).errlines, 80) == []
