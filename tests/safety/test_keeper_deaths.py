"""The keeper dies in the middle of a run: another takes the run up where it stood, and nothing is made twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest

from tests.safety.phases import (
    PHASES,
    Decoy,
    Phase,
    go_on,
    hold,
    let_go,
    new_keeper,
    nothing_left,
    prepare,
    provisionings,
    reach,
    said,
)
from tests.safety.runs import GRANTED, PATIENCE, Suite, until


def keeper_of(suite: Suite) -> int:
    """The run's keeper; there is one."""
    (pid,) = suite.keepers()
    return pid


@pytest.mark.matrix
@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "n2"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_second_keeper_adopts(suite: Suite, decoy: Decoy, phase: Phase, arguments: Sequence[str]) -> None:
    """SIGKILL of the keeper: the tests go on and pass, on the nodes of one provisioning, and all is released."""
    prepare(suite)
    hold(suite, phase)
    going = suite.start(*arguments)
    reach(suite, going, phase)
    first = keeper_of(suite)
    os.kill(first, signal.SIGKILL)
    # What the first one had asked for is held open until the second one has come.
    new_keeper(suite, [first])
    go_on(suite)
    let_go(suite)
    ended = going.wait()
    assert ended.code == 0, (ended, suite.logs())
    assert ended.count("passed") == 3, ended
    # The same tokens: however often something was asked for, there was one set of it.
    assert provisionings(suite.emulator) == (1, 1), ended
    assert said(suite, "testing-0") in (said(suite, "after") or "").split(",")
    assert "receipt: 0 things" in ended.text, ended
    nothing_left(suite, decoy)


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "n2"])
def test_the_second_death_ends_the_run(suite: Suite, decoy: Decoy, arguments: Sequence[str]) -> None:
    """Killed twice: everything is released at once, and what still needs capacity says so with the log's end."""
    prepare(suite)
    going = suite.start(*arguments)
    reach(suite, going, "testing")
    first = keeper_of(suite)
    os.kill(first, signal.SIGKILL)
    second = new_keeper(suite, [first])
    assert len(suite.emulator.held("instance")) == 3
    os.kill(second, signal.SIGKILL)
    until(lambda: len(suite.emulator.held()) == len(decoy.ids), PATIENCE, f"it releases\n{suite.logs()}")
    let_go(suite)
    ended = going.wait()
    assert ended.code == pytest.ExitCode.TESTS_FAILED, ended
    assert ended.count("error") >= 1, ended
    # The end of the log, and in it why.
    assert "ends:" in ended.text, ended
    assert "two keepers of this run died" in ended.text, ended
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)


def test_told_to_stop_it_releases_at_once(suite: Suite, decoy: Decoy) -> None:
    """SIGTERM to the keeper: all is gone while pytest still tests, and nothing is provisioned again."""
    prepare(suite)
    going = suite.start()
    reach(suite, going, "testing")
    os.kill(keeper_of(suite), signal.SIGTERM)
    until(lambda: len(suite.emulator.held()) == len(decoy.ids), GRANTED, f"it releases\n{suite.logs()}")
    assert going.process.poll() is None
    let_go(suite)
    ended = going.wait()
    assert ended.code == pytest.ExitCode.TESTS_FAILED, (ended, suite.logs())
    assert provisionings(suite.emulator) == (1, 1), ended
    assert "told to stop" in ended.text, (ended, suite.logs())
    nothing_left(suite, decoy)


def test_told_to_stop_while_it_launches(suite: Suite, decoy: Decoy) -> None:
    """SIGTERM to the keeper in the middle of a launch: what the call makes is released, and nothing is tried again."""
    prepare(suite)
    hold(suite, "launching")
    going = suite.start()
    reach(suite, going, "launching")
    os.kill(keeper_of(suite), signal.SIGTERM)
    suite.until_ending()
    go_on(suite)
    let_go(suite)
    ended = going.wait()
    assert ended.code == pytest.ExitCode.TESTS_FAILED, (ended, suite.logs())
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)
