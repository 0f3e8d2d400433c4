"""The journal: what we hold and what we asked for, as an append-only table of events.

Everything else (what is held, the attempts, recovery after a crash) is a view of it. SQLite with ``synchronous=FULL``:
an event is on disk when `Journal.write` returns, and a create call is made only after its ``intent`` is.

Kinds of event, with their ``data``:

=================== ==================================================================================================
``run-started``     host, boot, pid of the keeper, the request, a nonce
``adopted``         the same of a later keeper
``identity``        account, who, profile, expires: the account is pinned by this
``attempt-started`` the `Order`
``intent``          the `Piece`, before each create call
``created``         the `Held` things that the call made
``refused``         step, code, words: this logical create is over
``unknown``         code, words: the answer was lost; the same token is asked again
``state``           `Held` things as the cloud shows them now
``attempt-ended``   the `Attempt`; the cloud, and the `Refusal` of each piece, by which later attempts go
``changed``         words for the user: another market than the one asked for, a region without capacity, another round
``node-ready``      id, name, group, seconds
``placed``          the `Placed` topology; after an alteration its token, ``made`` and the new ``types`` of groups too
``alteration-started``, ``alteration-undoing``, ``alteration-ended``  a node group is changed: what is to be done,
                    before the first step; why it is undone; token and words of what failed ("": nothing)
``changing``        kind, id, region, zone, words: this thing of ours is about to be changed
``releasing``       kind, region, ids whose release the cloud accepted
``gone``            kind, region, ids that the cloud no longer has in a state that bills or blocks
``renewed``         kind, region, id, deadline
``lent``, ``returned``, ``suspect``  who borrowed which nodes
``kept``            until: no owner is left, and the run is kept for the next; None: there is one again
``extended``        hard_end: where the run's end was moved
``preempted``       id, words, the `Held` node that the cloud takes back or has replaced
``trouble``         words for the user
``ending``          the same, for tests too: what they use ends before the run's own end
``run-ended``       left: how many things were still listed, in doubt or unread; why: what ended the run
=================== ==================================================================================================
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from pytest_capacity.errors import JournalError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_run ON events (run, seq);
CREATE INDEX IF NOT EXISTS attempts_ended ON events (at) WHERE kind = 'attempt-ended';
CREATE INDEX IF NOT EXISTS beginnings_and_ends ON events (seq) WHERE kind IN ('run-started', 'adopted', 'run-ended');
"""

#: Few of all events: an index has just these.
_RUNS: Final = """
SELECT seq, at, run, kind, iif(kind = 'run-ended', data, '') FROM events
WHERE kind IN ('run-started', 'adopted', 'run-ended') ORDER BY seq
"""

#: How every SQLite file begins (https://www.sqlite.org/fileformat.html, "The Database Header").
_HEADER: Final = b"SQLite format 3\0"

#: The table's form; a file of a later one is not touched.
FORM: Final = 1


class Entry(Struct, frozen=True):
    """One event. ``at`` is in seconds since the epoch."""

    seq: int
    at: float
    run: str
    kind: str
    subject: str
    data: Mapping[str, Any]


class Begun(Struct, frozen=True, kw_only=True):
    """A run that has begun: when, and what its newest keeper wrote of itself (``run-started``, ``adopted``).

    ``ended`` is when it ended with nothing left; None: it has not.
    """

    run: str
    started: float
    ended: float | None
    keeper: Mapping[str, Any]


class Journal:
    """The table. Safe to use from many threads and, since SQLite locks, from many processes."""

    #: Whether what was known before is not known here.
    set_aside = False
    #: Where the file is now that was damaged; what it knew must be looked up in the cloud.
    aside: Path | None = None
    #: The end of the message about a fault of the file.
    _unusable = (
        "used: {}. Without it nothing may be created. "
        "Make room or make it writable, or name another file with --capacity-journal"
    )

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        """Open or make the file (0600, in a 0700 directory). Raises `JournalError` when it cannot be written."""
        self.path = path
        self._now = now
        self._lock = threading.Lock()
        with self._faults():
            _private(path)
            _must_be_ours(path)
            self._base, self.aside = _connect(path)
        self.set_aside = self.aside is not None

    def write(self, run: str, kind: str, subject: str = "", data: Any = None) -> Entry:
        """Append one event; on disk when this returns. Raises `JournalError`, and then nothing may be created."""
        plain = msgspec.to_builtins({} if data is None else data)
        with self._lock, self._faults():
            at = self._now()
            row = (at, run, kind, subject, msgspec.json.encode(plain).decode())
            cursor = self._base.execute("INSERT INTO events (at, run, kind, subject, data) VALUES (?, ?, ?, ?, ?)", row)
        return Entry(cursor.lastrowid or 0, at, run, kind, subject, plain)

    def events(self, run: str) -> list[Entry]:
        """Return all events of one run, oldest first."""
        return self._entries("data", "run = ? ORDER BY seq", run)

    def attempts_since(self, at: float) -> list[Entry]:
        """Return the ``attempt-ended`` events of all runs since then, oldest first."""
        return self._entries("data", "kind = 'attempt-ended' AND at > ? ORDER BY at, seq", at)

    def events_after(self, seq: int, kinds: Collection[str], limit: int) -> list[Entry]:
        """Return at most ``limit`` events of all runs after ``seq``, oldest first.

        An event of another kind than ``kinds`` has no data: it is there for its ``seq`` alone.
        """
        marks = ", ".join("?" for _ in kinds)
        data = f"iif(kind IN ({marks}), data, '{{}}')"
        return self._entries(data, "seq > ? ORDER BY seq LIMIT ?", *kinds, seq, limit)

    def _entries(self, data: str, which: str, *values: object) -> list[Entry]:
        with self._lock, self._faults():
            select = f"SELECT seq, at, run, kind, subject, {data} FROM events WHERE {which}"
            rows = self._base.execute(select, values).fetchall()
        return [
            Entry(number, at, run, kind, subject, msgspec.json.decode(text))
            for number, at, run, kind, subject, text in rows
        ]

    def runs(self, *, ended: bool = False) -> list[Begun]:
        """Return the runs that have begun and not ended with nothing left, oldest first; with ``ended`` those too."""
        with self._lock, self._faults():
            lives = _lives(self._base.execute(_RUNS))
            return [
                Begun(run=run, started=life.started, ended=life.ended, keeper=self._data(life.keeper))
                for run, life in lives.items()
                if ended or life.ended is None
            ]

    def _data(self, seq: int) -> Mapping[str, Any]:
        (data,) = self._base.execute("SELECT data FROM events WHERE seq = ?", (seq,)).fetchone()
        found: Mapping[str, Any] = msgspec.json.decode(data)
        return found

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal {self.path} cannot be {self._unusable.format(error)}") from error


class ReadJournal(Journal):
    """For a process that only reads: makes no file, repairs none, and sets none aside."""

    _unusable = "read: {}. Name the right file with --journal"

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `JournalError` when it is not there, or is no journal."""
        self.path = path
        self._lock = threading.Lock()
        with self._faults():
            _must_be_ours(path)
            where = f"{path.absolute().as_uri()}?mode=ro"
            self._base = sqlite3.connect(where, uri=True, timeout=5, isolation_level=None, check_same_thread=False)

    def write(self, run: str, kind: str, subject: str = "", data: Any = None) -> Entry:
        """Raise `JournalError`."""
        raise JournalError(f"the journal {self.path} was opened to be read")


class _EmptyJournal(Journal):
    """In memory, without an event."""

    def __init__(self) -> None:
        self.path = Path(":memory:")
        self._now = time.time
        self._lock = threading.Lock()
        self._base = _opened(self.path)


class LostJournal(_EmptyJournal):
    """Knows nothing and keeps nothing: for a keeper that must release a run whose journal cannot be opened."""

    set_aside = True

    def __init__(self, why: JournalError) -> None:
        super().__init__()
        self._why = why

    def write(self, run: str, kind: str, subject: str = "", data: Any = None) -> Entry:
        """Raise `JournalError`, so that nothing can be created."""
        raise self._why


class PassingJournal(_EmptyJournal):
    """For a process that only needs what others were refused: knows no run, and what is written ends with it."""

    def __init__(self, path: Path) -> None:
        """Open the file to be read; one that is not there, or is no journal, has no events."""
        super().__init__()
        self._read: ReadJournal | None = None
        with suppress(JournalError):
            self._read = ReadJournal(path)

    def attempts_since(self, at: float) -> list[Entry]:
        """Return those that stand in the file."""
        return self._read.attempts_since(at) if self._read else []

    def close(self) -> None:
        """Close the file."""
        super().close()
        if self._read:
            self._read.close()


class _Life(Struct):
    started: float
    ended: float | None
    #: The event in which its newest keeper says who it is.
    keeper: int


def _lives(rows: Iterable[tuple[int, float, str, str, str]]) -> dict[str, _Life]:
    """Return the newest run of each id."""
    lives: dict[str, _Life] = {}
    for seq, at, run, kind, data in rows:
        life = lives.get(run)
        if kind == "run-ended":
            if life and not msgspec.json.decode(data).get("left"):
                life.ended = at
        elif kind == "adopted" and life and life.ended is None:
            life.keeper = seq
        else:
            lives.pop(run, None)  # The order is that of the beginnings.
            lives[run] = _Life(at, None, seq)
    return lives


def _private(path: Path) -> None:
    made = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if made:
        path.parent.chmod(0o700)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.close(descriptor)


def _must_be_ours(path: Path) -> None:
    """Refuse a file of the user's, named by mistake: neither write to it nor move it. Raise `JournalError`."""
    with path.open("rb") as file:
        head = file.read(len(_HEADER))
    if head and head != _HEADER:
        raise _foreign(path, "it is no database")


def _foreign(path: Path, why: str) -> JournalError:
    return JournalError(
        f"{path} is no journal: {why}. It is left as it is, and without a journal nothing may be created. "
        "Name another file with --capacity-journal (a new one is made there), or move this one away"
    )


def _connect(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    try:
        return _opened(path), None
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        # Damaged. What it held is found again by listing the cloud, so it is kept aside, not mended.
        aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
        path.rename(aside)
        _private(path)
        return _opened(path), aside


def _opened(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        (form,) = base.execute("PRAGMA user_version").fetchone()
        if form > FORM:
            raise sqlite3.OperationalError(f"it was written by a later version (form {form}, this one knows {FORM})")
        tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "events" not in tables:
            raise _foreign(path, f"it is a database of something else, with the table {min(tables)!r}")
        _switch_to_wal(base)
        base.execute("PRAGMA synchronous=FULL")
        base.executescript(_SCHEMA)
        base.execute(f"PRAGMA user_version={FORM:d}")
    except (sqlite3.Error, JournalError):
        base.close()
        raise
    return base


def _switch_to_wal(base: sqlite3.Connection) -> None:
    """Switch the file to WAL. Some network file systems answer "delete"; that holds too."""
    for _ in range(50):
        try:
            base.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.02)  # The switch does not wait for another process that opens the file, as all else here does.
        else:
            return
    raise sqlite3.OperationalError("another process keeps it locked")
