"""One SSH connection of paramiko's: made on a socket that we dialled, opened for channels, ended without a wait.

`paramiko.SSHClient` is not used: it makes its socket by ``socket.socket`` and counts its timeouts by ``time.time``,
both of which a test may have replaced, and it checks host keys after its own lookup of the address.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Collection
from typing import Any, Final, cast

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from pytest_capacity.remote.sockets import Countdown, RawSocket, hang_up

__tracebackhide__ = True

#: How often a packet is sent on an idle connection, since routers on the way may forget one. Seconds.
KEEPALIVE: Final = 15
#: How long the end of a connection's thread is waited for. Seconds.
_JOIN: Final = 1.0

#: What paramiko raises when a connection is gone.
BROKEN: Final = (paramiko.SSHException, EOFError, OSError)

#: paramiko logs as an error with a traceback what we raise. Its messages appear once this logger's level is lowered.
LOG: Final = "pytest_capacity.paramiko"
_log: Final = logging.getLogger(LOG)
if _log.level == logging.NOTSET:
    _log.setLevel(logging.CRITICAL)


class Transport(paramiko.Transport):
    """A connection: `greet` makes it an SSH connection, `open` gives channels of it, `end` closes it."""

    def __init__(self, link: socket.SocketType | paramiko.Channel, within: Countdown) -> None:
        super().__init__(cast("Any", link))
        self.set_log_channel(LOG)
        # A handshake that fails leaves its timer behind, which is a thread.
        self.handshake_timeout = within.rest() or self.handshake_timeout

    def greet(self, within: Countdown) -> bool:
        """Do the handshake; return False if the time was over first. Raise one of `BROKEN` if it failed."""
        done = threading.Event()
        self.start_client(event=done)
        if not done.wait(within.rest()):
            return False
        if not self.is_active():
            raise self.get_exception() or EOFError
        return True

    def open(self, to: tuple[str, int] | None, within: Countdown) -> paramiko.Channel:
        """Return a channel to that address and port, or for a command.

        Raise `paramiko.ChannelException` if the machine refuses it, one of `BROKEN` otherwise.
        """
        kind, source = ("direct-tcpip", ("127.0.0.1", 0)) if to else ("session", None)
        try:
            return self.open_channel(kind, to, source, timeout=within.rest())
        except paramiko.ChannelException:
            raise
        except BROKEN as error:
            # paramiko keeps the reason of a refusal in one place for all threads, and another may have taken ours:
            # what is left then is an error without one, in time, on a connection that is active.
            if isinstance(error, paramiko.SSHException) and self.is_active() and within.rest():
                raise paramiko.ChannelException(2, "Connect failed") from error
            raise

    def send_signal(self, channel: paramiko.Channel, name: str) -> None:
        """Send a signal to the command of ``channel`` (RFC 4254, 6.9). The caller holds the channel's lock."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("signal")
        message.add_boolean(False)
        message.add_string(name)
        self._send_user_message(message)  # type: ignore[attr-defined]  # paramiko's Channel sends all requests by it

    def abandon(self) -> None:
        """Let go, in a forked child, of the parent's connection without a byte on it."""
        self.active = False
        if isinstance(self.sock, RawSocket):
            self.sock.close()


def end(transports: Collection[Transport]) -> None:
    """End these connections and their threads, all at once. Never wait for the other side."""
    for transport in transports:
        if isinstance(transport.sock, RawSocket):
            hang_up(transport.sock)
        else:
            with contextlib.suppress(*BROKEN):
                transport.sock.close()
    for transport in transports:
        if transport.is_alive():
            transport.join(_JOIN)
        transport.close()
        transport.sock.close()
