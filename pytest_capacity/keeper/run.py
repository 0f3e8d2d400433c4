"""What a keeper keeps: the run's lock, journal, engine and loans, opened once an owner says what the run wants."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock, Timeout
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.engine import Engine
from pytest_capacity.engine.book import Book
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.ends import standing
from pytest_capacity.errors import JournalError, KeeperError
from pytest_capacity.journal import Entry, Journal, LostJournal
from pytest_capacity.keeper import emulated
from pytest_capacity.keeper.loans import Loans
from pytest_capacity.keeper.places import Places, prune
from pytest_capacity.keeper.protocol import COMING_BACK, Holding, Start
from pytest_capacity.model import Identity, Placed, Receipt, Request

#: A capacity reservation ends up to an hour after its end date (EC2 User Guide, CreateCapacityReservation).
SLOP: Final = 3600.0


#: How much longer than it looks for us we wait for a borrower. Seconds.
GRACE: Final = 10.0


class Run:
    """One run, as its keeper holds it."""

    def __init__(self, engine: Engine, book: Book, journal: Journal, lock: FileLock, clock: Clock) -> None:
        self._engine = engine
        self._book = book
        self._journal = journal
        self._lock = lock
        self._clock = clock
        self._identity: Future[Identity] = Future()
        self._returning = {borrower: time.monotonic() for borrower in {loan.borrower for loan in book.loans.values()}}
        self.loans = Loans(book)

    @staticmethod
    def open(call: Start, places: Places, owner: int, clock: Clock, push: Callable[[Entry], None]) -> Run:
        """Take the run's lock, open its journal, import the SDK. No cloud call is waited for.

        The first keeper of a run begins it; what an earlier run of the same id left behind is released beside it. A
        later keeper adopts what the one before it held, even where the journal cannot be used any more: then it can
        only release what the cloud lists. Raises `JournalError` (and then nothing is ever created), `KeeperError` when
        another keeper has the run, and `ConfigError` when the SDK is missing.
        """
        request = call.request
        adopts = call.deaths > 0
        lock = _take(places.lock, request.run)
        prune(places, clock.now())
        try:
            journal = Journal(Path(places.journal))
            book = Book(journal, request.run, clock)
        except JournalError as error:
            if not adopts:
                raise
            journal = LostJournal(error)
            book = Book(journal, request.run, clock)
        book.listen(push)
        if adopts and (book.live or journal.set_aside):
            book.note("adopted", data=_who(request, book, clock))
        else:
            book.intend("run-started", data=_who(request, book, clock))
        if journal.aside:
            book.trouble(
                f"the journal {places.journal} was damaged, and is kept as {journal.aside.name} beside it; "
                "what it knew is looked up in the cloud"
            )
        if adopts or journal.set_aside:
            # What a keeper that died wrote last may be lost; a listing finds what it made.
            book.regions.update(request.regions)
        if request.emulated and request.endpoint is None:
            if book.emulator is None:
                book.note("emulator", data={"url": emulated.start(owner, call.scenario, places.log)})
            request = replace(request, endpoint=book.emulator)
        engine = Engine(request, open_backend(request), book, clock)
        run = Run(engine, book, journal, lock, clock)
        threading.Thread(target=run._look_up, name="capacity-identity", daemon=True).start()
        return run

    @staticmethod
    def orphaned(name: str, places: Places, clock: Clock, push: Callable[[Entry], None]) -> Run | None:
        """The run of this id that an earlier keeper held and that nobody has ended; None if there is none."""
        if not Path(places.journal).exists():
            return None
        journal = Journal(Path(places.journal))
        try:
            request = Book(journal, name, clock).request
        finally:
            journal.close()
        if request is None:
            return None
        call = Start(request=msgspec.convert(request, Request), deaths=1)
        return Run.open(call, places, os.getpid(), clock, push)

    def _look_up(self) -> None:
        try:
            self._identity.set_result(self._engine.open())
        except BaseException as error:  # noqa: BLE001 - handed on, whole, to whoever asks.
            self._identity.set_exception(error)

    def identity(self) -> Identity:
        """The account; waits until it is known. Raises `Refused` when the cloud does not know us."""
        return self._identity.result()

    def ask(self, topology: str, *, launch: bool = True) -> Placed:
        """Provision; nothing is created before the account is known."""
        self.identity()
        return self._engine.provision(topology, launch=launch)

    def chores(self, present: set[str]) -> None:
        """Keep the leases. After an adoption, borrowers that are not ``present`` again in time are given up."""
        self._engine.renew()
        for borrower, since in list(self._returning.items()):
            if borrower in present:
                del self._returning[borrower]
            elif time.monotonic() - since > COMING_BACK + GRACE:
                del self._returning[borrower]
                self.loans.borrower_gone(borrower, suspect=True)

    def mind_credentials(self) -> None:
        """Notice that the credentials have ended. Quick."""
        self._engine.mind_credentials()

    def past_hard_end(self) -> bool:
        """Whether the run's time is over."""
        return self._clock.now() >= self._engine.hard_end

    def holding(self) -> Holding:
        """What is held, by the journal."""
        helds = tuple(standing(self._book))
        ends = self._engine.ends(helds)
        return Holding(
            held=helds,
            until=ends.until,
            endless=ends.endless,
            by_hand=tuple(self._engine.by_hand(helds)),
            unanswered=len(self._book.doubtful()),
        )

    def stop(self) -> None:
        """Provision nothing more, from the next boundary between calls on."""
        self._engine.stop.set()

    def release(self, until: Callable[[], bool]) -> Receipt:
        """Give everything back."""
        self.loans.close()
        return self._engine.release(until)

    @property
    def patience(self) -> float:
        """How long a release is waited for, before it is told what is left. Seconds."""
        return self._engine.request.release_timeout_s

    def cancel_other(self, run: str) -> Receipt:
        """Find and release what another run left (the seeds' ``cancel_all_regions``)."""
        self.identity()
        return self._engine.cancel_other(run, self.patience)

    def all_expired(self) -> bool:
        """Whether the cloud has ended by itself whatever we could not release."""
        return self._clock.now() > self._engine.hard_end + SLOP

    def close(self, receipt: Receipt) -> None:
        """Write the run's end, and let go of journal and lock."""
        self._book.note("run-ended", data={"left": len(receipt.left) + len(receipt.unread) + receipt.unanswered})
        self._engine.close()
        self._journal.close()
        self._lock.release()


def _take(path: str, run: str) -> FileLock:
    """The run's lock, for as long as this process lives."""
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=5)
    except Timeout:
        raise KeeperError(
            f"run {run!r} has a keeper already (its lock {path} is taken). Give this run another test_id, or wait"
        ) from None
    except OSError as error:
        raise JournalError(f"the lock {path} cannot be taken: {error}. Make its directory writable") from error
    return lock


def _who(request: Request, book: Book, clock: Clock) -> dict[str, object]:
    return {
        "run": request.run,
        "project": request.project,
        "pid": os.getpid(),
        "host": platform.node(),
        "boot": _boot_id(),
        "started": clock.now(),
        "nonce": secrets.token_hex(6),
        "request": request,
    }


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""  # macOS: the lock alone tells.
