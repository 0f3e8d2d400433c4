"""Connections: one for each node and process, with threads, forks, restarts and other plugins."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest
from msgspec import json
from msgspec.structs import replace

from pytest_capacity.errors import NodeError, Unreachable
from pytest_capacity.model import Access, Node
from pytest_capacity.remote import connection, sockets
from pytest_capacity.remote.keys import make_key_pair
from pytest_capacity.remote.machine import Machine
from tests.emulated import ROOT
from tests.remote.server import Server
from tests.safety.runs import until

#: The beginning of code for a separate process: the node is ``machine``.
PRELUDE = """
import contextlib, os, socket, sys, threading
import freezegun, pytest_socket
from msgspec import json
from msgspec.structs import replace
from pytest_capacity.errors import NodeError
from pytest_capacity.remote import connection, sockets
from pytest_capacity.remote.machine import Machine
machine = json.decode(sys.argv[1], type=Machine)
"""


def using(code: str, node: Node) -> str:
    """Run ``code``, which uses ``node``, in a separate process; check that it succeeds, and return what it printed."""
    ended = python(PRELUDE + textwrap.dedent(code), json.encode(node).decode())
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a separate process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # Since 3.12 Python warns of a fork beside threads, which is what some of these are about.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)


def reached(node: Node) -> Access:
    """How it is."""
    assert node.access is not None
    return node.access


def test_one_connection_for_many_commands(machine: Machine, server: Server) -> None:
    """One connection is made and kept for several commands."""
    for number in range(3):
        assert machine.run(f"echo {number}").stdout == f"{number}\n"
    assert server.logins == 1


def test_threads_share_a_connection(machine: Machine, server: Server) -> None:
    """Threads run commands at the same time on one connection."""
    together = "touch {}; until [ -e 0 ] && [ -e 1 ] && [ -e 2 ] && [ -e 3 ]; do sleep 0.01; done; echo {}"
    with ThreadPoolExecutor(4) as threads:
        results = threads.map(lambda number: machine.run(together.format(number, number), timeout=60), range(4))
    assert [result.stdout for result in results] == ["0\n", "1\n", "2\n", "3\n"]
    assert server.logins == 1


def test_more_sessions_than_a_connection_gives(machine: Machine, server: Server) -> None:
    """Where the server gives no further session (OpenSSH: ten), a second connection is made, and both are kept."""
    server.sessions = 2
    waiting = "touch {}; until [ -e 4 ]; do sleep 0.01; done"
    with ThreadPoolExecutor(5) as threads:
        results = list(threads.map(lambda number: machine.run(waiting.format(number), timeout=60), range(5)))
    assert all(result.ok for result in results)
    assert 3 <= server.logins <= 5


def test_a_node_that_gives_no_session(machine: Machine, server: Server) -> None:
    """A node that gives no session at all is an error, not an endless retry."""
    server.sessions = 0
    with pytest.raises(Unreachable, match="it gives no session"):
        machine.run("true")


def test_a_connection_that_broke_is_made_again(machine: Machine, server: Server) -> None:
    """A broken connection is made again before the next command, which runs once."""
    machine.run("true")
    server.drop()
    assert machine.run("echo x >> runs; cat runs").stdout == "x\n"
    assert server.logins == 2


def test_a_connection_that_breaks_meanwhile(machine: Machine, server: Server, tmp_path: Path) -> None:
    """A command whose connection breaks is not run again; the error says so and has its output."""
    begun = tmp_path / "begun"
    os.mkfifo(begun)

    def restart() -> None:
        begun.read_bytes()
        server.drop()

    thread = threading.Thread(target=restart)
    thread.start()
    with pytest.raises(NodeError, match="was running when the connection broke") as caught:
        machine.run(f"echo x >> runs; echo begun; sleep 1; echo > {begun}; sleep 1000")
    thread.join(30)
    assert "stdout:\n  | begun" in str(caught.value)
    assert machine.run("cat runs").stdout == "x\n"


def test_nobody_answers(machine: Machine, server: Server) -> None:
    """A refused connection is an error that says what was tried and what to check."""
    server.stop()
    with pytest.raises(Unreachable) as caught:
        machine.run("true")
    assert "cannot be reached: Connection refused. Check that it runs" in str(caught.value)
    assert caught.value.why == "Connection refused"


@pytest.mark.parametrize(
    "words", [b"", b"SSH-2.0-hangs\r\n", b"HTTP/1.1 400 Bad Request\r\n"], ids=["silent", "hangs", "another-protocol"]
)
def test_something_else_answers(tmp_path: Path, server: Server, words: bytes) -> None:
    """A server that speaks no SSH is an error within the timeout, and no timer thread is left."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted: list[socket.socket] = []

        def accept() -> None:
            accepted.append(listening.accept()[0])
            accepted[0].sendall(words)
            if words.startswith(b"HTTP"):
                accepted[0].shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=accept)
        thread.start()
        node = server.node(tmp_path)
        machine = Machine.of(replace(node, access=replace(reached(node), port=listening.getsockname()[1])))
        with pytest.raises(Unreachable, match=r"speaks no SSH within|no SSH connection"):
            machine.run("true", timeout=0.5)
        thread.join(30)
        accepted[0].close()
    until(
        lambda: not [one for one in threading.enumerate() if isinstance(one, threading.Timer)], 60, "no timer runs on"
    )


def test_a_user_who_is_not_let_in(server: Server, tmp_path: Path) -> None:
    """A refused login names the user and the key."""
    other = tmp_path / "other"
    make_key_pair(other)
    with pytest.raises(Unreachable, match=f"does not let user 'tester' in with {other}.*ssh.user"):
        Machine.of(server.node(tmp_path, key=other)).run("true")


@pytest.mark.parametrize("content", [None, "no key\n"], ids=["missing", "garbage"])
def test_a_key_that_cannot_be_used(server: Server, tmp_path: Path, content: str | None) -> None:
    """A key file that cannot be used is named, and is no reason to retry."""
    key = tmp_path / "mine"
    if content is not None:
        key.write_text(content)
    with pytest.raises(NodeError, match=rf"{key}.*\(ssh.key\)") as caught:
        Machine.of(server.node(tmp_path, key=key)).run("true")
    assert not isinstance(caught.value, Unreachable)


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
def test_a_key_with_a_passphrase(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """A key with a passphrase, in whichever form, is an error with the remedy where there is no agent."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "locked"
    asyncssh.generate_private_key("ecdsa-sha2-nistp256").write_private_key(key, form, passphrase="secret")
    with pytest.raises(NodeError, match=r"has a passphrase\. Run ssh-add"):
        Machine.of(server.node(tmp_path, key=key)).run("true")


@pytest.fixture
def agent(public_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent that holds the key."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("needs OpenSSH's agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL) as process:
        try:
            add = ["ssh-add", "-q", str(tmp_path / "key")]
            until(lambda: subprocess.run(add, capture_output=True).returncode == 0, 60, "the agent answers")
            yield
        finally:
            process.terminate()


def test_the_agent_has_the_key(agent: None, server: Server, tmp_path: Path) -> None:
    """The agent's keys are used on the user's machines, while pytest-socket blocks Python's sockets too."""
    node = server.node(tmp_path)
    using(
        """
        pytest_socket.disable_socket()
        assert machine.run("echo in").stdout == "in\\n"
        """,
        replace(node, access=replace(reached(node), key=None)),
    )


def test_the_users_key_is_found(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in ``~/.ssh`` is used where there is no agent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "key").rename(tmp_path / ".ssh" / "id_ed25519")
    node = server.node(tmp_path)
    assert Machine.of(replace(node, access=replace(reached(node), key=None))).run("true").ok


def test_host_keys_are_kept(machine: Machine, server: Server, tmp_path: Path) -> None:
    """The first host key is written into the run's private file, under the node's id, since addresses are reused."""
    machine.run("true")
    file = tmp_path / "known_hosts"
    key = server.host_key.export_public_key().decode().split()[1]
    assert file.read_text() == f"i-0 ssh-ed25519 {key}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    connection.close_all()
    machine.run("true")
    assert server.logins == 2
    assert len(file.read_text().splitlines()) == 1


def test_a_changed_host_key_is_refused(machine: Machine, server: Server) -> None:
    """A changed host key is refused before the login, with both fingerprints; another node there has its own key."""
    machine.run("true")
    before = server.host_key.get_fingerprint()
    server.stop()
    connection.close_all()
    server.host_key = asyncssh.generate_private_key("ssh-ed25519")
    server.start()
    with pytest.raises(NodeError, match="another machine may answer in its place") as caught:
        machine.run("true")
    assert before in str(caught.value)
    assert server.host_key.get_fingerprint() in str(caught.value)
    assert not isinstance(caught.value, Unreachable)
    assert server.logins == 1
    assert Machine.of(replace(machine, id="i-1")).run("true").ok


def test_a_known_host_may_have_several_keys(machine: Machine, server: Server, tmp_path: Path) -> None:
    """A machine with several host keys is asked for the known one."""
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    server.stop()
    server.more_host_keys = [rsa]
    server.start()
    kind, key = rsa.export_public_key().decode().split()[:2]
    (tmp_path / "known_hosts").write_text(f"i-0 {kind} {key}\n")
    assert machine.run("true").ok


def test_processes_meet_a_host_at_once(machine: Machine, tmp_path: Path) -> None:
    """Processes that connect at the same time write the host key once."""
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: using('machine.run("true")', machine), range(4))) == [""] * 4
    assert len((tmp_path / "known_hosts").read_text().splitlines()) == 1


def test_machines_of_the_users_own(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's machines are checked against the user's file by address; nothing is written there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    node = server.node(tmp_path)
    machine = Machine.of(replace(node, access=replace(reached(node), known_hosts=None)))
    with pytest.raises(NodeError, match=rf"ssh-keyscan -p {server.port} 127.0.0.1 >> ~/.ssh/known_hosts"):
        machine.run("true")
    assert not (tmp_path / ".ssh").exists()
    (tmp_path / ".ssh").mkdir()
    line = server.host_key.export_public_key().decode()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {line}")
    assert machine.run("true").ok


def test_through_a_bastion(server: Server, tmp_path: Path, public_key: str) -> None:
    """All nodes behind a bastion use one connection to it, which is made again after it broke."""
    with Server(server.home, public_key) as bastion:
        inner = [
            Machine.of(server.node(tmp_path, id=f"i-{number}", bastion=f"jump@127.0.0.1:{bastion.port}"))
            for number in range(2)
        ]
        assert [one.run("echo $SSH_CONNECTION in").stdout for one in inner] == ["in\n", "in\n"]
        assert (bastion.logins, server.logins) == (1, 2)
        bastion.drop()
        assert inner[0].run("echo again").stdout == "again\n"
        assert (bastion.logins, server.logins) == (2, 3)
        hosts = [line.split()[0] for line in (tmp_path / "known_hosts").read_text().splitlines()]
        assert hosts == [f"[127.0.0.1]:{bastion.port}", "i-0", "i-1"]
        server.stop()
        with pytest.raises(Unreachable, match="the bastion cannot connect to it"):
            inner[0].run("true")
        connection.close_all()


def test_a_forked_child_has_its_own(machine: Machine, server: Server) -> None:
    """A forked child neither uses nor breaks its parent's connection."""
    # In a process without the threads of the server: a lock that one of them held would stay so in the child.
    using(
        """
        with machine.tunnel(machine.access.port) as tunnel:
            machine.run("true")
            pid = os.fork()
            if pid == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    status = int(machine.run("echo child").stdout != "child\\n")
                    connection.close_all()
                    with contextlib.suppress(ConnectionError):
                        socket.create_connection(tunnel.address, timeout=30).close()
                os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0
            assert machine.run("echo parent").stdout == "parent\\n"
        """,
        machine,
    )
    assert server.logins == 2


def test_a_child_ends_beside_its_parent(machine: Machine) -> None:
    """A forked child may end with Python's exit handlers while a command of its parent runs."""
    said = using(
        """
        machine.run("mkfifo door")
        results = []
        thread = threading.Thread(target=lambda: results.append(machine.run("cat door").stdout))
        thread.start()
        machine.run("true")
        if os.fork() == 0:
            sys.exit(machine.run("echo child").stdout != "child\\n")
        assert os.wait()[1] == 0
        machine.run("echo on > door")
        thread.join(30)
        assert results == ["on\\n"]
        print("ended")
        """,
        machine,
    )
    assert said == "ended\n"


def test_the_end_of_a_process_waits_for_nothing(machine: Machine) -> None:
    """A process ends at once beside open connections, tunnels, a running command and a failed handshake."""
    said = using(
        """
        def endless():
            with contextlib.suppress(NodeError):
                machine.run("sleep 1000")

        tunnel = machine.tunnel(1)
        machine.run("true")
        threading.Thread(target=endless, daemon=True).start()
        silent = socket.create_server(("127.0.0.1", 0))
        other = replace(machine, id="i-1", access=replace(machine.access, port=silent.getsockname()[1]))
        threading.Thread(target=lambda: silent.accept()[0].sendall(b"SSH-2.0-silent\\r\\n"), daemon=True).start()
        try:
            other.run("true", timeout=0.2)
        except NodeError:
            print(sockets.seconds())
        """,
        machine,
    )
    assert sockets.seconds() - float(said) < 60


def test_a_handshake_under_way_at_the_end_of_a_process(machine: Machine) -> None:
    """A handshake under way when Python ends prints nothing."""
    using(
        """
        import paramiko
        silent = socket.create_server(("127.0.0.1", 0))
        link = sockets.dial("127.0.0.1", silent.getsockname()[1], sockets.Countdown(10))
        transport = paramiko.Transport(link)
        transport.set_log_channel('pytest_capacity.paramiko')
        transport.start_client(event=threading.Event())
        """,
        machine,
    )


def test_a_stopped_clock(machine: Machine) -> None:
    """With Python's time stopped commands run, files are copied, and timeouts end."""
    using(
        """
        with freezegun.freeze_time("2001-01-01"):
            assert machine.run("echo on", timeout=60).stdout == "on\\n"
            assert machine.run("sleep 0.2").seconds >= 0.2
            try:
                machine.run("sleep 1000", timeout=3)
            except NodeError as error:
                assert "had not ended after" in str(error)
            machine.put("/etc/passwd", "copy")
            assert machine.run("cmp copy /etc/passwd").ok
            with machine.tunnel(machine.access.port) as tunnel, socket.create_connection(tunnel.address) as end:
                assert end.recv(4) == b"SSH-"
        """,
        machine,
    )


def test_a_stopped_clock_and_a_silent_node(machine: Machine) -> None:
    """With Python's time stopped the timeout of a connection ends."""
    using(
        """
        silent = socket.create_server(("127.0.0.1", 0))
        machine = replace(machine, access=replace(machine.access, port=silent.getsockname()[1]))
        with freezegun.freeze_time("2001-01-01"):
            try:
                machine.run("true", timeout=3)
            except NodeError as error:
                assert "speaks no SSH" in str(error)
        """,
        machine,
    )


def test_without_pythons_sockets(machine: Machine) -> None:
    """With Python's sockets blocked by pytest-socket nodes are still reached."""
    using(
        """
        pytest_socket.disable_socket()
        assert machine.run("echo on").stdout == "on\\n"
        machine.tunnel(1).close()
        pytest_socket.enable_socket()
        pytest_socket.socket_allow_hosts(["10.0.0.1"])
        connection.close_all()
        assert machine.run("echo on").stdout == "on\\n"
        """,
        machine,
    )


def test_importing_remote_loads_no_library() -> None:
    """A process that reaches no node does not import paramiko."""
    code = """
        import sys
        import pytest_capacity.remote.machine, pytest_capacity.remote.ready, pytest_capacity.remote.export
        import pytest_capacity.remote.keys
        assert not {"paramiko", "cryptography", "testinfra"} & set(sys.modules)
    """
    ended = python(code)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("missing", ["paramiko", "testinfra"])
def test_the_extra_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """An error names the extra to install where a library is missing."""
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "testinfra":
        monkeypatch.setitem(sys.modules, "testinfra.backend.base", None)
        monkeypatch.delitem(sys.modules, "pytest_capacity.remote.host", raising=False)
    with pytest.raises(NodeError, match=r"Run: .*install .*\[ssh\]'"):
        assert machine.host if missing == "testinfra" else machine.run("true")
