"""Commands, file transfers and channels on the connection to a node, with errors that name the node."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

import paramiko

from pytest_capacity.errors import CommandTimedOut, NodeError, Unreachable
from pytest_capacity.model import Node
from pytest_capacity.remote import command as commands
from pytest_capacity.remote.connection import CONNECT, connection_to
from pytest_capacity.remote.files import TransferFailed
from pytest_capacity.remote.messages import access_of, brief, describe, error_text, last_lines
from pytest_capacity.remote.sockets import Countdown, seconds
from pytest_capacity.remote.transport import BROKEN

__tracebackhide__ = True

#: Each command on a node is logged here at INFO, without its ``env`` and ``input``.
COMMAND_LOG: Final = "pytest_capacity.commands"
_log: Final = logging.getLogger(COMMAND_LOG)


@contextlib.contextmanager
def _about(node: Node) -> Iterator[None]:
    """Let the errors of a connection carry the node for which it was used: nodes may share one (a bastion's)."""
    try:
        yield
    except NodeError as error:
        error.node = error.node or node
        raise


def execute(node: Node, command: str, data: bytes | None, within: Countdown, *, shown: str) -> commands.Ended:
    """Run ``command`` on ``node`` and return its status, None if a signal ended it, and its outputs as bytes.

    Raise `NodeError` unless it ended. ``shown`` is how the log and errors call it.
    """
    began = seconds()
    try:
        with _about(node):
            ended = _execute(node, command, data, within, shown)
    except NodeError as error:
        _log.info("%s: `%s` failed: %s", node.name, brief(shown), brief(error.why))
        raise
    status = "a signal" if ended.status is None else ended.status
    _log.info("%s: `%s` ended with %s after %.1f s", node.name, brief(shown), status, seconds() - began)
    return ended


def _execute(node: Node, command: str, data: bytes | None, within: Countdown, shown: str) -> commands.Ended:
    channel = connection_to(node).session(within)
    try:
        ended = commands.execute(channel, command.encode(), data, within)
    except BROKEN as error:
        raise _not_run(node, channel, shown, error) from error
    if ended.how == "ended":
        return ended
    stdout, stderr = (one.decode(errors="replace") for one in (ended.stdout, ended.stderr))
    outputs = f"{last_lines('stdout', stdout)}{last_lines('stderr', stderr)}"
    if ended.how == "lost":
        why = "was running when the connection broke, so whether it ended is not known"
        raise Unreachable(
            f"{describe(node)}: `{brief(shown)}` {why}.{outputs}\n"
            "Look at the node before you run it again: did it restart?",
            why="the connection broke while it ran",
        )
    limit = within.timeout or 0.0
    if ended.how == "overdue":
        why, remedy = f"had not ended after {limit:g} s, and was killed", "Give it a longer timeout="
    else:
        why = f"ended with {ended.status}, but a background process still held its output after {limit:g} s"
        remedy = "Redirect the output of what it leaves in the background: `server >log 2>&1 &`"
    raise CommandTimedOut(
        f"{describe(node)}: `{brief(shown)}` {why}.{outputs}\n{remedy}",
        node,
        why,
        command=shown,
        timeout=limit,
        stdout=stdout,
        stderr=stderr,
        exit_status=ended.status,
    )


def _not_run(node: Node, channel: paramiko.Channel, shown: str, error: BaseException) -> Unreachable:
    stands = channel.transport is not None and channel.transport.is_active()
    why = "the node refuses to run commands" if stands else f"the connection broke: {error_text(error)}"
    remedy = (
        f"Look at the shell of user {access_of(node).user!r} there, and at ForceCommand in its sshd_config"
        if stands
        else "Whether it began is not known; look at the node before you run it again"
    )
    return Unreachable(f"{describe(node)} did not run `{brief(shown)}`: {why}. {remedy}", why=f"it did not run: {why}")


@contextlib.contextmanager
def transfer(node: Node, what: str) -> Iterator[paramiko.SFTPClient]:
    """Open an SFTP session for ``what``; errors call it that."""
    with _about(node):
        channel = connection_to(node).session(Countdown(None))
    try:
        channel.invoke_subsystem("sftp")
        sftp = paramiko.SFTPClient(channel)
    except BROKEN as error:
        channel.close()
        raise NodeError(
            f"{describe(node)} gives no SFTP session for {what}: {error_text(error)}. "
            "Check `Subsystem sftp` in its sshd_config",
            node,
        ) from error
    try:
        yield sftp
    except TransferFailed as error:
        raise NodeError(
            f"{describe(node)}: {what} failed at {error.path}: {brief(error.why)}. "
            f"Check the path, and what user {access_of(node).user!r} may do there",
            node,
        ) from error
    except BROKEN as error:
        if getattr(error, "filename", None) is not None:  # It is about a local file, which the error names.
            raise
        raise NodeError(
            f"{describe(node)}: {what} broke off: {error_text(error)}. What has arrived is incomplete; do it again",
            node,
        ) from error
    finally:
        with contextlib.suppress(*BROKEN):
            sftp.close()


def channel_to(node: Node, host: str, port: int) -> paramiko.Channel:
    """Return a channel to a port as ``node`` reaches it."""
    try:
        with _about(node):
            return connection_to(node).channel_to(host, port, Countdown(CONNECT))
    except paramiko.ChannelException as error:
        raise NodeError(
            f"{describe(node)} cannot connect to {host}:{port}: {error_text(error)}. "
            "Check that something listens there",
            node,
        ) from error
