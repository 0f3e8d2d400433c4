"""What the ``capacity`` fixture gives."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_capacity.errors import CapacityError
from pytest_capacity.model import Node, Placed, Request, Reservation

if TYPE_CHECKING:
    from pytest_capacity.plugin.runtime import Runtime

#: What is refused is shown at the line of the test that asked; how it got there is ours.
__tracebackhide__ = True


class Capacity:
    """One topology of this run. The first use of its nodes provisions it, for all workers at once.

    The handle of the fixture is provisioned already; those that `topology` gives are when they are used first. What
    provisioning raises (`pytest_capacity.errors`) is raised again, at once, at every later use.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime = runtime
        self.name = name

    def __repr__(self) -> str:
        return f"<Capacity {self.name!r} of run {self.run_id}>"

    @property
    def config(self) -> Request:
        """What the run asked for."""
        return self._runtime.request

    @property
    def run_id(self) -> str:
        """The run's id, which everything that it holds in a cloud bears."""
        return self._runtime.request.run

    @property
    def region(self) -> str:
        """Where the topology stands."""
        return self._placed.region

    @property
    def zone(self) -> str:
        """The zone's name in this account: ``us-east-1a``."""
        return self._placed.zone

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the topology's groups."""
        return tuple(self._placed.nodes)

    @property
    def by_group(self) -> Mapping[str, tuple[Node, ...]]:
        """All nodes, by group; read-only."""
        return MappingProxyType(dict(self._placed.nodes))

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """The reservations in which the nodes sit."""
        return self._placed.reservations

    def nodes(self, group: str | None = None) -> tuple[Node, ...]:
        """The nodes of ``group``, or all of them. Raises `CapacityError` for a group that is not there."""
        if group is None:
            return tuple(node for nodes in self._placed.nodes.values() for node in nodes)
        try:
            return self._placed.nodes[group]
        except KeyError:
            known = ", ".join(self._placed.nodes)
            raise CapacityError(f"no group {group!r} in topology {self.name!r}. It has: {known}") from None

    def node(self, group: str | None = None, index: int = 0) -> Node:
        """The ``index``-th node of ``group``, or of all."""
        nodes = self.nodes(group)
        try:
            return nodes[index]
        except IndexError:
            where = f"group {group!r}" if group else f"topology {self.name!r}"
            raise CapacityError(f"no node {index} in {where}. It has {len(nodes)}, counted from 0") from None

    def topology(self, name: str) -> Capacity:
        """The handle of another topology; it is provisioned when it is used first."""
        return Capacity(self._runtime, self._runtime.known(name))

    @property
    def _placed(self) -> Placed:
        return self._runtime.placed(self.name)
