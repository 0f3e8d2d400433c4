"""Host keys: whether a machine is the one that it was before.

A run has its own file. The first key of a machine is accepted and written there, as OpenSSH's ``accept-new`` does.
The user's machines are checked against the user's files, in which this package writes nothing: a machine that is
unknown there is refused.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import paramiko
from paramiko.pkey import UnknownKeyType

from pytest_capacity.errors import NodeError

__tracebackhide__ = True

_SYSTEM: Final = Path("/etc/ssh/ssh_known_hosts")

#: The signature algorithms of an RSA key.
_RSA: Final = ("rsa-sha2-512", "rsa-sha2-256")


class HostKeys:
    """The known keys of the machine ``name``, which messages call ``who``. ``file`` None: the user's files."""

    def __init__(self, file: str | None, name: str, who: str) -> None:
        self._file = file
        self._name = name
        self._who = who

    def preferred(self, offered: Sequence[str]) -> list[str]:
        """Return the algorithms of ``offered``, those of known keys first, so that the machine shows one of these."""
        known = _types(self._keys())
        first = [one for one in offered if one in known]
        return first + [one for one in offered if one not in first]

    def check(self, key: paramiko.PKey) -> None:
        """Raise `NodeError` if ``key`` is not the one that is known, or if none is and the file is the user's."""
        if self._file is None:
            known = self._keys()
            if key in self._keys("@revoked"):
                raise NodeError(
                    f"{self._who}: its host key {_print(key)} is revoked in your known_hosts. Do not use it"
                )
            if not known:
                raise NodeError(self._unknown(key))
            self._compare(known, key, f"ssh-keygen -R '{self._name}'")
            return
        with _locked(Path(self._file)) as number:
            known = self._keys()
            if known:
                self._compare(known, key, f"ssh-keygen -f '{self._file}' -R '{self._name}'")
            else:
                os.write(number, f"{self._name} {key.get_name()} {key.get_base64()}\n".encode())

    def _keys(self, marker: str = "") -> list[paramiko.PKey]:
        if self._file is not None:
            return _keys_of(self._name, Path(self._file), marker)
        found: list[paramiko.PKey] = []
        for file in (Path("~/.ssh/known_hosts").expanduser(), _SYSTEM):
            with contextlib.suppress(PermissionError):  # As ssh, which ignores a file that it may not read.
                found += _keys_of(self._name, file, marker)
        return found

    def _compare(self, known: Sequence[paramiko.PKey], key: paramiko.PKey, remedy: str) -> None:
        if key not in known:
            before = next((one for one in known if one.get_name() == key.get_name()), known[0])
            raise NodeError(
                f"{self._who}: its host key is {_print(key)}, and was {_print(before)} before, so it is not used: "
                f"another machine may answer in its place. If you know why it changed: {remedy}"
            )

    def _unknown(self, key: paramiko.PKey) -> str:
        host, _, port = self._name.removeprefix("[").partition("]:")
        return (
            f"{self._who}: its host key {_print(key)} is not in ~/.ssh/known_hosts, so it is not used. "
            f"If it is the right one: ssh-keyscan -p {port or 22} {host} >> ~/.ssh/known_hosts"
        )


def name_of(address: str, port: int) -> str:
    """Return the name of a machine in a file of host keys."""
    return address if port == 22 else f"[{address}]:{port}"


def _keys_of(name: str, file: Path, marker: str) -> list[paramiko.PKey]:
    """Return the keys of ``name`` in lines of ``file`` with this marker (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    found: list[paramiko.PKey] = []
    for line in lines:
        fields = line.split()
        if fields and fields[0].startswith("@"):
            kind, *fields = fields
        else:
            kind = ""
        if kind == marker and len(fields) >= 3 and not fields[0].startswith("#") and _names(fields[0], name):
            # A key that cannot be read is passed over, as it is by ssh.
            with contextlib.suppress(paramiko.SSHException, UnknownKeyType, ValueError, LookupError, AssertionError):
                found.append(paramiko.PKey.from_type_string(fields[1], base64.b64decode(fields[2], validate=True)))
    return found


def _names(hosts: str, name: str) -> bool:
    """Return whether the first field of a line, in clear or hashed, has ``name``."""
    for host in hosts.split(","):
        if host == name:
            return True
        if host.startswith("|1|"):
            with contextlib.suppress(ValueError, LookupError, AssertionError):  # No salt, or one of another length.
                if paramiko.HostKeys.hash_host(name, host) == host:
                    return True
    return False


def _types(known: Sequence[paramiko.PKey]) -> list[str]:
    names = [key.get_name() for key in known]
    return [kind for name in names for kind in (_RSA if name == "ssh-rsa" else (name,))]


def _print(key: paramiko.PKey) -> str:
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[int]:
    """Open and lock the file: workers connect to a node at the same time, and only the first writes its key."""
    number = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield number
    finally:
        os.close(number)
