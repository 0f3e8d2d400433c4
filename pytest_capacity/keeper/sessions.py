"""Named sessions: which keeper serves a name, and whose turn it is to start one.

A session's *record* says where its keeper listens. It is written when the keeper is started and removed as soon as the
keeper begins to end; a record whose keeper does not answer is of one that died. A process that reads it to start a
keeper, or changes it, holds the session's lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper.places import sessions_dir, state_dir

#: So many keepers may die; the next one only releases.
LIVES: Final = 2

#: How long one waits for another process that starts the session's keeper. Seconds; starting takes a few ms.
ELECTION: Final = 30.0


class Record(Struct, frozen=True, kw_only=True):
    """The keeper of a session. ``deaths`` counts the keepers of this run that died before it."""

    run: str
    socket: str
    pid: int
    log: str
    deaths: int = 0
    #: Where the run is written down, wherever those who join it have theirs.
    journal: str = ""


class Session:
    """One name's record and lock, in the user's state directory. Raises `KeeperError` where they cannot be used."""

    def __init__(self, name: str) -> None:
        self.name: Final = name
        try:
            self._record = sessions_dir() / f"{name}.json"
        except OSError as error:
            raise self._unusable(error) from error

    @contextmanager
    def elected(self) -> Iterator[None]:
        """Let no other process start or replace the session's keeper for the time of the block."""
        # Here, since pytest loads this module in every run, and a suite may have a `filelock.py` of its own.
        from filelock import FileLock, Timeout

        path = self._record.with_suffix(".lock")
        lock = FileLock(path, mode=0o600)
        try:
            lock.acquire(timeout=ELECTION)
        except Timeout:
            raise KeeperError(
                f"session {self.name!r}: another process has held its lock {path} for {ELECTION:g} s. "
                "End that process, or name another session (--capacity-session)"
            ) from None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            yield
        finally:
            lock.release()

    def read(self) -> Record | None:
        """Return the record of the session's keeper; None: there is none, or it cannot be read."""
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, record: Record) -> None:
        """Say who keeps it from now on; whole or not at all."""
        new = f"{self._record}.{os.getpid()}"
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(record))
            Path(new).replace(self._record)
        except OSError as error:
            raise self._unusable(error) from error

    def clear(self, run: str, pid: int) -> None:
        """Remove the record of the keeper ``pid`` of ``run``, which has ended. That of another keeper stays."""
        with contextlib.suppress(KeeperError), self.elected():  # At the end of a process that cannot do more about it.
            record = self.read()
            if record and (record.run, record.pid) == (run, pid):
                self._record.unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> KeeperError:
        return KeeperError(
            f"session {self.name!r} needs files in {state_dir() / 'sessions'}, which cannot be used: {error}. "
            "Make that directory writable, or leave --capacity-session out"
        )


def all_sessions() -> dict[str, Record]:
    """Return the sessions that have a keeper, or had one that died, by name."""
    found: dict[str, Record] = {}
    for path in sorted((state_dir() / "sessions").glob("*.json")):
        record = Session(path.stem).read()
        if record:
            found[path.stem] = record
    return found
