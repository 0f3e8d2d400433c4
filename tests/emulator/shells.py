"""How the tests of the emulator reach its nodes: asyncssh as the client, one connection at a time or several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import asyncssh
import psutil

from tests.emulated import Emulator
from tests.emulator.asking import run

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

T = TypeVar("T")

#: Seconds that a test waits for what comes by itself.
PATIENCE_S = 120


def eventually(look: Callable[[], T], what: str) -> T:
    """The first answer of ``look`` that is true."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not in {PATIENCE_S} s: {what}")


def make_key(ec2: EC2Client, name: str = "ours") -> asyncssh.SSHKey:
    """A key whose public half EC2 knows by this name."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    ec2.import_key_pair(KeyName=name, PublicKeyMaterial=key.export_public_key())
    return key


def doors(emulator: Emulator) -> dict[str, Any]:
    """What ``GET /_world/ssh`` says."""
    return emulator._ask("/_world/ssh", None)


def port(emulator: Emulator, id_: str) -> int:
    """The port of a node, as soon as it has one."""
    return cast("int", eventually(lambda: doors(emulator)[id_]["port"], f"{id_} has a port"))


class Shell:
    """A running node and the key to it."""

    def __init__(self, emulator: Emulator, id_: str, key: asyncssh.SSHKey) -> None:
        self.id = id_
        self.key = key
        self.port = port(emulator, id_)

    def connect(self, **options: Any) -> Any:
        """A connection; ``options`` replace the usual ones."""
        asked = {
            "username": "ec2-user",
            "client_keys": [self.key],
            "known_hosts": None,
            "config": None,
            "agent_path": None,
            **options,
        }
        return asyncssh.connect("127.0.0.1", asked.pop("port", self.port), **asked)

    def on(self, work: Callable[[asyncssh.SSHClientConnection], Awaitable[T]], **options: Any) -> T:
        """What comes of some work on a connection of its own."""

        async def connected() -> T:
            async with self.connect(**options) as connection:
                return await work(connection)

        return asyncio.run(asyncio.wait_for(connected(), PATIENCE_S))

    def run(self, command: str, stdin: str = "") -> asyncssh.SSHCompletedProcess:
        """A command, with the end of its input after ``stdin``."""
        return self.on(lambda connection: connection.run(command, input=stdin))

    def say(self, command: str) -> str:
        """What a command that succeeds writes to its standard output."""
        done = self.run(command)
        assert done.exit_status == 0, done.stderr
        return str(done.stdout)


def start(emulator: Emulator, ec2: EC2Client, **more: Any) -> Shell:
    """A node that can be reached; ``more`` is for its launch."""
    key = make_key(ec2, name := f"ours-{len(ec2.describe_key_pairs()['KeyPairs'])}")
    (machine,) = run(ec2, KeyName=name, **more)
    return Shell(emulator, machine["InstanceId"], key)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def home(shell: Shell) -> Path:
    """The node's directory."""
    return Path(shell.say("pwd").strip())
