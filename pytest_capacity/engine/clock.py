"""Time, passed in, so that tests control it; and the deadlines of work that waits."""

from __future__ import annotations

import random
import threading
import time
from typing import Final, Protocol

from pytest_capacity.errors import Cancelled, TimedOut

#: Pauses between looks at what becomes ready or leaves, seconds. Short at first, since some take no time; for the time
#: in which a machine that boots fast comes up, no longer than it may take unnoticed; then every five seconds.
POLLS: Final = (0.2, 0.4, *(0.5,) * 9, 1.0, 1.5, 2.0, 3.0, 5.0)

#: How soon a wait sees that a sibling was refused. Seconds.
SLICE: Final = 0.1


class Clock(Protocol):
    """The clock and the random numbers of the engine."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Wait so long, or until ``wake`` is set; return True if it was."""
        ...

    def jitter(self, seconds: float) -> float:
        """Return a random number between half of ``seconds`` and all of it."""
        ...


class SystemClock:
    """The machine's clock and random numbers."""

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        return (wake or threading.Event()).wait(max(0.0, seconds))

    def jitter(self, seconds: float) -> float:
        return seconds * random.uniform(0.5, 1.0)


def poll_pause(looks: int) -> float:
    """Return how long to wait after so many looks (at least one) until the next. Seconds."""
    return POLLS[min(looks, len(POLLS)) - 1]


class Deadline:
    """One piece of work's end: ``event`` (shared by all work of the run), or ``seconds`` from now on.

    ``limit`` says, where it may be raised, which time is over.
    """

    def __init__(self, clock: Clock, event: threading.Event, seconds: float, limit: str = "") -> None:
        self._clock = clock
        self._event = event
        self._until = clock.now() + seconds
        self._limit = limit
        self._refused: threading.Event | None = None

    def child(self) -> Deadline:
        """Return a deadline for the pieces of one round: the same end, and that of any of them (`cancel_siblings`)."""
        child = Deadline(self._clock, self._event, 0.0, self._limit)
        child._until, child._refused = self._until, threading.Event()
        return child

    def cancel_siblings(self) -> None:
        """Cancel the other pieces of the round: one cannot be made, permanently or in time."""
        if self._refused:
            self._refused.set()

    @property
    def over(self) -> bool:
        """Return whether the time is over."""
        return self._clock.now() >= self._until

    def check(self) -> None:
        """Raise `Cancelled` or `TimedOut` when it is time to stop."""
        if self._event.is_set():
            raise Cancelled("the run is ending, so nothing more is provisioned")
        if self._refused and self._refused.is_set():
            raise Cancelled("another piece of this attempt was given up")
        if self.over:
            raise TimedOut(self._limit)

    def wait(self, seconds: float) -> None:
        """Wait so long; raises as `check` does, as soon as it is time."""
        end = min(self._clock.now() + seconds, self._until)
        while (rest := end - self._clock.now()) > 0:
            self._clock.wait(min(rest, SLICE) if self._refused else rest, self._event)
            self.check()
        self.check()
