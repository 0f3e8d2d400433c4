"""Is the process at the other end still there?

The end of a connection does not tell: a child that a test forked holds a copy of the socket, a daemon for ever. So the
process itself is watched, by a descriptor that becomes readable when it ends.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Final

# <sys/un.h> of macOS: getsockopt(SOL_LOCAL, LOCAL_PEERPID) gives the pid at the other end.
_SOL_LOCAL: Final = 0
_LOCAL_PEERPID: Final = 2


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return process and user id at the other end of a unix socket, as the kernel knows them."""
    if sys.platform == "darwin":
        (pid,) = struct.unpack("i", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))
        return pid, os.getuid()  # The socket's directory is ours alone (0700).
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


class Watch:
    """Calls ``ended`` once, on a thread of its own, when process ``pid`` ends. `stop` ends the watch without a call."""

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._stop_read, self._stop_write = os.pipe()
        self._wait = _waiter(pid, self._stop_read)
        self._thread = threading.Thread(target=self._run, name=f"capacity-watch-{pid}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        os.close(self._stop_write)

    def _run(self) -> None:
        try:
            over = self._wait()
        finally:
            os.close(self._stop_read)
        if over:
            self._ended()


def _waiter(pid: int, stop: int) -> Callable[[], bool]:
    """Return a function that blocks until the process ends (True) or the other end of ``stop`` is closed (False)."""
    if sys.platform == "darwin":
        return _kqueue(pid, stop)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return lambda: True

    def wait() -> bool:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(stop, select.POLLIN | select.POLLHUP)
        try:
            return any(ready == descriptor for ready, _ in poll.poll())
        finally:
            os.close(descriptor)

    return wait


if sys.platform == "darwin":

    def _kqueue(pid: int, stop: int) -> Callable[[], bool]:
        queue = select.kqueue()
        watched = [
            select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT),
            select.kevent(stop, select.KQ_FILTER_READ, select.KQ_EV_ADD),
        ]
        try:
            queue.control(watched, 0)
        except ProcessLookupError:
            return lambda: True

        def wait() -> bool:
            try:
                return any(event.ident == pid for event in queue.control(None, 1))
            finally:
                queue.close()

        return wait
