"""One node: its directory, its SSH server, and what runs behind it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

import asyncssh

from pytest_capacity.emulator.nodes.door import LOOPBACK, Door
from pytest_capacity.emulator.nodes.homes import MARK, Home
from pytest_capacity.emulator.nodes.logins import read_logins
from pytest_capacity.emulator.nodes.stubs import write_stubs
from pytest_capacity.emulator.things import Machine

#: The most that is kept of what a node wrote to its console.
_KEPT: Final = 65536

#: Asked by a node's own commands: ``poweroff``, ``reboot`` or ``cancel``, and after how many minutes.
Asked = Callable[[str, float], None]
#: Where the SSH server of another node listens, by the address that the cloud gave it.
Route = Callable[[str, int], int | None]


class Node:
    """From the machine's running to its end.

    `make` gives it a directory and a host key, `open` a port. `reboot` ends what runs and keeps both. `close` ends
    what runs, its connections and its port, and leaves the directory to be removed when the processes have ended.
    """

    def __init__(self, machine: Machine, home: Home, asked: Asked, route: Route, clock: Callable[[], float]) -> None:
        self.id = machine.id
        self.logins = read_logins(machine.user_data)
        self._running_at = machine.running_at
        self._clock = clock
        self.home = home
        self.private_ip = machine.private_ip
        self.addresses = frozenset(filter(None, (self.private_ip, machine.public_ip)))
        self.authorized = frozenset(asyncssh.import_public_key(key).public_data for key in machine.public_keys)
        self.user = machine.user
        self.hostname = machine.hostname or f"ip-{machine.private_ip.replace('.', '-')}"
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.route = route
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.port: int | None = None
        self.cloud_init_ended = False
        self._asked = asked
        self._server: asyncssh.SSHAcceptor | None = None
        self._door: int | None = None
        self._written = ""
        home.make(machine.user_data)
        write_stubs(home.bin, home.door, home.cloud_init, self.private_ip, self.hostname, machine.domain)
        self._listen_to_commands()

    @property
    def age(self) -> float:
        """Return the seconds since the machine runs."""
        return self._clock() - self._running_at

    async def open(self) -> None:
        """Accept connections, on a port that is free."""
        listening = socket.create_server((LOOPBACK, 0), backlog=128)
        self._server = await asyncssh.listen(
            sock=listening,
            server_factory=lambda: Door(self),
            server_host_keys=[self.host_key],
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            gss_host=None,
        )
        self.port = self._server.get_port()

    def shut(self) -> None:
        """Close the port and the connections. The caller ends what runs."""
        self.port = None
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()

    def drop(self) -> None:
        """Break every connection, as a machine does that went away."""
        for connection in list(self.connections):
            connection.abort()

    def close(self) -> None:
        """Keep the console, and let go of the directory."""
        self._written = self._read_console()
        if self._door is not None:
            asyncio.get_running_loop().remove_reader(self._door)
            os.close(self._door)
            self._door = None
        self.home.remove()

    def end_cloud_init(self, status: str) -> None:
        """Set what cloud-init reports from now on: done, degraded or error."""
        self.cloud_init_ended = True
        # Whole or not at all: a command may read it now.
        new = self.home.cloud_init.with_suffix(".new")
        new.write_text(f"{status}\n", encoding="ascii")
        new.replace(self.home.cloud_init)

    def console(self) -> str:
        """Return the host key's fingerprint, as cloud-init prints it, and what the node's commands wrote."""
        host = f"root@{self.hostname}"
        line = self.host_key.export_public_key().decode("ascii").split()
        bar = "#" * 61
        prints = (
            "",
            bar,
            "-----BEGIN SSH HOST KEY FINGERPRINTS-----",
            f"256 {self.host_key.get_fingerprint()} {host} (ED25519)",
            "-----END SSH HOST KEY FINGERPRINTS-----",
            bar,
        )
        return (
            "".join(f"ec2: {words}\n" for words in prints)
            + f"-----BEGIN SSH HOST KEY KEYS-----\n{line[0]} {line[1]} {host}\n-----END SSH HOST KEY KEYS-----\n"
            + (self._written or self._read_console())
        )

    def _read_console(self) -> str:
        try:
            with self.home.console.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _KEPT))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def environment(self, process: asyncssh.SSHServerProcess[bytes]) -> Mapping[str, str]:
        """Return what a command is given: nothing of the emulator's own environment."""
        user = str(process.get_extra_info("username"))
        path = f"{self.home.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        told = {str(name): str(value) for name, value in process.env.items()}
        return {
            # What sshd lets in by default.
            **{name: value for name, value in told.items() if name.startswith("LC_")},
            "PATH": path,
            "HOME": str(self.home.path),
            "TMPDIR": str(self.home.tmp),
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "LANG": told.get("LANG", "C.UTF-8"),
            "HOSTNAME": self.hostname,
            MARK: str(self.home.path),
            **({"TERM": process.term_type} if process.term_type else {}),
        }

    def _listen_to_commands(self) -> None:
        # For reading and writing: the pipe then has no end when a writer closes it.
        self._door = os.open(self.home.door, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._door, self._hear, self._door)

    def _hear(self, door: int) -> None:
        for line in os.read(door, 4096).decode("utf-8", "replace").splitlines():
            word, _, minutes = line.partition(" ")
            if word in ("poweroff", "reboot", "cancel") and (minutes or "0").isdecimal():
                self._asked(word, float(minutes or 0))
