"""Owners, keepers and guards of one session die in any way: the others go on, and the last end releases everything."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

import pytest

from pytest_capacity.keeper import protocol
from tests.emulated import ROOT
from tests.safety.phases import Decoy, nothing_left, provisionings, under_way
from tests.safety.runs import PATIENCE, Going, Suite, until
from tests.safety.sessions import Sharers, kill

BLOWS = {
    "KILL": signal.SIGKILL,
    "TERM": signal.SIGTERM,
    "HUP": signal.SIGHUP,
    "INT": signal.SIGINT,
}

#: Who starts the keeper, who joins, both, and one of each kind that stays.
VICTIMS: Final[Sequence[Sequence[str]]] = (("one",), ("two",), ("one", "two"), ("two", "three"))

#: SIGKILL cannot be caught, so it meets every case; pytest turns the others into one interrupt.
DEATHS: Final = [
    pytest.param(blow, workers, victims, id="-".join([blow, *victims, *(word.strip("-") for word in workers)]))
    for blow in BLOWS
    for workers in ((), ("-n1",))
    for number, victims in enumerate(VICTIMS)
    if blow == "KILL" or (blow == "INT" and not workers) or number == ("TERM", "HUP", "INT").index(blow) + len(workers)
]


@pytest.fixture(name="sharers")
def _sharers(suite: Suite) -> Sharers:
    return Sharers(suite)


def started(sharers: Sharers, count: int, *arguments: str) -> dict[str, Going]:
    """So many owners, each with its nodes; the first one has started the keeper."""
    going = {}
    for name in ("one", "two", "three")[:count]:
        going[name] = sharers.start(name, *arguments)
        sharers.await_nodes(name, going[name])
    return going


def kept_by_a_successor(sharers: Sharers) -> float:
    """A run has ended and its nodes are kept; the keeper is killed, and the guard's next one has taken over.

    Return until when the dead one was to keep them.
    """
    sharers.run("one", "--capacity-keep=5m")
    until_ = sharers.kept_until()
    dead = sharers.keeper()
    until(lambda: bool(sharers.suite.guards()), PATIENCE, "the guard watches")
    kill(dead, signal.SIGKILL)
    sharers.await_successor(dead)
    return until_


def keep_no_longer(sharers: Sharers) -> None:
    """Let the time for which the session is kept be over."""
    with closing(sharers.visit()) as visitor:
        visitor.call(protocol.Extend(until=time.time() + 1), protocol.Extended)


@pytest.mark.matrix
@pytest.mark.parametrize(("blow", "workers", "victims"), DEATHS)
def test_any_owner_may_die(
    sharers: Sharers, decoy: Decoy, blow: str, workers: Sequence[str], victims: Sequence[str]
) -> None:
    """Two or three owners, one or two struck: the others end as if nothing had been, and then nothing is left."""
    names = ("one", "two", "three")[: 3 if len(victims) == 2 else 2]
    going = started(sharers, len(names), *workers)
    nodes = sharers.instances()
    for victim in victims:
        (going[victim].kill_group if workers else going[victim].kill)(BLOWS[blow])
        sharers.let_go(victim)
    for victim in victims:
        going[victim].wait()
    assert set(nodes) <= set(sharers.instances())
    survivors = [name for name in names if name not in victims]
    sharers.let_go(*survivors)
    for name in survivors:
        ended = going[name].wait()
        assert ended.code == 0, (ended, sharers.suite.logs())
        assert ended.count("passed") == 2, ended
    assert provisionings(sharers.suite.emulator) == (1, 1)
    nothing_left(sharers.suite, decoy)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("victim", "blow", "call"),
    [
        ("one", "KILL", "CreateCapacityReservation"),
        ("one", "KILL", "RunInstances"),
        ("one", "INT", "CreateCapacityReservation"),
        ("two", "KILL", "CreateCapacityReservation"),
        ("two", "INT", "RunInstances"),
    ],
)
def test_an_owner_dies_while_it_is_provisioned(
    sharers: Sharers, decoy: Decoy, victim: str, blow: str, call: str
) -> None:
    """The owner that asked first, and one that only waited for it: the other one gets the nodes, made once."""
    sharers.suite.emulator.hold(call)
    going = {"one": sharers.start("one")}
    until(lambda: call in under_way(sharers.suite.emulator), PATIENCE, f"{call} is under way")
    going["two"] = sharers.start("two")
    until(lambda: "joined" in going["two"].written(), PATIENCE, f"two has joined: {going['two'].written()}")
    going[victim].kill(BLOWS[blow])
    survivor = "two" if victim == "one" else "one"
    sharers.let_go("one", "two")
    going[victim].wait()
    sharers.suite.emulator.go_on()
    ended = going[survivor].wait()
    assert ended.code == 0, (ended, sharers.suite.logs())
    assert provisionings(sharers.suite.emulator) == (1, 1)
    nothing_left(sharers.suite, decoy)


@pytest.mark.matrix
@pytest.mark.parametrize(("blow", "count"), [("KILL", 2), ("KILL", 3), ("TERM", 2), ("HUP", 2), ("INT", 3)])
def test_all_owners_die_at_once(sharers: Sharers, decoy: Decoy, blow: str, count: int) -> None:
    """Struck in the same moment: the keeper gives everything back."""
    going = started(sharers, count)
    for one in going.values():
        one.kill(BLOWS[blow])
    for one in going.values():
        one.wait()
    nothing_left(sharers.suite, decoy)


@pytest.mark.matrix
@pytest.mark.parametrize(("first", "count"), [("stays", 2), ("stays", 3), ("left", 3), ("killed", 3)])
def test_a_shared_keeper_dies(sharers: Sharers, decoy: Decoy, first: str, count: int) -> None:
    """Whether the one who started it is still there or not: one of the owners starts another, and all go on with it."""
    going = started(sharers, count)
    if first == "left":
        sharers.let_go("one")
    if first == "killed":
        going["one"].kill(signal.SIGKILL)
    if first != "stays":
        going.pop("one").wait()
    dead = sharers.keeper()
    kill(dead, signal.SIGKILL)
    sharers.await_successor(dead)
    sharers.let_go(*going)
    for one in going.values():
        ended = one.wait()
        assert ended.code == 0, (ended, sharers.suite.logs())
    assert provisionings(sharers.suite.emulator) == (1, 1)
    nothing_left(sharers.suite, decoy)


@pytest.mark.matrix
@pytest.mark.parametrize("target", ["keeper-and-one", "keeper-and-all"])
def test_keeper_and_owners_die(sharers: Sharers, decoy: Decoy, target: str) -> None:
    """With the keeper, one owner or all of them: the living one takes up the run; or the next of the session does."""
    going = started(sharers, 2)
    dead = sharers.keeper()
    for owner in [going["one"]] if target == "keeper-and-one" else going.values():
        owner.kill(signal.SIGSTOP)  # Or one of them may start a keeper before it is killed: a second death.
    kill(dead, signal.SIGKILL)
    going["one"].kill(signal.SIGKILL)
    if target == "keeper-and-all":
        going["two"].kill(signal.SIGKILL)
        going["two"].wait()
        going["one"].wait()
        until(lambda: sharers.suite.guards() + sharers.suite.keepers() == [], PATIENCE, "the keeper is gone")
        third = sharers.run("three")
        assert third.code == 0, (third, sharers.suite.logs())
    else:
        sharers.await_successor(dead)
        sharers.let_go("two")
        ended = going["two"].wait()
        assert ended.code == 0, (ended, sharers.suite.logs())
    nothing_left(sharers.suite, decoy)


#: A process that is slow to hang up reads all that the other end has sent.
SLOW: Final = """
import time
from pytest_capacity.keeper.client import Connection

close = Connection.close
Connection.close = lambda self: (time.sleep(1), close(self))
"""


def test_a_keeper_dies_after_a_rebuild(sharers: Sharers, decoy: Decoy) -> None:
    """The end of the run that was there before is not taken for that of the new one, which is adopted like any."""
    sharers.run("one", "--capacity-keep=5m")
    sharers.suite.configure({"db": {"count": 1, "instance_type": "i4i.large"}})
    sharers.suite.write("conftest.py", SLOW)
    going = sharers.start("two", "--capacity-rebuild")
    assert len(sharers.await_nodes("two", going)) == 1
    dead = sharers.keeper()
    kill(dead, signal.SIGKILL)
    sharers.await_successor(dead)
    sharers.let_go("two")
    ended = going.wait()
    assert ended.code == 0, (ended, sharers.suite.logs())
    nothing_left(sharers.suite, decoy)


def test_a_kept_sessions_keeper_dies(sharers: Sharers, decoy: Decoy) -> None:
    """Its guard starts another, which keeps the nodes for as long as they were to be kept; the next run has them."""
    kept_by_a_successor(sharers)
    second = sharers.run("two")
    assert second.code == 0, (second, sharers.suite.logs())
    assert sharers.nodes("two") == sharers.nodes("one")
    assert provisionings(sharers.suite.emulator) == (1, 1)
    nothing_left(sharers.suite, decoy)


def test_a_successor_keeps_no_longer(sharers: Sharers, decoy: Decoy) -> None:
    """The end of the keep is the one that the dead keeper had promised."""
    promised = kept_by_a_successor(sharers)
    assert sharers.kept_until() == promised
    keep_no_longer(sharers)
    nothing_left(sharers.suite, decoy)


def test_kept_through_two_deaths_is_released(sharers: Sharers, decoy: Decoy) -> None:
    """The third keeper only releases."""
    sharers.run("one", "--capacity-keep=5m")
    first = sharers.keeper()
    until(lambda: bool(sharers.suite.guards()), PATIENCE, "the guard watches")
    kill(first, signal.SIGKILL)
    second = sharers.await_successor(first)
    kill(second, signal.SIGKILL)
    nothing_left(sharers.suite, decoy)


def test_a_kept_sessions_keeper_and_guard_die(sharers: Sharers, decoy: Decoy) -> None:
    """The next run of the session finds that no process keeps it, and takes up what is still there."""
    sharers.run("one", "--capacity-keep=5m")
    until(lambda: bool(sharers.suite.guards()), PATIENCE, "the guard watches")
    for pid in [*sharers.suite.guards(), sharers.keeper()]:
        kill(pid, signal.SIGKILL)
    until(lambda: not sharers.suite.keepers(), PATIENCE, "both are gone")
    second = sharers.run("two")
    assert second.code == 0, (second, sharers.suite.logs())
    assert sharers.nodes("two") == sharers.nodes("one")
    assert provisionings(sharers.suite.emulator) == (1, 1)
    nothing_left(sharers.suite, decoy)


def test_told_to_stop_a_kept_session_is_released(sharers: Sharers, decoy: Decoy) -> None:
    """SIGTERM to the keeper, as a machine that shuts down sends it: at once, kept or not."""
    sharers.run("one", "--capacity-keep=5m")
    kill(sharers.keeper(), signal.SIGTERM)
    nothing_left(sharers.suite, decoy)


#: A visitor that is killed before it has an answer.
VISITOR: Final = """
import os, signal, sys
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.client import Connection

Connection(sys.argv[1], "visitor", "test").tell(protocol.Extend(until=float(sys.argv[2])))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("victim", ["keeper", "visitor"])
def test_a_death_during_extend(sharers: Sharers, decoy: Decoy, victim: str) -> None:
    """What was extended stays so in the next keeper; and a visitor that dies takes nothing with it."""
    sharers.run("one", "--capacity-keep=5m")
    until(lambda: bool(sharers.suite.guards()), PATIENCE, "the guard watches")
    end = time.time() + 600
    if victim == "visitor":
        assert sharers.record is not None
        command = [sys.executable, "-c", VISITOR, sharers.record["socket"], str(end)]
        assert subprocess.run(command, cwd=ROOT, timeout=PATIENCE).returncode == -signal.SIGKILL
    else:
        sharers.visit().call(protocol.Extend(until=end), protocol.Extended)
        dead = sharers.keeper()
        kill(dead, signal.SIGKILL)
        sharers.await_successor(dead)
    visitor = sharers.visit()
    until(lambda: visitor.call(protocol.Describe(), protocol.Description).kept_until == end, PATIENCE, "it is extended")
    assert len(sharers.instances()) == 3  # Two of ours, and the decoy's.
    assert visitor.call(protocol.Release(), protocol.Settled).receipt.clean
    visitor.close()
    nothing_left(sharers.suite, decoy)


def test_a_crashed_owner_of_a_kept_session(sharers: Sharers, decoy: Decoy) -> None:
    """SIGKILL is a failure like any other: with ``keep`` the nodes stay for the next run, and end in time."""
    one = sharers.start("one", "--capacity-keep=5m")
    sharers.await_nodes("one", one)
    one.kill_group(signal.SIGKILL)
    one.wait()
    until(lambda: " kept " in sharers.suite.logs(), PATIENCE, f"it is kept\n{sharers.suite.logs()}")
    assert len(sharers.instances()) == 3
    keep_no_longer(sharers)
    nothing_left(sharers.suite, decoy)


def test_taken_up_only_by_who_asks_for_the_same(sharers: Sharers, decoy: Decoy) -> None:
    """Keeper and guard are dead and the file has changed: refused, and kept on; rebuilt for who says so."""
    sharers.run("one", "--capacity-keep=5m")
    kept = sharers.instances()
    until(lambda: bool(sharers.suite.guards()), PATIENCE, "the guard watches")
    for pid in [*sharers.suite.guards(), sharers.keeper()]:
        kill(pid, signal.SIGKILL)
    until(lambda: not sharers.suite.keepers(), PATIENCE, "both are gone")
    sharers.suite.configure({"db": {"count": 3, "instance_type": "i4i.large"}})
    refused = sharers.run("two")
    assert refused.code == 4, (refused, sharers.suite.logs())
    assert "default/db.count: 2; asked: 3" in refused.text, refused
    assert sharers.instances() == kept
    rebuilt = sharers.run("three", "--capacity-rebuild")
    assert rebuilt.code == 0, (rebuilt, sharers.suite.logs())
    assert len(sharers.nodes("three") or []) == 3
    assert not set(sharers.nodes("three") or []) & set(kept)
    nothing_left(sharers.suite, decoy)
