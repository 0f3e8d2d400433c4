"""Time, handed in, so that tests own it."""

from __future__ import annotations

import random
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the engine needs of time and chance."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Wait so long, or until ``wake`` is set; True if it was."""
        ...

    def jitter(self, seconds: float) -> float:
        """Anything between half of ``seconds`` and all of it."""
        ...


class SystemClock:
    """The machine's own."""

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        return (wake or threading.Event()).wait(max(0.0, seconds))

    def jitter(self, seconds: float) -> float:
        return seconds * random.uniform(0.5, 1.0)
