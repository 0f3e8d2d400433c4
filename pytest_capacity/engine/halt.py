"""When to stop trying: somebody said so, or the time is over."""

from __future__ import annotations

import threading

from pytest_capacity.engine.clock import Clock
from pytest_capacity.errors import Cancelled, TimedOut


class Halt:
    """One piece of work's end: ``event`` (shared by all work of the run) or ``until`` (seconds since the epoch)."""

    def __init__(self, clock: Clock, event: threading.Event, until: float, limit: str = "") -> None:
        self._clock = clock
        self._event = event
        self._until = until
        self._limit = limit

    def reached(self) -> bool:
        """Whether to stop."""
        return self._event.is_set() or self._clock.now() >= self._until

    def check(self) -> None:
        """Raise `Cancelled` or `TimedOut` when it is time to stop."""
        if self._event.is_set():
            raise Cancelled("the run is ending, so nothing more is provisioned")
        if self._clock.now() >= self._until:
            raise TimedOut(self._limit)

    def wait(self, seconds: float) -> None:
        """Wait so long; raises as `check` does, as soon as it is time."""
        self._clock.wait(min(seconds, self._until - self._clock.now()), self._event)
        self.check()
