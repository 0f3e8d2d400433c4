"""One command on a channel: its input, its two outputs, its exit status."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Final, cast

import paramiko
from msgspec import Struct

from pytest_capacity.remote.sockets import Countdown
from pytest_capacity.remote.transport import BROKEN, Transport

#: The longest wait at once: on macOS a signal does not end the wait for a lock, and on Linux not where the kernel gives
#: it to another thread. Seconds.
POLL: Final = 0.5
#: How much is written or read at once. Bytes.
_CHUNK: Final = 1 << 16


class Ended(Struct, frozen=True):
    """The end of a command. ``status`` is None if the machine sent none: a signal ended it, or it has not ended."""

    status: int | None
    stdout: bytes
    stderr: bytes
    #: ended | overdue | silent (its shell has ended, and something still holds its outputs open) | lost
    how: str = "ended"


def execute(channel: paramiko.Channel, command: bytes, data: bytes | None, within: Countdown) -> Ended:
    """Run ``command`` to its end, at most ``within``; then it is killed, and so it is by an interrupt of this process.

    Raise one of `BROKEN` when the machine refuses to run it.
    """
    outputs = _Outputs(channel)
    with _killed_unless_ended(channel, within) as overdue:
        try:
            channel.exec_command(command)  # This has no timeout: the end of the time kills it.
            _start_input(channel, data)
            arrived = outputs.read(within) and channel.status_event.wait(within.rest())
        except BROKEN:
            if not overdue.is_set():
                raise
            arrived = False
        return _ended(channel, outputs, late=overdue.is_set() or not arrived)


def _ended(channel: paramiko.Channel, outputs: _Outputs, *, late: bool) -> Ended:
    stdout, stderr = outputs.so_far()
    # paramiko has -1 where no status was sent.
    status = None if channel.exit_status == -1 else channel.exit_status
    if status is not None and (channel.eof_received or not late):
        return Ended(status, stdout, stderr)
    if late:
        return Ended(status, stdout, stderr, "overdue" if status is None else "silent")
    stands = channel.transport is not None and channel.transport.is_active()
    return Ended(None, stdout, stderr, "ended" if stands else "lost")


class _Wake:
    """An event for both outputs of a channel. An empty pipe clears its event, but the other one may have bytes."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        """Do nothing: only `wait` clears it."""

    def wait(self, timeout: float | None) -> bool:
        """Return whether something arrived since the last call."""
        happened = self._event.wait(timeout)
        self._event.clear()
        return happened


class _Outputs:
    """The outputs of a command."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []
        self._wake = _Wake()
        channel.in_buffer.set_event(cast("threading.Event", self._wake))
        channel.in_stderr_buffer.set_event(cast("threading.Event", self._wake))

    def read(self, within: Countdown) -> bool:
        """Read both to their end; return False if the time was over first."""
        while not (self._channel.eof_received or self._channel.closed):
            rest = within.rest()
            if rest == 0:
                return False
            if self._wake.wait(POLL if rest is None else min(rest, POLL)):
                self._drain()
        return True

    def so_far(self) -> tuple[bytes, bytes]:
        """Return all that has arrived."""
        self._drain()
        return b"".join(self._stdout), b"".join(self._stderr)

    def _drain(self) -> None:
        with contextlib.suppress(*BROKEN):  # Reading sends an acknowledgement, on a connection that may be gone.
            while self._channel.recv_ready():
                self._stdout.append(self._channel.recv(_CHUNK))
            while self._channel.recv_stderr_ready():
                self._stderr.append(self._channel.recv_stderr(_CHUNK))


def _start_input(channel: paramiko.Channel, data: bytes | None) -> None:
    """Send ``data`` and the end of input, on a thread: a command may write before it has read all."""
    if data:
        threading.Thread(target=_feed, args=(channel, data), name="capacity-ssh-input", daemon=True).start()
    else:
        _feed(channel, b"")


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    with contextlib.suppress(*BROKEN):  # The command may end before it has read all.
        for start in range(0, len(data), _CHUNK):
            channel.sendall(data[start : start + _CHUNK])
        channel.shutdown_write()


@contextlib.contextmanager
def _killed_unless_ended(channel: paramiko.Channel, within: Countdown) -> Iterator[threading.Event]:
    """Kill the command when the time is over, which ends all waits for it, or when the block ends before it.

    The event is set if the time was over.
    """
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        _kill(channel)

    timer = threading.Timer(within.rest() or 0.0, end)
    timer.daemon = True
    try:
        if within.timeout is not None:
            timer.start()
        yield overdue
    finally:
        timer.cancel()
        if not channel.exit_status_ready():
            _kill(channel)
        with contextlib.suppress(*BROKEN):
            channel.close()


def _kill(channel: paramiko.Channel) -> None:
    """Kill the command of a channel: without a terminal it does not end with its channel, so it needs the signal."""
    with contextlib.suppress(*BROKEN):
        # The signal first: in the other order the server would end the whole connection.
        with channel.lock:
            if not channel.closed:
                cast("Transport", channel.transport).send_signal(channel, "KILL")
        channel.close()
