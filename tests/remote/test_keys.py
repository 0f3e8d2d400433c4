"""The key pair of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from pytest_capacity.errors import NodeError
from pytest_capacity.remote.keys import make_key_pair


def test_a_new_pair(tmp_path: Path) -> None:
    """A new key is ed25519 in OpenSSH's form, mode 0600 under any umask, with a line for ``authorized_keys``."""
    before = os.umask(0)
    try:
        line = make_key_pair(tmp_path / "key")
    finally:
        os.umask(before)
    kind, public, comment = line.split()
    assert (kind, comment) == ("ssh-ed25519", "pytest-capacity")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    read = asyncssh.read_private_key(tmp_path / "key")
    assert read.export_public_key().decode().split()[1] == public
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH's ssh-keygen")
def test_openssh_takes_it(tmp_path: Path) -> None:
    """ssh-keygen reads the key and prints the same public key."""
    line = make_key_pair(tmp_path / "key")
    told = subprocess.run(["ssh-keygen", "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True)
    assert told.stdout.split()[:2] == line.split()[:2]


def test_a_pair_that_is_there(tmp_path: Path) -> None:
    """An existing key is used, so that a second keeper has the same key."""
    line = make_key_pair(tmp_path / "key")
    content = (tmp_path / "key").read_bytes()
    assert make_key_pair(tmp_path / "key") == line
    assert (tmp_path / "key").read_bytes() == content


def test_made_at_once(tmp_path: Path) -> None:
    """Of several processes at once all have the key of the first."""
    with ThreadPoolExecutor(8) as threads:
        lines = set(threads.map(lambda _: make_key_pair(tmp_path / "key"), range(8)))
    assert len(lines) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("what", ["garbage", "rsa"])
def test_something_else_is_there(tmp_path: Path, what: str) -> None:
    """A file that is not a key is not overwritten, and named."""
    path = tmp_path / "key"
    if what == "rsa":
        asyncssh.generate_private_key("ssh-rsa", key_size=2048).write_private_key(path)
    else:
        path.write_text("x")
    content = path.read_bytes()
    with pytest.raises(NodeError, match=f"{path} is no key of this run"):
        make_key_pair(path)
    assert path.read_bytes() == content


def test_no_folder(tmp_path: Path) -> None:
    """A missing directory is an error: the caller makes it, since it must be private."""
    with pytest.raises(FileNotFoundError):
        make_key_pair(tmp_path / "gone" / "key")
