"""Owners of one session in one process: who decides what, in which order."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from pytest_capacity.errors import Cancelled, ChangedSession, Exhausted, KeeperError, Silent
from pytest_capacity.keeper import owner as owners
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.sessions import Record, Session, all_sessions
from tests.emulated import Emulator
from tests.keeper.sharing import Sharing, placed


def test_a_joined_run_is_the_sessions(sharing: Sharing) -> None:
    """A process that joins has the run, and so the log and the stamp, of the one that began it."""
    one, two = sharing.owner(), sharing.owner()
    assert (one.joined, two.joined) == (False, True)
    assert two.run == one.run
    assert (two.log, two.pid) == (one.log, one.pid)
    assert all_sessions()[sharing.name].run == one.run


def test_one_that_stops_does_not_stop_the_others(sharing: Sharing) -> None:
    """Ctrl-C in one process is not the end of a run that another uses."""
    one, two = sharing.owner(), sharing.owner()
    one.stop()
    assert isinstance(one.release(), protocol.Staying)
    assert placed(two).nodes["db"]


def test_who_joins_after_a_stop_has_nodes(sharing: Sharing) -> None:
    """The only owner was interrupted, and before it is gone another comes: that one's tests run."""
    one = sharing.owner()
    one.stop()
    with pytest.raises(Cancelled):
        placed(one)
    two = sharing.owner()
    assert isinstance(one.release(), protocol.Staying)
    assert placed(two).nodes["db"]


def test_what_failed_is_tried_again_for_who_joins(sharing: Sharing, emulator: Emulator) -> None:
    """A new process is a new try; the old one has its answer already."""
    emulator.weather(stock={"us-east-1a": {"*": 0}, "us-east-1b": {"*": 0}})
    one = sharing.owner()
    with pytest.raises(Exhausted):
        placed(one)
    emulator.weather(stock={})
    assert placed(sharing.owner()).nodes["db"]


def test_a_keeper_that_hangs_is_not_waited_for_for_ever(sharing: Sharing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would join says so, and what to do."""
    one = sharing.owner()
    monkeypatch.setattr(owners, "JOINING", 0.5)
    os.kill(one.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Silent, match="does not answer"):
            sharing.owner()
    finally:
        os.kill(one.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert sharing.owner().joined


def test_a_refused_process_leaves_no_trace(sharing: Sharing) -> None:
    """Its end is not an owner's end: the others go on."""
    one = sharing.owner()
    with pytest.raises(ChangedSession, match=r"zones: .*; asked: "):
        sharing.owner(zones=("b",))
    sharing.owners[-1].close()
    assert placed(one).nodes["db"]
    assert not isinstance(one.release(), protocol.Staying)


def test_the_last_of_two_that_end_at_once_releases(sharing: Sharing, emulator: Emulator) -> None:
    """One stays, one releases, whichever is first."""
    one, two = sharing.owner(), sharing.owner()
    placed(one)
    answers = [one.release(), two.release()]
    assert [isinstance(answer, protocol.Staying) for answer in answers] == [True, False]
    assert emulator.held() == []


def test_a_record_that_is_no_good_is_none(sharing: Sharing) -> None:
    """Half-written or foreign: the session begins anew."""
    path = Session(sharing.name)._record
    path.write_text('{"run": 3')
    assert Session(sharing.name).read() is None
    assert not sharing.owner().joined


def test_a_record_of_a_dead_keeper_without_a_run(sharing: Sharing) -> None:
    """It died before it wrote anything: there is nothing to adopt, and the session begins."""
    session = Session(sharing.name)
    folder = Path(tempfile.mkdtemp(prefix="pc-", dir="/tmp"))
    folder.rmdir()
    run = f"{sharing.name}-never-begun"
    session.write(Record(run=run, socket=str(folder / "keeper"), pid=1, log="/dev/null"))
    owner = sharing.owner()
    assert owner.run == run
    assert placed(owner).nodes["db"]


def test_a_session_needs_a_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its files cannot be made the message names the directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "pytest-capacity").mkdir(mode=0o700)
    (tmp_path / "pytest-capacity" / "sessions").write_text("a file")
    with pytest.raises(KeeperError, match=r"sessions, which cannot be used"):
        Session("dev")
