"""The processes that the emulator stays for."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable


class Owners:
    """The processes that need the emulator. Without any it stays until a signal ends it."""

    def __init__(self, first: int | None) -> None:
        self._lock = threading.Lock()
        self._alive: list[Callable[[], bool]] = []
        self.any = first is not None
        if first is not None:
            self.add(first)

    def add(self, pid: int) -> None:
        """Add this process as an owner too."""
        alive = _watch(pid)
        with self._lock:
            self._alive.append(alive)

    def alive(self) -> bool:
        """Return whether one of them exists."""
        with self._lock:
            self._alive = [alive for alive in self._alive if alive()]
            return bool(self._alive)


def _watch(pid: int) -> Callable[[], bool]:
    """Return whether the process exists. By pidfd where there is one: a number may be given to another process."""
    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return lambda: False
        except OSError:
            # A kernel that does not know the call, or does not permit it.
            return lambda: _exists(pid)
        return lambda: _runs(fd)
    return lambda: _exists(pid)


def _runs(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(0):
        return True
    os.close(fd)
    return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
