"""Nodes that the cloud takes back or replaces while the run has them: noticed from outside, and replaced by us."""

from __future__ import annotations

import threading
from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Diagnosis, Held, Node, Placed, Topology

#: What a cloud says of a spot node that it takes back, in the table's words.
KINDS: Final = frozenset({"preempted", "spot-capacity", "spot-price"})

_ENDING: Final = frozenset({"failed", "leaving", "gone"})


#: How often nodes are looked at that are not spot: a cloud replaces them for its own maintenance, if ever. Seconds.
ALL_NODES: Final = 60.0


class Preemption:
    """Looks at the nodes that stand: at those on spot each time, at the others once a minute. One look at a time.

    A node is lost when the cloud takes it back, when it is gone though nothing of ours removed it, and when the cloud
    has put another machine in its place under the same id (`Held.facts`: ``incarnation``).
    """

    def __init__(self, backend: Backend, book: RunState, clock: Clock) -> None:
        self._backend = backend
        self._book = book
        self._clock = clock
        self._lock = threading.Lock()
        self._all_at = clock.now() + ALL_NODES

    def look(self) -> None:
        """Look once at what is due, if anything is; what is lost is in the book when this returns."""
        with self._lock:
            nodes = self._watched()
            seen = asked(self._backend, lambda: self._backend.refresh(nodes)) if nodes else []
            if isinstance(seen, Diagnosis):
                return  # The next look is soon.
            for before, held in zip(nodes, seen, strict=True):
                if words := self._why_lost(before, held):
                    self._note(held, words)

    def _watched(self) -> list[Held]:
        standing = {node.id for placed in self._book.placed.values() for node in _nodes(placed)}
        ours = [
            held
            for held in self._book.held()
            if held.kind == "node"
            and held.id in standing - self._book.preempted.keys()
            and not self._book.accepted(held)
        ]
        if self._clock.now() < self._all_at:
            return [held for held in ours if _is_spot(held)]
        self._all_at = self._clock.now() + ALL_NODES
        return ours

    def _why_lost(self, before: Held, held: Held) -> str:
        """Return what to say of a node that is lost; empty where it is not."""
        was, now = before.facts.get("incarnation"), held.facts.get("incarnation")
        if was and now and was != now:
            return f"has been replaced by another machine, {now} in place of {was}"
        if held.state not in _ENDING and not held.problem_code:
            return ""
        diagnosis = self._backend.diagnose(held)
        said = ": ".join(filter(None, (diagnosis.code, diagnosis.words)))
        if _is_spot(held):
            return f"is taken back by {self._backend.name}: {said}" if diagnosis.kind in KINDS else ""
        return f"is {held.state}, and nothing of this run removed it: {said or 'the cloud does not say why'}"

    def _note(self, held: Held, why: str) -> None:
        name = held.facts.get("name", held.id)
        words = f"{'spot ' if _is_spot(held) else ''}node {name} ({held.id}) in {held.zone} {why}"
        self._book.note(
            "preempted", data={"id": held.id, "zone": held.zone, "region": held.region, "held": held, "words": words}
        )
        if held.state == "gone":
            self._book.note_gone([held])


def _is_spot(held: Held) -> bool:
    return held.facts.get("market") == "spot"


def _nodes(placed: Placed) -> list[Node]:
    return [node for nodes in placed.nodes.values() for node in nodes]


def lost(book: RunState, name: str) -> dict[str, list[Node]]:
    """Return the nodes of a topology that were taken back and not replaced yet, by group."""
    placed = book.placed.get(name)
    if placed is None:
        return {}
    found = {
        group: [node for node in nodes if node.id in book.preempted and node.id not in book.suspects]
        for group, nodes in placed.nodes.items()
    }
    return {group: nodes for group, nodes in found.items() if nodes}


def part_of(topology: Topology, missing: dict[str, list[Node]]) -> Topology:
    """Return the topology of what is missing alone."""
    groups = (replace(group, count=len(missing[group.name])) for group in topology.groups if group.name in missing)
    return replace(topology, groups=tuple(groups))


def mended(placed: Placed, missing: dict[str, list[Node]], part: Placed) -> Placed:
    """Return the placed topology with the new nodes in the places of the old ones, and under their names."""
    nodes: dict[str, tuple[Node, ...]] = {}
    for group, members in placed.nodes.items():
        new = iter(part.nodes.get(group, ()))
        gone = {node.id for node in missing.get(group, ())}
        nodes[group] = tuple(replace(next(new, node), name=node.name) if node.id in gone else node for node in members)
    return replace(placed, nodes=nodes, reservations=(*placed.reservations, *part.reservations))
