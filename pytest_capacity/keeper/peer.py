"""One connection to the keeper, from the keeper's side."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from queue import SimpleQueue
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.liveness import Watch
from pytest_capacity.keeper.liveness import peer as peer_of
from pytest_capacity.keeper.protocol import Answer, Bye, Call, Hello, Welcome
from pytest_capacity.model import Request

_numbers: Final = itertools.count(1)


class CallHandler(Protocol):
    """Who answers the calls."""

    def greet(self, peer: Peer, call: Hello) -> Answer: ...
    def handle(self, peer: Peer, call: Call) -> None:
        """Answer later or now by `Peer.send`; must not block."""

    def lost(self, peer: Peer, *, crashed: bool) -> None:
        """Forget a peer that is gone; called once. ``crashed``: it did not say goodbye."""


class Peer:
    """A reader thread, a writer thread (so that a stopped pytest cannot stop us) and a watch on the process."""

    def __init__(self, connection: socket.socket, desk: CallHandler) -> None:
        self.number = next(_numbers)
        self.name = f"peer-{self.number}"
        self.role: protocol.Role = "borrower"
        self.pid, self.uid = peer_of(connection)
        #: Of an owner: what it wants to be asked, and whether it wants events whole (`protocol.Start`).
        self.advises: tuple[protocol.Topic, ...] = ()
        self.whole = False
        #: What an owner that was admitted asked for.
        self.wish: Request | None = None
        self._connection = connection
        self._desk = desk
        self._outbox: SimpleQueue[Answer | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name=f"capacity-writer-{self.number}", daemon=True)
        self._reader = threading.Thread(target=self._read, name=f"capacity-reader-{self.number}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._writer.start()
        self._reader.start()

    def send(self, answer: Answer, to: Call | None = None) -> None:
        """Queue an answer to a call, or an event."""
        self._outbox.put(replace(answer, id=to.id) if to else answer)

    def finish(self, seconds: float) -> None:
        """Write what is queued, for at most so long, and hang up."""
        self._outbox.put(None)
        self._writer.join(seconds)
        self._shut(socket.SHUT_RDWR)

    def _read(self) -> None:
        crashed = True
        # What the process sent before it ended is still read; then comes the end, however many copies of the socket
        # live.
        watch = Watch(self.pid, lambda: self._shut(socket.SHUT_RD))
        try:
            hello = protocol.receive_call(self._connection)
            if not isinstance(hello, Hello):
                return
            welcome = self._desk.greet(self, hello)
            self.send(welcome, hello)
            while isinstance(welcome, Welcome):
                call = protocol.receive_call(self._connection)
                if isinstance(call, Bye):
                    crashed = False
                    return
                self._desk.handle(self, call)
        except (EOFError, OSError, msgspec.DecodeError):
            pass  # Any error on the connection is the peer's end.
        finally:
            watch.stop()
            self._desk.lost(self, crashed=crashed)
            self.finish(2.0)
            self._connection.close()

    def _write(self) -> None:
        try:
            while (answer := self._outbox.get()) is not None:
                protocol.send(self._connection, answer)
        except OSError:
            pass  # The reader sees it too.

    def _shut(self, how: int) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(how)
