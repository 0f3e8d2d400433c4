"""One command on a channel: its input, both its outputs, its end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Final, cast

import paramiko
from msgspec import Struct

from pytest_capacity.remote.sockets import Countdown
from pytest_capacity.remote.transport import BROKEN, Transport

#: How often a wait without news wakes: no signal of this process ends the wait for a lock on macOS, nor one that the
#: kernel gives to another thread. Seconds.
BEAT: Final = 0.5
#: How much is written or read at once. Bytes.
_CHUNK: Final = 1 << 16


class Ended(Struct, frozen=True):
    """What came of a command. ``status`` is None if the machine did not tell it: a signal ended it, or nothing yet."""

    status: int | None
    stdout: bytes
    stderr: bytes
    #: ended | overdue | silent (its shell has ended, and something still holds its outputs open) | lost
    how: str = "ended"


def execute(channel: paramiko.Channel, command: bytes, data: bytes | None, within: Countdown) -> Ended:
    """Run ``command`` to its end, at most ``within``; then it is killed, as it is by an interrupt here.

    Raises what paramiko raises when the machine refuses to run it.
    """
    outputs = _Outputs(channel)
    killer = _Killer(channel)
    with _killed_unless_ended(channel, killer), _ended_at(killer, within) as overdue:
        try:
            channel.exec_command(command)  # It waits for an answer without an end.
            _start_input(channel, data)
            arrived = outputs.read(within) and channel.status_event.wait(within.rest())
        except BROKEN:
            if not overdue.is_set():
                raise
            arrived = False
        return _ended(channel, outputs, late=overdue.is_set() or not arrived)


def _ended(channel: paramiko.Channel, outputs: _Outputs, *, late: bool) -> Ended:
    stdout, stderr = outputs.so_far()
    # -1 is paramiko's for "not told".
    status = None if channel.exit_status == -1 else channel.exit_status
    if status is not None and (channel.eof_received or not late):
        return Ended(status, stdout, stderr)
    if late:
        return Ended(status, stdout, stderr, "overdue" if status is None else "silent")
    stands = channel.transport is not None and channel.transport.is_active()
    return Ended(None, stdout, stderr, "ended" if stands else "lost")


class _Wake:
    """Takes the place of an Event in both of a channel's pipes: the one that is empty must not hide that the other is
    not."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        """Not by a pipe."""

    def wait(self, timeout: float | None) -> bool:
        """Whether something happened since the last time."""
        happened = self._event.wait(timeout)
        self._event.clear()
        return happened


class _Outputs:
    """What a command prints."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []
        self._wake = _Wake()
        channel.in_buffer.set_event(cast("threading.Event", self._wake))
        channel.in_stderr_buffer.set_event(cast("threading.Event", self._wake))

    def read(self, within: Countdown) -> bool:
        """Read both to their end; False if the time was over first."""
        while not (self._channel.eof_received or self._channel.closed):
            rest = within.rest()
            if rest == 0:
                return False
            if self._wake.wait(BEAT if rest is None else min(rest, BEAT)):
                self._drain()
        return True

    def so_far(self) -> tuple[bytes, bytes]:
        """All that has arrived."""
        self._drain()
        return b"".join(self._stdout), b"".join(self._stderr)

    def _drain(self) -> None:
        with contextlib.suppress(*BROKEN):  # Reading acknowledges; nobody may listen.
            while self._channel.recv_ready():
                self._stdout.append(self._channel.recv(_CHUNK))
            while self._channel.recv_stderr_ready():
                self._stderr.append(self._channel.recv_stderr(_CHUNK))


def _start_input(channel: paramiko.Channel, data: bytes | None) -> None:
    """Send ``data`` and then the end of input, beside whoever reads: a command may answer before it has read all."""
    if data:
        threading.Thread(target=_feed, args=(channel, data), name="capacity-ssh-input", daemon=True).start()
    else:
        _feed(channel, b"")


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    with contextlib.suppress(*BROKEN):  # The command ended without reading all.
        for start in range(0, len(data), _CHUNK):
            channel.sendall(data[start : start + _CHUNK])
        channel.shutdown_write()


@contextlib.contextmanager
def _ended_at(killer: _Killer, within: Countdown) -> Iterator[threading.Event]:
    """Kill it when the time is over, which ends every wait on it; the event says that it was."""
    overdue = threading.Event()
    if within.timeout is None:
        yield overdue
        return

    def end() -> None:
        overdue.set()
        killer.kill()

    timer = threading.Timer(within.rest() or 0.0, end)
    timer.daemon = True
    timer.start()
    try:
        yield overdue
    finally:
        timer.cancel()


@contextlib.contextmanager
def _killed_unless_ended(channel: paramiko.Channel, killer: _Killer) -> Iterator[None]:
    try:
        yield
    finally:
        if not channel.exit_status_ready():
            killer.kill()
        with contextlib.suppress(*BROKEN):
            channel.close()


class _Killer:
    """Expiry a command and its channel, once. A closed channel alone does not end a command without a terminal."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()

    def kill(self) -> None:
        """The signal goes before the end of the channel: after it, it would end the whole connection."""
        with self._lock, contextlib.suppress(*BROKEN):
            with self._channel.lock:
                if not self._channel.closed:
                    cast("Transport", self._channel.transport).send_signal(self._channel, "KILL")
            self._channel.close()
