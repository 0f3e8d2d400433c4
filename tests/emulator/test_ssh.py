from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import boto3
import psutil
import pytest

from tests.emulated import Emulator, start_emulator
from tests.emulator.asking import run
from tests.emulator.shells import Shell, doors, eventually, gone, home, make_key, start

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_a_command_says_all_that_it_says(emulator: Emulator, ec2: EC2Client) -> None:
    """Output, errors and exit status apart; its input is passed on to the end."""
    shell = start(emulator, ec2)
    done = shell.run("cat; echo wrong >&2; exit 3", "told\n")
    assert (done.stdout, done.stderr, done.exit_status) == ("told\n", "wrong\n", 3)
    done = shell.run("kill -KILL $$")
    assert (done.exit_status, done.exit_signal and done.exit_signal[0]) == (-1, "KILL")
    many = shell.run("head -c 3000000 /dev/zero | tr '\\0' x")
    assert len(str(many.stdout)) == 3_000_000


def test_a_command_runs_in_a_directory_of_its_nodes_own(emulator: Emulator, ec2: EC2Client) -> None:
    """It is HOME, the temporary files lie in it, and no other user may look into it."""
    shell, other = start(emulator, ec2), start(emulator, ec2)
    path = home(shell)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert shell.say("echo $HOME; dirname $(mktemp)").split() == [str(path), str(path / "tmp")]
    shell.say("echo one > mine")
    assert other.run("cat mine").exit_status != 0


def test_a_command_gets_nothing_of_the_emulators_environment(ec2: EC2Client, emulator: Emulator) -> None:
    """No credentials and no paths of Python's: what a new login would have, and the node's mark."""
    shell = start(emulator, ec2)
    names = {line.partition("=")[0] for line in shell.say("env").splitlines()}
    known = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "HOSTNAME", "EMULATED_NODE", "PWD"}
    assert names - known <= {"SHLVL", "_", "OLDPWD"}


def test_only_the_machines_own_key_opens_it(emulator: Emulator, ec2: EC2Client) -> None:
    """Whatever the user's name; another key does not, nor does a password."""
    shell = start(emulator, ec2)
    assert shell.on(lambda connection: connection.run("echo $USER"), username="root").stdout == "root\n"
    for wrong in (
        {"client_keys": [make_key(ec2, "another")]},
        {"client_keys": None, "password": "x", "preferred_auth": "password,keyboard-interactive"},
    ):
        with pytest.raises(asyncssh.PermissionDenied):
            shell.on(lambda connection: connection.run("true"), **wrong)


def test_each_has_its_own_port_on_loopback_and_its_own_host_key(emulator: Emulator, ec2: EC2Client) -> None:
    """Machines of one launch are told apart, and no other client reaches them."""
    key = make_key(ec2)
    shells = [Shell(emulator, one["InstanceId"], key) for one in run(ec2, 5, KeyName="ours")]

    async def host_key(connection: asyncssh.SSHClientConnection) -> bytes:
        told = connection.get_server_host_key()
        assert told is not None
        return told.public_data

    assert len({shell.port for shell in shells}) == len({shell.on(host_key) for shell in shells}) == 5
    listening = [one.laddr for one in psutil.Process(emulator.process.pid).net_connections() if one.status == "LISTEN"]
    assert {shell.port for shell in shells} < {one.port for one in listening}
    assert {one.ip for one in listening} == {"127.0.0.1"}
    assert doors(emulator) == {shell.id: {"address": "127.0.0.1", "port": shell.port} for shell in shells}


def test_it_answers_when_the_machine_has_booted(emulator: Emulator, ec2: EC2Client) -> None:
    """Not before it runs, and not before the weather's delay after that."""
    emulator.weather(boot_s=1000, ssh_delay_s=1000)
    key = make_key(ec2)
    (machine,) = run(ec2, KeyName="ours")
    closed = {machine["InstanceId"]: {"address": "127.0.0.1", "port": None}}
    assert doors(emulator) == closed
    emulator.weather(clock={"advance_s": 1001})
    fingerprint = "SSH HOST KEY"
    eventually(
        lambda: fingerprint in ec2.get_console_output(InstanceId=machine["InstanceId"])["Output"], "it has a host key"
    )
    assert doors(emulator) == closed
    emulator.weather(clock={"advance_s": 1000})
    assert Shell(emulator, machine["InstanceId"], key).say("echo up") == "up\n"


def test_a_short_boot_ends_by_itself(emulator: Emulator, ec2: EC2Client) -> None:
    """It needs no call, or to move the clock."""
    emulator.weather(boot_s=0.4, ssh_delay_s=0.2)
    assert start(emulator, ec2).say("echo up") == "up\n"


def test_machines_without_a_key_have_none(emulator: Emulator, ec2: EC2Client) -> None:
    """Nor have those with Windows, where a key pair is for the password."""
    key = make_key(ec2)
    run(ec2)
    run(ec2, KeyName="ours", ImageId="ami-0e000000000000002")
    (machine,) = run(ec2, KeyName="ours")
    assert list(doors(emulator)) == [machine["InstanceId"]]
    assert Shell(emulator, machine["InstanceId"], key).port


def test_terminating_the_machine_ends_all_of_it(emulator: Emulator, ec2: EC2Client) -> None:
    """Its connections, what runs on them, what was sent to the background, its port and its directory."""
    emulator.weather(stop_s=1000)
    shell = start(emulator, ec2)
    path = home(shell)
    left = int(shell.say("sleep 1000 >/dev/null 2>&1 & echo $!"))

    async def work(connection: asyncssh.SSHClientConnection) -> int:
        process = await connection.create_process("echo $$; exec sleep 1000")
        pid = int(await process.stdout.readline())
        await asyncio.to_thread(ec2.terminate_instances, InstanceIds=[shell.id])
        await connection.wait_closed()
        assert (await process.wait()).exit_status is None
        return pid

    pid = shell.on(work)
    eventually(lambda: gone(pid) and gone(left), "its processes have ended")
    eventually(lambda: not path.exists(), "its directory is removed")
    assert doors(emulator) == {}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", shell.port), timeout=5)


@pytest.mark.skipif(sys.platform != "linux", reason="what left its process group is found by its environment")
def test_a_daemon_ends_with_its_node_and_not_with_another(emulator: Emulator, ec2: EC2Client) -> None:
    """Also one that has a session of its own."""
    shell, other = start(emulator, ec2), start(emulator, ec2)
    leave = "setsid sh -c 'echo $$ > pid; exec sleep 1000' >/dev/null 2>&1 &"
    daemons = [int(one.say(f"{leave} until [ -s pid ]; do sleep 0.01; done; cat pid")) for one in (shell, other)]
    ec2.terminate_instances(InstanceIds=[shell.id])
    eventually(lambda: gone(daemons[0]), "the daemon has ended")
    assert not gone(daemons[1])
    emulator.reset()
    eventually(lambda: gone(daemons[1]), "the other one has ended")


def test_emptying_the_world_leaves_nothing(emulator: Emulator, ec2: EC2Client) -> None:
    """When the reset is answered, ports, directories and processes are gone."""
    shell = start(emulator, ec2)
    path = home(shell)
    left = int(shell.say("sleep 1000 >/dev/null 2>&1 & echo $!"))
    emulator.reset()
    assert (doors(emulator), path.exists()) == ({}, False)
    eventually(lambda: gone(left), "the process has ended")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", shell.port), timeout=5)


def test_a_command_ends_with_its_channel(emulator: Emulator, ec2: EC2Client) -> None:
    """With all that it started; but what a command that ended left in the background goes on."""
    shell = start(emulator, ec2)
    left = int(shell.say("sleep 1000 >/dev/null 2>&1 & echo $!"))

    async def work(connection: asyncssh.SSHClientConnection) -> list[int]:
        process = await connection.create_process("sleep 1000 & echo $$ $!; wait")
        return [int(pid) for pid in (await process.stdout.readline()).split()]

    pids = shell.on(work)
    eventually(lambda: all(gone(pid) for pid in pids), "the command has ended")
    assert not gone(left)


def test_a_status_comes_when_the_command_has_ended(emulator: Emulator, ec2: EC2Client) -> None:
    """And the channel stays open, without its signals, as long as what the command left behind holds its output."""
    shell = start(emulator, ec2)

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[int, str]:
        process = await connection.create_process("mkfifo hold; { read -r _ < hold; echo last; } & echo $!; exit 5")
        left = int(await process.stdout.readline())
        while process.exit_status is None:
            await asyncio.sleep(0.01)
        assert not process.stdout.at_eof()
        process.send_signal("KILL")
        assert (await connection.run("echo let go > hold")).exit_status == 0
        return left, await process.stdout.read() + str((await process.wait()).exit_status)

    left, said = shell.on(work)
    assert said == "last\n5"
    eventually(lambda: gone(left), "it has ended by itself")


def test_what_a_command_left_behind_outlives_the_channel(emulator: Emulator, ec2: EC2Client) -> None:
    """Though it holds the output of a command that has ended; what it then writes has no reader any more."""
    shell = start(emulator, ec2)
    path = home(shell)

    async def work(connection: asyncssh.SSHClientConnection) -> int:
        process = await connection.create_process(
            "mkfifo hold; { trap '' PIPE; read -r _ < hold; echo x || : > unread; sleep 1000; } & echo $!"
        )
        left = int(await process.stdout.readline())
        while process.exit_status is None:
            await asyncio.sleep(0.01)
        process.close()
        await process.wait_closed()
        # The server is done with the channel when one that is opened later has ended.
        await connection.run("true")
        return left

    left = shell.on(work)
    assert not gone(left)
    shell.say("echo > hold")
    eventually((path / "unread").exists, "its output is closed")


def test_signals_reach_the_command(emulator: Emulator, ec2: EC2Client) -> None:
    """The one that is sent, and the command may catch it."""
    shell = start(emulator, ec2)

    async def work(connection: asyncssh.SSHClientConnection) -> asyncssh.SSHCompletedProcess:
        process = await connection.create_process(
            "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
        )
        await process.stdout.readline()
        process.send_signal("TERM")
        return await process.wait()

    done = shell.on(work)
    assert (done.stdout, done.exit_status) == ("caught\n", 5)


def test_a_shell_without_a_command_reads_its_input(emulator: Emulator, ec2: EC2Client) -> None:
    """Line by line, to the exit status of the last."""
    done = start(emulator, ec2).on(lambda connection: connection.run(None, input="echo one\necho two\nexit 4\n"))
    assert (done.stdout, done.exit_status) == ("one\ntwo\n", 4)


def test_files_go_to_and_fro(emulator: Emulator, ec2: EC2Client, tmp_path: Path) -> None:
    """By SFTP and by scp: relative paths are the node's, absolute ones this machine's."""
    shell = start(emulator, ec2)
    (tmp_path / "here").write_text("told")

    async def work(connection: asyncssh.SSHClientConnection) -> str:
        async with connection.start_sftp_client() as files:
            await files.put(tmp_path / "here", "there")
            await files.get("there", tmp_path / "back")
            await files.symlink("there", "link")
            await files.put(tmp_path / "here", tmp_path / "absolute")
            where = await files.realpath(".")
        await asyncssh.scp(tmp_path / "here", (connection, "by-scp"))
        return str(where)

    path = home(shell)
    assert shell.on(work) == str(path)
    assert shell.say("cat there by-scp link") == "told" * 3
    assert [(tmp_path / name).read_text() for name in ("back", "absolute")] == ["told", "told"]


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it receives."""

    def handle(self) -> None:
        self.request.sendall(self.request.recv(100))


def test_connections_are_forwarded_on_loopback_only(emulator: Emulator, ec2: EC2Client) -> None:
    """A service behind the node is reached through it; an address elsewhere is not."""
    shell = start(emulator, ec2)
    with socketserver.TCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        async def work(connection: asyncssh.SSHClientConnection) -> bytes:
            reader, writer = await connection.open_connection("localhost", server.server_address[1])
            writer.write(b"told")
            writer.write_eof()
            said: bytes = await reader.read()
            for host in ("192.0.2.1", "example.invalid"):
                with pytest.raises(asyncssh.ChannelOpenError, match="reaches loopback"):
                    await connection.open_connection(host, 80)
            return said

        assert shell.on(work) == b"told"
        server.shutdown()


def test_one_node_is_a_bastion_for_another(emulator: Emulator, ec2: EC2Client) -> None:
    """By the port of its SSH server, and by its private address and port 22 as on the real cloud."""
    shell, inner = start(emulator, ec2), start(emulator, ec2)
    machine = ec2.describe_instances(InstanceIds=[inner.id])["Reservations"][0]["Instances"][0]
    for host, port in (("127.0.0.1", inner.port), (machine["PrivateIpAddress"], 22)):

        async def work(bastion: asyncssh.SSHClientConnection, host: str = host, port: int = port) -> str:
            async with bastion.connect_ssh(
                host, port, username="x", client_keys=[inner.key], known_hosts=None, config=None, agent_path=None
            ) as connection:
                return str((await connection.run("hostname")).stdout).strip()

        assert shell.on(work) == f"ip-{machine['PrivateIpAddress'].replace('.', '-')}"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")
def test_openssh_gets_in(emulator: Emulator, ec2: EC2Client, tmp_path: Path) -> None:
    """The usual client, with a bastion."""
    shell, inner = start(emulator, ec2), start(emulator, ec2)
    lines = []
    for name, one in (("bastion", shell), ("inner", inner)):
        key = tmp_path / name
        key.write_bytes(one.key.export_private_key())
        key.chmod(0o600)
        lines += [f"Host {name}", " HostName 127.0.0.1", f" Port {one.port}", f" IdentityFile {key}", " User ec2-user"]
        lines += [" IdentitiesOnly yes", " StrictHostKeyChecking no", " UserKnownHostsFile /dev/null"]
    (tmp_path / "config").write_text("\n".join([*lines, " ProxyJump bastion", ""]))
    command = ["ssh", "-F", str(tmp_path / "config"), "inner", "cat; exit 7"]
    done = subprocess.run(command, input=b"told", capture_output=True, timeout=60)
    assert (done.stdout, done.returncode) == (b"told", 7), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_emulator(number: signal.Signals) -> None:
    """Its nodes' directories and processes are gone, however it ended."""
    with start_emulator(measured=True) as emulator:
        ec2 = boto3.client(
            "ec2", "us-east-1", endpoint_url=emulator.url, aws_access_key_id="x", aws_secret_access_key=emulator.secret
        )
        shell = start(emulator, ec2)
        path = home(shell)
        left = [
            int(shell.say("sleep 1000 >/dev/null 2>&1 & echo $!")),
            int(shell.say("nohup sh -c 'sleep 1000; true' >/dev/null 2>&1 & echo $!")),
        ]
        emulator.process.send_signal(number)
        emulator.process.wait(60)
        eventually(lambda: all(gone(pid) for pid in left), "its processes have ended")
        eventually(lambda: not path.parent.exists(), "its directories are removed")


def test_without_asyncssh_machines_run_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no SSH server, and the emulator says once what is missing."""
    hidden = "import importlib.machinery as m\nfound = m.PathFinder.find_spec\n"
    hidden += "def find(cls, name, path=None, target=None):\n"
    hidden += "    return None if name == 'asyncssh' else found(name, path, target)\n"
    (tmp_path / "sitecustomize.py").write_text(f"{hidden}m.PathFinder.find_spec = classmethod(find)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with start_emulator(measured=True) as emulator:
        ec2 = boto3.client(
            "ec2", "us-east-1", endpoint_url=emulator.url, aws_access_key_id="x", aws_secret_access_key=emulator.secret
        )
        make_key(ec2)
        machines = [*run(ec2, KeyName="ours"), *run(ec2, KeyName="ours")]
        assert {ec2.get_console_output(InstanceId=one["InstanceId"])["Output"] != "" for one in machines} == {True}
        assert doors(emulator) == {}
        assert emulator.errors().count("asyncssh is not installed") == 1


def test_nothing_is_started_before_the_first_key() -> None:
    """The emulator has no child process but the shell that removes its folder, and loads no SSH server."""
    with start_emulator(measured=True) as emulator:
        ec2 = boto3.client(
            "ec2", "us-east-1", endpoint_url=emulator.url, aws_access_key_id="x", aws_secret_access_key=emulator.secret
        )
        run(ec2)
        process = psutil.Process(emulator.process.pid)
        assert len(process.children()) == 1
        start(emulator, ec2)
        assert len(process.children()) == 2


def test_a_terminal_is_one(emulator: Emulator, ec2: EC2Client) -> None:
    """It echoes, has the client's size and its changes, passes Ctrl-C to what runs, and ends with its shell."""
    shell = start(emulator, ec2)

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[str, int | None]:
        process = await connection.create_process(term_type="vt100", term_size=(91, 47))
        said = ""
        for told, answer in (
            ("stty size; tty\n", "47 91"),
            ("sh -c 'printf be%s gan; exec sleep 1000'\r", "began"),
            ("\x03", ""),
            ("echo $((6 * 7)) $TERM\n", "42 vt100"),
        ):
            process.stdin.write(told)
            while answer not in said:
                said += await process.stdout.read(1000)
        process.change_terminal_size(100, 50)
        process.stdin.write("stty size\n")
        while "50 100" not in said:
            said += await process.stdout.read(1000)
        process.stdin.write("exit 3\n")
        return said, (await process.wait()).exit_status

    said, status = shell.on(work)
    assert ("/dev/" in said, "stty size" in said, status) == (True, True, 3)


def test_a_terminal_breaks_with_its_channel(emulator: Emulator, ec2: EC2Client) -> None:
    """And what ran at it has ended; the end of its input ends its shell."""
    shell = start(emulator, ec2)

    async def work(connection: asyncssh.SSHClientConnection) -> int:
        process = await connection.create_process("echo pid $$; exec sleep 1000", term_type="vt100")
        return int((await process.stdout.readline()).split()[1])

    pid = shell.on(work)
    eventually(lambda: gone(pid), "the command has ended")
    done = shell.on(lambda connection: connection.run(None, input="echo one\n", term_type="vt100"))
    assert ("one\r\n" in str(done.stdout), done.exit_status) == (True, 0)
