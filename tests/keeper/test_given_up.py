"""What the keeper writes when no further try to release could change anything."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pytest_capacity.errors import CapacityError
from pytest_capacity.journal import Entry
from pytest_capacity.keeper.consulting import Consulting
from pytest_capacity.keeper.owner import Owner
from pytest_capacity.keeper.places import Places
from pytest_capacity.keeper.protocol import Event, Holding, Start, Status
from pytest_capacity.keeper.run import Run
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Held, Receipt, Unread
from tests.emulated import Emulator
from tests.engine.runs import MovedClock, request


def test_what_is_given_up_is_named_with_its_place_and_removal(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only after the limit, when nodes have ended by themselves; then each thing, what was not read, and a command."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    told: list[Entry] = []
    clock = MovedClock()
    wanted = request(emulator, emulated=False, limit_s=8 * 3600.0, journal=str(tmp_path / "journal.sqlite"))
    places = Places.of(wanted.run, wanted.journal)
    run = Run.open(Start(request=wanted), places, os.getpid(), clock, told.append, Consulting(list))
    run.identity()
    clock.moved += wanted.duration_s + 2 * 3600
    early = run.all_expired()
    clock.moved += 8 * 3600
    late = run.all_expired()
    place = {"region": "us-east-1", "zone": "us-east-1a", "state": "ready"}
    held = Held(kind="reservation", id="cr-1", subject="default/1/1/reservation/x", **place)  # type: ignore[arg-type]
    unread = Unread("us-west-2", "node", "RequestLimitExceeded")
    receipt = Receipt(run=wanted.run, left=(held,), unread=(unread,), by_hand=("aws ec2 cancel cr-1",))
    run.note_left(receipt)
    run.close(receipt, "no owner came")
    run.warn("what comes late, when the journal is closed")
    assert (early, late) == (False, True)
    assert [entry.data["words"] for entry in told if entry.kind == "trouble"] == [
        "given up, and still there: reservation cr-1 in us-east-1a, node in us-west-2 (unread: RequestLimitExceeded). "
        "Remove it by hand: aws ec2 cancel cr-1"
    ]
    assert [entry.data for entry in told if entry.kind == "run-ended"] == [{"left": 2, "why": "no owner came"}]
    assert [entry.data["words"] for entry in told if entry.kind == "ending"] == [
        "what comes late, when the journal is closed"
    ]


def test_an_owner_learns_what_ended_its_run(emulator: Emulator, tmp_path: Path) -> None:
    """A run that reaches its hard end: a warning first, and then each call fails with the reason, and no log."""
    events: list[Event] = []
    wanted = request(emulator, duration_s=1.0, limit_s=1.0, journal=str(tmp_path / "journal.sqlite"))
    owner = Owner(wanted, SpawnOptions(), events.append)
    owner.start()
    said, until = "", time.monotonic() + 60
    while "has ended this run" not in said:
        assert time.monotonic() < until, said
        try:
            owner.call(Status(), Holding)
        except CapacityError as error:
            said = str(error)
        time.sleep(0.02)
    owner.close()
    reason = "it reached its hard end, as `duration` (--capacity-duration) sets it"
    assert said == f"the keeper has ended this run: {reason} (0 things are left). Its log: {owner.log}"
    assert [event.data["words"] for event in events if event.kind == "ending"] == [f"this run is over: {reason}"]
