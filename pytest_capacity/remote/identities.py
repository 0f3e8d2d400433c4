"""The keys for the login: a file, the agent's keys, or those in ``~/.ssh``."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import paramiko
from paramiko.agent import AgentSSH

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Access
from pytest_capacity.remote.sockets import RawSocket

__tracebackhide__ = True

_KINDS: Final = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

#: OpenSSH's default files, best first.
_USUAL: Final = ("id_ed25519", "id_ecdsa", "id_rsa")

#: How long the agent may take; it may wait for a confirmation by the user. Seconds.
_AGENT: Final = 30.0


class _Locked(NodeError):
    """A key file with a passphrase."""


def keys_for(access: Access) -> Iterator[paramiko.PKey]:
    """Return the keys to try, in order. Raise `NodeError` for a key file that cannot be used.

    A key file with a passphrase is replaced by the agent's keys.
    """
    if access.key is None:
        yield from _agent_keys()
        for name in _USUAL:
            path = Path("~/.ssh", name).expanduser()
            if path.is_file():
                try:
                    yield _load(path)
                except NodeError:
                    continue
        return
    try:
        key: paramiko.PKey | None = _load(Path(access.key))
    except _Locked as error:
        held = list(_agent_keys())
        if not held:
            raise NodeError(f"{error}. Run ssh-add {access.key}, or name a key without a passphrase") from error
        yield from held
    else:
        assert key is not None
        yield key


def _load(path: Path) -> paramiko.PKey:
    try:
        # Not `paramiko.PKey.from_path`: it reads by `Path`, which under pyfakefs does not see the real files.
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - for the same reason.
            text = file.read()
    except OSError as error:
        raise NodeError(
            f"the key {path} cannot be read: {error.strerror or error}. Name another one (ssh.key)"
        ) from error
    if "BEGIN ENCRYPTED PRIVATE KEY" in text:  # PKCS#8, which paramiko takes for a key without a passphrase.
        raise _Locked(f"the key {path} has a passphrase")
    said = ""
    for kind in _KINDS:
        try:
            key: paramiko.PKey = kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException as error:
            raise _Locked(f"the key {path} has a passphrase") from error
        except (paramiko.SSHException, ValueError, IndexError) as error:
            said = str(error)
            continue
        certificate = path.with_name(f"{path.name}-cert.pub")
        if certificate.is_file():
            key.load_certificate(str(certificate))
        return key
    raise NodeError(
        f"{path} is not a private key that paramiko can read: {said}. Name an ed25519, ECDSA or RSA key (ssh.key)"
    )


def _agent_keys() -> tuple[paramiko.PKey, ...]:
    """Return the agent's keys; none if there is no agent."""
    place = os.environ.get("SSH_AUTH_SOCK")
    if not place:
        return ()
    link = RawSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(_AGENT)
        link.connect(place)
        return _Agent(link).get_keys()
    except (OSError, paramiko.SSHException):
        link.close()
        return ()


class _Agent(AgentSSH):
    """`paramiko.Agent`, on a socket that a test cannot have replaced."""

    def __init__(self, link: socket.SocketType) -> None:
        super().__init__()
        self._connect(link)  # type: ignore[attr-defined]  # as `paramiko.Agent` does
