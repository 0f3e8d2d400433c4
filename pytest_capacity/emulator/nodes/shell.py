"""A command, or an interactive shell, behind a channel of SSH."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import asyncssh
from asyncssh.constants import MSG_CHANNEL_REQUEST
from asyncssh.packet import Boolean, String, UInt32

from pytest_capacity.emulator.nodes.homes import Home, kill_group

#: It writes down its process group (it leads one) before it is the command: so it can be found and ended.
_PIPED: Final = ': > "$0/$$"; exec /bin/sh "$@"'
#: The first terminal that the leader of a session opens is the session's own.
_AT_TERMINAL: Final = ': > "$0/$$"; tty=$1; shift; exec /bin/sh "$@" <"$tty" >"$tty" 2>&1'
_CHUNK: Final = 65536
#: How long what is still on its way from a terminal is waited for, when its shell has ended.
_LAST_WORDS_S: Final = 1.0
_END_OF_INPUT: Final = b"\x04"

Process = asyncssh.SSHServerProcess[bytes]


class Line(Protocol):
    """The connection between a channel and a command: pipes, or a terminal."""

    child: asyncio.subprocess.Process

    async def wait(self) -> int:
        """Return the command's status when it has ended, though others may still hold its output."""
        ...

    async def say(self) -> None:
        """Pass on the command's output, to its end."""
        ...

    async def tell(self, data: bytes) -> None:
        """Write to the command's input; nothing: that there is no more."""
        ...

    def resize(self, size: tuple[int, int]) -> None:
        """Set the columns and rows of the window."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


async def serve_command(process: Process, home: Home, environment: Mapping[str, str]) -> None:
    """Run it to its end, or to the channel's, whichever comes first.

    As OpenSSH's sshd does, it sends the status when the command has ended, and closes the channel when no process
    holds the command's output any more. A command whose channel breaks is killed with all that it started. What one
    that ended by itself left running (a server that was sent to the background) runs until the node ends.
    """
    open_line = Pipes.open if process.term_type is None else Terminal.open
    try:
        line = await open_line(process, home, environment)
    except OSError as problem:
        # The node ends at this moment.
        process.stderr.write(f"emulator: {problem}\n".encode())
        process.exit(255)
        return
    feeder = asyncio.create_task(_feed(process, line))
    broken = asyncio.create_task(process.channel.wait_closed())
    said = asyncio.create_task(line.say())
    ended = asyncio.create_task(line.wait())
    try:
        await asyncio.wait({ended, broken}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            kill_group(line.child.pid)
        status = await ended
        home.command_ended(line.child.pid)
        _send_status(process, status)
        await asyncio.wait({said, broken}, return_when=asyncio.FIRST_COMPLETED)
        process.channel.write_eof()
        process.channel.close()
    finally:
        for task in (feeder, broken, said, ended):
            task.cancel()
        await asyncio.gather(feeder, broken, said, ended, return_exceptions=True)
        line.close()


def _send_status(process: Process, status: int) -> None:
    """Send how the command ended, and leave the channel open: asyncssh's own methods for it close the channel."""
    if process.channel.is_closing():
        return
    if status < 0:
        name = signal.Signals(-status).name.removeprefix("SIG")
        request, values = "exit-signal", String(name) + Boolean(False) + String("") + String("")
    else:
        request, values = "exit-status", UInt32(status)
    process.channel.send_packet(MSG_CHANNEL_REQUEST, String(request), Boolean(False), values)


async def _feed(process: Process, line: Line) -> None:
    """Pass on the command's input, and the signals that are sent to it."""
    while True:
        try:
            data = await process.stdin.read(_CHUNK)
            await line.tell(data)
            if not data:
                return
        except asyncssh.SignalReceived as told:
            with contextlib.suppress(KeyError):
                _signal(line, signal.Signals[f"SIG{told.signal}"])
        except asyncssh.BreakReceived:
            _signal(line, signal.SIGINT)
        except asyncssh.TerminalSizeChanged as told:
            line.resize(told.term_size[:2])
        except (OSError, asyncssh.Error):
            # It does not listen any more, or nothing is sent.
            return


def _signal(line: Line, number: signal.Signals) -> None:
    # What a command that has ended left in its group gets no signal from sshd.
    if line.child.returncode is None:
        kill_group(line.child.pid, number)


async def _pump(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    # A terminal whose last user has gone gives an error, and no end.
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


def _arguments(process: Process) -> Sequence[str]:
    return [] if process.command is None else ["-c", process.command]


class _Watched(asyncio.subprocess.SubprocessStreamProtocol):
    """Sets ``ended`` when the process ends. asyncio's own ``wait`` also waits for the end of its pipes."""

    def __init__(self) -> None:
        super().__init__(_CHUNK, asyncio.get_running_loop())
        self.ended = asyncio.Event()

    def process_exited(self) -> None:
        """See the base class."""
        super().process_exited()
        self.ended.set()


class Pipes:
    """Output and errors apart, and the end of input."""

    def __init__(self, process: Process, transport: asyncio.SubprocessTransport, watched: _Watched) -> None:
        self.child = asyncio.subprocess.Process(transport, watched, asyncio.get_running_loop())
        self._process = process
        self._transport = transport
        self._ended = watched.ended

    @classmethod
    async def open(cls, process: Process, home: Home, environment: Mapping[str, str]) -> Line:
        """Start the command."""
        transport, watched = await asyncio.get_running_loop().subprocess_exec(
            _Watched,
            *("/bin/sh", "-c", _PIPED, str(home.groups), *_arguments(process)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home.path,
            env=environment,
            start_new_session=True,
        )
        return cls(process, transport, watched)

    async def wait(self) -> int:
        """Return the command's status."""
        await self._ended.wait()
        assert self.child.returncode is not None
        return self.child.returncode

    async def say(self) -> None:
        """Pass on output to the last of it: also of what the command left behind."""
        assert self.child.stdout is not None
        assert self.child.stderr is not None
        await asyncio.gather(
            _pump(self.child.stdout, self._process.stdout), _pump(self.child.stderr, self._process.stderr)
        )

    async def tell(self, data: bytes) -> None:
        """Pass on input as fast as the command reads it."""
        assert self.child.stdin is not None
        if not data:
            self.child.stdin.close()
            return
        self.child.stdin.write(data)
        await self.child.stdin.drain()

    def resize(self, size: tuple[int, int]) -> None:
        """Set the columns and rows of the window."""

    def close(self) -> None:
        """Close our ends, though what the command left behind may hold the others."""
        self._transport.close()


class Terminal:
    """A pseudo-terminal: echo, line editing, Ctrl-C; output and errors together."""

    def __init__(self, process: Process, child: asyncio.subprocess.Process, ends: tuple[int, int]) -> None:
        self.child = child
        self._process = process
        self._ours, self._theirs = ends
        self._input: asyncio.WriteTransport | None = None
        self._output: asyncio.BaseTransport | None = None

    @classmethod
    async def open(cls, process: Process, home: Home, environment: Mapping[str, str]) -> Line:
        """Start the command."""
        ours, theirs = ends = os.openpty()
        try:
            _resize(theirs, process.term_size[:2])
            child = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _AT_TERMINAL, str(home.groups), os.ttyname(theirs), *_arguments(process)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=home.path,
                env=environment,
                start_new_session=True,
            )
        except OSError:
            os.close(ours)
            os.close(theirs)
            raise
        terminal = cls(process, child, ends)
        await terminal._connect()
        return terminal

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader()
        # A transport owns what it is given, and there are two: each has a separate end.
        output, input_ = os.fdopen(self._ours, "rb", 0), os.fdopen(os.dup(self._ours), "wb", 0)
        self._output, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._reader), output)
        self._input, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, input_)

    async def wait(self) -> int:
        """Return the shell's status."""
        return await self.child.wait()

    async def say(self) -> None:
        """Pass on output until the shell has ended: what it left in the background has lost its terminal."""
        pump = asyncio.create_task(_pump(self._reader, self._process.stdout))
        try:
            await self.child.wait()
            # Held until now, for a terminal that is not open yet has nothing to read either.
            os.close(self._theirs)
            self._theirs = -1
            await asyncio.wait({pump}, timeout=_LAST_WORDS_S)
        finally:
            pump.cancel()

    async def tell(self, data: bytes) -> None:
        """Write input to the terminal as if it were typed."""
        if self._input is not None:
            self._input.write(data or _END_OF_INPUT)

    def resize(self, size: tuple[int, int]) -> None:
        """Set the columns and rows of the window."""
        _resize(self._ours, size)

    def close(self) -> None:
        """Hang up on what still has it as its terminal."""
        for transport in (self._input, self._output):
            if transport is not None:
                transport.close()
        if self._theirs >= 0:
            os.close(self._theirs)


def _resize(terminal: int, size: tuple[int, int]) -> None:
    columns, rows = size
    termios.tcsetwinsize(terminal, (rows, columns))
