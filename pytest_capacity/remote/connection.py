"""Connections to nodes: one for each node and process, made at the first use, and kept.

A forked child never uses its parent's connection: both would write into one stream. Threads share a connection and have
their own channels; where the server gives no further session on it (OpenSSH: ten), a second connection is made.

All timeouts are the kernel's, so that a test may freeze Python's clocks.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import paramiko

from pytest_capacity.errors import Unreachable
from pytest_capacity.model import Access, Node
from pytest_capacity.remote.hostkeys import HostKeys, name_of
from pytest_capacity.remote.identities import keys_for
from pytest_capacity.remote.messages import access_of, address_of, alias_of, bastion_of, describe, error_text
from pytest_capacity.remote.sockets import Countdown, dial
from pytest_capacity.remote.transport import BROKEN, KEEPALIVE, Transport, end
from pytest_capacity.remote.tunnel import forget_tunnels

__tracebackhide__ = True

#: How long a connection may take, and a channel of one that is established. Seconds.
CONNECT: Final = 10.0


class Connection:
    """The connection to one machine.

    Nothing is sent until a channel is needed. A connection that broke since the last use is made again, once, before
    anything is sent on it. What breaks later is raised, since a command may have run.
    """

    def __init__(self, access: Access, name: str, label: str, through: Connection | None) -> None:
        self.access = access
        self.label = label
        #: One thread's testinfra host.
        self.local = threading.local()
        self._host_keys = HostKeys(access.known_hosts, name, label)
        self._through = through
        self._lock = threading.Lock()
        self._transports: list[Transport] = []
        self._aside: list[Transport] = []

    def session(self, within: Countdown) -> paramiko.Channel:
        """Return a channel for one command. Raise `Unreachable`, or another `NodeError` where a retry cannot help."""
        try:
            return self._channel(None, within)
        except paramiko.ChannelException as error:
            raise self._unreachable(f"it gives no session: {error_text(error)}") from error

    def channel_to(self, address: str, port: int, within: Countdown) -> paramiko.Channel:
        """Return a channel to ``address`` and ``port`` as the machine reaches them.

        Raise `paramiko.ChannelException` with the machine's message where it cannot, and what `session` raises.
        """
        return self._channel((address, port), within)

    def close(self) -> None:
        """Close the connection. The next use connects again."""
        with self._lock:
            transports = self._transports + self._aside
            self._transports, self._aside = [], []
        end(transports)

    def abandon(self) -> None:
        """Close, in a forked child, the copy of the parent's connection without a byte on it. Take no lock: the thread
        that holds it does not exist here."""
        for transport in self._transports + self._aside:
            transport.abandon()

    def _channel(self, to: tuple[str, int] | None, within: Countdown) -> paramiko.Channel:
        tried: list[Transport] = []
        while True:
            with self._locked(within):
                self._transports = [one for one in self._transports if one.is_active()]
                transport = next((one for one in self._transports if one not in tried), None)
                if transport is None:
                    return self._first_channel(to, within)
            try:
                return transport.open(to, within.at_most(CONNECT))
            except paramiko.ChannelException:
                if to:
                    raise
                tried.append(transport)  # The server's limit of sessions on one connection is reached.
            except BROKEN:
                self._put_aside(transport)

    def _first_channel(self, to: tuple[str, int] | None, within: Countdown) -> paramiko.Channel:
        """Return a channel of a new connection. The caller holds the lock: no other thread may use up its sessions."""
        transport = self._connect(within.at_most(CONNECT))
        try:
            return transport.open(to, within.at_most(CONNECT))
        except paramiko.ChannelException:
            raise
        except BROKEN as error:
            raise self._unreachable(f"it gives no channel: {error_text(error)}") from error
        finally:
            self._transports.append(transport)

    @contextlib.contextmanager
    def _locked(self, within: Countdown) -> Iterator[None]:
        rest = within.rest()
        if not self._lock.acquire(timeout=-1 if rest is None else rest):
            raise self._unreachable(f"another thread has not connected within {within.timeout:.0f} s")
        try:
            yield
        finally:
            self._lock.release()

    def _put_aside(self, transport: Transport) -> None:
        """Stop using a connection; what other threads do on it may still finish."""
        with self._lock:
            if transport in self._transports:
                self._transports.remove(transport)
                self._aside.append(transport)
            gone = [one for one in self._aside if not one.is_active()]
            self._aside = [one for one in self._aside if one.is_active()]
        end(gone)

    def _connect(self, within: Countdown) -> Transport:
        transport = Transport(self._link(within), within)
        try:
            self._greet(transport, within)
            self._log_in(transport, within)
            transport.set_keepalive(KEEPALIVE)
        except BROKEN as error:
            end([transport])
            raise self._unreachable(error_text(error)) from error
        except BaseException:
            end([transport])
            raise
        return transport

    def _link(self, within: Countdown) -> socket.SocketType | paramiko.Channel:
        address, port = self.access.address, self.access.port
        if self._through is not None:
            try:
                return self._through.channel_to(address, port, within)
            except paramiko.ChannelException as error:
                raise self._unreachable(f"the bastion cannot connect to it: {error_text(error)}") from error
        try:
            return dial(address, port, within)
        except TimeoutError as error:
            raise self._unreachable(f"no answer within {within.timeout:.0f} s") from error
        except OSError as error:
            raise self._unreachable(error_text(error)) from error

    def _greet(self, transport: Transport, within: Countdown) -> None:
        """Do the SSH handshake, and check the host key."""
        options = transport.get_security_options()
        options.key_types = self._host_keys.preferred(tuple(options.key_types))
        try:
            in_time = transport.greet(within)
        except BROKEN as error:
            raise self._unreachable(f"no SSH connection: {error_text(error)}") from error
        if not in_time:
            raise self._unreachable(f"it accepts connections, but speaks no SSH within {within.timeout:.0f} s")
        self._host_keys.check(transport.get_remote_server_key())

    def _log_in(self, transport: Transport, within: Countdown) -> None:
        tried = 0
        for key in keys_for(self.access):
            tried += 1
            done = threading.Event()
            transport.auth_publickey(self.access.user, key, done)
            if not done.wait(within.rest()):
                raise self._unreachable(f"no answer to our key within {within.timeout:.0f} s")
            if transport.is_authenticated():
                return
            if not transport.is_active():
                break
        with_what = self.access.key or (f"{tried} keys of the agent and ~/.ssh" if tried else "no key at all")
        raise self._unreachable(
            f"it does not let user {self.access.user!r} in with {with_what}",
            "Check the user (ssh.user) and the key (ssh.key)",
        )

    def _unreachable(self, why: str, remedy: str = "") -> Unreachable:
        remedy = remedy or (
            f"Check that it runs, and that this machine may reach port {self.access.port} of it "
            "(security group, ssh.address, ssh.bastion)"
        )
        return Unreachable(f"{self.label} cannot be reached: {why}. {remedy}", why=why)


class _Pool:
    """The connections of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self.connections: dict[tuple[Access, str], Connection] = {}

    def get(self, access: Access, name: str, label: str) -> Connection:
        """Return the connection to the machine ``name``, made at the first call."""
        through = self.bastion(access)
        with self._lock:
            if (access, name) not in self.connections:
                self.connections[access, name] = Connection(access, name, label, through)
            return self.connections[access, name]

    def bastion(self, access: Access) -> Connection | None:
        """Return the connection to the bastion of ``access``; None if there is no bastion."""
        bastion = bastion_of(access)
        if bastion is None:
            return None
        return self.get(bastion, name_of(bastion.address, bastion.port), f"the bastion {address_of(bastion)}")

    def take(self, which: Sequence[tuple[Access, str]] | None = None) -> list[Connection]:
        """Remove these connections, or all, and return what was removed."""
        with self._lock:
            keys = list(self.connections) if which is None else which
            return [self.connections.pop(key) for key in keys if key in self.connections]


_pool = _Pool()
#: Kept, so that the garbage collector of a child does not close the parent's channels on the parent's stream.
_abandoned: list[_Pool] = []


def connection_to(node: Node) -> Connection:
    """Return this process's connection to ``node``, made or not. Raise `NodeError` if the run does not use SSH."""
    access = access_of(node)
    return _own().get(access, _name(node, access), describe(node))


def bastion_to(access: Access) -> Connection | None:
    """Return this process's connection to the bastion of ``access``, None if there is no bastion."""
    return _own().bastion(access)


def close(nodes: Iterable[Node]) -> None:
    """Close the connections to these nodes."""
    for connection in _own().take([(node.access, _name(node, node.access)) for node in nodes if node.access]):
        connection.close()


def close_all() -> None:
    """Close the connections to all nodes."""
    for connection in _own().take():
        connection.close()


def _name(node: Node, access: Access) -> str:
    """Return the name in the file of host keys: the node's id in the run's file, its address in the user's files."""
    return alias_of(node) if access.known_hosts else name_of(access.address, access.port)


def _own() -> _Pool:
    if _pool.pid != os.getpid():
        _after_fork()  # Forked by a library, below Python.
    return _pool


def _after_fork() -> None:
    global _pool
    _abandoned.append(_pool)
    forget_tunnels()
    for connection in list(_pool.connections.values()):  # Without the lock: its thread may not exist here.
        connection.abandon()
    _pool = _Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close_all)
