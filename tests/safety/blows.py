"""The signals of the kill matrix, and what is true after each of them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from tests.safety.phases import (
    PATIENCE,
    Decoy,
    Phase,
    at_most_one_provisioning,
    go_on,
    hold,
    let_go,
    nothing_left,
    prepare,
    reach,
)
from tests.safety.runs import Going, Suite, until


class Blow(NamedTuple):
    """A signal, and whether it is sent a second time once pytest says that it is releasing."""

    number: signal.Signals
    twice: bool = False


BLOWS: Final = {
    "KILL": Blow(signal.SIGKILL),
    "TERM": Blow(signal.SIGTERM),
    "HUP": Blow(signal.SIGHUP),
    "INT": Blow(signal.SIGINT),
    "INT-INT": Blow(signal.SIGINT, twice=True),
}


def strike(suite: Suite, going: Going, blow: Blow, target: str, phase: Phase) -> None:
    """Send it; once it is noticed, let the tests of workers that were not hit end, and the calls go on."""
    send: Callable[[int], None] = going.kill_group if target == "group" else going.kill
    send(blow.number)
    if blow.number == signal.SIGKILL:
        suite.until_ending()
    else:
        let_go(suite)
        await_interrupt(going, phase)
    if not blow.twice:
        go_on(suite)
        return
    if phase in ("reserving", "launching"):
        hold(suite, "releasing")  # The call in flight goes on, which the release waits for.
    until(lambda: "press Ctrl-C again" in going.written(), PATIENCE, f"the notice: {going.written()}")
    send(blow.number)


def await_interrupt(going: Going, phase: Phase) -> None:
    """Wait until pytest says that it was interrupted; where it is releasing anyway, it does not say so."""
    if phase != "releasing":
        until(lambda: "capacity: interrupted" in going.written(), PATIENCE, f"the interrupt: {going.written()}")


def struck(suite: Suite, decoy: Decoy, blow: Blow, target: str, phase: Phase, *arguments: str) -> float:
    """One case; how long after pytest's end the World held nothing any more, seconds."""
    prepare(suite)
    held_open: set[Phase] = {phase, "releasing"} if blow.twice else {phase}
    hold(suite, *held_open)
    going = suite.start(*arguments)
    reach(suite, going, phase)
    strike(suite, going, blow, target, phase)
    ended = going.wait()
    go_on(suite)
    seconds = nothing_left(suite, decoy)
    at_most_one_provisioning(suite.emulator)
    if blow.number == signal.SIGKILL:
        assert ended.code == -signal.SIGKILL, ended
    elif phase != "releasing":
        assert ended.code == pytest.ExitCode.INTERRUPTED, ended
    else:
        # The tests had all passed; what is wrong is only that no process waited for the end.
        assert ended.code == (pytest.ExitCode.TESTS_FAILED if blow.twice else pytest.ExitCode.OK), ended
    if blow.twice:
        assert "goes on releasing" in ended.text, ended
        assert "bound to end by" in ended.text, ended
        assert "keeper (pid " in ended.text, ended
        assert str(suite.state) in ended.text, ended
    elif blow.number != signal.SIGKILL:
        assert "receipt: 0 things" in ended.text, ended
    # What is sent to the group is not the keeper's, which would have had to be started anew.
    assert "another one has taken over" not in ended.text, ended
    return seconds
