"""One run's engine: walks the ladder, hands over what stands, renews it, gives it back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends import provider
from pytest_capacity.backends.base import Backend
from pytest_capacity.backends.wording import wording
from pytest_capacity.engine.abandoned import Abandoned
from pytest_capacity.engine.advice import NO_ADVICE, Advice
from pytest_capacity.engine.alter import Alterer
from pytest_capacity.engine.attempt import Attempter
from pytest_capacity.engine.calls import asked, refused
from pytest_capacity.engine.climb import Climber, subjects
from pytest_capacity.engine.clock import Clock, Deadline
from pytest_capacity.engine.credentials import Account, CredentialWatch, Expiry, who_we_are
from pytest_capacity.engine.leases import LEASE, Leases
from pytest_capacity.engine.make import Maker
from pytest_capacity.engine.offers import READING, OfferReader
from pytest_capacity.engine.preemption import Preemption, lost, mended, part_of
from pytest_capacity.engine.reach import Reach
from pytest_capacity.engine.release import Releaser, Scope
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Cancelled, CapacityError, Refused, TimedOut
from pytest_capacity.model import Diagnosis, Held, Identity, Piece, Placed, Receipt, Request, Topology, Unread
from pytest_capacity.text import moment

#: Calls in flight at once.
WIDTH: Final = 32

#: How long the hand-over waits for the release of failed rungs to be accepted. Seconds.
HAND_OVER: Final = 60.0

#: How long after the run's limit the release of what cannot be read is tried on. Seconds.
UNREAD_MARGIN: Final = 3600.0

#: How long after the run's limit the release of what nothing ends is tried on, before it is left to a person. Seconds.
ENDLESS_MARGIN: Final = 24 * 3600.0


class Engine:
    """Everything that one run does in one cloud. Methods block, and may be called from several threads."""

    def __init__(
        self,
        request: Request,
        backend: Backend,
        run_state: RunState,
        clock: Clock,
        reach: Reach | None = None,
        advice: Advice = NO_ADVICE,
        emulator: Callable[[], str] = str,
    ) -> None:
        """Make the collaborators. ``emulator`` is the emulator at the endpoint; "" where there is none."""
        self.request = request
        self.run_state = run_state
        run_state.worded = wording(request)
        self.backend = backend
        self._clock = clock
        #: Create calls have threads of their own: one that is refused for now waits on its thread, and releases and
        #: renewals, which share the other pool, must not wait for it.
        self._creates = ThreadPoolExecutor(WIDTH, "capacity-create")
        self._pool = ThreadPoolExecutor(WIDTH, "capacity-call")
        self._chores = ThreadPoolExecutor(WIDTH, "capacity-chore")
        self._topology_locks = {name: threading.Lock() for name in request.topologies}
        self._failures: dict[str, CapacityError] = {}
        self._lock = threading.Lock()
        #: Set: stop provisioning, at the next boundary between calls.
        self.stop = threading.Event()
        #: Set: the account is known, and what an earlier keeper was releasing is released on.
        self.opened = threading.Event()
        maker = Maker(backend, run_state, clock)
        self._credentials = CredentialWatch(backend, run_state, request.prices, self.ends)
        self._account = Account(
            backend, run_state, clock, self._credentials, provider(request.backend).account_setting(request)
        )
        self._leases = Leases(backend, run_state, clock, self._pool, self._credentials)
        reach = reach or Reach(request, backend.default_user)
        #: What every order that launches must know.
        self.facts: Mapping[str, str] = reach.facts
        attempter = Attempter(backend, run_state, clock, maker, self._creates, reach, advice)
        self._releaser = Releaser(backend, run_state, clock, maker, self._pool, self._credentials)
        #: Changes what stands, for `pytest_capacity.scaling.nodes`.
        self.alterer = Alterer(backend, run_state, clock, attempter, self._releaser, self._topology_locks, self.stop)
        self._abandoned = Abandoned(self._releaser, run_state, self._chores, self.stop, backend.leftovers)
        self.offers = OfferReader(request, backend, run_state, clock, self._chores)
        self.preemption = Preemption(backend, run_state, clock, ask_nodes=not request.emulated)
        self._climber = Climber(
            request,
            backend,
            run_state,
            clock,
            attempter,
            self._abandoned,
            self.offers,
            lambda: self.hard_end,
            lambda: self.limit,
            reach.facts,
            advice,
            emulator,
        )

    @property
    def hard_end(self) -> float:
        """Return when everything must be gone."""
        return self.run_state.hard_end or self._began + self.request.duration_s

    @property
    def limit(self) -> float:
        """Return the latest hard end that `extend` can set: the end that a node has in itself, which nothing moves."""
        return self._began + max(self.request.limit_s, self.request.duration_s)

    @property
    def _began(self) -> float:
        return self.run_state.started or self._clock.now()

    @property
    def over_at(self) -> float:
        """Return when to begin the release: at the hard end, or earlier where a lease cannot be extended to it."""
        return self._leases.over_at(self.hard_end)

    def extend(self, until: float) -> None:
        """Extend the run to that time. Raises `Refused` beyond the limit, and `JournalError`."""
        if until > self.limit + 1:
            raise Refused(
                f"the run cannot last until {moment(until)}: its limit is {moment(self.limit)}, "
                "by which its nodes end themselves. Extend it less, or give a later run a longer limits.duration"
            )
        if until > self.hard_end:
            self.run_state.intend("extended", data={"hard_end": until})

    def resume(self) -> None:
        """Provision again, and try again what failed: another owner has come before the end."""
        with self._lock:
            self._failures.clear()
        if self.stop.is_set():
            self.stop.clear()
            self._take_up()  # An attempt that was cut short had left its release to the end of the run.

    def console(self, identifier: str) -> str:
        """Return what a node wrote to its console. Raise `Refused` with the cloud's words, or for a foreign node."""
        held = next((held for held in self.run_state.held() if held.id == identifier and held.kind == "node"), None)
        if held is None:
            raise Refused(f"{identifier} is no node that run {self.run_state.run} holds")
        said = asked(self.backend, lambda: self.backend.console(held))
        if isinstance(said, Diagnosis):
            raise refused(f"asked for the console output of {identifier}", self.backend.name, said)
        return said

    def open(self) -> Identity:
        """Look up the account and, beside it, what the zones offer; pin the account. Raises `Refused`."""
        for name in self.request.topologies:
            self.offers.ahead(name)
        deadline = Deadline(self._clock, self.stop, READING)
        identity = who_we_are(self.request, self.backend, self._clock, deadline)
        self._account.pin(identity)
        self._take_up()
        self.opened.set()
        return identity

    def provision(self, name: str, *, launch: bool = True) -> Placed:
        """Place a topology, or give back where it stands. Callers at the same time share one provisioning.

        Raises `Exhausted`, `Refused`, `TimedOut`, `Cancelled` or `JournalError`; the same again at each later call.
        """
        if name not in self.request.topologies:
            known = ", ".join(sorted(self.request.topologies))
            raise Refused(f"no topology is called {name!r}; the configuration has: {known}")
        with self._topology_locks[name]:
            if self.stop.is_set():
                raise Cancelled("the run is ending, so nothing more is provisioned")
            if name in self.run_state.placed:
                return self.run_state.placed[name]
            if name in self._failures:
                raise self._failures[name]
            try:
                deadline = self._deadline(f"provisioning {name!r}")
                return self._hand_over(self._climber.place(name, launch, deadline))
            except CapacityError as error:
                self._failures[name] = error
                raise

    def _deadline(self, work: str) -> Deadline:
        limit = f"{work} took longer than {self.request.timeout_s:g} s (--capacity-timeout)"
        return Deadline(self._clock, self.stop, self.request.timeout_s, limit)

    def _take_up(self) -> None:
        """Release on what an earlier keeper of this run was releasing."""
        orders = [*self.run_state.orders.values(), *itertools.chain(*self.run_state.fulfilled.values())]
        # What an alteration has made is its own to use or to remove.
        orders += [one.order for one in list(self.run_state.alterations.values()) if one.order]
        placed = self.run_state.placed.values()
        ids = {node.id for one in placed for nodes in one.nodes.values() for node in nodes}
        ids |= {reservation.id for one in placed for reservation in one.reservations}
        standing = {held.subject for held in self.run_state.held() if held.id in ids}
        self._abandoned.take_up(orders, lambda order: subjects(self.backend, order), standing)

    def _hand_over(self, placed: Placed) -> Placed:
        """Wait until the failed rungs' things are on their way out, then let the tests have the nodes (rule 5)."""
        self.run_state.note("placed", data={"placed": placed, "zone": placed.zone, "region": placed.region})
        deadline = Deadline(self._clock, self.stop, HAND_OVER)
        try:
            while not self._abandoned.accepted():
                deadline.wait(0.05)
        except TimedOut:
            self.run_state.trouble("a failed attempt's things are not released yet; this is tried on beside the tests")
        return placed

    def watch_preemption(self) -> bool:
        """Look at the spot nodes, and replace those taken back, where configured. Return whether anything changed."""
        before = self._standing()
        self.preemption.look()
        if self.request.on_preempt == "replace":
            for name in list(self.run_state.placed):
                if lost(self.run_state, name) and not self.stop.is_set():
                    self._replace(name)
        return self._standing() != before

    def _standing(self) -> tuple[object, ...]:
        # Suspects too: tests that wait for a node that could not be replaced must be notified.
        return len(self.run_state.preempted), len(self.run_state.suspects), list(self.run_state.placed.values())

    def _replace(self, name: str) -> None:
        with self._topology_locks[name]:
            missing = lost(self.run_state, name)
            if not missing:
                return
            placed = self.run_state.placed[name]
            deadline = self._deadline(f"replacing nodes of {name!r}")
            try:
                part = self._climber.place_beside(placed, part_of(self._as_it_stands(name), missing), deadline)
            except Cancelled:
                return
            except CapacityError as error:
                ids = [node.id for nodes in missing.values() for node in nodes]
                self.run_state.note("suspect", name, {"ids": ids})
                self.run_state.trouble(f"nodes that were taken back could not be replaced: {error}")
                return
            self._hand_over(mended(placed, missing, part))

    def _as_it_stands(self, name: str) -> Topology:
        """Return a topology with the instance types that its groups were given while they stood."""
        topology = self.request.topologies[name]
        types = self.run_state.types
        groups = (
            replace(group, instance_type=types[name, group.name], alternatives=())
            if (name, group.name) in types
            else group
            for group in topology.groups
        )
        return replace(topology, groups=tuple(groups))

    def lease_end(self) -> float:
        """Return until when the first lease of what is made now runs."""
        return min(self._clock.now() + LEASE, self.hard_end)

    def watch_credentials(self) -> None:
        """Check whether the credentials still work once their known end is past. Quick; call it every second."""
        if not self.stop.is_set() and self._account.has_ended():
            self._chores.submit(self._account.look_again)

    def renew(self) -> None:
        """Extend what is past half of its lease. Call it every minute or so."""
        self._leases.renew(self.hard_end)

    def release(self, until: Callable[[], bool]) -> Receipt:
        """Stop, release everything, and return what the cloud still lists.

        Returns when nothing is left or ``until`` returns True, and may be called again to go on with what was left.
        """
        self.stop.set()
        for lock in self._topology_locks.values():
            with lock:
                pass  # The call in flight is finished first.
        wait(self._abandoned.under_way())
        wait(self.alterer.under_way())
        if not self.run_state.regions:
            return self._receipt(self.run_state, ())
        if not self._account.is_ours(until):
            why = "these credentials are not known to be of this run's account"
            return self._receipt(
                self.run_state, tuple(Unread(region, "everything", why) for region in self.run_state.regions)
            )
        self._releaser.release(Scope(self.run_state), until)
        return self._receipt(self.run_state, self._releaser.unread)

    def _receipt(self, run_state: RunState, unread: tuple[Unread, ...]) -> Receipt:
        """Return what the last listing left."""
        left = run_state.standing()
        # What another run holds ends at that run's hard end, which is not known here.
        ends = self.ends(left) if run_state is self.run_state else Expiry(None, ())
        return Receipt(
            run=run_state.run,
            left=left,
            unread=unread,
            unanswered=len(run_state.doubtful()),
            regions=tuple(sorted(run_state.regions)),
            changes=tuple(run_state.changes),
            attempts=tuple(run_state.attempts),
            placed=tuple(run_state.placed.values()),
            until=ends.until,
            endless=ends.endless,
            by_hand=tuple(self.backend.by_hand(left)),
            troubles=tuple(run_state.troubles),
            asked=bool(run_state.regions),
        )

    def ends(self, helds: Sequence[Held]) -> Expiry:
        """Return when these, and what unanswered create calls may have made, are gone at the latest by themselves."""
        things: list[Held | Piece] = [*helds, *self.run_state.doubtful()]
        ends = [(thing, self.backend.ends(thing, self.limit)) for thing in things]
        return Expiry(
            until=max((end for _, end in ends if end is not None), default=None),
            endless=tuple(thing.id for thing, end in ends if end is None and isinstance(thing, Held)),
        )

    def give_up_at(self) -> float:
        """Return when releasing can have no more effect: all that may be left has ended by itself, or never will.

        What could not be read ends like a known node: at the limit, at a cloud's own pace.
        """
        held = self.run_state.held()
        ends = self.ends(held)
        latest = max(ends.until or 0.0, self.limit + UNREAD_MARGIN)
        return max(latest, self.limit + ENDLESS_MARGIN) if ends.endless else latest

    def cancel_other(self, run: str, patience: float) -> Receipt:
        """Release what bears the whole stamp of another run, in every region of the account.

        Raises `Refused` where the cloud does not say which regions these are.
        """
        regions = asked(self.backend, self.backend.regions)
        if isinstance(regions, Diagnosis):
            raise refused("asked which regions the account may use", self.backend.name, regions)
        run_state = self.run_state.of(run)
        run_state.regions.update(regions)
        maker = Maker(self.backend, run_state, self._clock)
        releaser = Releaser(self.backend, run_state, self._clock, maker, self._pool, self._credentials)
        until = self._clock.now() + patience
        releaser.release(Scope(run_state), lambda: self._clock.now() > until)
        return self._receipt(run_state, releaser.unread)

    def close(self, *, wait: bool = False) -> None:
        """Release the threads; with ``wait``, once the calls under way have ended."""
        for pool in (self._creates, self._pool, self._chores):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._creates, self._pool, self._chores) if wait else ():
            pool.shutdown(wait=True)
