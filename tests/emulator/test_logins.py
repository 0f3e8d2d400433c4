"""What keeps a login out of a machine that runs, or a session out of a connection that stands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Access, Node
from pytest_capacity.remote.connection import close_all
from pytest_capacity.remote.machine import Machine
from pytest_capacity.remote.ready import probe
from tests.emulated import Emulator
from tests.emulator.shells import Shell, eventually, start

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_ec2 import EC2Client


def with_line(line: str) -> dict[str, Any]:
    return {"UserData": f"#!/bin/sh\n{line}\ntrue\n"}


async def sessions(connection: asyncssh.SSHClientConnection, count: int) -> list[str]:
    """What comes of so many sessions that are open at once."""
    opened = await asyncio.gather(
        *(connection.create_process("read line; echo got $line") for _ in range(count)), return_exceptions=True
    )
    said = []
    for one in opened:
        if isinstance(one, asyncssh.ChannelOpenError):
            said.append(f"{one.code} {one.reason}")
        else:
            assert isinstance(one, asyncssh.SSHClientProcess)
            said.append(str((await one.communicate("it\n"))[0]).strip())
    return said


@pytest.mark.parametrize(("line", "most"), [("true", 10), ("# emulator: MaxSessions 2", 2)])
def test_a_connection_has_so_many_sessions(emulator: Emulator, ec2: EC2Client, line: str, most: int) -> None:
    """As sshd's MaxSessions has it, ten by itself; one that ends makes room for another."""
    shell = start(emulator, ec2, **with_line(line))

    async def work(connection: asyncssh.SSHClientConnection) -> None:
        said = await sessions(connection, most + 1)
        assert sorted(said) == [f"{asyncssh.OPEN_CONNECT_FAILED} open failed", *["got it"] * most]
        # The server may see the end of a session a moment after the client.
        while await sessions(connection, most) != ["got it"] * most:  # `on` has a limit
            await asyncio.sleep(0.05)

    shell.on(work)


def test_a_user_may_come_late(emulator: Emulator, ec2: EC2Client) -> None:
    """The server is up, and refuses the key until cloud-init has made the user."""
    shell = start(emulator, ec2, **with_line("# emulator: user after 300 s"))
    with pytest.raises(asyncssh.PermissionDenied):
        shell.say("true")
    emulator.weather(clock={"advance_s": 301})
    assert shell.say("echo up") == "up\n"


def test_nologin_turns_all_but_root_away(emulator: Emulator, ec2: EC2Client) -> None:
    """The key is good; words come, and the connection ends, until the boot is over."""
    shell = start(emulator, ec2, **with_line("# emulator: nologin for 300 s"))
    with pytest.raises(asyncssh.DisconnectError):
        shell.say("true")

    async def whoami(connection: asyncssh.SSHClientConnection) -> str:
        return str((await connection.run("echo $USER")).stdout)

    assert shell.on(whoami, username="root") == "root\n"
    emulator.weather(clock={"advance_s": 301})
    assert shell.say("echo up") == "up\n"


@pytest.fixture
def private_key(tmp_path: Path) -> Path:
    return tmp_path / "key"


def node_of(shell: Shell, key: Path) -> Node:
    """It, as a test has it."""
    key.write_bytes(shell.key.export_private_key())
    key.chmod(0o600)
    access = Access(
        address="127.0.0.1",
        user="ec2-user",
        port=shell.port,
        key=str(key),
        known_hosts=str(key.with_name("known_hosts")),
    )
    return Node(
        id=shell.id, name="db-0", group="db", region="r", zone="z", market="on-demand", instance_type="t", access=access
    )


@pytest.mark.parametrize("line", ["user after 300 s", "nologin for 300 s"])
def test_such_a_node_is_only_not_ready(emulator: Emulator, ec2: EC2Client, private_key: Path, line: str) -> None:
    """`ready: ssh` goes on waiting, and says what the server did."""
    node = node_of(start(emulator, ec2, **with_line(f"# emulator: {line}")), private_key)
    why = probe(node, "ssh", timeout=60)
    assert why is not None
    emulator.weather(clock={"advance_s": 301})
    assert probe(node, "ssh", timeout=60) is None
    close_all()


def test_a_degraded_cloud_init_is_ready(emulator: Emulator, ec2: EC2Client, private_key: Path) -> None:
    """It has ended, with errors that it went on after: exit status 2, and a status that says done."""
    shell = start(emulator, ec2, **with_line("# emulator: cloud-init degraded"))
    eventually(lambda: shell.run("cloud-init status").exit_status == 2, "it ends")
    assert shell.run("cloud-init status").stdout == "status: done\n"
    long = shell.run("cloud-init status --long")
    assert (long.exit_status, "extended_status: degraded done" in str(long.stdout)) == (2, True)
    assert '"extended_status": "degraded done"' in str(shell.run("cloud-init status --format json").stdout)
    node = node_of(shell, private_key)
    assert probe(node, "cloud-init", timeout=60) is None
    close_all()


def test_more_commands_than_sessions_all_run(emulator: Emulator, ec2: EC2Client, private_key: Path) -> None:
    """A node that takes two sessions a connection runs five commands at once, over more connections."""
    machine = Machine.of(node_of(start(emulator, ec2, **with_line("# emulator: MaxSessions 2")), private_key))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(5) as pool:
        said = list(pool.map(lambda number: machine.run(f"sleep 0.2; echo {number}").stdout, range(5)))
    assert said == [f"{number}\n" for number in range(5)]
    close_all()
    with pytest.raises(NodeError, match="ended with 3"):
        machine.run("exit 3")
    close_all()
