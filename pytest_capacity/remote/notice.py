"""What nodes say of themselves: one command on many of them at once, for those that answer in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pytest_capacity.errors import NodeError
from pytest_capacity.model import Node
from pytest_capacity.remote.machine import need_paramiko
from pytest_capacity.remote.sockets import Countdown

#: Nodes that are asked at the same time.
_WIDTH: Final = 64


def outputs(nodes: Sequence[Node], command: str, timeout: float) -> Mapping[str, str]:
    """Return what ``command`` writes on each node, by the node's id.

    Nodes on which it fails, or takes longer than ``timeout`` seconds, and those that cannot be reached, are left out.
    The connections stay open for the next time.
    """
    if not nodes:
        return {}
    with ThreadPoolExecutor(min(_WIDTH, len(nodes)), "capacity-notice") as pool:
        found = pool.map(lambda node: _output(node, command, timeout), nodes)
        return {node.id: text for node, text in zip(nodes, found, strict=True) if text}


def _output(node: Node, command: str, timeout: float) -> str:
    """Return what the command writes. Not by `Machine.run`, which logs each command: this runs again and again."""
    try:
        need_paramiko(node)
    except NodeError:
        return ""
    from pytest_capacity.remote.command import execute
    from pytest_capacity.remote.connection import connection_to
    from pytest_capacity.remote.transport import BROKEN

    within = Countdown(timeout)
    try:
        ended = execute(connection_to(node).session(within), command.encode(), None, within)
    except (NodeError, *BROKEN):
        return ""
    return ended.stdout.decode(errors="replace") if ended.how == "ended" and ended.status == 0 else ""
