"""The steps by which what stands is changed; `pytest_capacity.scaling.nodes` chooses them and their order.

Each may be taken again by the next keeper after a crash in its middle: what is set are absolute values, what is made
has its intent and its token, and what is removed is gone or requested once more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.attempt import Attempter, AttemptFailed, reservation_of
from pytest_capacity.engine.calls import asked, refused
from pytest_capacity.engine.clock import Clock, Deadline, poll_pause
from pytest_capacity.engine.make import FIRST_PAUSE, LAST_PAUSE, YOUNG
from pytest_capacity.engine.release import Releaser, Scope
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import CapacityError, Refused
from pytest_capacity.model import Change, Diagnosis, Held, HeldKey, Order, Placed, Topology

T = TypeVar("T")

#: In so many looks one after the other the cloud must leave a thing out, or call it failed, before that is believed.
MISSES: Final = 10

#: Changes asked for at once.
WIDTH: Final = 32


@dataclass(eq=False)
class Alterer:
    """Changes what one run holds. Several changes may be under way at once, each on a separate thread."""

    backend: Backend
    _run_state: RunState
    clock: Clock
    _attempter: Attempter
    _releaser: Releaser
    #: By topology.
    _locks: Mapping[str, threading.Lock]
    _stop: threading.Event
    _under_way: list[Future[None]] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def beside(self, work: Callable[[], None]) -> Future[None]:
        """Do ``work`` on a thread; the run's release waits until it has ended."""
        future: Future[None] = Future()

        def do() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again by what waits for it.
                future.set_exception(error)
            else:
                future.set_result(None)

        with self._lock:
            self._under_way = [one for one in self._under_way if not one.done()] + [future]
        threading.Thread(target=do, name="capacity-scaling", daemon=True).start()
        return future

    def under_way(self) -> list[Future[None]]:
        """Return the work that was begun."""
        with self._lock:
            return list(self._under_way)

    def deadline(self, seconds: float, limit: str) -> Deadline:
        """Return the end of one change; the end of the run is one, too."""
        return Deadline(self.clock, self._stop, seconds, limit)

    @property
    def stopped(self) -> bool:
        """Return whether the run is ending."""
        return self._stop.is_set()

    def read(self, what: str, call: Callable[[], T], deadline: Deadline, *, young: bool = False) -> T:
        """Return the cloud's answer, repeating the call while the answer is only "not now". Raises `Refused`.

        Of what is ``young`` the cloud may not know everywhere yet that it is there.
        """
        pause = FIRST_PAUSE
        while True:
            deadline.check()
            answer = asked(self.backend, call)
            if not isinstance(answer, Diagnosis):
                return answer
            if answer.step not in ("back-off", "ask-again") and not (young and answer.step == "gone"):
                raise refused(what, self.backend.name, answer)
            deadline.wait(self.clock.jitter(pause))
            pause = min(pause * 2, LAST_PAUSE)

    def look(self, helds: Sequence[Held], deadline: Deadline) -> list[Held]:
        """Return these things as the cloud has them now; what is new is written down."""
        if not helds:
            return []
        answer = self.read("looked at what stands", lambda: list(self.backend.refresh(helds)), deadline)
        seen = [_without_past(held) for held in answer]
        known = {held.key: held for held in helds}
        news = [held for held in seen if held.state not in ("unseen", "gone") and held != known[held.key]]
        if news:
            self._run_state.note("state", data={"held": news})
        return seen

    def change(self, held: Held, to: Change, deadline: Deadline) -> Held:
        """Set the values in ``to``; return when the cloud has accepted it. Raises `Refused` with its words."""
        place = {"kind": held.kind, "id": held.id, "region": held.region, "zone": held.zone}
        self._run_state.note("changing", held.subject, {**place, "words": _words(to)})
        changed = self.read(
            f"asked to change {held.kind} {held.id} ({_words(to)})",
            lambda: self.backend.change(held, to),
            deadline,
            young=self._run_state.age(held) < YOUNG,
        )
        self._run_state.note("state", data={"held": [changed]})
        return changed

    def until(
        self,
        helds: Sequence[Held],
        done: Callable[[Held], bool],
        deadline: Deadline,
        failed: Callable[[Held], bool] = lambda held: held.kind != "node" and held.state == "failed",
    ) -> list[Held]:
        """Look until all of them are ``done``. Raises `Refused` for one that is gone.

        Also for one that is ``failed`` look after look: the first ones may show what was before the change.
        """
        looks, over = 0, 0
        while True:
            seen = self.look(helds, deadline)
            left = [held for held in seen if not done(held)]
            if not left:
                return seen
            bad = [held for held in left if held.state == "unseen" or failed(held)]
            over = over + 1 if bad else 0
            gone = [held for held in left if held.state == "gone"] or (bad if over > MISSES else [])
            if gone:
                what = f"changed {gone[0].kind} {gone[0].id}"
                raise refused(what, self.backend.name, self.backend.diagnose(gone[0]))
            looks += 1
            deadline.wait(poll_pause(looks))
            helds = [now if now.state != "unseen" else old for now, old in zip(seen, helds, strict=True)]

    def set_count(self, held: Held, count: int, instance_type: str, deadline: Deadline) -> Held:
        """Set the count of a reservation to ``count`` nodes; return when it is reached."""

        def holds(now: Held) -> bool:
            return now.state == "ready" and now.count == count

        (now,) = self.look([held], deadline)
        if holds(now):
            return now
        changed = self.change(held, Change(count=count, instance_type=instance_type), deadline)
        return self.until([changed], holds, deadline)[0]

    def make(self, order: Order, what: str, deadline: Deadline) -> Placed:
        """Make what of ``order`` does not stand yet; return it all, ready. Raises `Refused` with the cloud's words.

        ``what`` is used as in "asked for 2 nodes".
        """
        try:
            return self._attempter.attempt(order, deadline)
        except AttemptFailed as failed:
            raise refused(what, self.backend.name, failed.diagnosis, failed.worst.piece) from failed

    def usable(self, placed: Placed, topology: Topology, deadline: Deadline) -> Placed:
        """Return the nodes with their addresses, once each is ready as its group requires. Raises `Refused`."""
        try:
            return self._attempter.usable(placed, topology, deadline)
        except AttemptFailed as failed:
            raise refused("changed the nodes", self.backend.name, failed.diagnosis) from failed

    def remove(self, keys: Collection[HeldKey], deadline: Deadline) -> None:
        """Remove these things; returns when they are gone by the cloud's word. Raises `Refused`, `TimedOut`."""
        self._remove(Scope(self._run_state, keys=keys), deadline)

    def remove_made(self, subjects: Collection[str], regions: Iterable[str], deadline: Deadline) -> None:
        """Remove whatever was made under these subjects, which may be nothing."""
        tried = set(subjects).intersection(self._run_state.refused(self.backend.leftovers))
        self._remove(Scope(self._run_state, frozenset(subjects), tried, regions), deadline)

    def _remove(self, scope: Scope, deadline: Deadline) -> None:
        if not (scope.held() or scope.doubts() or scope.unlisted):
            return

        def enough() -> bool:
            # A refusal is certain: it is not requested again and again, as at the end of a run.
            return bool(scope.refused) or self._stop.is_set() or deadline.over

        if not self._releaser.release(scope, enough, self._stop):
            if scope.refused:
                ids = ", ".join(held.id for held in scope.held())
                raise refused(f"asked to remove {ids}", self.backend.name, scope.refused[0])
            deadline.check()
            raise Refused("what was to be removed is still there")

    def side_by_side(self, work: Callable[[Held], Held], helds: Sequence[Held]) -> list[Held]:
        """Do ``work`` on each; when all have ended, raise the first failure."""
        # Separate threads: what waits here must not keep releases and renewals from theirs.
        with ThreadPoolExecutor(max(1, min(WIDTH, len(helds))), "capacity-change") as pool:
            results = list(pool.map(lambda held: _caught(work, held), helds))
        failures = [result for result in results if isinstance(result, CapacityError)]
        if failures:
            raise failures[0]
        return [result for result in results if isinstance(result, Held)]

    def hand_over(
        self,
        topology: str,
        change: Callable[[Placed], Placed],
        token: str,
        types: Mapping[str, str] | None = None,
        *,
        made: bool = False,
    ) -> Placed:
        """Hand over the topology to the tests as ``change`` makes it of what stands.

        ``types`` are those that groups have from now on; ``made``: what the alteration's order makes is in it.
        """
        with self._locks[topology]:
            placed = self._current(change(self._run_state.placed[topology]))
            place = {"zone": placed.zone, "region": placed.region}
            of = {"alteration": token, "made": made, "types": types or {}}
            self._run_state.note("placed", data={"placed": placed, **place, **of})
            return placed

    def _current(self, placed: Placed) -> Placed:
        """Return it with its reservations as they are held, less those that are gone."""
        held = {held.id: reservation_of(held) for held in self._run_state.held() if held.kind == "reservation"}
        return replace(placed, reservations=tuple(held[one.id] for one in placed.reservations if one.id in held))


def _without_past(held: Held) -> Held:
    """Return a node that runs again without what was recorded of it while it was stopped."""
    if held.kind != "node" or held.state != "ready":
        return held
    return replace(held, problem="", problem_code="", parts=())


def _caught(work: Callable[[Held], Held], held: Held) -> Held | CapacityError:
    try:
        return work(held)
    except CapacityError as error:
        return error


def _words(to: Change) -> str:
    """Return what becomes of a thing, in words: ``becomes 5 x TYPE``, ``stops``."""
    if to.running is not None:
        return "starts" if to.running else "stops"
    if to.disk_gb is not None:
        return f"its disk becomes {to.disk_gb} GB"
    what = to.instance_type if to.count is None else f"{to.count} x {to.instance_type or 'as it is'}"
    return f"becomes {what} in {to.reservation_id}" if to.reservation_id else f"becomes {what}"
