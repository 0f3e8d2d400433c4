"""Whole processes die while a node group is being changed: what was begun is ended, and nothing is left."""

from __future__ import annotations

import os
import signal
from typing import Final

import pytest

from tests.safety.phases import PATIENCE, PRELUDE, Decoy, go_on, new_keeper, nothing_left, prepare, said, under_way
from tests.safety.runs import Suite, until

#: A test that asks for a change when it is let go, and says what came of it.
TESTS: Final = (
    PRELUDE
    + """
def test_scales(capacity):
    assert len(capacity.nodes("db")) == 2
    say("testing-0")
    wait_for("go")
    scaled = capacity.CHANGE
    requests = scaled.wait(180)
    say("after", ",".join(f"{request.outcome}" for request in requests))
    nodes = capacity.nodes("db")
    assert len({node.id for node in nodes}) == COUNT
    (reservation,) = capacity.reservations
    assert reservation.count == COUNT
    assert {node.reservation_id for node in nodes} == {reservation.id}
"""
)

#: The change, how many nodes there are then, and the call in whose middle something dies.
CHANGES: Final = {
    "growing": ('scale("db", 4)', 4, "RunInstances"),
    "shrinking": ('scale("db", 1)', 1, "TerminateInstances"),
    "replacing": ('resize("db", "i4i.xlarge")', 2, "CreateCapacityReservation"),
    "in-place": ('resize("db", "i4i.xlarge", mode="in_place", lose_local_disks=True)', 2, "StartInstances"),
}


def begin(suite: Suite, change: str) -> str:
    """Write a suite that asks for the change; the call that is held open."""
    asked, count, call = CHANGES[change]
    prepare(suite, tests=TESTS.replace("CHANGE", asked).replace("COUNT", str(count)))
    return call


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_keeper_ends_the_change(suite: Suite, decoy: Decoy, change: str) -> None:
    """SIGKILL of the keeper in the middle of a call: the next one finishes the change, and the test goes on."""
    call = begin(suite, change)
    going = suite.start()
    until(lambda: said(suite, "testing-0") is not None, PATIENCE, "the test runs")
    suite.emulator.hold(call)
    suite.write("go", "")
    until(lambda: call in under_way(suite.emulator), PATIENCE, f"it is changed\n{suite.logs()}")
    (keeper,) = suite.keepers()
    os.kill(keeper, signal.SIGKILL)
    new_keeper(suite, [keeper])
    go_on(suite)
    ended = going.wait()
    assert ended.code == 0, (ended, suite.logs())
    assert said(suite, "after") == "successful", ended
    assert "receipt: 0 things" in ended.text, ended
    nothing_left(suite, decoy)


def test_pytest_dies_while_a_group_grows(suite: Suite, decoy: Decoy) -> None:
    """SIGKILL of pytest: the keeper ends what it does, and releases the new nodes with the others."""
    call = begin(suite, "growing")
    going = suite.start()
    until(lambda: said(suite, "testing-0") is not None, PATIENCE, "the test runs")
    suite.emulator.hold(call)
    suite.write("go", "")
    until(lambda: call in under_way(suite.emulator), PATIENCE, f"it grows\n{suite.logs()}")
    going.kill(signal.SIGKILL)
    suite.until_ending()
    go_on(suite)
    nothing_left(suite, decoy)
