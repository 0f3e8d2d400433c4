"""The journal: durable, private, and never taken for empty when it is not."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from pytest_capacity.errors import JournalError
from pytest_capacity.journal import FORM, Journal


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
    """Somebody else's link must not make us write elsewhere."""
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
    """Somebody's notes, named by mistake: an error that says what to do, and not a byte is changed."""
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
