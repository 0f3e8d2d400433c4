"""Files to and from nodes, over SFTP.

Links are followed; what is neither a file nor a directory (sockets, pipes, devices) is left out.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import paramiko

__tracebackhide__ = True

T = TypeVar("T")

#: How many reads of a file are requested at once. Each is 32 KiB.
_AHEAD: Final = 64


class TransferFailed(Exception):
    """A path on the node could not be copied; ``why`` is the cause."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


def put(sftp: paramiko.SFTPClient, local: Path, remote: str) -> None:
    """Copy a file to ``remote`` (into it, if it is a directory), or a directory's contents into ``remote``."""
    remote = _home(remote)
    if local.is_dir():
        _put_tree(sftp, local, remote, (os.path.realpath(local),))
        return
    if remote.endswith("/") or _is_dir(sftp, remote):
        remote = posixpath.join(remote, local.name)
    if parent := posixpath.dirname(remote):
        _make_dirs(sftp, parent)
    _put_file(sftp, local, remote)


def get(sftp: paramiko.SFTPClient, remote: str, local: Path, *, into: bool = False) -> Path:
    """Copy a file to ``local`` (into it, if it is a directory), or a directory's contents into ``local``."""
    remote = _home(remote)
    mode = _mode(sftp, remote)
    if stat.S_ISDIR(mode):
        _get_tree(sftp, remote, local, (_real(sftp, remote),))
        return local
    if not stat.S_ISREG(mode):
        raise TransferFailed(remote, "it is neither a file nor a directory")
    if into or local.is_dir():
        local = local / posixpath.basename(remote)
    local.parent.mkdir(parents=True, exist_ok=True)
    _get_file(sftp, remote, local, mode)
    return local


def _put_tree(sftp: paramiko.SFTPClient, local: Path, remote: str, above: tuple[str, ...]) -> None:
    _make_dirs(sftp, remote)
    for entry in sorted(local.iterdir()):
        there = posixpath.join(remote, entry.name)
        if entry.is_dir():
            real = os.path.realpath(entry)
            if real not in above:  # A link to a directory above would be followed for ever.
                _put_tree(sftp, entry, there, (*above, real))
        elif entry.is_file():
            _put_file(sftp, entry, there)
    _asked(remote, lambda: sftp.chmod(remote, stat.S_IMODE(local.stat().st_mode)))


def _put_file(sftp: paramiko.SFTPClient, local: Path, remote: str) -> None:
    mode = stat.S_IMODE(local.stat().st_mode)
    _asked(remote, lambda: sftp.put(os.fspath(local), remote, confirm=False))
    _asked(remote, lambda: sftp.chmod(remote, mode))


def _get_tree(sftp: paramiko.SFTPClient, remote: str, local: Path, above: tuple[str, ...]) -> None:
    local.mkdir(parents=True, exist_ok=True)
    for name, mode in _entries(sftp, remote):
        there = posixpath.join(remote, name)
        if stat.S_ISDIR(mode):
            real = _real(sftp, there)
            if real not in above:
                _get_tree(sftp, there, local / name, (*above, real))
        elif stat.S_ISREG(mode):
            _get_file(sftp, there, local / name, mode)
    local.chmod(stat.S_IMODE(_mode(sftp, remote)) & 0o777 | stat.S_IRWXU)


def _entries(sftp: paramiko.SFTPClient, remote: str) -> Iterator[tuple[str, int]]:
    """Return the names in a directory with their modes; a link has the mode of its target."""
    listed = _asked(remote, lambda: sftp.listdir_attr(remote))
    for entry in sorted(listed, key=lambda one: one.filename):
        name, mode = entry.filename, entry.st_mode or 0
        if name in ("", ".", "..") or "/" in name or "\0" in name:  # A node must not choose a path of this machine.
            raise TransferFailed(remote, f"it lists the impossible name {name!r}")
        if stat.S_ISLNK(mode):
            try:
                mode = sftp.stat(posixpath.join(remote, name)).st_mode or 0
            except OSError:
                continue  # A dangling link.
        yield name, mode


def _get_file(sftp: paramiko.SFTPClient, remote: str, local: Path, mode: int) -> None:
    def copy() -> None:
        with sftp.open(remote, "rb") as there, local.open("wb") as here:
            there.prefetch(there.stat().st_size or 0, _AHEAD)
            while piece := there.read(1 << 15):  # To the end: files grow, and those of /proc have the size 0.
                here.write(piece)

    if local.is_symlink():
        local.unlink()
    _asked(remote, copy)
    local.chmod(stat.S_IMODE(mode) & 0o777 | stat.S_IRUSR | stat.S_IWUSR)


def _make_dirs(sftp: paramiko.SFTPClient, path: str) -> None:
    if _is_dir(sftp, path):
        return
    if parent := posixpath.dirname(path.rstrip("/")):
        _make_dirs(sftp, parent)
    try:
        sftp.mkdir(path)
    except OSError as error:
        if not _is_dir(sftp, path):  # Another process may have made it meanwhile.
            raise TransferFailed(path, _why(error)) from error


def _is_dir(sftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        return stat.S_ISDIR(sftp.stat(path).st_mode or 0)
    except OSError:
        return False


def _mode(sftp: paramiko.SFTPClient, path: str) -> int:
    return _asked(path, lambda: sftp.stat(path)).st_mode or 0


def _real(sftp: paramiko.SFTPClient, path: str) -> str:
    return _asked(path, lambda: sftp.normalize(path))


def _asked(path: str, ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns. Raise `TransferFailed` for ``path`` if the node refuses."""
    try:
        return ask()
    except OSError as error:
        if error.filename is not None:  # It is about a local file, which the error names.
            raise
        raise TransferFailed(path, _why(error)) from error


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _home(path: str) -> str:
    """Return a path without ``~``, which SFTP does not expand: relative paths start at the user's home."""
    return "." if path in ("~", "~/") else path.removeprefix("~/")
