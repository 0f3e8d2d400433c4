"""What is done on a connection, with its errors in our words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import paramiko

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Node
from pytest_capacity.remote import command as commands
from pytest_capacity.remote.connection import BROKEN, CONNECT, connection_to
from pytest_capacity.remote.files import TransferFailed
from pytest_capacity.remote.sockets import Countdown
from pytest_capacity.remote.words import Unreachable, access_of, brief, last_lines, said, who

__tracebackhide__ = True


def execute(node: Node, command: str, data: bytes | None, within: Countdown, *, shown: str) -> commands.Ended:
    """Run ``command`` on ``node``: its status, None if a signal ended it, and its outputs as they came.

    Raises `NodeError` unless it ended. ``shown`` is what an error calls it.
    """
    channel = connection_to(node).session(within)
    try:
        ended = commands.execute(channel, command.encode(), data, within)
    except BROKEN as error:
        raise _not_run(node, channel, shown, error) from error
    if ended.how == "ended":
        return ended
    late = f"{within.timeout or 0:g} s"
    why, remedy = {
        "overdue": (f"had not ended after {late}, and was killed", "Give it a longer timeout="),
        "silent": (
            f"ended with {ended.status}, but something that it started still held its output after {late}",
            "Redirect the output of what it leaves in the background: `server >log 2>&1 &`",
        ),
        "lost": (
            "was running when the connection broke, so whether it ended is not known",
            "Look at the node before you run it again: did it restart?",
        ),
    }[ended.how]
    stdout, stderr = (one.decode(errors="replace") for one in (ended.stdout, ended.stderr))
    raise Unreachable(
        f"{who(node)}: `{brief(shown)}` {why}.{last_lines('stdout', stdout)}{last_lines('stderr', stderr)}\n{remedy}",
        f"`{brief(shown)}` {why}",
    )


def _not_run(node: Node, channel: paramiko.Channel, shown: str, error: BaseException) -> Unreachable:
    stands = channel.transport is not None and channel.transport.is_active()
    why = "the node refuses to run commands" if stands else f"the connection broke: {said(error)}"
    remedy = (
        f"Look at the shell of user {access_of(node).user!r} there, and at ForceCommand in its sshd_config"
        if stands
        else "Whether it began is not known; look at the node before you run it again"
    )
    return Unreachable(f"{who(node)} did not run `{brief(shown)}`: {why}. {remedy}", f"`{brief(shown)}`: {why}")


@contextlib.contextmanager
def transfer(node: Node, what: str) -> Iterator[paramiko.SFTPClient]:
    """An SFTP session for ``what``."""
    channel = connection_to(node).session(Countdown(None))
    try:
        channel.invoke_subsystem("sftp")
        sftp = paramiko.SFTPClient(channel)
    except BROKEN as error:
        channel.close()
        raise NodeError(
            f"{who(node)} gives no SFTP session for {what}: {said(error)}. Check `Subsystem sftp` in its sshd_config"
        ) from error
    try:
        yield sftp
    except TransferFailed as error:
        raise NodeError(
            f"{who(node)}: {what} failed at {error.path}: {brief(error.why)}. "
            f"Check the path, and what user {access_of(node).user!r} may do there"
        ) from error
    except BROKEN as error:
        if getattr(error, "filename", None) is not None:  # A file of this machine, which the error names.
            raise
        raise NodeError(
            f"{who(node)}: {what} broke off: {said(error)}. What has arrived is incomplete; do it again"
        ) from error
    finally:
        with contextlib.suppress(*BROKEN):
            sftp.close()


def towards(node: Node, host: str, port: int) -> paramiko.Channel:
    """A channel to a port as ``node`` sees it."""
    try:
        return connection_to(node).towards(host, port, Countdown(CONNECT))
    except paramiko.ChannelException as error:
        raise NodeError(
            f"{who(node)} cannot connect to {host}:{port}: {said(error)}. Check that something listens there"
        ) from error
