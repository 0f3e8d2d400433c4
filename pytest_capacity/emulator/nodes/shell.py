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

    A command whose channel breaks is killed with all that it started. What one that ended by itself left running (a
    server that was sent to the background) runs until the node ends.
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
    try:
        await asyncio.wait({said, broken}, return_when=asyncio.FIRST_COMPLETED)
        if not said.done():
            kill_group(line.child.pid)
        status = await line.child.wait()
        home.command_ended(line.child.pid)
        if said.done() and status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        elif said.done():
            process.exit(status)
    finally:
        for task in (feeder, broken, said):
            task.cancel()
        await asyncio.gather(feeder, broken, said, return_exceptions=True)
        line.close()


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
                kill_group(line.child.pid, signal.Signals[f"SIG{told.signal}"])
        except asyncssh.BreakReceived:
            kill_group(line.child.pid, signal.SIGINT)
        except asyncssh.TerminalSizeChanged as told:
            line.resize(told.term_size[:2])
        except (OSError, asyncssh.Error):
            # It does not listen any more, or nothing is sent.
            return


async def _pump(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    # A terminal whose last user has gone gives an error, and no end.
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


def _arguments(process: Process) -> Sequence[str]:
    return [] if process.command is None else ["-c", process.command]


class Pipes:
    """Output and errors apart, and the end of input."""

    def __init__(self, process: Process, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self._process = process

    @classmethod
    async def open(cls, process: Process, home: Home, environment: Mapping[str, str]) -> Line:
        """Start the command."""
        child = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _PIPED, str(home.groups), *_arguments(process)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home.path,
            env=environment,
            start_new_session=True,
        )
        return cls(process, child)

    async def say(self) -> None:
        """Pass on output to the last of it: also of what the command left behind, as sshd does."""
        assert self.child.stdout is not None
        assert self.child.stderr is not None
        await asyncio.gather(
            _pump(self.child.stdout, self._process.stdout), _pump(self.child.stderr, self._process.stderr)
        )
        await self.child.wait()

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
        """Do nothing: asyncio closes it when the command has ended."""


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
