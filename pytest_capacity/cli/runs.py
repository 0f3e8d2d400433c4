"""Which runs there are, by the journal and the sessions' records, and how each is, by its keeper and its lock."""

from __future__ import annotations

import fcntl
import os
import platform
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pytest_capacity.cli.console import Misused
from pytest_capacity.errors import CapacityError, JournalError, KeeperError, OtherVersion
from pytest_capacity.journal import Begun, ReadJournal
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.client import Connection, within
from pytest_capacity.keeper.places import Places
from pytest_capacity.keeper.sessions import Record, all_sessions
from pytest_capacity.model import Held, Placed
from pytest_capacity.text import moment

if TYPE_CHECKING:
    from pytest_capacity.engine.run_state import RunState

#: How long a keeper may take to say what it keeps. Seconds.
PATIENCE: Final = 2.0

#: ``starting``: the keeper does not know yet what the run wants. ``silent``: it lives and does not answer.
#: ``abandoned``: it died, and the journal knows of things that it held. ``elsewhere``: it runs on another machine.
State = Literal["in use", "kept", "starting", "ending", "silent", "abandoned", "elsewhere", "over"]


class Run(Struct, frozen=True, kw_only=True):
    """A run as the journal has it, and the record of the session that it serves; one of the two may be missing."""

    id: str
    begun: Begun | None
    record: Record | None
    #: The session that has the record; None: none has.
    record_name: str | None
    places: Places

    @property
    def name(self) -> str:
        """What to call it on a command line."""
        return self.record_name or self.id

    @property
    def session(self) -> str | None:
        """The session that it serves, or served; None: none."""
        return self.record_name or self.request.get("session")

    @property
    def ended(self) -> float | None:
        """When it ended with nothing left."""
        return self.begun.ended if self.begun and not self.record else None

    @property
    def keeper(self) -> Mapping[str, Any]:
        """What its newest keeper wrote of itself."""
        return self.begun.keeper if self.begun else {}

    @property
    def request(self) -> Mapping[str, Any]:
        """The request as it was written down, perhaps by another version."""
        return self.keeper.get("request") or {}

    @property
    def socket(self) -> str:
        """Where its keeper listens, if it does."""
        return self.record.socket if self.record else str(self.keeper.get("socket") or "")

    @property
    def pid(self) -> int:
        """Its keeper's process; 0: unknown."""
        return self.record.pid if self.record else int(self.keeper.get("pid") or 0)

    @property
    def log(self) -> str:
        """Its keeper's log."""
        return self.record.log if self.record else self.places.log


class Seen(Struct, frozen=True, kw_only=True):
    """A run as it is now. ``held`` is what the journal says of one without a keeper; None: it was not read."""

    run: Run
    state: State
    description: protocol.Description | None = None
    held: tuple[Held, ...] | None = None
    #: Create calls whose answer is not known; they may have made more.
    unanswered: int = 0
    placed: tuple[Placed, ...] = ()
    why: str = ""

    @property
    def request(self) -> Mapping[str, Any]:
        """The run's request as plain data, by its keeper or its journal; empty: neither has it."""
        return msgspec.to_builtins(self.description.request) if self.description else self.run.request


def known_runs(journal: str | None, *, ended: bool = False) -> list[Run]:
    """Return the runs that have not ended, oldest first; with ``ended`` those too. Asks no keeper."""
    places = Places.of("", journal)
    begun: dict[str, Begun] = {}
    if Path(places.journal).exists():
        with closing(ReadJournal(Path(places.journal))) as reader:
            begun = {run.run: run for run in reader.runs(ended=ended)}
    records = {record.run: (record, name) for name, record in all_sessions().items()}
    runs = []
    for run in dict.fromkeys((*begun, *records)):
        record, name = records.get(run, (None, None))
        runs.append(Run(id=run, begun=begun.get(run), record=record, record_name=name, places=Places.of(run, journal)))
    return runs


def find(name: str, journal: str | None) -> Run:
    """Return the run that ``name`` means: one that is under way, else one that is over. Raises `Misused`."""
    runs = known_runs(journal, ended=True)
    for fits in (_is, _begins):
        for over in (False, True):
            found = [run for run in runs if (run.ended is not None) is over and fits(run, name)]
            if over and fits is _is:
                found = found[-1:]  # Sessions are begun again and again under one name.
            kept = [run for run in found if run.record]
            if len(kept) == 1 and fits is _is:
                return kept[0]
            if len(found) == 1:
                return found[0]
            if found:
                listed = ", ".join(_both_names(run) for run in found)
                raise Misused(
                    f"{name!r} may be any of {len(found)} runs: {listed}. Write more of the one that you mean"
                )
    there = ", ".join(run.name for run in runs if run.ended is None) or "none"
    raise Misused(f"no run or session is called {name!r}, or begins like it. Under way: {there} (pytest-capacity ls)")


def _is(run: Run, name: str) -> bool:
    return name in (run.id, run.session)


def _begins(run: Run, name: str) -> bool:
    return run.id.startswith(name) or bool(run.session and run.session.startswith(name))


def _both_names(run: Run) -> str:
    return f"{run.id} (session {run.session})" if run.session else run.id


def look(run: Run) -> Seen:
    """Return how a run is now. Takes `PATIENCE` seconds where its keeper hangs."""
    if run.ended is not None:
        return Seen(run=run, state="over")
    host = run.keeper.get("host")
    if host and host != platform.node():
        return Seen(run=run, state="elsewhere", why=f"its keeper is process {run.pid} on {host}")
    why = ""
    try:
        description = within(PATIENCE, lambda: describe(run))
        state = _state(description)
        held = _ending(run) if state == "ending" else None
        return Seen(run=run, state=state, description=description, placed=description.placed, held=held)
    except (TimeoutError, OtherVersion) as error:
        if is_taken(run.places.lock):
            return Seen(run=run, state="silent", why=str(error))
        if isinstance(error, TimeoutError):
            return Seen(run=run, state="starting", why=str(error))
    except CapacityError as error:
        if is_taken(run.places.lock):
            return Seen(run=run, state="ending", why=str(error), held=_ending(run))
        why = str(error)
    return _left_alone(run, why)


def _state(description: protocol.Description) -> State:
    if description.ending:
        return "ending"
    if description.owners:
        return "in use"
    return "kept" if description.kept_until is not None else "starting"


def _left_alone(run: Run, why: str) -> Seen:
    """Return a run whose keeper is gone: by the journal."""
    if run.begun is None:
        return Seen(run=run, state="over", why=why)
    run_state, held = _by_journal(run)
    unanswered = len(run_state.doubtful())
    if (not held and not unanswered) or (run_state.emulator and not _answers(run_state.emulator)):
        return Seen(run=run, state="over", held=(), why=why)
    placed = tuple(run_state.placed.values())
    return Seen(run=run, state="abandoned", held=held, unanswered=unanswered, placed=placed, why=why)


def _by_journal(run: Run) -> tuple[RunState, tuple[Held, ...]]:
    """Return what the journal says of a run, and all that it holds, databases too.

    Raises `JournalError` for a run that another version wrote.
    """
    # Only now: it takes longer to load than all the rest.
    from pytest_capacity.engine.clock import SystemClock
    from pytest_capacity.engine.run_state import RunState
    from pytest_capacity.scaling.kubedb.standing import databases_held

    try:
        with closing(ReadJournal(Path(run.places.journal))) as reader:
            run_state = RunState(reader, run.id, SystemClock())
            return run_state, (*run_state.standing(), *databases_held(reader.events(run.id)))
    except msgspec.ValidationError as error:
        raise JournalError(
            f"run {run.id}: its events in {run.places.journal} were written by another version of pytest-capacity: "
            f"{error}. Use that version to release it"
        ) from error


def _ending(run: Run) -> tuple[Held, ...] | None:
    """Return what is still held of a run that is being released; None where its journal does not know it."""
    return _by_journal(run)[1] if run.begun else None


def _answers(url: str) -> bool:
    """Return whether anything listens there: an emulator that has ended has taken all with it."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def look_at_all(runs: Sequence[Run]) -> list[Seen]:
    """Return all of them side by side, in their order."""
    seen: dict[int, Seen] = {}

    def one(number: int) -> None:
        try:
            seen[number] = look(runs[number])
        except CapacityError as error:
            seen[number] = Seen(run=runs[number], state="silent", why=str(error))

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [seen[number] for number in range(len(runs))]


def visit(run: Run) -> Connection:
    """Connect to the run's keeper. Raise `KeeperError` when it does not listen, and `OtherVersion`."""
    if not run.socket:
        raise KeeperError(f"it is not known where the keeper of run {run.id} listens")
    return Connection(run.socket, "visitor", f"pytest-capacity {os.getpid()}")


def describe(run: Run) -> protocol.Description:
    """Return what its keeper says of it."""
    with closing(visit(run)) as connection:
        return connection.call(protocol.Describe(), protocol.Description)


def is_taken(lock: str) -> bool:
    """Return whether a keeper lives that has this lock: the kernel's, which ends with its process."""
    with suppress(FileNotFoundError):
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Shared, so that two who look do not see each other.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def expect_description(seen: Seen) -> protocol.Description:
    """Return what the keeper says. Raises `KeeperError`, with what to do, for a run that has none who answers."""
    if seen.description and seen.state != "ending":
        return seen.description
    raise KeeperError(absence(seen))


def absence(seen: Seen) -> str:
    """Return why the keeper of a run cannot be reached, and what to do now."""
    run = seen.run
    if seen.state == "over":
        return f"run {run.id} is over{f', since {moment(run.ended)}' if run.ended else ''}, and holds nothing"
    remedies = {
        "abandoned": f"its keeper died. Have what it held given back: pytest-capacity release {run.name}",
        "ending": f"it is ending, and its keeper releases what it held: pytest-capacity logs -f {run.name}",
        "elsewhere": f"{seen.why}. Ask there",
        "starting": "it is being started. Try again in a moment",
    }
    silent = f"its keeper (process {run.pid}) does not answer: {seen.why}. Its log: {run.log}"
    return f"run {run.id}: {remedies.get(seen.state, silent)}"
