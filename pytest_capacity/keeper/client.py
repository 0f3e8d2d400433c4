"""The other end of the keeper's socket: ask, borrow, follow events.

A connection has one reader thread, which hands each answer to its caller. Waits use the kernel's clock (a
lock's timeout), since a test may have frozen Python's; sockets are made by the C class, since a test may have replaced
the Python one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from pytest_capacity import errors
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.protocol import Answer, Call, Event, Role
from pytest_capacity.keeper.spawn import last_lines
from pytest_capacity.version import __version__

#: What the keeper refuses is shown at the line of the test that asked; `--full-trace` shows how it got there.
__tracebackhide__ = True

A = TypeVar("A", bound=Answer)
T = TypeVar("T")

#: Called on the reader thread for each event.
Listener = Callable[[Event], None]

#: Called on a thread of its own for what the keeper asks of its owner.
Advisor = Callable[[protocol.Consult], protocol.Advise]

#: Called about ten times a second while something is waited for.
Beat = Callable[[], None]

#: How often a waiting main thread wakes to print what happened, seconds.
BEAT: Final = 0.1

#: How long a forked process waits for the keeper to let it in, seconds.
_FORK_S: Final = 30.0

# pytest-socket and its like replace socket.socket, or its connect method, for the time of a test.
_RawSocket: Final = socket.SocketType


_never: Final = threading.Lock()
_never.acquire()


def pause(seconds: float) -> None:
    """Wait so long by the kernel's clock: a test may have frozen Python's, or replaced time.sleep."""
    _never.acquire(timeout=seconds)


class _Slot:
    """One call in flight: a lock that the reader opens."""

    def __init__(self) -> None:
        self.done = threading.Lock()
        self.done.acquire()
        self.answer: Answer | None = None


class Connection:
    """One socket to the keeper, and the thread that reads it.

    `watch` registers a callback for the case that the keeper is gone without our having said goodbye.
    """

    def __init__(
        self,
        path: str,
        role: Role,
        name: str,
        *,
        on_event: Listener | None = None,
        advisor: Advisor | None = None,
        patience: float = float("inf"),
    ) -> None:
        """Connect and say who we are. Raises `KeeperError`; `Silent` where no answer comes in ``patience`` seconds."""
        self._on_event = on_event
        self._advisor = advisor
        self._on_lost: Callable[[], None] | None = None
        self._slots: dict[int, _Slot] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._closing = False
        self.lost = False
        self._path = path
        self._name = name
        #: The process that opened it.
        self.pid: Final = os.getpid()
        #: The connection of a process that was forked from this one; the reader's thread is only in the parent.
        self._forked: Connection | None = None
        self._socket = _RawSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(None)  # A test may have set a default timeout.
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise errors.KeeperError(f"no keeper answers at {path}: {error}") from error
        self._reader = threading.Thread(target=self._read, name="capacity-keeper-reader", daemon=True)
        self._reader.start()
        self.welcome = self._greet(protocol.Hello(role=role, name=name), patience)
        if (self.welcome.version, self.welcome.package) != (protocol.VERSION, __version__):
            self.close()
            raise errors.OtherVersion(
                f"the keeper (pid {self.welcome.pid}) is pytest-capacity {self.welcome.package} (protocol "
                f"{self.welcome.version}) and this process has {__version__} (protocol {protocol.VERSION}): use the "
                "same version for both (--capacity-keeper-python), or another session (--capacity-session)"
            )

    def _greet(self, hello: protocol.Hello, patience: float) -> protocol.Welcome:
        beats = itertools.count(1)

        def beat() -> None:
            if next(beats) * BEAT > patience:
                raise errors.Silent(
                    f"the keeper was asked for {patience:g} s and does not answer. If its process hangs, end it: "
                    "what it holds is then taken up by the next run"
                )

        try:
            return self.call(hello, protocol.Welcome, beat=beat)
        except errors.KeeperError:
            self.close()
            raise

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Call ``on_lost`` once, on the reader's thread, or now if the keeper is gone already."""
        with self._lock:
            self._on_lost = on_lost
            late = self.lost and not self._closing
        if late:
            on_lost()

    def call(self, message: Call, answer: type[A], *, beat: Beat | None = None) -> A:
        """Send ``message`` and wait for its answer, which must be an ``answer``.

        ``beat`` is called about ten times a second while waiting. Raises the class of `pytest_capacity.errors` that a
        `Failed` names, and `KeeperError` when the connection breaks.
        """
        return expect(self.ask(message, beat=beat), answer)

    def ask(self, message: Call, *, beat: Beat | None = None) -> Answer | None:
        """Do as `call`, and return whatever answer comes; None: the connection broke first."""
        if os.getpid() != self.pid:
            return self._of_this_process().ask(message, beat=beat)
        slot = _Slot()
        number = next(self._numbers)
        with self._lock:
            if self.lost or self._closing:
                raise errors.KeeperError("the keeper is gone")
            self._slots[number] = slot
            self._send(message, number)
        try:
            # A reader that has ended hands over nothing more, whatever the keeper says.
            while not slot.done.acquire(timeout=BEAT) and self._reader.is_alive():
                if beat:
                    beat()
        finally:
            self._slots.pop(number, None)
        return slot.answer

    def _of_this_process(self) -> Connection:
        """Return a connection of this process, which was forked from the one that opened ours.

        A thread does not survive a fork, so nothing would read what the keeper answers on the copy of the socket; the
        locks may be held for ever. The child is a borrower: it may ask, and its end does not end the run. Raises
        `KeeperError` where the keeper is gone.
        """
        if self._forked is None or self._forked.pid != os.getpid():
            self._forked = Connection(self._path, "borrower", f"{self._name}/fork-{os.getpid()}", patience=_FORK_S)
        return self._forked

    def tell(self, message: Call) -> None:
        """Send ``message`` and do not wait for its answer. Does nothing when the keeper is gone."""
        if os.getpid() != self.pid:
            with contextlib.suppress(errors.KeeperError):
                self._of_this_process().tell(message)
            return
        with self._lock:
            if not self.lost and not self._closing:
                self._send(message, 0)

    def close(self) -> None:
        """Say goodbye and hang up. Safe to call twice, and in a forked child, where it only closes the copy."""
        if os.getpid() != self.pid:
            if self._forked is not None and self._forked.pid == os.getpid():
                self._forked.close()
            self._socket.close()
            return
        with self._lock:
            if self._closing:
                return
            self._closing = True
            if not self.lost:
                self._send(protocol.Bye(), 0)
        with contextlib.suppress(OSError):  # The other end was faster.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(timeout=5)
        self._socket.close()

    def _send(self, message: Call, number: int) -> None:
        with contextlib.suppress(OSError):  # The reader sees the end of the connection and opens every slot.
            protocol.send(self._socket, replace(message, id=number))

    def _read(self) -> None:
        try:
            while True:
                message = protocol.receive_answer(self._socket)
                if isinstance(message, Event):
                    if self._on_event:
                        self._on_event(message)
                    continue
                if isinstance(message, protocol.Consult):
                    # Not here: what is asked may take its time, and answers must go on coming.
                    threading.Thread(target=self._advise, args=(message,), name="capacity-advice", daemon=True).start()
                    continue
                slot = self._slots.get(message.id)
                if slot:
                    slot.answer = message
                    slot.done.release()
        except (EOFError, OSError):
            pass
        finally:
            self._hang_up()

    def _advise(self, asked: protocol.Consult) -> None:
        self.tell(self._advisor(asked) if self._advisor else protocol.Advise(number=asked.number))

    def _hang_up(self) -> None:
        with self._lock:
            self.lost = True
            waiting = list(self._slots.values())
            on_lost = None if self._closing else self._on_lost
        for slot in waiting:
            if slot.answer is None:
                slot.done.release()
        if on_lost:
            on_lost()


class Borrower:
    """An xdist worker, which uses a run that another process owns."""

    def __init__(self, path: str, name: str, on_event: Listener | None = None) -> None:
        """``on_event`` is called, on a thread of its own, when nodes have come or gone."""
        self._on_event = on_event
        self._path = path
        self._name = name
        self._past = 0
        self._connection = Connection(path, "borrower", name, on_event=on_event)

    @property
    def deaths(self) -> int:
        """How many keepers of this run are gone, each of which this process was connected to."""
        return self._past + self._connection.lost

    def call(self, message: Call, answer: type[A], *, beat: Beat | None = None) -> A:
        """Ask the keeper; after its death, ask the next one. Raises what it answers, and `KeeperError`."""
        while True:
            connection = self._connection
            try:
                return connection.call(message, answer, beat=beat)
            except errors.KeeperError:
                if not connection.lost:
                    raise
            self._reconnect(beat)

    def _reconnect(self, beat: Beat | None) -> None:
        for _ in range(round(protocol.COMING_BACK / BEAT)):
            try:
                connection = Connection(self._path, "borrower", self._name, on_event=self._on_event)
            except errors.KeeperError:
                if not Path(self._path).parent.exists():
                    break  # The owner has given up.
                pause(BEAT)
            else:
                self._past += 1
                self._connection = connection
                return
            if beat:
                beat()
        log = self._connection.welcome.log
        raise errors.KeeperError(
            f"the keeper is gone and no other took its place. Its log {log} ends:\n{last_lines(log)}"
        )

    def close(self) -> None:
        """Say goodbye."""
        self._connection.close()


def expect(message: Answer | None, answer: type[A]) -> A:
    """Return ``message`` as an ``answer``. Raise what a `Failed` says, and `KeeperError` for anything else."""
    if message is None:
        raise errors.KeeperError("the keeper ended before it answered")
    if isinstance(message, protocol.Failed):
        words = message.message.splitlines() if message.error == "ConfigError" else message.message
        raise getattr(errors, message.error, errors.CapacityError)(words)
    if not isinstance(message, answer):
        raise errors.KeeperError(f"the keeper answered {type(message).__name__}, not {answer.__name__}")
    return message


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return ``ask()``; raise what it does, and `TimeoutError` when it takes longer."""
    answers: list[T] = []
    faults: list[BaseException] = []

    def asking() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits.
            faults.append(error)

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(seconds)
    if faults:
        raise faults[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return answers[0]
