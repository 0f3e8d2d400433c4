"""``errors:`` of the file decides in the keeper what a refusal means."""

from __future__ import annotations

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, Run

USES = "def test_placed(capacity):\n    print('placed in', capacity.zone)\n"
NEW = {"operation": "CreateCapacityReservation", "zone": "us-east-1a", "error": "BrandNew", "message": "no luck today"}


def test_a_code_that_nobody_knows_stops_until_a_row_says_what_it_is(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator
) -> None:
    """With the cloud's words and the way out; with the row the next zone is tried, and nothing is left."""
    pytester.makepyfile(USES)
    cloud.weather(faults=[NEW])
    result = run_on()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*aws said BrandNew: no luck today. *write a row for it (`errors:`)*"])
    row = "{code: BrandNew, message: no luck, kind: capacity-zone, step: move-on, scope: type+zone+market}"
    result = run_on("-s", config=f"{CONFIG}errors:\n  - {row}\n")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*placed in us-east-1b*", "receipt: 0 things *"])
    assert cloud.held() == []


def test_a_row_may_stop_what_would_move_on(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """One's own row goes before ours, and a scope that takes in every zone leaves none to try."""
    pytester.makepyfile(USES)
    cloud.weather(stock={"us-east-1a": {"*": 0}})
    row = "{code: InsufficientInstanceCapacity, kind: capacity-region, step: move-on, scope: type+region}"
    result = run_on(config=f"{CONFIG}errors:\n  - {row}\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*(InsufficientInstanceCapacity)", "Name another region or another instance type*"])
    assert {call["zone"] for call in cloud.calls("CreateCapacityReservation")} == {"us-east-1a"}
    assert cloud.held() == []
