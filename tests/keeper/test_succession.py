"""What a session's keeper was doing when it died, and who goes on with that."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pytest_capacity.errors import ChangedSession
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.client import Connection
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.sessions import Session
from pytest_capacity.model import Receipt, Topology
from tests.emulated import Emulator
from tests.keeper.sharing import ONE, Sharing, placed
from tests.safety.runs import until


def ids(owner: Owner) -> list[str]:
    """The nodes that it has."""
    return [node.id for node in placed(owner).nodes["db"]]


def described(path: str) -> protocol.Description:
    """What the keeper there says."""
    connection = Connection(path, "visitor", "a test")
    try:
        return connection.call(protocol.Describe(), protocol.Description)
    finally:
        connection.close()


def await_successor(sharing: Sharing, dead: int) -> None:
    """Wait until the session has another keeper than the dead one."""
    until(lambda: (record := Session(sharing.name).read()) is not None and record.pid != dead, 60, "a keeper")


def releases(emulator: Emulator) -> bool:
    """Whether the cloud was asked to end a node."""
    return bool(emulator.calls("TerminateInstances"))


@pytest.mark.parametrize("guard_first", [True, False])
def test_the_guard_and_an_owner_see_the_keeper_die(sharing: Sharing, emulator: Emulator, guard_first: bool) -> None:
    """A session that was kept is in use again: whichever is first, its nodes stay, and go with the last owner."""
    one = sharing.owner(keep="always")
    nodes = ids(one)
    assert isinstance(one.release(), protocol.Staying)
    one.close()
    two = sharing.owner()
    assert ids(two) == nodes
    dead = two.pid
    if guard_first:
        with two._changed:  # Our own reader waits for this before it looks for the next keeper.
            os.kill(dead, signal.SIGKILL)
            await_successor(sharing, dead)
            time.sleep(0.5)
    else:
        os.kill(dead, signal.SIGKILL)
    assert ids(two) == nodes
    receipt = two.release()
    assert isinstance(receipt, Receipt)
    assert receipt.clean
    assert emulator.held() == []


def test_an_owner_that_joined_sees_the_release_to_its_end(sharing: Sharing, emulator: Emulator) -> None:
    """The keeper dies while it releases: what is left of the run is released, whichever process began it."""
    one, two = sharing.owner(), sharing.owner()
    ids(one)
    assert isinstance(one.release(), protocol.Staying)
    one.close()
    emulator.weather(faults=[{"operation": "TerminateInstances", "error": "InternalError", "times": 1000}])
    dead, folder = two.pid, Path(two.path).parent

    def strike() -> None:
        if two.deaths == 0 and releases(emulator):
            os.kill(dead, signal.SIGKILL)
            emulator.weather(faults=[])

    receipt = two.release(beat=strike)
    assert two.deaths == 1
    assert isinstance(receipt, Receipt)
    assert receipt.run == one.run
    assert receipt.clean
    assert emulator.held() == []
    two.close()
    until(lambda: not folder.exists(), 60, "the socket's folder is gone")


def test_a_keeper_dies_while_what_was_kept_is_released(sharing: Sharing, emulator: Emulator) -> None:
    """No process uses it and its record is gone: the guard has the rest released."""
    one = sharing.owner(keep="always")
    ids(one)
    assert isinstance(one.release(), protocol.Staying)
    dead, path = one.pid, one.path
    one.close()
    emulator.weather(faults=[{"operation": "TerminateInstances", "error": "InternalError", "times": 1000}])
    os.kill(dead, signal.SIGTERM)
    until(lambda: releases(emulator), 60, "the release begins")
    os.kill(dead, signal.SIGKILL)
    emulator.weather(faults=[])
    until(lambda: emulator.held() == [], 60, "nothing is held")
    until(lambda: not Path(path).parent.exists(), 60, "the socket's folder is gone")


def test_the_keeper_that_the_guard_started_asks_the_hooks(sharing: Sharing) -> None:
    """Those of the owner that comes next: they decide as with the keeper that died."""
    topologies = {name: Topology((ONE,), name=name) for name in ("default", "other")}
    one = sharing.owner(keep="always", topologies=topologies)
    ids(one)
    dead = one.pid
    one.release()
    one.close()
    os.kill(dead, signal.SIGKILL)
    await_successor(sharing, dead)
    asked: list[str] = []

    def advise(consult: protocol.Consult) -> protocol.Advise:
        asked.append(consult.topology)
        return protocol.Advise(number=consult.number)

    two = sharing.owner(topologies=topologies, advisor=advise)
    two.call(protocol.Ask(topology="other"), protocol.Ready)
    assert asked == ["other"]


def test_the_next_keeper_goes_on_with_the_run_as_it_began(sharing: Sharing) -> None:
    """Who joined for a shorter time, with another journal, starts it; neither is the run's."""
    one = sharing.owner(duration_s=7200.0, limit_s=7200.0)
    nodes, before = ids(one), described(one.path)
    two = sharing.owner(duration_s=600.0, limit_s=600.0, project="another", journal=os.devnull + ".sqlite")
    assert isinstance(one.release(), protocol.Staying)
    one.close()
    os.kill(two.pid, signal.SIGKILL)
    assert ids(two) == nodes
    after = described(two.path)
    assert (after.hard_end, after.limit) == (before.hard_end, before.limit)
    assert after.request.project == before.request.project


def test_one_that_is_refused_does_not_take_what_is_kept(sharing: Sharing) -> None:
    """It came before the last owner left, and went after it."""
    one = sharing.owner(keep="always")
    nodes = ids(one)
    waiting = Connection(one.path, "owner", "not admitted yet")
    answer = one.release()
    assert isinstance(answer, protocol.Staying)
    assert answer.until is not None
    one.close()
    waiting.close()
    assert ids(sharing.owner()) == nodes


def test_a_keeper_that_dies_at_the_end_keeps_all_the_same(sharing: Sharing, emulator: Emulator) -> None:
    """The next one gets its owner's wish before the message that the owner goes."""
    one = sharing.owner(keep="always")
    nodes = ids(one)
    emulator.weather(latency_ms=300)  # It takes a while to know the account.
    os.kill(one.pid, signal.SIGKILL)
    answer = one.release()
    emulator.weather(latency_ms=0)
    assert isinstance(answer, protocol.Staying)
    one.close()
    assert ids(sharing.owner()) == nodes


def test_a_release_waits_until_the_next_keeper_knows_what_is_wished(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be reached before its owner has said that the run is to be kept: that is said first all the same."""
    one = sharing.owner(keep="always")
    nodes = ids(one)
    tell = Owner._tell

    def tell_late(owner: Owner) -> None:
        time.sleep(0.5)
        tell(owner)

    monkeypatch.setattr(Owner, "_tell", tell_late)
    os.kill(one.pid, signal.SIGKILL)
    assert isinstance(one.release(), protocol.Staying)
    one.close()
    assert ids(sharing.owner()) == nodes


def test_a_rebuild_that_another_one_forestalls(sharing: Sharing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who joined between the look and the release has the nodes; the rebuild is refused in words."""
    one = sharing.owner(keep="always")
    nodes = ids(one)
    one.release()
    one.close()
    retire = Owner._retire
    late: list[Owner] = []

    def forestalled(owner: Owner) -> None:
        if not late:
            late.append(sharing.owner())
        retire(owner)

    monkeypatch.setattr(Owner, "_retire", forestalled)
    with pytest.raises(Exception, match="another process has just joined it"):
        sharing.owner(rebuild=True, zones=("b",))
    sharing.owners[1].close()
    assert ids(late[0]) == nodes
    with pytest.raises(ChangedSession):
        sharing.owner(zones=("b",))
