"""Copies from a node what ``collect:`` names: within a limit, and never out of the folder that it is copied into."""

from __future__ import annotations

import posixpath
import shlex
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_capacity.errors import NodeError
from pytest_capacity.remote.machine import Machine

if TYPE_CHECKING:
    import paramiko

#: So much is copied from one node, of a file that is too large its end. Bytes.
MOST: Final = 100 * 1024 * 1024

#: How long a node's shell may take to say which files there are, and how long it may be silent. Seconds.
_PATIENCE: Final = 20.0

#: How much is read at once, bytes; how many reads of a file are under way.
_CHUNK: Final = 1 << 15
_AHEAD: Final = 64

_MEGABYTE: Final = 1 << 20


class Fetch:
    """One node's files. ``notes`` says what could not be had; ``stopped`` ends it between two reads."""

    def __init__(self, node: Machine, into: Path, stopped: threading.Event) -> None:
        self.notes: list[str] = []
        self._node = node
        self._into = into
        self._stopped = stopped
        self._left = MOST

    def fetch(self, patterns: Sequence[str]) -> None:
        """Copy what ``patterns``, globs as the node's shell reads them, name."""
        from pytest_capacity.remote.session import transfer

        try:
            names = self._expanded(patterns)
            with transfer(self._node, "collecting files") as sftp:
                channel = sftp.get_channel()
                if channel is not None:
                    channel.settimeout(_PATIENCE)
                for name in names:
                    self._take(sftp, name)
        except NodeError as error:
            self.notes.append(str(error))

    def _expanded(self, patterns: Sequence[str]) -> Sequence[str]:
        # By sh, whatever the user's login shell is; a glob that matches nothing stays as it is, and is missed below.
        script = rf"printf '%s\0' {' '.join(patterns)}"
        said = self._node.run(f"exec sh -c {shlex.quote(script)}", timeout=_PATIENCE).stdout
        return list(dict.fromkeys(name for name in said.split("\0") if name))

    def _take(self, sftp: paramiko.SFTPClient, name: str) -> None:
        """Copy a file, or all files below a directory. A link that is named is followed, one that is found is not."""
        try:
            mode = sftp.stat(name).st_mode or 0
            if stat.S_ISDIR(mode):
                for found in self._below(sftp, name):
                    self._copy(sftp, found)
            elif stat.S_ISREG(mode):
                self._copy(sftp, name)
            else:
                self.notes.append(f"{name} is neither a file nor a directory")
        except OSError as error:
            self.notes.append(f"{name}: {_why(error)}")

    def _below(self, sftp: paramiko.SFTPClient, folder: str) -> Iterator[str]:
        try:
            entries = sorted(sftp.listdir_attr(folder), key=lambda entry: entry.filename)
        except OSError as error:
            self.notes.append(f"{folder}: {_why(error)}")
            return
        for entry in entries:
            if self._stopped.is_set():
                return
            name, mode = posixpath.join(folder, entry.filename), entry.st_mode or 0
            if entry.filename in ("", ".", "..") or "/" in entry.filename or "\0" in entry.filename:
                self.notes.append(f"{folder} lists the impossible name {entry.filename!r}")
            elif stat.S_ISDIR(mode):
                yield from self._below(sftp, name)
            elif stat.S_ISREG(mode):
                yield name

    def _copy(self, sftp: paramiko.SFTPClient, name: str) -> None:
        here = self._into.joinpath(*parts(name))
        if self._stopped.is_set() or here.exists():
            return
        if self._left <= 0:
            self.notes.append(f"{name}: left out, {MOST // _MEGABYTE} MB of this node are the most that is collected")
            return
        try:
            with sftp.open(name, "rb") as there:
                size = there.stat().st_size or 0
                if size > self._left:
                    there.seek(size - self._left)
                    self.notes.append(f"{name}: only the last {self._left / _MEGABYTE:.1f} MB of it")
                if size:  # Files of /proc have none, and contents all the same.
                    there.prefetch(size, _AHEAD)
                here.parent.mkdir(parents=True, exist_ok=True)
                self._write(there, here)
        except OSError as error:
            self.notes.append(f"{name}: {_why(error)}")

    def _write(self, there: paramiko.SFTPFile, here: Path) -> None:
        with here.open("xb") as file:
            while self._left > 0 and not self._stopped.is_set():
                piece = there.read(min(_CHUNK, self._left))
                if not piece:
                    return
                file.write(piece)
                self._left -= len(piece)


def parts(name: str) -> Sequence[str]:
    """Return a path of the node as parts below a folder of ours: ``..`` leads nowhere."""
    return [part for part in posixpath.normpath(f"/{name}").split("/") if part]


def _why(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).removesuffix(".")
