"""The key pair of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pytest_capacity.errors import NodeError
from pytest_capacity.install_advice import install_command

#: The comment in ``authorized_keys``.
_COMMENT: Final = "pytest-capacity"


def make_key_pair(path: Path) -> str:
    """Make an ed25519 key in the new file ``path`` (0600); return the line for ``authorized_keys``.

    A key that exists already is used. Raise `NodeError` without the extra ``[ssh]``, or when the file
    holds something else, and `OSError`.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise NodeError(
            f"no key pair can be made for the nodes: {error}. Run: {install_command('ssh')}, "
            "or give a key of your own (ssh.key)"
        ) from error
    form = serialization.PrivateFormat.OpenSSH
    fresh = Ed25519PrivateKey.generate()
    private = fresh.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    if _write_new(path, private):
        public = fresh.public_key()
    else:
        try:
            loaded = serialization.load_ssh_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise NodeError(f"{path} is no key of this run: {error}. Remove it") from error
        if not isinstance(loaded, Ed25519PrivateKey):
            raise NodeError(f"{path} is no key of this run: it is not an ed25519 key. Remove it")
        public = loaded.public_key()
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{line.decode()} {_COMMENT}"


def _write_new(path: Path, content: bytes) -> bool:
    """Write ``content`` to a new file, whole or, after a crash, not at all. Return False if the file exists."""
    if path.exists():
        return False
    spare = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    number = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(spare, path)  # Unlike a rename, it never replaces a file.
    except FileExistsError:
        return False
    finally:
        spare.unlink()
    return True
