"""testinfra's modules, over our connection."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from pytest_capacity.model import Node
from pytest_capacity.remote.session import execute
from pytest_capacity.remote.sockets import Countdown


class _Backend(BaseBackend):  # type: ignore[misc]  # testinfra tells no types
    """Runs testinfra's commands on a node; all the rest, sudo too, is testinfra's own."""

    NAME = "capacity"

    def __init__(self, node: Node) -> None:
        super().__init__(node.name)
        self._node = node

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        whole = self.get_command(command, *args)
        ended = execute(self._node, whole, None, Countdown(None), shown=whole)
        status = -1 if ended.status is None else ended.status
        return self.result(status, whole.encode(), ended.stdout, ended.stderr)

    def get_encoding(self) -> str:
        return "utf-8"  # Else it is asked for by running Python there.


def host_of(node: Node) -> Host:
    """Return a new testinfra host."""
    backend = _Backend(node)
    host = Host(backend)
    backend.set_host(host)
    return host
