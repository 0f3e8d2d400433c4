"""Files and directories, there and back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_capacity.errors import NodeError
from pytest_capacity.remote.machine import Machine
from tests.remote.server import Server


def mode(path: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a file in a directory, a script, links and a pipe."""
    tree = tmp_path / "tree"
    (tree / "deep er" / "empty").mkdir(parents=True)
    (tree / "deep er" / "grün").write_bytes(os.urandom(200_000))
    (tree / "run").write_text("#!/bin/sh\necho ran\n")
    (tree / "run").chmod(0o750)
    (tree / "secret").write_text("s")
    (tree / "secret").chmod(0o600)
    (tree / "deep er").chmod(0o711)
    (tree / "link").symlink_to("secret")
    (tree / "around").symlink_to(".")
    (tree / "nowhere").symlink_to("gone")
    os.mkfifo(tree / "pipe")
    return tree


def looks_like(copy: Path, tree: Path) -> None:
    """The files of `tree`, with their modes; of links what they lead to, once."""
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*")) == [
        "deep er",
        "deep er/empty",
        "deep er/grün",
        "link",
        "run",
        "secret",
    ]
    assert (copy / "deep er" / "grün").read_bytes() == (tree / "deep er" / "grün").read_bytes()
    assert (copy / "link").read_text() == "s"
    assert not (copy / "link").is_symlink()
    assert [mode(copy / name) for name in ("run", "secret", "deep er")] == [0o750, 0o600, 0o711]


def test_a_directory_there(machine: Machine, server: Server, tree: Path) -> None:
    """A directory is copied whole, with modes, into directories that are made, and over an earlier copy."""
    for _ in range(2):
        machine.put(tree, "some/where")
        looks_like(server.home / "some" / "where", tree)
    assert machine.run("some/where/run").stdout == "ran\n"


def test_a_directory_back(machine: Machine, tree: Path, tmp_path: Path) -> None:
    """A directory is copied whole from a node."""
    for _ in range(2):
        assert machine.get(str(tree), tmp_path / "a" / "b") == tmp_path / "a" / "b"
        looks_like(tmp_path / "a" / "b", tree)


def test_a_file_there(machine: Machine, server: Server, tree: Path) -> None:
    """A file is copied to a path, into a directory or into the home, over an existing file."""
    (server.home / "dir").mkdir()
    (server.home / "old").write_text("much longer than that")
    machine.put(tree / "run", "old")
    assert (server.home / "old").read_bytes() == (tree / "run").read_bytes()
    for place in ("dir", "new/", "~/other/", f"{server.home}/abs/"):
        machine.put(str(tree / "run"), place)
    for name in ("dir", "new", "other", "abs"):
        assert mode(server.home / name / "run") == 0o750


def test_a_file_back(machine: Machine, server: Server, tmp_path: Path) -> None:
    """A file is copied from a node to a path or into a directory, and its path is returned."""
    (server.home / "log").write_text("x" * 100_000)
    (server.home / "log").chmod(0o444)
    assert machine.get("~/log", tmp_path / "new" / "file") == tmp_path / "new" / "file"
    assert machine.get("log", tmp_path) == tmp_path / "log"
    assert machine.get("log", f"{tmp_path}/made/") == tmp_path / "made" / "log"
    assert (tmp_path / "made" / "log").read_text() == "x" * 100_000
    assert mode(tmp_path / "log") == 0o644  # Ours to remove.


def test_a_file_without_a_size(machine: Machine, tmp_path: Path) -> None:
    """Files of /proc, which have the size 0, are read to their end."""
    assert machine.get("/proc/version", tmp_path).read_bytes() == Path("/proc/version").read_bytes()


def test_a_link_here_is_not_written_through(machine: Machine, server: Server, tmp_path: Path) -> None:
    """A local link is replaced, and its target is not written."""
    (server.home / "log").write_text("theirs")
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "log").symlink_to("mine")
    machine.get("log", tmp_path / "log")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "log").read_text() == "theirs"


@pytest.mark.parametrize("name", ["missing", "pipe"])
def test_what_cannot_be_had(machine: Machine, server: Server, tmp_path: Path, name: str) -> None:
    """A refused copy names the node, the path, and the user whose permissions to check."""
    os.mkfifo(server.home / "pipe")
    with pytest.raises(NodeError, match=rf"db-0 .*copying {name} to .* failed at {name}: .*user 'tester'"):
        machine.get(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_where_nothing_can_be_put(machine: Machine, server: Server, tree: Path) -> None:
    """A file where a directory is needed is named."""
    (server.home / "file").touch()
    with pytest.raises(NodeError, match="failed at file: File exists"):
        machine.put(tree / "run", "file/x/y")


def test_what_is_not_here(machine: Machine, server: Server, tmp_path: Path) -> None:
    """A missing local file is an OSError before anything is sent to the node."""
    with pytest.raises(FileNotFoundError, match="gone"):
        machine.put(tmp_path / "gone", "x")
    assert server.logins == 0


def test_a_node_without_sftp(server: Server, machine: Machine, tree: Path) -> None:
    """A node without SFTP is an error that names the sshd_config line."""
    server.sftp = False
    with pytest.raises(NodeError, match="Subsystem sftp"):
        machine.put(tree, "x")
    assert machine.run("true").ok


def test_a_lying_node(server: Server, machine: Machine, tmp_path: Path) -> None:
    """Names that lead out of the directory are refused."""
    server.lies = True
    (server.home / "dir").mkdir()
    with pytest.raises(NodeError, match=r"impossible name '\.\./evil'"):
        machine.get("dir", tmp_path / "copy")
    assert not (tmp_path / "evil").exists()
