"""One run's engine: walks the ladder, hands over what stands, renews it, gives it back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from pytest_capacity import ladder
from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.account import Account
from pytest_capacity.engine.alarm import Alarm
from pytest_capacity.engine.asking import asked
from pytest_capacity.engine.attempt import Attempter, AttemptFailed
from pytest_capacity.engine.book import Book
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.ends import Ends, ends_of, standing
from pytest_capacity.engine.halt import Halt
from pytest_capacity.engine.leases import LEASE, Leases
from pytest_capacity.engine.make import FIRST_PAUSE, LAST_PAUSE, Maker
from pytest_capacity.engine.reach import Reach
from pytest_capacity.engine.refusal import refused
from pytest_capacity.engine.release import Releaser, Scope
from pytest_capacity.errors import Cancelled, CapacityError, Exhausted, Refused, TimedOut
from pytest_capacity.model import (
    Attempt,
    Diagnosis,
    Held,
    Identity,
    Offer,
    Order,
    Placed,
    Placement,
    Receipt,
    Request,
    Unread,
)

T = TypeVar("T")

#: Calls in flight at once.
WIDTH: Final = 32

#: How long the first reads of a run are tried again while the cloud only says "not now". Seconds.
READING: Final = 60.0

#: How long the hand-over waits for the release of failed rungs to be accepted. Seconds.
HAND_OVER: Final = 60.0


class Engine:
    """Everything that one run does in one cloud. Methods block, and may be called from several threads."""

    def __init__(
        self, request: Request, backend: Backend, book: Book, clock: Clock, reach: Reach | None = None
    ) -> None:
        self.request = request
        self.book = book
        self._backend = backend
        self._clock = clock
        self._pool = ThreadPoolExecutor(WIDTH, "capacity-call")
        self._chores = ThreadPoolExecutor(WIDTH, "capacity-chore")
        self._abandoned: list[tuple[Scope, Future[bool]]] = []
        self._offers: dict[str, Future[Sequence[Offer]]] = {}
        self._topology_locks = {name: threading.Lock() for name in request.topologies}
        self._failures: dict[str, CapacityError] = {}
        self._refusals: dict[int, AttemptFailed] = {}
        self._lock = threading.Lock()
        #: Set: stop provisioning, at the next boundary between calls.
        self.stop = threading.Event()
        maker = Maker(backend, book, clock)
        self._alarm = Alarm(backend, book, request.prices, self.ends)
        self._account = Account(backend, book, clock, self._alarm, request.aws.account)
        self._leases = Leases(backend, book, clock, self._pool, self._alarm)
        self._reach = reach or Reach(request, backend.default_user)
        self._attempter = Attempter(backend, book, clock, maker, self._pool, self._reach)
        self._releaser = Releaser(backend, book, clock, maker, self._pool, self._alarm)

    @property
    def hard_end(self) -> float:
        """When everything must be gone."""
        return self.book.hard_end or self._began + self.request.duration_s

    @property
    def limit(self) -> float:
        """How far `extend` can move the hard end; the end that a node has in itself, which nothing moves, is this."""
        return self._began + max(self.request.limit_s, self.request.duration_s)

    @property
    def _began(self) -> float:
        return self.book.started or self._clock.now()

    def extend(self, until: float) -> None:
        """Let the run last until then. Raises `Refused` beyond the limit, and `JournalError`."""
        if until > self.limit + 1:
            raise Refused(
                f"the run cannot last until {_moment(until)}: its limit is {_moment(self.limit)}, "
                "by which its nodes end themselves. Extend it less, or give a later run a longer limits.duration"
            )
        if until > self.hard_end:
            self.book.intend("extended", data={"hard_end": until})

    def resume(self) -> None:
        """Another owner has come before the end: provision again, and try again what failed."""
        with self._lock:
            self._failures.clear()
        if self.stop.is_set():
            self.stop.clear()
            self._take_up()  # An attempt that was cut short had left its release to the end of the run.

    def console(self, identifier: str) -> str:
        """What a node wrote to its console. Raises `Refused` with the cloud's words, or for what is no node of ours."""
        held = next((held for held in self.book.held() if held.id == identifier and held.kind == "node"), None)
        if held is None:
            raise Refused(f"{identifier} is no node that run {self.book.run} holds")
        said = asked(self._backend, lambda: self._backend.console(held))
        if isinstance(said, Diagnosis):
            raise refused(f"asked for the console output of {identifier}", self._backend.name, said)
        return said

    def open(self) -> Identity:
        """Look up the account and, beside it, what the zones offer; pins the account. Raises `Refused`."""
        for name in self.request.topologies:
            self.read_ahead(name)
        halt = Halt(self._clock, self.stop, self._clock.now() + READING, "the cloud did not say who we are")
        identity = self._read(self._backend.whoami, halt)
        if isinstance(identity, Diagnosis):
            raise refused("asked the cloud who we are", self._backend.name, identity)
        stranger = self._account.pin(identity)
        if stranger:
            raise Refused(f"{stranger}. Nothing was created. Use the credentials of that account")
        self._take_up()
        return identity

    def _read(self, read: Callable[[], T], halt: Halt) -> T | Diagnosis:
        """Read, again and again while the cloud only says "not now"; at ``halt`` what it said last."""
        pause = FIRST_PAUSE
        while True:
            answer = asked(self._backend, read)
            if not isinstance(answer, Diagnosis) or answer.step not in ("back-off", "ask-again"):
                return answer
            try:
                halt.wait(self._clock.jitter(pause))
            except TimedOut:
                return answer
            pause = min(pause * 2, LAST_PAUSE)

    def provision(self, name: str, *, launch: bool = True) -> Placed:
        """Place a topology, or give back where it stands. Callers at the same time share one provisioning.

        Raises `Exhausted`, `Refused`, `TimedOut`, `Cancelled` or `JournalError`; the same again to whoever asks later.
        """
        if name not in self.request.topologies:
            known = ", ".join(sorted(self.request.topologies))
            raise Refused(f"no topology is called {name!r}; the configuration has: {known}")
        with self._topology_locks[name]:
            if self.stop.is_set():
                raise Cancelled("the run is ending, so nothing more is provisioned")
            if name in self.book.placed:
                return self.book.placed[name]
            if name in self._failures:
                raise self._failures[name]
            try:
                return self._place(name, launch)
            except CapacityError as error:
                self._failures[name] = error
                raise

    def _place(self, name: str, launch: bool) -> Placed:
        limit = f"provisioning {name!r} took longer than {self.request.timeout_s:g} s (--capacity-timeout)"
        halt = Halt(self._clock, self.stop, self._clock.now() + self.request.timeout_s, limit)
        tried: list[Attempt] = []
        unfinished = self.book.orders.get(name)
        if unfinished:
            placed = self._try(unfinished, halt, tried)
            if placed:
                return self._hand_over(placed)
            if tried[-1].outcome == "failed":
                raise self._refused_attempt(tried[-1])
        offers = self._read_offers(name, halt)
        for offer in self._rungs(offers):
            halt.check()
            placed = self._try(self._order(name, offer, launch), halt, tried)
            if placed is None and tried[-1].outcome == "quota" and self._settle_abandoned(halt):
                placed = self._try(self._order(name, offer, launch), halt, tried)
            if placed:
                return self._hand_over(placed)
            if tried[-1].outcome != "no-capacity":
                raise self._refused_attempt(tried[-1])
        raise Exhausted(self._exhausted(name, tried))

    def _try(self, order: Order, halt: Halt, tried: list[Attempt]) -> Placed | None:
        """One rung. Appends what came of it to ``tried``; what a failed one holds is on its way out by then."""
        if self.book.orders.get(order.topology.name) != order:
            self.book.intend("attempt-started", data={"order": order, **_where(order)})
        began = self._clock.now()
        outcome, diagnosis = "cancelled", Diagnosis("stop", "cancelled")
        placed = None
        try:
            placed = self._attempter.attempt(order, halt)
            outcome, diagnosis = "placed", Diagnosis("stop", "placed")
        except AttemptFailed as failure:
            diagnosis, self._refusals[order.attempt] = failure.diagnosis, failure
            outcome = "no-capacity" if diagnosis.step == "move-on" else "failed"
            outcome = "quota" if diagnosis.kind.endswith("quota") and outcome == "failed" else outcome
        except CapacityError as error:
            diagnosis = Diagnosis("stop", "cancelled", type(error).__name__, str(error))
            raise
        finally:
            attempt = Attempt(
                number=order.attempt,
                topology=order.topology.name,
                region=order.placement.region,
                zone=order.placement.zone,
                started=began,
                seconds=self._clock.now() - began,
                outcome=outcome,
                code=diagnosis.code,
                words=diagnosis.words,
            )
            tried.append(attempt)
            self.book.note("attempt-ended", data={"attempt": attempt, **_where(order), **_came_to(attempt)})
            if placed is None:
                self._abandon(order)
        return placed

    def _abandon(self, order: Order) -> None:
        self._abandon_all([f"{order.topology.name}/{order.attempt}/"])

    def _abandon_all(self, prefixes: Iterable[str]) -> None:
        """Release what attempts left behind, beside whatever comes next, until the run's own release takes over."""
        with self._lock:
            self._abandoned = [(old, work) for old, work in self._abandoned if not work.done() or old.held()]
            for scope in (Scope(self.book, prefix) for prefix in prefixes):
                if (scope.held() or scope.doubts()) and not self.stop.is_set():
                    work = self._chores.submit(self._releaser.release, scope, self.stop.is_set, self.stop)
                    self._abandoned.append((scope, work))

    def _take_up(self) -> None:
        """What an earlier keeper of this run was releasing is released on."""
        standing = {f"{placed.topology}/{placed.attempt}" for placed in self.book.placed.values()}
        standing |= {f"{order.topology.name}/{order.attempt}" for order in self.book.orders.values()}
        subjects = [held.subject for held in self.book.held()] + [piece.subject for piece in self.book.doubtful()]
        attempts = {"/".join(subject.split("/")[:2]) for subject in subjects}
        self._abandon_all(f"{attempt}/" for attempt in sorted(attempts - standing))

    def _settle_abandoned(self, halt: Halt) -> bool:
        """Wait for the releases under way, since they still count against a quota; whether there were any."""
        with self._lock:
            waiting = [work for _, work in self._abandoned if not work.done()]
        for work in waiting:
            while not work.done():
                halt.wait(0.1)
        return bool(waiting)

    def _hand_over(self, placed: Placed) -> Placed:
        """Wait until the failed rungs' things are on their way out, then let the tests have the nodes (rule 5)."""
        self.book.note("placed", data={"placed": placed, "zone": placed.zone, "region": placed.region})
        halt = Halt(self._clock, self.stop, self._clock.now() + HAND_OVER)
        try:
            while not all(scope.accepted() for scope, _ in self._abandoned):
                halt.wait(0.05)
        except TimedOut:
            self.book.trouble("a failed attempt's things are not released yet; this is tried on beside the tests")
        return placed

    def read_ahead(self, name: str) -> Future[Sequence[Offer]]:
        """What the zones offer to a topology; read once, on a thread of its own."""
        with self._lock:
            if name not in self._offers:
                region, topology = self.request.regions[0], self.request.topologies[name]
                self._offers[name] = self._chores.submit(self._backend.offers, region, topology)
            return self._offers[name]

    def _read_offers(self, name: str, halt: Halt) -> Sequence[Offer]:
        def read() -> Sequence[Offer]:
            try:
                return self.read_ahead(name).result()
            except Exception:
                with self._lock:
                    self._offers.pop(name, None)  # The next time is another read.
                raise

        offers = self._read(read, halt)
        if isinstance(offers, Diagnosis):
            raise refused("asked the cloud what its zones offer", self._backend.name, offers)
        return offers

    def _rungs(self, offers: Sequence[Offer]) -> list[Offer]:
        wanted = self.request.zones
        missing = ladder.unknown(wanted, offers)
        if missing and offers:
            known = ", ".join(offer.zone for offer in offers)
            raise Refused(
                f"zones {', '.join(missing)} are not in {self.request.regions[0]} for this account; it has: {known}. "
                "Nothing was created. Correct zones: or --capacity-zone"
            )
        rungs = ladder.rungs(wanted, offers)
        if not rungs:
            reasons = "; ".join(f"{offer.zone}: {offer.why}" for offer in ladder.chosen(wanted, offers))
            raise Exhausted(f"no zone of {self.request.regions[0]} can take this topology: {reasons or 'it has none'}")
        return rungs

    def _order(self, name: str, offer: Offer, launch: bool) -> Order:
        return Order(
            run=self.request.run,
            project=self.request.project,
            topology=self.request.topologies[name],
            placement=Placement(offer.region, offer.zone),
            attempt=self.book.next_attempt(),
            lease_end=min(self._clock.now() + LEASE, self.hard_end),
            hard_end=self.limit,
            launch=launch,
            nonce=self.book.nonce,
            facts={**offer.facts, **(self._reach.facts if launch else {})},
        )

    def _exhausted(self, name: str, tried: Sequence[Attempt]) -> str:
        zones = ", ".join(f"{attempt.zone} ({attempt.code})" for attempt in tried)
        return (
            f"no capacity for topology {name!r}: {zones or 'no zone was tried'}. "
            "Add zones, name other instance types, or try later; the attempts stand in the summary"
        )

    def _refused_attempt(self, attempt: Attempt) -> Refused:
        failure = self._refusals[attempt.number]
        asked = f"asked for topology {attempt.topology!r} in {attempt.zone}"
        return refused(asked, self._backend.name, failure.diagnosis, failure.piece)

    def mind_credentials(self) -> None:
        """Once the known end of the credentials is past, see whether they still work. Quick; call it every second."""
        if not self.stop.is_set() and self._account.has_ended():
            self._chores.submit(self._account.look_again)

    def renew(self) -> None:
        """Extend what is past half of its lease. Call it every minute or so."""
        self._leases.renew(self.hard_end)

    def release(self, until: Callable[[], bool]) -> Receipt:
        """Stop, give everything back, and say what the cloud still lists.

        Returns when nothing is left or ``until`` says so, and may be called again to go on with what was left.
        """
        self.stop.set()
        for lock in self._topology_locks.values():
            with lock:
                pass  # The call in flight is finished first.
        with self._lock:
            under_way = [work for _, work in self._abandoned]
        wait(under_way)
        if not self.book.regions:
            return self._receipt(self.book, ())
        if not self._account.is_ours(until):
            why = "these credentials are not known to be of this run's account"
            return self._receipt(self.book, tuple(Unread(region, "everything", why) for region in self.book.regions))
        self._releaser.release(Scope(self.book), until)
        return self._receipt(self.book, self._releaser.unread)

    def _receipt(self, book: Book, unread: tuple[Unread, ...]) -> Receipt:
        """What the last listing left."""
        left = tuple(standing(book))
        # What another run holds ends at that run's hard end, which nobody here knows.
        ends = self.ends(left) if book is self.book else Ends(None, ())
        return Receipt(
            run=book.run,
            left=left,
            unread=unread,
            unanswered=len(book.doubtful()),
            regions=tuple(sorted(book.regions)),
            attempts=tuple(book.attempts),
            placed=tuple(book.placed.values()),
            until=ends.until,
            endless=ends.endless,
            by_hand=tuple(self._backend.by_hand(left)),
            troubles=tuple(book.troubles),
            asked=bool(book.regions),
        )

    def ends(self, helds: Sequence[Held]) -> Ends:
        """When these, and what unanswered create calls may have made, are gone though nobody removes them."""
        return ends_of(self._backend, [*helds, *self.book.doubtful()], self.limit)

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """The commands with which a person removes these."""
        return self._backend.by_hand(helds)

    def cancel_other(self, run: str, patience: float) -> Receipt:
        """Release whatever bears the whole stamp of another run, in every region of the account."""
        book = self.book.of(run)
        book.regions.update(self._backend.regions())
        maker = Maker(self._backend, book, self._clock)
        releaser = Releaser(self._backend, book, self._clock, maker, self._pool, self._alarm)
        until = self._clock.now() + patience
        releaser.release(Scope(book), lambda: self._clock.now() > until)
        return self._receipt(book, releaser.unread)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._chores.shutdown(wait=False, cancel_futures=True)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _where(order: Order) -> dict[str, object]:
    return {
        "topology": order.topology.name,
        "region": order.placement.region,
        "zone": order.placement.zone,
        "number": order.attempt,
    }


def _came_to(attempt: Attempt) -> dict[str, object]:
    return {
        "outcome": attempt.outcome,
        "seconds": attempt.seconds,
        "code": attempt.code,
        "words": attempt.words,
    }
