"""The nodes of the run, as this process knows them: what it has asked the keeper for, and what the answers were."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import pytest

from pytest_capacity.errors import CapacityError
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.protocol import Answer, Call
from pytest_capacity.model import DEFAULT_TOPOLOGY, Node, Placed, Request
from pytest_capacity.plugin.markers import Wanted
from pytest_capacity.plugin.node_usage import Uses
from pytest_capacity.plugin.other_plugins import unhurried
from pytest_capacity.remote.machine import Machine

#: What the keeper refuses is shown at the line of the test that asked; `--full-trace` shows how it got there.
__tracebackhide__ = True

A = TypeVar("A", bound=Answer)

#: Who uses these and takes no node by itself may have stored one anywhere, so it counts as using all.
ALL: Final = frozenset({"capacity", "capacity_nodes"})


class RunNodes(ABC):
    """Asks the keeper, and remembers per process what it answered, failures too. Handles get their nodes from it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.uses: Final = Uses()
        self._answers: dict[str, Placed | CapacityError] = {}
        #: How often nodes have come or gone so far, and how often they had when each answer was asked for.
        self._changes = 0
        self._asked_at: dict[str, int] = {}
        self._machines: dict[Node, Machine] = {}
        #: The test that runs, and whether its own body does.
        self._item: pytest.Item | None = None
        self._in_call = False

    @abstractmethod
    def call(self, message: Call, answer: type[A]) -> A:
        """Send ``message`` to the keeper and wait for its answer. Raises `CapacityError`."""

    def call_patiently(self, message: Call, answer: type[A]) -> A:
        """Do as `call`, for what takes minutes: the wait does not count against a test's timeout. From any thread."""
        if threading.current_thread() is not threading.main_thread():
            return self.call(message, answer)  # A test's timer is the main thread's.
        return self._call_unhurried(message, answer)

    def _call_unhurried(self, message: Call, answer: type[A]) -> A:
        with unhurried(self._item, in_call=self._in_call):
            return self.call(message, answer)

    def known(self, topology: str) -> str:
        """Return the name under which ``topology`` is configured. "default" stands for the only one, whatever its name.

        Raises `CapacityError` for a name that is not there.
        """
        names = list(self.request.topologies)
        if topology in names:
            return topology
        if topology == DEFAULT_TOPOLOGY and len(names) == 1:
            return names[0]
        fault = f"no topology {topology!r} is configured. There are: {', '.join(names) or 'none'}"
        if topology == DEFAULT_TOPOLOGY and names:
            fault += f'. Name one: capacity.topology("{names[0]}"), or @pytest.mark.capacity("{names[0]}")'
        raise CapacityError(fault)

    def check(self, asked: Wanted) -> None:
        """Raise `CapacityError` where the configuration can never give what a marker asks for."""
        topology = self.request.topologies[self.known(asked.topology)]
        groups = [group for group in topology.groups if asked.group in (None, group.name)]
        if not groups:
            known = ", ".join(group.name for group in topology.groups)
            raise CapacityError(f"no group {asked.group!r} in topology {topology.name!r}. It has: {known}")
        count = max(sum(group.count for group in groups), self._standing(asked.topology, asked.group))
        if asked.count > count:
            whose = (
                f"group {asked.group!r} of topology {topology.name!r}" if asked.group else f"topology {topology.name!r}"
            )
            raise CapacityError(
                f"count={asked.count} asks for {asked.count} nodes at once, and {whose} has {count}. "
                "Lower count=, or raise the group's count"
            )

    def _standing(self, topology: str, group: str | None) -> int:
        """Return how many nodes a group, or all, has by now, so far as this process knows: it may have grown."""
        answer = self._answers.get(self.known(topology))
        if not isinstance(answer, Placed):
            return 0
        return sum(len(nodes) for name, nodes in answer.nodes.items() if group in (None, name))

    def placed(self, topology: str) -> Placed:
        """Return ``topology`` as it stands; provisioned at the first call of any process. Raise `CapacityError`."""
        topology = self.known(topology)
        answer = self._answers.get(topology)
        stale = self.request.on_preempt == "replace" or self._asked_at.get(topology) != self._changes
        if answer is None or (stale and isinstance(answer, Placed)):
            self._asked_at[topology] = self._changes
            try:
                answer = self._call_unhurried(protocol.Ask(topology=topology), protocol.Ready).placed
            except CapacityError as error:
                # A run whose capacity did not come does not try for every test again, and says the same each time.
                answer = error
            self._answers[topology] = answer
        if isinstance(answer, CapacityError):
            raise answer.with_traceback(None)
        return answer

    def on_event(self, event: protocol.Event) -> None:
        """Take note of an event of the keeper's, on the thread that reads them."""
        if event.kind == "placed" and "alteration" in event.data:
            self._changes += 1

    def machines(self, topology: str) -> Mapping[str, tuple[Machine, ...]]:
        """Return the nodes of ``topology`` by group, as tests get them. Raises as `placed` does."""
        return {group: self._usable(nodes) for group, nodes in self.placed(topology).nodes.items()}

    def everything(self) -> Sequence[Machine]:
        """Return the nodes of all topologies that this process has asked for and got, as they are now if possible."""
        found: list[Machine] = []
        for name, placed in list(self._answers.items()):
            if not isinstance(placed, Placed):
                continue
            newest = placed
            if self._asked_at.get(name) != self._changes:
                with suppress(CapacityError):
                    newest = self.placed(name)
            found += [node for nodes in newest.nodes.values() for node in self._usable(nodes)]
        return found

    def nodes_of(self, item: pytest.Item) -> Sequence[Machine]:
        """Return the nodes that ``item``, which ran last, uses; one that took none by itself may have stored any."""
        used = self.uses.of(item)
        if used or ALL.isdisjoint(getattr(item, "fixturenames", ())):
            return used
        return self.everything()

    def _usable(self, nodes: tuple[Node, ...]) -> tuple[Machine, ...]:
        """Return one machine a node, however often it is asked for."""
        return tuple(self._machines.setdefault(node, Machine.of(node)) for node in nodes)
