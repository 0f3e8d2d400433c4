"""Keepers that die, and those that come after them: real processes, spoken to as pytest does."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.client import Borrower
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Receipt, Request
from tests.emulated import Emulator, start_emulator
from tests.engine.runs import request
from tests.keeper.sharing import ONE, placed
from tests.safety.runs import until

#: Processes of their own: a fork of this one would have the locks of its threads, and not the threads.
PROCESSES: Final = get_context("spawn")


class Runs:
    """Owners, each with a journal of its own in the test's folder."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self._emulator = emulator
        self._folder = folder
        self.owners: list[Owner] = []

    def journal(self, run: str) -> Path:
        """The run's journal."""
        return self._folder / run / "journal.sqlite"

    def owner(self, run: str, **changes: Any) -> Owner:
        """An owner whose keeper is started, for one database node."""
        owner = owner_of(self.wanted(run, **changes))
        self.owners.append(owner)
        return owner

    def wanted(self, run: str, **changes: Any) -> Request:
        """What such an owner asks for."""
        return request(self._emulator, ONE, run=run, journal=str(self.journal(run)), **changes)


def owner_of(wanted: Request) -> Owner:
    """An owner whose keeper is started."""
    owner = Owner(wanted, SpawnOptions(), lambda _event: None)
    owner.start()
    return owner


def released(owner: Owner) -> Receipt:
    """Release, to the receipt."""
    receipt = owner.release()
    assert isinstance(receipt, Receipt)
    return receipt


def borrow(key: str) -> protocol.Borrow:
    """A wish for the one node."""
    return protocol.Borrow(key=key, topology="default", group="db", count=1, test=key)


@pytest.fixture(name="runs")
def _runs(emulator: Emulator, tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(emulator, tmp_path)
    yield runs
    for owner in runs.owners:
        owner.close()


def test_a_second_keeper_has_the_same_nodes(runs: Runs, emulator: Emulator) -> None:
    """Killed while the tests run: the call is answered by the next keeper, and nothing is made twice."""
    owner = runs.owner("second")
    before = placed(owner)
    os.kill(owner.pid, signal.SIGKILL)
    assert placed(owner) == before
    assert len(emulator.calls("RunInstances")) == 1
    assert released(owner).clean
    assert emulator.held() == []


def test_a_run_whose_journal_is_lost_is_released_by_listing(runs: Runs, emulator: Emulator) -> None:
    """A second keeper that cannot open the journal still knows the run's id, and asks the cloud."""
    owner = runs.owner("lost")
    placed(owner)
    base = sqlite3.connect(runs.journal("lost"))
    base.execute("PRAGMA user_version=99")
    base.close()
    os.kill(owner.pid, signal.SIGKILL)
    receipt = released(owner)
    assert receipt.clean
    assert receipt.asked
    assert emulator.held() == []


def test_a_journal_that_vanished_is_no_proof(runs: Runs, emulator: Emulator) -> None:
    """An empty journal does not mean an empty cloud."""
    owner = runs.owner("vanished")
    placed(owner)
    for file in runs.journal("vanished").parent.iterdir():
        file.unlink()
    os.kill(owner.pid, signal.SIGKILL)
    assert released(owner).clean
    assert emulator.held() == []


def test_a_keeper_renews_its_leases(runs: Runs, emulator: Emulator) -> None:
    """Which end in a minute, as the journal has it; half of a lease is too long to be waited for here."""
    owner = runs.owner("leased")
    held = placed(owner).nodes["db"][0].reservation_id
    asked = emulator.calls("ModifyCapacityReservation")
    with closing(sqlite3.connect(runs.journal("leased"))) as base, base:
        soon = {"id": held, "deadline": time.time() + 60.0}
        event = (time.time(), "leased", "renewed", "", json.dumps(soon))
        base.execute("INSERT INTO events (at, run, kind, subject, data) VALUES (?, ?, ?, ?, ?)", event)
    os.kill(owner.pid, signal.SIGKILL)
    assert asked == []
    until(lambda: len(emulator.calls("ModifyCapacityReservation")) == 1, 120, "the second keeper renews the lease")
    assert released(owner).clean


def own(wanted: Request, told: Connection) -> None:
    """Own a run in a process that is to be killed: say the keeper's process, and when another has taken its place."""
    owner = owner_of(wanted)
    placed(owner)
    first = owner.pid
    told.send(first)
    while owner.pid == first:
        time.sleep(0.001)
    told.send(owner.pid)
    time.sleep(600)


def heard(told: Connection) -> int:
    """The next process that is said."""
    assert told.poll(120)
    pid: int = told.recv()
    return pid


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_an_owner_that_dies_while_its_second_keeper_starts(runs: Runs, emulator: Emulator, seconds: float) -> None:
    """No process is left to say what the run was; the journal does."""
    told, tell = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=own, args=(runs.wanted(f"orphan-{seconds}"), tell), daemon=True)
    child.start()
    os.kill(heard(told), signal.SIGKILL)
    heard(told)
    time.sleep(seconds)
    child.kill()
    child.join(60)
    until(lambda: emulator.held() == [], 120, "everything is given back")


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_a_close_while_the_second_keeper_starts(runs: Runs, emulator: Emulator, seconds: float) -> None:
    """The new keeper gets no owner that stays, so it releases, however long this process lives."""
    owner = runs.owner("closed")
    placed(owner)
    os.kill(owner.pid, signal.SIGKILL)
    until(lambda: owner.deaths > 0, 120, "the owner has seen it")
    time.sleep(seconds)
    owner.close()
    until(lambda: emulator.held() == [], 120, "nothing is held")
    until(lambda: all(thread.name != "capacity-adoption" for thread in threading.enumerate()), 120, "no thread waits")


def test_a_borrow_that_is_sent_again_is_one_loan(runs: Runs) -> None:
    """The keeper lent, and died before it said so: the next one gives the same node, and no test waits for ever."""
    owner = runs.owner("resent")
    placed(owner)
    borrower = Borrower(owner.path, "gw0")
    lent = borrower.call(borrow("a"), protocol.Lent).nodes
    os.kill(owner.pid, signal.SIGKILL)
    assert borrower.call(borrow("a"), protocol.Lent).nodes == lent
    borrower.call(protocol.GiveBack(key="a"), protocol.Done)
    assert borrower.call(borrow("b"), protocol.Lent).nodes == lent
    borrower.close()


def borrow_and_die(path: str, name: str) -> None:
    """Ask for the node, and be gone before it is there."""
    borrower = Borrower(path, name)
    threading.Thread(target=borrower.call, args=(borrow("a"), protocol.Lent), daemon=True).start()
    time.sleep(0.4)
    os._exit(9)


def test_a_borrower_that_died_on_the_way_gets_nothing(runs: Runs, emulator: Emulator) -> None:
    """Killed while its call waits for the provisioning: the node is free for the next."""
    emulator.hold("RunInstances")
    owner = runs.owner("late")
    child = PROCESSES.Process(target=borrow_and_die, args=(owner.path, "gw0"), daemon=True)
    child.start()
    child.join(120)
    assert child.exitcode == 9
    emulator.go_on()
    placed(owner)
    borrower = Borrower(owner.path, "gw1")
    assert len(borrower.call(borrow("b"), protocol.Lent).nodes) == 1
    borrower.close()


@pytest.mark.parametrize("message", [protocol.Release(), protocol.CancelRun(run="other")])
def test_only_the_owner_ends_a_run(runs: Runs, emulator: Emulator, message: protocol.Call) -> None:
    """A worker's word, or a stray script's, releases nothing."""
    owner = runs.owner("owned")
    placed(owner)
    borrower = Borrower(owner.path, "gw0")
    with pytest.raises(KeeperError, match="does not own this run"):
        borrower.call(message, protocol.Settled)
    assert len(emulator.held("instance")) == 1
    borrower.close()


def test_what_is_no_greeting_is_not_served(runs: Runs) -> None:
    """A connection that begins with anything else is closed."""
    owner = runs.owner("rude")
    rude = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    rude.connect(owner.path)
    rude.settimeout(60)
    body = b'{"call":"status","id":1}'
    rude.sendall(struct.pack(">I", len(body)) + body)
    assert rude.recv(100) == b""
    rude.close()


def test_after_two_deaths_only_the_release_is_left(runs: Runs, emulator: Emulator) -> None:
    """The third keeper hands out nothing any more; it gives everything back."""
    owner = runs.owner("thrice")
    placed(owner)
    for _ in range(2):
        pid = owner.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: owner.pid != pid, 120, "another keeper is started")  # type: ignore[misc]
        if owner.deaths < 2:
            placed(owner)
    with pytest.raises(KeeperError):
        placed(owner)
    until(lambda: emulator.held() == [], 120, "everything is given back")


def test_a_run_of_the_same_id_begins_anew(runs: Runs, emulator: Emulator) -> None:
    """What crashed yesterday under this id is released; its nodes are not today's, nor is its hard end."""
    told, tell = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=own, args=(runs.wanted("again"), tell), daemon=True)
    child.start()
    keeper = heard(told)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)  # It starts no other keeper: as if the machine had gone.
    os.kill(keeper, signal.SIGKILL)
    child.kill()
    child.join(60)
    assert len(emulator.held("instance")) == 1
    owner = runs.owner("again")
    fresh = placed(owner)
    instances = [one["id"] for one in emulator.held("instance")]
    assert fresh.nodes["db"][0].id in instances
    assert released(owner).clean
    assert emulator.held() == []


def test_an_emulator_on_the_port_of_an_earlier_one_is_another_cloud(tmp_path: Path) -> None:
    """What ran dry in the first one is tried first in the second, though journal, account and URL are the same."""
    dry = {"stock": {"us-east-1a": {"*": 0}}}
    for attempt in range(5):
        with start_emulator(dry) as emulator:
            assert zone_of_a_run(emulator, tmp_path, f"first-{attempt}") == "us-east-1b"
        try:
            another = start_emulator({}, f"--port={emulator.url.rpartition(':')[2]}")
        except RuntimeError as error:
            if "is in use" not in str(error):
                raise
            continue  # Another process of this machine has got the port meanwhile.
        with another:
            assert zone_of_a_run(another, tmp_path, f"second-{attempt}") == "us-east-1a"
        return
    pytest.fail("the port was taken each time")


def zone_of_a_run(emulator: Emulator, folder: Path, run: str) -> str:
    """Where a run stands, one journal for all; it is released."""
    owner = owner_of(request(emulator, ONE, run=run, journal=str(folder / "shared.sqlite")))
    zone = placed(owner).zone
    assert released(owner).clean
    owner.close()
    return zone
