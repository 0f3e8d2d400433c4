"""Tunnels: a port that a node reaches, as a port of this machine."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_capacity.errors import NodeError
from pytest_capacity.remote.sockets import RawSocket, hang_up

if TYPE_CHECKING:
    import paramiko

_LOOPBACK: Final = "127.0.0.1"
_CHUNK: Final = 1 << 16
_BACKLOG: Final = 128

#: With this SO_LINGER a close sends a reset instead of an end of data.
_RESET: Final = struct.pack("ii", 1, 0)

#: All tunnels of this process, for a forked child to let go of.
_tunnels: Final[weakref.WeakSet[Tunnel]] = weakref.WeakSet()


class Tunnel:
    """A local ``address``, such as ``("127.0.0.1", 41234)``, that leads to a port which a node reaches.

    It is open from the start; use it as a context manager or `close` it. Only this machine can connect. Each connection
    has its own channel, and either side may end its direction first. A connection that the node refuses (nothing
    listens there) is reset.
    """

    def __init__(self, connect: Callable[[], paramiko.Channel]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._open: set[socket.SocketType | paramiko.Channel] = set()
        self._closing = False
        #: Why the last connection could not be made; empty if it could.
        self.trouble = ""
        self._listener = RawSocket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.settimeout(None)
            self._listener.bind((_LOOPBACK, 0))
            self._listener.listen(_BACKLOG)
        except BaseException:
            self._listener.close()
            raise
        host, port = self._listener.getsockname()
        self.address: tuple[str, int] = (host, port)
        _tunnels.add(self)
        threading.Thread(target=self._accept, name="capacity-tunnel", daemon=True).start()

    def close(self) -> None:
        """Accept no more connections, and end the open ones. A second call does nothing."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            ends = list(self._open)
        # Its thread waits in `accept`, which a connection ends, on any system.
        with contextlib.suppress(OSError):
            last = RawSocket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                last.settimeout(1.0)
                last.connect(self.address)
            finally:
                last.close()
        for end in ends:
            _end(end)

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                number, _ = cast("Any", self._listener)._accept()  # noqa: SLF001 - the C class has no other
            except OSError:
                break
            here = RawSocket(fileno=number)
            if self._closing:
                here.close()
                break
            threading.Thread(target=self._serve, args=(here,), name="capacity-tunnel", daemon=True).start()
        self._listener.close()

    def _serve(self, here: socket.SocketType) -> None:
        here.settimeout(None)
        try:
            there = self._connect()
        except NodeError as error:
            self.trouble = str(error)
            here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            here.close()
            return
        self.trouble = ""
        with self._lock:
            self._open |= {here, there}
            closing = self._closing
        try:
            if not closing:
                _join(here, there)
        finally:
            with self._lock:
                self._open -= {here, there}
            _end(there)
            here.close()


def forget_tunnels() -> None:
    """Close, in a forked child, the copies of the parent's ports, on which nothing would accept."""
    for tunnel in list(_tunnels):
        tunnel._listener.close()  # noqa: SLF001 - it is this module's


def _join(here: socket.SocketType, there: paramiko.Channel) -> None:
    """Copy bytes in both directions until both have ended."""

    def back() -> None:
        try:
            while piece := there.recv(_CHUNK):
                here.sendall(piece)
            here.shutdown(socket.SHUT_WR)
        except (EOFError, OSError):
            _end(there)
            hang_up(here)

    back_thread = threading.Thread(target=back, name="capacity-tunnel", daemon=True)
    back_thread.start()
    try:
        while piece := here.recv(_CHUNK):
            there.sendall(piece)
        there.shutdown_write()
    except (EOFError, OSError):
        _end(there)
        hang_up(here)
    back_thread.join()


def _end(end: socket.SocketType | paramiko.Channel) -> None:
    with contextlib.suppress(EOFError, OSError):
        if isinstance(end, RawSocket):
            hang_up(end)
        else:
            end.close()
