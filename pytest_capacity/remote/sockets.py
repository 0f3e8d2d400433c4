"""Sockets and a clock that tests do not take away.

A test may have replaced ``socket.socket`` (pytest-socket) and stopped Python's clocks (freezegun): the C class makes
the sockets, and what is left of a timeout is counted by a clock that neither of them touches.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final


class RawSocket(socket.SocketType):
    """The class below ``socket.socket``, with the private word of that which paramiko reads when it stops a thread."""

    @property
    def _closed(self) -> bool:
        return self.fileno() < 0


_addresses_of = socket.getaddrinfo

#: After how long of silence the kernel asks whether the peer lives, and how long it waits for answers. Seconds.
_IDLE: Final = 15
_LOST: Final = 45


def seconds() -> float:
    """A clock for durations, which `freezegun` leaves alone."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Countdown:
    """What is left of a timeout; None: there is none."""

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self._end = None if timeout is None else seconds() + timeout

    def rest(self) -> float | None:
        """Seconds that are left, at least 0."""
        return None if self._end is None else max(0.0, self._end - seconds())

    def at_most(self, limit: float) -> Countdown:
        """The same end, or ``limit`` seconds from now if that is sooner."""
        rest = self.rest()
        return Countdown(limit if rest is None else min(limit, rest))


def dial(address: str, port: int, within: Countdown) -> socket.SocketType:
    """A connected TCP socket, which notices by itself when the other side is gone. Raises `OSError`."""
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
    """End both directions, so that whoever reads wakes, also in a process that has a copy."""
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)


def _watch(link: socket.SocketType) -> None:
    """Let the kernel end a connection whose peer is gone without a word: a machine that was switched off."""
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
            with contextlib.suppress(OSError):  # It is there at compile time, and the running system refuses it.
                link.setsockopt(level, getattr(socket, name), value)
