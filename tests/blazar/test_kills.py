"""Runs that are killed in each phase, on the real Blazar: all that is theirs goes, and nothing of anybody else's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.blazar.lab import hosts_of, until
from tests.blazar.runs import PATIENCE, Suite

#: The call during which a run is in a phase, and that the weather delays. While it waits, it lists leases.
CALLS: Final = {
    "reserving": "POST leases",
    "waiting": "GET leases",
    "launching": "POST servers",
    "releasing nodes": "DELETE servers",
    "releasing the lease": "DELETE leases",
}
PHASES: Final = ("reserving", "waiting", "launching", "testing", "releasing nodes", "releasing the lease")

#: For how long a phase is held open at most, unless `go_on` ends it before. Seconds.
HELD_OPEN: Final = 50.0
#: The calls of this one are also those with which a test looks for it.
WAITING_OPEN: Final = 2.0


def another_teams(suite: Suite) -> str:
    """Make a lease of another user that stands; its id."""
    openstack = suite.lab.openstack
    lease = ""

    def stands() -> bool:
        # One that Blazar itself could not start (its threads share one SQLite file) is made once more.
        nonlocal lease
        status = {one["id"]: one["status"] for one in openstack.leases()}.get(lease)
        if status == "ERROR":
            openstack.ask("DELETE", f"/v1/leases/{lease}")
        elif status is None:
            lease = str(openstack.lease(hosts_of(1, "az-b"))["id"])
        return status == "ACTIVE"

    until(stands, "another team's lease has started", PATIENCE)
    return lease


def reach(suite: Suite, process: subprocess.Popen[bytes], phase: str) -> None:
    """Wait until the run is in the middle of the phase; before "releasing" its test is let go."""
    world = suite.lab.openstack.world
    if phase.startswith("releasing"):
        suite.let_go()
    # Leases are listed before one is made, too.
    there: Callable[[], object] = (suite.path / "at").exists
    if phase in CALLS:
        there = lambda: CALLS[phase] in world()["under_way"] and (phase != "waiting" or suite.statuses())  # noqa: E731

    def reached() -> object:
        assert process.poll() is None, f"the run ended before {phase}: {suite.out}"
        return there()

    until(reached, phase, PATIENCE)


def started(suite: Suite, phase: str, **weather: Any) -> subprocess.Popen[bytes]:
    """A run whose call of that phase takes its time, in that phase."""
    delays = {CALLS[phase]: WAITING_OPEN if phase == "waiting" else HELD_OPEN} if phase in CALLS else {}
    suite.lab.openstack.world({"delays": delays, **weather})
    process = suite.start()
    reach(suite, process, phase)
    return process


def go_on(suite: Suite, noted: str = "") -> None:
    """The calls that are held open go on, once a keeper has logged this."""
    until(lambda: noted in suite.logs(), f"{noted}: {suite.logs()}", PATIENCE)
    suite.lab.openstack.world({"go_on": True})


def nothing_left(suite: Suite, process: subprocess.Popen[bytes], theirs: str) -> None:
    """Wait until all processes have ended; Blazar and Nova then have what is another team's alone."""
    suite.let_go()
    process.wait(PATIENCE)
    until(lambda: not suite.others(), "the keeper has ended", PATIENCE)
    assert suite.lab.held() == [], suite.out
    assert [(one["id"], one["status"]) for one in suite.lab.openstack.leases()] == [(theirs, "ACTIVE")]


@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_run_leaves_nothing(suite: Suite, phase: str) -> None:
    """SIGKILL of pytest: whatever call was under way, the keeper gives all of it back."""
    theirs = another_teams(suite)
    process = started(suite, phase)
    os.kill(process.pid, signal.SIGKILL)
    go_on(suite, " ending: ")
    nothing_left(suite, process, theirs)


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_told_to_end_leaves_nothing(suite: Suite, phase: str, number: signal.Signals) -> None:
    """SIGTERM, as of a CI system, and Ctrl-C: pytest waits for the release, and says what it came to."""
    theirs = another_teams(suite)
    process = started(suite, phase)
    os.kill(process.pid, number)
    go_on(suite)
    nothing_left(suite, process, theirs)
    assert "receipt: 0 things" in suite.out


@pytest.mark.matrix
@pytest.mark.parametrize("phase", ["testing", "reserving", "waiting", "launching", "releasing nodes"])
def test_a_second_keeper_goes_on(suite: Suite, phase: str) -> None:
    """SIGKILL of the keeper: another adopts the run, makes no second lease, and gives all back."""
    theirs = another_teams(suite)
    process = started(suite, phase)
    (keeper,) = [pid for pid in suite.others() if pid != process.pid]
    os.kill(keeper, signal.SIGKILL)
    go_on(suite, " adopted ")
    suite.let_go()
    assert process.wait(PATIENCE) == 0, suite.out
    assert "receipt: 0 things" in suite.out
    nothing_left(suite, process, theirs)
    # Where the first keeper's call is still under way, the second one's is refused, and the lease found by its name.
    calls = 2 if phase == "reserving" else 1
    assert suite.lab.openstack.world()["calls"].count("POST /v1/leases") <= calls


@pytest.mark.matrix
@pytest.mark.parametrize("phase", ["testing", "reserving", "waiting", "launching", "releasing nodes"])
def test_the_lease_ends_though_all_are_dead(suite: Suite, phase: str) -> None:
    """Pytest and keeper die at once: the lease ends at its end, Blazar has the servers in it deleted, and no others."""
    theirs = another_teams(suite)
    process = started(suite, phase)
    suite.kill_all()
    process.wait(PATIENCE)
    go_on(suite)
    # What was asked for when they died may still come to be.
    until(lambda: not suite.lab.openstack.world()["under_way"], "no call is under way", PATIENCE)
    assert suite.lab.held() != []
    suite.lab.openstack.world({"ahead_s": 31 * 60})
    until(lambda: not suite.lab.held(), "Blazar has ended it", PATIENCE)
    assert [(one["id"], one["status"]) for one in suite.lab.openstack.leases()] == [(theirs, "ACTIVE")]


def test_a_lost_reply_and_a_kill(suite: Suite) -> None:
    """The lease was made, the answer to it lost, and pytest killed: no second one is made, and none is left."""
    theirs = another_teams(suite)
    process = started(suite, "reserving", lose_reply=True)
    os.kill(process.pid, signal.SIGKILL)
    go_on(suite, " ending: ")
    nothing_left(suite, process, theirs)
    assert suite.lab.openstack.world()["calls"].count("POST /v1/leases") == 1
