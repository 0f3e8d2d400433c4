"""Sockets and a clock that a test cannot replace.

A test may have replaced ``socket.socket`` (pytest-socket) and stopped Python's clocks (freezegun). Sockets are made by
the C class below ``socket.socket``, and timeouts are counted by a clock that freezegun leaves alone.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final


class RawSocket(socket.SocketType):
    """The C class below ``socket.socket``, with the attribute that paramiko reads when it stops a thread."""

    @property
    def _closed(self) -> bool:
        return self.fileno() < 0


_addresses_of = socket.getaddrinfo

#: After how long without a packet the kernel probes the peer, and how long it waits for answers. Seconds.
_IDLE: Final = 15
_LOST: Final = 45


def seconds() -> float:
    """Return the time of a clock for durations, which freezegun leaves alone."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Countdown:
    """The rest of a timeout; None: there is no timeout."""

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self._end = None if timeout is None else seconds() + timeout

    def rest(self) -> float | None:
        """Return the seconds that are left, at least 0; None without a timeout."""
        return None if self._end is None else max(0.0, self._end - seconds())

    def at_most(self, limit: float) -> Countdown:
        """Return a countdown to the same end, or to ``limit`` seconds from now if that is sooner."""
        rest = self.rest()
        return Countdown(limit if rest is None else min(limit, rest))


def dial(address: str, port: int, within: Countdown) -> socket.SocketType:
    """Return a connected TCP socket, on which the kernel notices a peer that is gone. Raise `OSError`."""
    problem: OSError = OSError(f"{address} has no address")
    for family, kind, protocol, _, where in _addresses_of(address, port, 0, socket.SOCK_STREAM):
        link = RawSocket(family, kind, protocol)
        try:
            link.settimeout(max(within.rest() or 0.0, 0.001) if within.timeout is not None else None)
            link.connect(where)
        except OSError as error:
            link.close()
            problem = error
        except BaseException:
            link.close()
            raise
        else:
            _watch(link)
            return link
    raise problem


def hang_up(link: socket.SocketType) -> None:
    """End both directions, so that a read returns, in a process with a copy of the socket too."""
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)


def _watch(link: socket.SocketType) -> None:
    """Let the kernel end a connection whose peer is gone without a packet: a machine that was switched off."""
    options = [(socket.SOL_SOCKET, "SO_KEEPALIVE", 1), (socket.IPPROTO_TCP, "TCP_NODELAY", 1)]
    options += [
        (socket.IPPROTO_TCP, name, value)
        for name, value in (
            ("TCP_KEEPIDLE", _IDLE),
            ("TCP_KEEPALIVE", _IDLE),  # macOS's name of it.
            ("TCP_KEEPINTVL", _IDLE),
            ("TCP_KEEPCNT", _LOST // _IDLE),
            ("TCP_USER_TIMEOUT", _LOST * 1000),
        )
    ]
    for level, name, value in options:
        if hasattr(socket, name):
            with contextlib.suppress(OSError):  # Known at compile time, and refused by the running kernel.
                link.setsockopt(level, getattr(socket, name), value)
