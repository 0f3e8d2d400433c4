"""Things that attempts left behind, released beside the next attempt (rule 5)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from pytest_capacity.engine.clock import Deadline
from pytest_capacity.engine.release import Releaser, Scope
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Order, Subject


@dataclass(eq=False)
class Abandoned:
    """The releases of failed attempts. ``stop``: the run's own release takes over.

    ``leftovers`` are the backend's: kinds of which a refused create call may have made something nevertheless.
    """

    _releaser: Releaser
    _run_state: RunState
    _pool: Executor
    _stop: threading.Event
    _leftovers: Collection[str] = frozenset()
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _releases: list[tuple[Scope, Future[bool]]] = field(default_factory=list, init=False)

    def release(self, topology: str, series: int, keep: Collection[str], regions: Iterable[str]) -> None:
        """Begin to release what this series of attempts has made by now, less the subjects to ``keep``."""
        scope = self._scope(topology, series, keep, regions)
        with self._lock:
            self._releases = [(old, work) for old, work in self._releases if not work.done() or old.held()]
            if (scope.held() or scope.doubts() or scope.unlisted) and not self._stop.is_set():
                work = self._pool.submit(self._releaser.release, scope, self._stop.is_set, self._stop)
                self._releases.append((scope, work))

    def _scope(self, topology: str, series: int, keep: Collection[str], regions: Iterable[str]) -> Scope:
        """Return the scope of what there is now: what a later attempt of the series makes is not in it."""

        def ours(text: str) -> bool:
            subject = Subject.parse(text)
            return (subject.topology, subject.series) == (topology, series) and text not in keep

        unlisted = frozenset(filter(ours, self._run_state.refused(self._leftovers)))
        return Scope(self._run_state, unlisted.union(filter(ours, self._run_state.subjects())), unlisted, regions)

    def take_up(
        self, orders: Iterable[Order], plan: Callable[[Order], Iterable[str]], standing: Collection[str]
    ) -> None:
        """Release on what an earlier keeper was releasing: all but the subjects that these orders plan.

        Those that are ``standing`` are in the hands of tests, whatever is planned.
        """
        keep: dict[tuple[str, int], set[str]] = {}
        for order in orders:
            # Several may be of one series: what was changed while it stood goes on with it.
            kept = keep.setdefault((order.topology.name, order.series or order.attempt), set(standing))
            kept.update(plan(order))
        subjects = map(Subject.parse, self._run_state.subjects())
        for topology, series in sorted({(subject.topology, subject.series) for subject in subjects}):
            self.release(topology, series, keep.get((topology, series), standing), self._run_state.regions)

    def is_releasing(self, subjects: Collection[str]) -> bool:
        """Return whether any of ``subjects`` is in a release that is not confirmed yet: what bears it now will go."""
        with self._lock:
            return any(
                any(map(scope.has, subjects)) for scope, work in self._releases if not work.done() or scope.held()
            )

    def under_way(self) -> list[Future[bool]]:
        """Return the releases that were begun."""
        with self._lock:
            return [work for _, work in self._releases]

    def at_work(self) -> bool:
        """Return whether any of it is not confirmed yet."""
        return not all(work.done() for work in self.under_way())

    def settle(self, deadline: Deadline) -> bool:
        """Wait for the releases under way, since they still count against a quota; return whether there were any."""
        waiting = [work for work in self.under_way() if not work.done()]
        for work in waiting:
            while not work.done():
                deadline.wait(0.1)
        return bool(waiting)

    def accepted(self) -> bool:
        """Return whether the cloud has accepted to remove all of it."""
        with self._lock:
            return all(scope.accepted() for scope, _ in self._releases)
