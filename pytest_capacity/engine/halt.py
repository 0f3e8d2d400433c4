"""When to stop trying: somebody said so, or the time is over."""

from __future__ import annotations

import threading
from typing import Final

from pytest_capacity.engine.clock import Clock
from pytest_capacity.errors import Cancelled, TimedOut

#: How soon a wait sees that a sibling was refused. Seconds.
SLICE: Final = 0.1


class Deadline:
    """One piece of work's end: ``event`` (shared by all work of the run) or ``until`` (seconds since the epoch)."""

    def __init__(self, clock: Clock, event: threading.Event, until: float, limit: str = "") -> None:
        self._clock = clock
        self._event = event
        self._until = until
        self._limit = limit
        self._refused: threading.Event | None = None

    def child(self) -> Deadline:
        """For the pieces of one round: the same end, and that of any of them (`refuse`)."""
        halt = Deadline(self._clock, self._event, self._until, self._limit)
        halt._refused = threading.Event()
        return halt

    def refuse(self) -> None:
        """One of the round will not be had, for certain or in time: the others need not go on asking."""
        if self._refused:
            self._refused.set()

    def check(self) -> None:
        """Raise `Cancelled` or `TimedOut` when it is time to stop."""
        if self._event.is_set():
            raise Cancelled("the run is ending, so nothing more is provisioned")
        if self._refused and self._refused.is_set():
            raise Cancelled("another piece of this attempt was given up")
        if self._clock.now() >= self._until:
            raise TimedOut(self._limit)

    def wait(self, seconds: float) -> None:
        """Wait so long; raises as `check` does, as soon as it is time."""
        end = min(self._clock.now() + seconds, self._until)
        while (rest := end - self._clock.now()) > 0:
            self._clock.wait(min(rest, SLICE) if self._refused else rest, self._event)
            self.check()
        self.check()
