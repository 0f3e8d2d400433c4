"""An SSH server for tests: on loopback, in a thread, with a shell in a directory. In what it sends, and when, it is
like OpenSSH's: a command's status when it ends, the end of its output when no process holds it any more, and a command
whose channel is closed goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncssh
import psutil
from asyncssh.packet import UInt32
from asyncssh.stream import SSHServerStreamSession

from pytest_capacity.model import Access, Node


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, and that no other process gets meanwhile."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        yield port


class Server:
    """A running server; a context manager. `port` stays the same over `stop` and `start`."""

    def __init__(self, home: Path, public_key: str, *, sessions: int = 100, sftp: bool = True) -> None:
        self.home = home
        self.sessions = sessions
        #: How many connections were let in, and those that there are.
        self.logins = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.more_host_keys: list[asyncssh.SSHKey] = []
        self.children: list[asyncio.subprocess.Process] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.signals: list[str] = []
        self._authorized = asyncssh.import_authorized_keys(public_key)
        self.sftp = sftp
        #: It lists names that no directory has.
        self.lies = False
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        # Bound and not listening: no other process gets the port, and until the start it refuses.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]

    def start(self) -> None:
        """Listen."""
        self._do(self._start)

    def stop(self) -> None:
        """Listen no more, and break all connections."""
        self._do(self._stop)

    def drop(self) -> None:
        """Break all connections, as a machine does that restarts."""
        self._do(self._drop)

    def node(self, folder: Path, *, key: Path | None = None, bastion: str | None = None, **changes: Any) -> Node:
        """A node behind it, whose key and known hosts are in ``folder``."""
        access = Access(
            address="127.0.0.1",
            port=self.port,
            user="tester",
            key=str(key or folder / "key"),
            known_hosts=str(folder / "known_hosts"),
            bastion=bastion,
        )
        told = {"id": "i-0", "name": "db-0", "group": "db", "access": access, **changes}
        return Node(region="r", zone="r-a", market="on-demand", instance_type="t", **told)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._do(self._end_children)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
        self._reserved.close()

    def _do(self, what: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(what(), self._loop).result(120)

    async def _start(self) -> None:
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            reuse_address=True,
            reuse_port=False,
            server_factory=lambda: _Door(self),
            server_host_keys=[self.host_key, *self.more_host_keys],
            authorized_client_keys=self._authorized,
            encoding=None,
            gss_host=None,
        )

    async def _stop(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        # Before the wait: since Python 3.12 it is one for the end of all connections.
        await self._drop()
        if self._acceptor is not None:
            await self._acceptor.wait_closed()

    async def _drop(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    async def _end_children(self) -> None:
        for child in self.children:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signals.SIGKILL)
            else:
                self._end_what_it_left(child.pid)
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _end_what_it_left(self, session: int) -> None:
        """Kill what is left of a session; its number may have been reused."""
        try:
            os.killpg(session, 0)
        except (ProcessLookupError, PermissionError):
            return
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == session and process.environ().get("HOME") == str(self.home):
                    process.kill()


class _Door(asyncssh.SSHServer):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._sessions = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self._connection)

    def auth_completed(self) -> None:
        self._server.logins += 1

    def session_requested(self) -> _Shell:
        if self._sessions >= self._server.sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        self._sessions += 1
        return _Shell(self._server, self._session_ended)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True

    def _session_ended(self) -> None:
        self._sessions -= 1


class _Shell(SSHServerStreamSession[bytes]):
    def __init__(self, server: Server, ended: Callable[[], None]) -> None:
        super().__init__(self._run, (lambda channel: _Files(channel, server)) if server.sftp else None, sftp_version=3)
        self._server = server
        self._ended = ended
        self._child: asyncio.subprocess.Process | None = None

    def signal_received(self, signal: str) -> None:
        self._server.signals.append(signal)
        if self._child is not None:
            os.killpg(self._child.pid, signals.Signals[f"SIG{signal}"])

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._ended()

    async def _run(
        self, stdin: asyncssh.SSHReader[bytes], stdout: asyncssh.SSHWriter[bytes], stderr: asyncssh.SSHWriter[bytes]
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)
        channel: Any = stdin.channel
        pipe = asyncio.subprocess.PIPE
        child = self._child = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", channel.get_command()),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=self._server.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self._server.home)},
            start_new_session=True,
        )
        self._server.children.append(child)
        assert child.stdin is not None
        feeder = asyncio.create_task(_feed(stdin, child.stdin))
        outputs = asyncio.gather(_carry(child.stdout, stdout), _carry(child.stderr, stderr))
        while child.returncode is None:  # `wait` waits for the ends of its outputs too.
            await asyncio.sleep(0.01)
        status = child.returncode
        with contextlib.suppress(OSError):
            if status >= 0:
                channel._send_request(b"exit-status", UInt32(status))
            await outputs
            feeder.cancel()
            channel.write_eof()
            channel.close()


async def _feed(stdin: asyncssh.SSHReader[bytes], child: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await stdin.read(65536):
            child.write(data)
            await child.drain()
    child.close()


async def _carry(child: asyncio.StreamReader | None, output: asyncssh.SSHWriter[bytes]) -> None:
    assert child is not None
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await child.read(65536):
            output.write(data)
            await output.drain()


class _Files(asyncssh.SFTPServer):
    """SFTP, where relative paths lie in the node's directory."""

    def __init__(self, channel: Any, server: Server) -> None:
        super().__init__(channel)
        self._server = server

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(os.fsencode(self._server.home), path)  # noqa: PTH118 - a path is bytes here

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        if self._server.lies:
            yield asyncssh.SFTPName(b"../evil", attrs=asyncssh.SFTPAttrs(permissions=0o100644, size=0))
        async for name in super().scandir(path):
            yield name
