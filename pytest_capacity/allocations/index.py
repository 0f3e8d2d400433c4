"""The index of the allocation view: a SQLite file beside the journal that can be made again from it at any time.

It is a separate file so that reading writes nothing to the journal, and so that no keeper waits for a reader. A
damaged, old or foreign one is thrown away and folded again from the journal's events. What was read of a cloud stands
in it, too, and is read again; of what has ended there it may be the only memory.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The tables' form. A file of another one is made anew.
FORM: Final = 2

#: What is beside the name of the journal.
SUFFIX: Final = ".allocations"

_SCHEMA: Final = """
CREATE TABLE folded (seq INTEGER NOT NULL, at REAL NOT NULL, run TEXT NOT NULL);
CREATE TABLE runs (
    run TEXT PRIMARY KEY, backend TEXT, project TEXT, session TEXT, hard_end REAL
) WITHOUT ROWID;
CREATE TABLE resources (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, backend TEXT NOT NULL, region TEXT NOT NULL,
    zone TEXT NOT NULL, name TEXT NOT NULL DEFAULT '', UNIQUE (id, backend, region)
);
CREATE TABLE allocations (
    n INTEGER PRIMARY KEY, resource INTEGER NOT NULL, slot INTEGER NOT NULL, source TEXT NOT NULL DEFAULT '',
    run TEXT NOT NULL, held_kind TEXT NOT NULL, held_region TEXT NOT NULL, held_id TEXT NOT NULL,
    reservation TEXT, lease TEXT NOT NULL, topology TEXT NOT NULL, grp TEXT, name TEXT NOT NULL,
    instance_type TEXT NOT NULL, market TEXT NOT NULL, state TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT '', project TEXT,
    since REAL NOT NULL, until REAL, stops REAL, ended REAL
);
CREATE INDEX by_resource ON allocations (resource, ended, since);
CREATE INDEX by_held ON allocations (run, held_id, ended);
CREATE INDEX by_lease ON allocations (lease);
CREATE INDEX by_reservation ON allocations (reservation);
CREATE TABLE readings (backend TEXT, region TEXT, at REAL NOT NULL, PRIMARY KEY (backend, region)) WITHOUT ROWID;
CREATE TABLE uses (
    n INTEGER PRIMARY KEY, run TEXT NOT NULL, node TEXT NOT NULL, loan TEXT NOT NULL, test TEXT NOT NULL,
    since REAL NOT NULL, until REAL
);
CREATE INDEX by_node ON uses (run, node, n);
CREATE INDEX by_loan ON uses (run, loan);
"""

_TABLES: Final = ("folded", "runs", "resources", "allocations", "readings", "uses")


def open_index(journal: Path | None) -> sqlite3.Connection:
    """Return the index of ``journal``, made where it is missing; one in memory where no file can be written.

    None: there is no journal yet.
    """
    if journal is None:
        return _with_schema(_connect(":memory:"))
    path = journal.with_name(journal.name + SUFFIX)
    for _ in range(2):
        try:
            return _opened(path)
        except (sqlite3.OperationalError, OSError):
            break  # Read-only, full, locked: not a fault of the file.
        except sqlite3.DatabaseError:
            _remove(path)
    return _with_schema(_connect(":memory:"))


def clear(index: sqlite3.Connection) -> None:
    """Remove everything; within the caller's transaction."""
    for table in _TABLES:
        index.execute(f"DELETE FROM {table}")


def _opened(path: Path) -> sqlite3.Connection:
    # The names of tests and runs stand in it: it is for its owner alone, as the journal is.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    index = _connect(path)
    try:
        index.execute("PRAGMA journal_mode=WAL").fetchone()
        index.execute("PRAGMA synchronous=OFF")  # What is lost is folded again.
        index.execute("BEGIN IMMEDIATE")
        _prepare(index)
        index.execute("COMMIT")
    except BaseException:
        index.close()
        raise
    return index


def _prepare(index: sqlite3.Connection) -> None:
    """Make the tables where there are none. Raises `sqlite3.DatabaseError` for tables of another form."""
    (form,) = index.execute("PRAGMA user_version").fetchone()
    if form == 0:
        _with_schema(index)
    elif form != FORM:
        raise sqlite3.DatabaseError(f"form {form}")


def _connect(where: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(where, timeout=30, isolation_level=None, check_same_thread=False)


def _with_schema(index: sqlite3.Connection) -> sqlite3.Connection:
    for statement in filter(str.strip, _SCHEMA.split(";")):
        index.execute(statement)
    index.execute(f"PRAGMA user_version={FORM:d}")
    return index


def _remove(path: Path) -> None:
    for name in (path.name, path.name + "-wal", path.name + "-shm"):
        with suppress(OSError):
            path.with_name(name).unlink()
