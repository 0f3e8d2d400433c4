"""When a node can be used."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest
from msgspec.structs import replace

from pytest_capacity.errors import Cancelled, NodeError
from pytest_capacity.model import Node
from pytest_capacity.remote import connection
from pytest_capacity.remote.keys import make_key_pair
from pytest_capacity.remote.ready import probe, wait_ready
from tests.remote.server import Server, closed_port
from tests.safety.runs import until

Said = list[tuple[str, float]]


@pytest.fixture
def node(server: Server, tmp_path: Path) -> Node:
    """The node behind the server."""
    return server.node(tmp_path)


def look(node: Node, ready: str, timeout: float = 60.0) -> str | None:
    """Once."""
    return probe(node, ready, timeout=timeout)


def cloud_init(server: Server, status: str, code: int = 0, details: str = "") -> None:
    """Let the node's cloud-init say this."""
    script = server.home / "cloud-init"
    script.write_text(f'#!/bin/sh\n[ "$2" = --long ] && echo "{details}"\necho "{status}"\nexit {code}\n')
    script.chmod(0o755)


def pausing(end: threading.Event | None = None) -> Callable[[float], None]:
    """What waits, and stops at ``end``."""
    end = end or threading.Event()

    def pause(seconds: float) -> None:
        if end.wait(seconds):
            raise Cancelled("the run is ending")

    return pause


def test_running_needs_no_look(tmp_path: Path) -> None:
    """`ready: running` needs neither SSH nor an address."""
    node = Node(id="i", name="n", group="g", region="r", zone="z", market="spot", instance_type="t")
    assert look(node, "running") is None
    with pytest.raises(NodeError, match="Add `ssh: true`"):
        look(node, "ssh")
    with pytest.raises(NodeError, match="has no address"):
        look(node, "tcp:1")


def test_ssh(node: Node, server: Server) -> None:
    """`ready: ssh` needs a login and a command, not only a server that answers."""
    assert look(node, "ssh") is None
    server.stop()
    connection.close_all()
    assert look(node, "ssh") == "Connection refused"


def test_a_key_that_is_not_in_yet(server: Server, tmp_path: Path) -> None:
    """A refused login means "not ready yet", since cloud-init may still install the key."""
    make_key_pair(tmp_path / "other")
    why = look(server.node(tmp_path, key=tmp_path / "other"), "ssh")
    assert why is not None
    assert "does not let user 'tester' in" in why


def test_a_changed_host_key_never_becomes_ready(node: Node, server: Server, tmp_path: Path) -> None:
    """What cannot become ready is an error at once."""
    line = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / "known_hosts").write_text(f"i-0 {line}")
    with pytest.raises(NodeError, match="another machine may answer"):
        look(node, "ssh")


def test_a_command(node: Node, server: Server) -> None:
    """A command makes a node ready when it succeeds; until then its last line is the cause."""
    ready = "test -e flag || { echo first; echo 'no flag' >&2; exit 7; }"
    why = look(node, ready)
    assert why is not None
    assert why.endswith("ended with 7: no flag")
    (server.home / "flag").touch()
    assert look(node, ready) is None
    why = look(node, "sleep 1000", timeout=5)
    assert why is not None
    assert "had not ended after" in why


@pytest.mark.parametrize(
    ("status", "code", "ready"),
    [
        ("status: done", 0, True),
        ("status: done", 2, True),
        ("status: degraded done", 2, True),
        ("status: disabled", 0, True),
        ("status: running", 0, False),
        ("status: running", 2, False),
        ("status: not started", 0, False),
        ("", 1, False),
    ],
)
def test_cloud_init(
    node: Node, server: Server, monkeypatch: pytest.MonkeyPatch, status: str, code: int, ready: bool
) -> None:
    """Its word counts: its exit status says too little."""
    monkeypatch.setenv("PATH", f"{server.home}:/usr/bin:/bin")  # The commands' too.
    cloud_init(server, status, code)
    why = look(node, "cloud-init")
    assert (why is None) == ready
    assert why is None or why.startswith("cloud-init: ")


def test_cloud_init_has_failed(node: Node, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed cloud-init is an error at once, with its details and the end of its log: the node will be gone."""
    monkeypatch.setenv("PATH", f"{server.home}:/usr/bin:/bin")
    tail = server.home / "tail"
    tail.write_text('#!/bin/sh\n[ "$*" = "-n 20 /var/log/cloud-init-output.log" ] && echo "E: no package skylla"\n')
    tail.chmod(0o755)
    cloud_init(server, "status: error", 1, "detail: runcmd went wrong")
    with pytest.raises(NodeError, match=r"(?s)cloud-init has failed.*detail: runcmd went wrong.*user_data") as caught:
        look(node, "cloud-init")
    assert "/var/log/cloud-init-output.log:\n  | E: no package skylla\n" in str(caught.value)


def test_no_cloud_init(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without cloud-init is an error at once."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NodeError, match="has no cloud-init"):
        look(node, "cloud-init")


def test_a_port(node: Node, server: Server) -> None:
    """`ready: tcp:` needs a port that accepts connections, and no SSH."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert look(node, f"tcp:{port}") is None
        assert look(replace(node, access=None, private_ip="127.0.0.1"), f"tcp:{port}") is None
    with closed_port() as port:
        assert look(node, f"tcp:{port}") == f"127.0.0.1:{port}: Connection refused"
    assert server.logins == 0


def test_a_port_beyond_a_bastion(server: Server, tmp_path: Path) -> None:
    """`ready: tcp:` behind a bastion is checked from the bastion."""
    node = server.node(tmp_path, bastion=f"127.0.0.1:{server.port}")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert look(node, f"tcp:{port}") is None
    with closed_port() as port:
        why = look(node, f"tcp:{port}")
    assert why is not None
    assert why.startswith(f"127.0.0.1:{port}: ")
    assert server.logins == 1


def test_all_are_waited_for_side_by_side(server: Server, tmp_path: Path) -> None:
    """Each node is reported once, when it is ready, and all are waited for at the same time."""
    nodes = [server.node(tmp_path, id=f"i-{number}", name=f"db-{number}") for number in range(3)]
    told: Said = []
    waiting = [(node, f"touch {node.name}; [ -e go ] || [ {node.name} = db-0 ]", 300.0) for node in nodes]

    def say(node: Node, seconds: float) -> None:
        told.append((node.name, seconds))
        if node.name == "db-0":
            until((server.home / "db-2").exists, 60, "the others are looked at meanwhile")
            (server.home / "go").touch()

    wait_ready(waiting, pausing(), time.time, say)
    assert next(name for name, _ in told) == "db-0"
    assert sorted(name for name, _ in told) == ["db-0", "db-1", "db-2"]
    assert all(0 < seconds < 300 for _, seconds in told)
    until(lambda: not server.connections, 60, "no connection is kept")


def test_a_node_that_comes_late(server: Server, tmp_path: Path) -> None:
    """A node that refuses connections at first becomes ready."""
    server.stop()
    told: Said = []
    node = server.node(tmp_path)
    assert look(node, "ssh") == "Connection refused"
    starting = threading.Timer(0.3, server.start)
    starting.start()
    wait_ready([(node, "ssh", 300.0)], pausing(), time.time, lambda one, seconds: told.append((one.name, seconds)))
    assert [name for name, _ in told] == ["db-0"]
    starting.join()


def test_a_node_that_is_not_ready_in_time(server: Server, tmp_path: Path) -> None:
    """The error has node, condition, limit, last cause and remedy, and the threads of the other nodes end."""
    nodes = [server.node(tmp_path, id=f"i-{number}", name=f"db-{number}") for number in range(2)]
    waiting = [(nodes[0], "false", 5.0), (nodes[1], "sleep 1000", 600.0)]
    with pytest.raises(NodeError) as caught:
        wait_ready(waiting, pausing(), time.time, lambda node, seconds: None)
    words = str(caught.value)
    assert words.startswith(f"db-0 (group db, i-0, tester@127.0.0.1:{server.port}) was not ready (false) within ")
    assert "last: `false` ended with 1. " in words
    assert "ready_timeout" in words
    until(lambda: not looking() and not server.connections, 60, "no thread looks any more, and nothing is connected")


def looking() -> list[threading.Thread]:
    """The threads of a wait."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("capacity-ready")]


def test_a_wait_is_stopped(server: Server, tmp_path: Path) -> None:
    """The caller's ``pause`` stops the wait promptly, during a check too, and no thread goes on."""
    end = threading.Event()
    begun = server.home / "begun"

    def stop() -> None:
        until(begun.exists, 60, "the look has begun")
        end.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Cancelled):
        wait_ready([(server.node(tmp_path), "touch begun; sleep 1000", 600.0)], pausing(end), time.time, print)
    thread.join(30)
    until(lambda: not looking() and not server.connections, 60, "no thread looks any more, and nothing is connected")


def test_a_limit_by_another_clock(server: Server, tmp_path: Path) -> None:
    """The time is measured by the caller's clock."""
    ticks = iter(range(0, 100_000, 1000))
    with pytest.raises(NodeError, match="was not ready"):
        wait_ready([(server.node(tmp_path), "false", 3600.0)], pausing(), lambda: float(next(ticks)), print)


def test_the_whole_limit_is_used(server: Server, tmp_path: Path) -> None:
    """What is said to have taken 20 s did: the last look is at the limit, however long the pauses have become."""
    clock = [0.0]

    def pause(seconds: float) -> None:
        clock[0] += seconds
        if seconds:
            time.sleep(0.001)

    with pytest.raises(NodeError, match=r"was not ready .* within 20 s"):
        wait_ready([(server.node(tmp_path), "echo look >> looks; false", 20.0)], pause, lambda: clock[0], print)
    assert clock[0] == pytest.approx(20.0, abs=0.001)
