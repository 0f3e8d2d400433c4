"""What attempts left behind, on its way out beside whatever comes next (rule 5)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor, Future

from pytest_capacity.engine.halt import Deadline
from pytest_capacity.engine.release import Releaser, Scope
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Order


class Abandoned:
    """The releases of failed attempts. ``stop``: the run's own release takes over."""

    def __init__(self, releaser: Releaser, book: RunState, pool: Executor, stop: threading.Event) -> None:
        self._releaser = releaser
        self._book = book
        self._pool = pool
        self._stop = stop
        self._lock = threading.Lock()
        self._releases: list[tuple[Scope, Future[bool]]] = []

    def release(self, scopes: Iterable[Scope]) -> None:
        """Begin to release these."""
        with self._lock:
            self._releases = [(old, work) for old, work in self._releases if not work.done() or old.held()]
            for scope in scopes:
                if (scope.held() or scope.doubts()) and not self._stop.is_set():
                    work = self._pool.submit(self._releaser.release, scope, self._stop.is_set, self._stop)
                    self._releases.append((scope, work))

    def take_up(
        self, orders: Iterable[Order], plan: Callable[[Order], Iterable[str]], standing: Collection[str]
    ) -> None:
        """What an earlier keeper was releasing is released on: all but the subjects that these orders plan.

        Those that are ``standing`` are in the hands of tests, whatever is planned.
        """
        keep = {f"{order.topology.name}/{order.series or order.attempt}": {*plan(order), *standing} for order in orders}
        subjects = [held.subject for held in self._book.held()] + [piece.subject for piece in self._book.doubtful()]
        attempts = {"/".join(subject.split("/")[:2]) for subject in subjects}
        self.release(Scope(self._book, f"{attempt}/", keep.get(attempt, standing)) for attempt in sorted(attempts))

    def under_way(self) -> list[Future[bool]]:
        """The releases that were begun."""
        with self._lock:
            return [work for _, work in self._releases]

    def at_work(self) -> bool:
        """Whether any of it is not confirmed yet."""
        return not all(work.done() for work in self.under_way())

    def settle(self, halt: Deadline) -> bool:
        """Wait for the releases under way, since they still count against a quota; whether there were any."""
        waiting = [work for work in self.under_way() if not work.done()]
        for work in waiting:
            while not work.done():
                halt.wait(0.1)
        return bool(waiting)

    def accepted(self) -> bool:
        """Whether the cloud has accepted to remove all of it."""
        with self._lock:
            return all(scope.accepted() for scope, _ in self._releases)
