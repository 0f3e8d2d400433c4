"""A command, or an interactive shell, behind a channel of SSH."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from typing import Final

import asyncssh

from pytest_capacity.emulator.nodes.homes import Home, kill_group

#: It writes down its process group (it leads one) before it is the command: whoever has to end it then finds it.
_REGISTER: Final = ': > "$0/$$"; exec /bin/sh "$@"'
_CHUNK: Final = 65536


async def serve_command(process: asyncssh.SSHServerProcess[bytes], home: Home, environment: Mapping[str, str]) -> None:
    """Run it to its end, or to the channel's, whichever comes first.

    A command whose channel breaks is killed with all that it started. What one that ended by itself left running (a
    server that was sent to the background) goes on until the node ends.
    """
    command = [] if process.command is None else ["-c", process.command]
    try:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _REGISTER,
            str(home.groups),
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home.path,
            env=environment,
            start_new_session=True,
        )
    except OSError as problem:
        # The node ends at this moment.
        process.stderr.write(f"emulator: {problem}\n".encode())
        process.exit(255)
        return
    await _attend(process, child, home)


async def _attend(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process, home: Home) -> None:
    feeder = asyncio.create_task(_feed(process, child))
    broken = asyncio.create_task(process.channel.wait_closed())
    ended = asyncio.create_task(_drain(process, child))
    try:
        await asyncio.wait({ended, broken}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            kill_group(child.pid)
        status = await child.wait()
        home.command_ended(child.pid)
        if not ended.done():
            return
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)
    finally:
        for task in (feeder, broken, ended):
            task.cancel()
        await asyncio.gather(feeder, broken, ended, return_exceptions=True)


async def _drain(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Pass on what it says, to the last of it: also of what it left behind, as sshd does."""
    assert child.stdout is not None
    assert child.stderr is not None
    await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
    await child.wait()


async def _pump(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(ConnectionError, asyncssh.Error):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Pass on what it is told, and the signals that it is sent."""
    assert child.stdin is not None
    while True:
        try:
            data = await process.stdin.read(_CHUNK)
            if not data:
                child.stdin.close()
                return
            child.stdin.write(data)
            await child.stdin.drain()
        except asyncssh.SignalReceived as told:
            with contextlib.suppress(KeyError):
                kill_group(child.pid, signal.Signals[f"SIG{told.signal}"])
        except asyncssh.BreakReceived:
            kill_group(child.pid, signal.SIGINT)
        except asyncssh.TerminalSizeChanged:
            continue
        except (ConnectionError, asyncssh.Error):
            # It does not listen any more, or nobody speaks.
            return
