"""A node's SSH server: who is let in, how many sessions, and what lies behind them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, cast

import asyncssh

from pytest_capacity.emulator.nodes.homes import Home
from pytest_capacity.emulator.nodes.logins import Logins
from pytest_capacity.emulator.nodes.shell import serve_command

LOOPBACK: Final = "127.0.0.1"
#: Where a connection may be forwarded to.
_NEAR: Final = frozenset({LOOPBACK, "localhost", "::1"})

#: What pam_nologin says of ``/run/nologin`` as systemd writes it.
_NOLOGIN: Final = (
    '"System is booting up. Unprivileged users are not permitted to log in yet. Please come back later. '
    'For technical details, see pam_nologin(8)."\n'
)


class Guarded(Protocol):
    """The node behind the door."""

    home: Home
    user: str
    authorized: frozenset[bytes]
    logins: Logins
    connections: set[asyncssh.SSHServerConnection]
    route: Callable[[str, int], int | None]

    @property
    def age(self) -> float: ...
    def environment(self, process: asyncssh.SSHServerProcess[bytes]) -> Mapping[str, str]: ...


class _Session(asyncssh.SSHServerProcess[bytes]):
    """A command, a shell, or files. ``ended`` is called when it is over."""

    def __init__(self, node: Guarded, ended: Callable[[], None]) -> None:
        super().__init__(
            lambda process: serve_command(process, node.home, node.environment(process)),
            lambda channel: Files(cast("asyncssh.SSHServerChannel[bytes]", channel), node.home.path),
            3,
            True,
        )
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another one."""
        self._ended()
        super().connection_lost(exc)


class Door(asyncssh.SSHServer):
    """One connection: it opens to the machine's keys alone."""

    def __init__(self, node: Guarded) -> None:
        self._node = node
        self._connection: asyncssh.SSHServerConnection | None = None
        self._sessions = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Record the connection: it ends with the node."""
        self._connection = conn
        self._node.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        if self._connection is not None:
            self._node.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        """Refuse a login without a key."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Return True: a public key is the only way to log in."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Return whether it is a key of the machine, and the user one that it has."""
        node = self._node
        if node.user not in ("", username) or key.public_data not in node.authorized:
            return False
        if node.age < node.logins.user_after_s:
            return False  # cloud-init has not made the user, or not written its keys.
        if username != "root" and node.age < node.logins.nologin_s:
            self._turn_away()
            return False
        return True

    def _turn_away(self) -> None:
        """End the connection as sshd does where PAM forbids the login: the key is good, and a message is sent."""
        if self._connection is not None:
            self._connection.send_auth_banner(_NOLOGIN)
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "")

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        """Open one more session over this connection, up to sshd's ``MaxSessions``."""
        if self._sessions >= self._node.logins.max_sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        self._sessions += 1
        return _Session(self._node, self._session_ended)

    def _session_ended(self) -> None:
        self._sessions -= 1

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool | Awaitable[asyncssh.SSHTCPSession[bytes]]:
        """Forward to loopback, and to the SSH servers of other nodes by their addresses; to nowhere else."""
        if dest_host in _NEAR:
            return True
        port = self._node.route(dest_host, dest_port)
        if port is None or self._connection is None:
            words = f"an emulated node reaches loopback and other nodes' port 22, not {dest_host}:{dest_port}"
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, words)
        forwarded = self._connection.forward_connection(LOOPBACK, port)
        return cast("Awaitable[asyncssh.SSHTCPSession[bytes]]", forwarded)


class Files(asyncssh.SFTPServer):
    """SFTP: relative paths lie in the node's directory, absolute ones are this machine's own."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], home: Path) -> None:
        super().__init__(channel)
        self._home = os.fsencode(home)

    def map_path(self, path: bytes) -> bytes:
        """Return where a path leads."""
        return os.path.join(self._home, path)  # noqa: PTH118 - a path is bytes here
