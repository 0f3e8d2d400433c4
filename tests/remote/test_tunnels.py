"""Ports of a node, as ports of this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_capacity.errors import NodeError
from pytest_capacity.remote.machine import Machine
from pytest_capacity.remote.tunnel import Tunnel
from tests.remote.server import Server, closed_port
from tests.safety.runs import until

Serve = Callable[[Callable[[socket.socket], None]], int]


def read(end: socket.socket) -> bytes:
    """All that comes."""
    pieces = []
    while piece := end.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def echo(end: socket.socket) -> None:
    """Answer when all has been said."""
    end.sendall(read(end))


def is_reset(tunnel: Tunnel) -> bool:
    """Whether a connection is; it may be as soon as it stands."""
    try:
        with socket.create_connection(tunnel.address, timeout=60) as end:
            end.recv(1)
    except ConnectionResetError:
        return True
    return False


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a service on the node: each connection on a thread; its port."""
    listening: list[socket.socket] = []

    def start(talk: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listening.append(listener)

        def one(end: socket.socket) -> None:
            with end:
                talk(end)

        def accept() -> None:
            try:
                while True:
                    threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listening:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_an_answer_after_the_last_word(machine: Machine, serve: Serve) -> None:
    """Each direction ends separately, and no byte is lost."""
    data = os.urandom(3_000_000)

    def say(end: socket.socket) -> None:
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)

    with machine.tunnel(serve(echo)) as tunnel, socket.create_connection(tunnel.address, timeout=60) as end:
        threading.Thread(target=say, args=(end,), daemon=True).start()
        assert read(end) == data


def test_a_service_that_ends_first(machine: Machine, serve: Serve) -> None:
    """A client may still send when the service has ended its direction, and all of it arrives."""
    heard: list[bytes] = []
    done = threading.Event()

    def talk(end: socket.socket) -> None:
        end.sendall(b"bye")
        end.shutdown(socket.SHUT_WR)
        heard.append(read(end))
        done.set()

    with machine.tunnel(serve(talk)) as tunnel, socket.create_connection(tunnel.address, timeout=60) as end:
        assert read(end) == b"bye"
        end.sendall(b"late")
        end.shutdown(socket.SHUT_WR)
        assert done.wait(60)
    assert heard == [b"late"]


def test_many_connections_at_once(machine: Machine, serve: Serve, server: Server) -> None:
    """Many connections at once use one connection to the node."""
    together = threading.Barrier(20, timeout=60)

    def talk(end: socket.socket) -> None:
        together.wait()
        echo(end)

    def use(number: int) -> bytes:
        with socket.create_connection(tunnel.address, timeout=60) as end:
            end.sendall(b"%d" % number)
            end.shutdown(socket.SHUT_WR)
            return read(end)

    with machine.tunnel(serve(talk)) as tunnel, ThreadPoolExecutor(20) as threads:
        assert list(threads.map(use, range(20))) == [b"%d" % number for number in range(20)]
    assert server.logins == 1


def test_only_this_machine_can_connect(machine: Machine) -> None:
    """A tunnel listens on loopback only."""
    with machine.tunnel(1) as tunnel:
        assert tunnel.address[0] == "127.0.0.1"


def test_a_port_on_which_nothing_listens(machine: Machine, server: Server) -> None:
    """A connection to a closed port is reset; the tunnel stays open, has the cause, and logs in once."""
    with closed_port() as port, machine.tunnel(port) as tunnel:
        for _ in range(2):
            assert is_reset(tunnel)
        assert f"cannot connect to 127.0.0.1:{port}: Connect failed. Check" in tunnel.trouble
    assert server.logins == 1


def test_the_node_is_gone(machine: Machine, server: Server) -> None:
    """Where the node is gone connections are reset, and the tunnel's ``trouble`` says so."""
    server.stop()
    with machine.tunnel(1) as tunnel:
        assert is_reset(tunnel)
        assert "cannot be reached: Connection refused" in tunnel.trouble


def test_a_node_that_restarts(machine: Machine, server: Server, serve: Serve) -> None:
    """When a node restarts its connections end, and the next one through the tunnel uses a new connection."""
    begun = threading.Event()

    def talk(end: socket.socket) -> None:
        begun.set()
        echo(end)

    with machine.tunnel(serve(talk)) as tunnel:
        with socket.create_connection(tunnel.address, timeout=60) as end:
            end.sendall(b"x")
            assert begun.wait(60)
            server.drop()
            with contextlib.suppress(ConnectionResetError):
                assert end.recv(1) == b""
        with socket.create_connection(tunnel.address, timeout=60) as end:
            end.sendall(b"again")
            end.shutdown(socket.SHUT_WR)
            assert read(end) == b"again"


def test_a_closed_tunnel(machine: Machine, serve: Serve) -> None:
    """After `close` connections are ended, the port refuses, no thread is left; a second call does nothing."""
    tunnel = machine.tunnel(serve(echo))
    with socket.create_connection(tunnel.address, timeout=60) as end:
        end.sendall(b"x")
        until(lambda: bool(tunnel._open), 60, "the connection is through")
        tunnel.close()
        tunnel.close()
        assert end.recv(1) == b""
    until(lambda: not threads_of_tunnels(), 60, "its threads have ended")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(tunnel.address, timeout=60)


def threads_of_tunnels() -> list[threading.Thread]:
    """Those that run."""
    return [thread for thread in threading.enumerate() if thread.name == "capacity-tunnel"]


def test_a_tunnel_raises_what_it_is_given() -> None:
    """The error of a refused connection is kept in ``trouble``."""

    def refuse() -> None:
        raise NodeError("no such node")

    with Tunnel(refuse) as tunnel:  # type: ignore[arg-type]
        assert is_reset(tunnel)
        assert tunnel.trouble == "no such node"
