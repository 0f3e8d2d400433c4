"""The journal: durable, private, and never taken for empty when it is not."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from pytest_capacity.errors import JournalError
from pytest_capacity.journal import _RUNS, FORM, Journal, LostJournal, PassingJournal, ReadJournal


def test_events_come_back_in_order(tmp_path: Path) -> None:
    """What was written is read, oldest first, and only of the run that is asked for."""
    journal = Journal(tmp_path / "j.sqlite", now=lambda: 12.5)
    journal.write("a", "intent", "s", {"n": 1})
    journal.write("b", "intent", "s", {"n": 2})
    journal.write("a", "created", "s", {"ids": ["x"]})
    events = journal.events("a")
    assert [(event.kind, event.at, event.data) for event in events] == [
        ("intent", 12.5, {"n": 1}),
        ("created", 12.5, {"ids": ["x"]}),
    ]
    journal.close()


def test_attempts_of_all_runs_come_back_by_their_time(tmp_path: Path) -> None:
    """Those since a time, of every run, oldest first; a passing journal reads them too, and keeps nothing."""
    times = iter([1.0, 3.0, 2.0, 4.0])
    journal = Journal(tmp_path / "j.sqlite", now=lambda: next(times))
    for run in ("a", "b", "c"):
        journal.write(run, "attempt-ended")
    journal.write("c", "gone")
    assert [entry.run for entry in journal.attempts_since(1.5)] == ["c", "b"]
    passing = PassingJournal(tmp_path / "j.sqlite")
    passing.write("d", "attempt-ended")
    assert [entry.run for entry in passing.attempts_since(1.5)] == ["c", "b"]
    assert passing.events("a") == []
    passing.close()
    journal.close()


def test_a_lost_journal_has_nothing_and_takes_nothing() -> None:
    """A keeper with one releases what the cloud lists, and creates nothing."""
    journal = LostJournal(JournalError("no journal"))
    assert (journal.set_aside, journal.events("a"), journal.attempts_since(0.0), journal.runs()) == (True, [], [], [])
    with pytest.raises(JournalError, match="no journal"):
        journal.write("a", "intent")
    journal.close()


def test_file_and_folder_are_private(tmp_path: Path) -> None:
    """0600 in a 0700 directory, whatever the umask."""
    path = tmp_path / "state" / "j.sqlite"
    Journal(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_event_survives_the_writer(tmp_path: Path) -> None:
    """An event is in the file when `write` returns: another connection reads it while the first is open."""
    journal = Journal(tmp_path / "j.sqlite")
    journal.write("a", "intent")
    other = Journal(tmp_path / "j.sqlite")
    assert [event.kind for event in other.events("a")] == ["intent"]
    journal.close()
    other.close()


def test_commits_reach_the_disk(tmp_path: Path) -> None:
    """Every commit is synced: a journal that is lazy about that would forget an intent at a power cut."""
    journal = Journal(tmp_path / "j.sqlite")
    (level,) = journal._base.execute("PRAGMA synchronous").fetchone()
    assert level == 2
    journal.close()


def test_many_threads_may_write(tmp_path: Path) -> None:
    """Nothing is lost or doubled."""
    journal = Journal(tmp_path / "j.sqlite")
    threads = [threading.Thread(target=lambda: [journal.write("a", "x") for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({event.seq for event in journal.events("a")}) == 160
    journal.close()


def test_a_directory_cannot_be_a_journal(tmp_path: Path) -> None:
    """The error says what to do."""
    with pytest.raises(JournalError, match="--capacity-journal"):
        Journal(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Another user's link must not make us write elsewhere."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError):
        Journal(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_journal_is_kept_aside(tmp_path: Path) -> None:
    """It is never read as 'nothing is held' and never deleted; the new one says where it is."""
    path = tmp_path / "j.sqlite"
    damaged = b"SQLite format 3\0" + b"\xff" * 4080
    path.write_bytes(damaged)
    journal = Journal(path)
    assert journal.events("a") == []
    assert journal.set_aside
    assert journal.aside is not None
    assert journal.aside.read_bytes() == damaged
    assert journal.aside.name.startswith("j.sqlite.corrupt-")
    journal.close()


def test_a_file_that_was_never_a_journal_is_left_alone(tmp_path: Path) -> None:
    """A file of notes, named by mistake: an error that says what to do, and not a byte is changed."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"milk, bread")
    with pytest.raises(JournalError, match=r"notes\.txt is no journal.*--capacity-journal"):
        Journal(path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"notes.txt": b"milk, bread"}


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    """Our table is not put beside another's."""
    path = tmp_path / "app.sqlite"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE customers (name TEXT)")
    base.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="a database of something else, with the table 'customers'"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_later_form_is_left_alone(tmp_path: Path) -> None:
    """A file of a later version is refused, not changed."""
    path = tmp_path / "j.sqlite"
    base = sqlite3.connect(path)
    base.execute(f"PRAGMA user_version={FORM + 1}")
    base.close()
    with pytest.raises(JournalError, match="later version"):
        Journal(path)


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """An event that cannot be kept is not acknowledged."""
    journal = Journal(tmp_path / "j.sqlite")
    (pages,) = journal._base.execute("PRAGMA page_count").fetchone()
    journal._base.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(JournalError, match="full"):
        journal.write("a", "intent", data={"words": "x" * 400_000})
    journal.close()


def test_runs_are_those_that_have_not_ended_with_nothing_left(tmp_path: Path) -> None:
    """What ended with something left has not ended; what began again has not either; the newest keeper speaks."""
    journal = Journal(tmp_path / "j.sqlite", now=lambda: 12.5)
    for run in ("over", "left", "again", "adopted"):
        journal.write(run, "run-started", data={"pid": 1})
    journal.write("adopted", "adopted", data={"pid": 2})
    for run, left in (("over", 0), ("left", 2), ("again", 0)):
        journal.write(run, "run-ended", data={"left": left})
    journal.write("again", "run-started", data={"pid": 3})
    assert [(run.run, run.keeper["pid"], run.ended) for run in journal.runs()] == [
        ("left", 1, None),
        ("adopted", 2, None),
        ("again", 3, None),
    ]
    everything = {run.run: run.ended for run in journal.runs(ended=True)}
    assert everything == {"over": 12.5, "left": None, "adopted": None, "again": None}
    journal.close()


def test_the_runs_are_found_without_reading_every_event(tmp_path: Path) -> None:
    """A journal grows for years; beginnings and ends have an index of their own."""
    journal = Journal(tmp_path / "j.sqlite")
    plan = " ".join(str(row) for row in journal._base.execute(f"EXPLAIN QUERY PLAN {_RUNS}"))
    assert "USING INDEX beginnings_and_ends" in plan
    journal.close()


def test_who_only_looks_changes_nothing(tmp_path: Path) -> None:
    """A reader reads beside a writer, makes no file, and leaves a damaged one where it is."""
    path = tmp_path / "j.sqlite"
    with pytest.raises(JournalError, match="cannot be read"):
        ReadJournal(path)
    assert not path.exists()
    journal = Journal(path)
    journal.write("a", "run-started", data={"pid": 1})
    reader = ReadJournal(path)
    assert [run.run for run in reader.runs()] == ["a"]
    with pytest.raises(JournalError):
        reader.write("a", "run-ended")
    reader.close()
    journal.close()
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(JournalError, match="cannot be read"):
        ReadJournal(damaged).runs()
    assert damaged.exists()
