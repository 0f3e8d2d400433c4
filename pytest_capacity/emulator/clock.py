"""The World's clock: real time plus what the weather has added to it."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Seconds since the epoch; never goes backwards by itself, jumps forward when `advance` is called."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.advanced_s = 0.0

    def now(self) -> float:
        """Return the World's time, in seconds since the epoch."""
        return self._wall() + self.advanced_s

    def wall(self) -> float:
        """Return the real time: what a caller of the emulator measures."""
        return self._wall()

    def advance(self, seconds: float) -> None:
        """Advance by ``seconds`` at once."""
        self.advanced_s += seconds
