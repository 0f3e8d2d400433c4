"""A node that can be used: run commands on it, copy files, reach its ports."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from pytest_capacity.errors import CommandFailed, NodeError
from pytest_capacity.install_advice import install_command
from pytest_capacity.model import Node
from pytest_capacity.remote.export import ssh_command
from pytest_capacity.remote.messages import access_of, brief, describe, last_lines
from pytest_capacity.remote.sockets import Countdown, seconds
from pytest_capacity.remote.tunnel import Tunnel

if TYPE_CHECKING:
    from testinfra.host import Host

__tracebackhide__ = True

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Result(Struct, frozen=True, kw_only=True):
    """The result of a command. Outputs are text; bytes that are not UTF-8 are replaced."""

    command: str
    #: -1: a signal ended it.
    exit_status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""
        return self.exit_status == 0

    def __str__(self) -> str:
        return f"`{brief(self.command)}` ended with {_status(self.exit_status)} after {self.seconds:.1f} s"


class Machine(Node, frozen=True, kw_only=True):
    """A node with its SSH methods. It equals the `Node` that it was made of.

    The connection is made at the first use, kept by this process, and shared by its threads. Every method
    raises `NodeError` when the node cannot be reached.
    """

    @classmethod
    def of(cls, node: Node) -> Machine:
        """Return ``node`` with the SSH methods."""
        return node if isinstance(node, Machine) else cls(**_fields(node))

    def __eq__(self, other: object) -> bool:
        return _fields(self) == _fields(other) if isinstance(other, Node) else NotImplemented

    def __hash__(self) -> int:
        return hash(Node(**_fields(self)))

    def run(
        self,
        command: str | Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        timeout: float | None = None,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run ``command`` in the user's login shell there, and wait for its end and that of its output.

        A list is a program and its arguments: each is quoted, so that the shell changes none of them. What a command
        starts in the background must not hold its output: ``server >log 2>&1 &``. ``input`` is what it reads,
        nothing if it is None. ``env`` is set by the shell before it, so other users of the node may see it in the list
        of processes.

        Raise `CommandFailed` for another status than 0, unless ``check`` is False; `CommandTimedOut` after ``timeout``
        seconds, and the command is then killed; `Unreachable` where there is no connection in that time, or where it
        breaks meanwhile. Each command is logged at INFO by the logger ``pytest_capacity.commands``.
        """
        need_paramiko(self)
        from pytest_capacity.remote.session import execute

        if not isinstance(command, str):
            command = shlex.join(os.fspath(word) for word in command)
        began = seconds()
        data = input.encode() if isinstance(input, str) else input
        ended = execute(self, _with(env, command), data, Countdown(timeout), shown=command)
        result = Result(
            command=command,
            exit_status=-1 if ended.status is None else ended.status,
            stdout=ended.stdout.decode(errors="replace"),
            stderr=ended.stderr.decode(errors="replace"),
            seconds=seconds() - began,
        )
        if check and not result.ok:
            raise _failed(self, result)
        return result

    def put(self, local: str | os.PathLike[str], remote: str) -> None:
        """Copy a file or a directory there, with modes; directories that are missing are made.

        A file goes to ``remote``, or into it if that is a directory (or ends in ``/``); a directory's contents go into
        ``remote``. Relative paths are relative to the user's home. Links are followed. Raises `NodeError` for what the
        node refuses, `OSError` for what cannot be read here.
        """
        need_paramiko(self)
        from pytest_capacity.remote import files
        from pytest_capacity.remote.session import transfer

        path = Path(local)
        path.stat()
        with transfer(self, f"copying {path} to {remote}") as sftp:
            files.put(sftp, path, remote)

    def get(self, remote: str, local: str | os.PathLike[str]) -> Path:
        """Copy a file or a directory from there, as `put` does; return the path of the file, or the directory."""
        need_paramiko(self)
        from pytest_capacity.remote import files
        from pytest_capacity.remote.session import transfer

        into = os.fspath(local).endswith(os.sep)
        with transfer(self, f"copying {remote} to {os.fspath(local)}") as sftp:
            return files.get(sftp, remote, Path(local), into=into)

    def tunnel(self, port: int, host: str = "127.0.0.1") -> Tunnel:
        """Open a port of this machine that leads to ``port`` of ``host`` as the node sees it."""
        need_paramiko(self)
        from pytest_capacity.remote.session import channel_to

        return Tunnel(lambda: channel_to(self, host, port))

    @property
    def host(self) -> Host:
        """The testinfra host of this thread, over the same connection: ``node.host.service("nginx").is_running``."""
        need_paramiko(self)
        from pytest_capacity.remote.connection import connection_to

        local = connection_to(self).local
        if not hasattr(local, "host"):
            try:
                from pytest_capacity.remote.host import host_of
            except ImportError as error:
                raise _missing(self, error) from error
            local.host = host_of(self)
        host: Host = local.host
        return host


def _failed(node: Node, result: Result) -> CommandFailed:
    return CommandFailed(
        f"{describe(node)}: {result}.{last_lines('stdout', result.stdout)}{last_lines('stderr', result.stderr)}\n"
        f"Pass check=False if that is no error; {_to_look(node)}",
        node,
        result,
    )


def _to_look(node: Node) -> str:
    if node.access is not None and node.access.stays:
        return f"look by hand: {shlex.join(ssh_command(node))}"
    return "the node goes with the run: to look by hand, run with --capacity-keep failed"


def _with(env: Mapping[str, str] | None, command: str) -> str:
    for name in env or {}:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"env={{{name!r}: ...}} is not a name of a variable: use letters, digits and _")
    if any("\0" in text for text in (command, *(env or {}).values())):
        raise ValueError("a command and its variables cannot contain NUL; pass such bytes as input=")
    sets = "".join(f"export {name}={shlex.quote(value)}; " for name, value in (env or {}).items())
    return f"{sets}{command}"


def _status(status: int) -> str:
    return "a signal" if status == -1 else str(status)


def _fields(node: Node) -> dict[str, Any]:
    return {name: getattr(node, name) for name in Node.__struct_fields__}


def need_paramiko(node: Node) -> None:
    """Raise `NodeError` if ``node`` is not reached by SSH, or the extra ``[ssh]`` is not installed."""
    access_of(node)
    try:
        import paramiko  # noqa: F401 - only whether it is installed
    except ImportError as error:
        raise _missing(node, error) from error


def _missing(node: Node, error: ImportError) -> NodeError:
    return NodeError(f"{describe(node)} cannot be used: {error}. Run: {install_command('ssh')}", node)
