"""pytest as PID 1 of a container: the system gives it no default for signals, and its keeper dies with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.safety.blows import await_interrupt
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

pytestmark = pytest.mark.matrix

#: Ways to a process namespace of one's own: as root, or as a user who becomes root in a user namespace.
WAYS: Final = (("unshare", "-pf", "--mount-proc"), ("unshare", "-pf"), ("unshare", "-Urpf"))


@cache
def namespace() -> Sequence[str]:
    """The command that makes what follows it PID 1; skips the test where the system allows none."""
    words = ""
    for way in WAYS:
        try:
            tried = subprocess.run([*way, "sh", "-c", "echo $$"], capture_output=True, text=True, timeout=PATIENCE)
        except FileNotFoundError:
            pytest.skip("no unshare on this system (util-linux)")
        if tried.stdout.strip() == "1":
            return way
        words = tried.stderr.strip()
    pytest.skip(f"this system allows no process namespace: {words}")


def init_of(going: Going) -> int:
    """The process id, as we see it, of the one that is PID 1 in there."""
    children = Path(f"/proc/{going.pid}/task/{going.pid}/children")
    until(lambda: bool(children.read_text().split()), PATIENCE, "unshare has started pytest")
    return int(children.read_text().split()[0])


@pytest.mark.parametrize(
    ("phase", "arguments"),
    [("launching", ()), ("testing", ()), ("testing", ("-n2",))],
    ids=["launching", "testing", "n2"],
)
@pytest.mark.parametrize("blows", [("SIGTERM",), ("SIGHUP",), ("SIGINT",), ("SIGINT", "SIGINT")], ids="-".join)
def test_pid_1_waits_until_nothing_is_left(
    suite: Suite, decoy: Decoy, blows: Sequence[str], phase: Phase, arguments: Sequence[str]
) -> None:
    """A signal ends it in good order; a second Ctrl-C does not make it leave, which would kill the keeper."""
    prepare(suite)
    held_open: set[Phase] = {phase, "releasing"} if len(blows) > 1 else {phase}
    hold(suite, *held_open)
    going = suite.start(*arguments, prefix=namespace())
    init = init_of(going)
    reach(suite, going, phase)
    os.kill(init, signal.Signals[blows[0]])
    let_go(suite)
    await_interrupt(going, phase)
    if len(blows) > 1 and phase == "launching":
        hold(suite, "releasing")  # The call in flight goes on, which the release waits for.
    for blow in blows[1:]:
        until(lambda: "is PID 1 here" in going.written(), PATIENCE, f"the notice: {going.written()}")
        os.kill(init, signal.Signals[blow])
    go_on(suite)
    ended = going.wait()
    # The namespace is gone, and with it the keeper: what it has not released by now stays.
    assert [held["id"] for held in suite.emulator.held() if held["id"] not in decoy.ids] == [], ended
    nothing_left(suite, decoy)
    at_most_one_provisioning(suite.emulator)
    assert ended.code == pytest.ExitCode.INTERRUPTED, ended
    assert "receipt: 0 things" in ended.text, ended
