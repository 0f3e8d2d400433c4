"""Spot nodes that the cloud takes back while the run has them: noticed from outside, and what to put in their place."""

from __future__ import annotations

import threading
from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Diagnosis, Held, Node, Placed, Topology

#: What a cloud says of a spot node that it takes back, in the table's words.
KINDS: Final = frozenset({"preempted", "spot-capacity", "spot-price"})

_ENDING: Final = frozenset({"failed", "leaving", "gone"})


class Preemption:
    """Looks at the spot nodes that stand. One look at a time."""

    def __init__(self, backend: Backend, book: RunState) -> None:
        self._backend = backend
        self._book = book
        self._lock = threading.Lock()

    def look(self) -> None:
        """One look at all of them, if there are any; what is being taken back is in the book when this returns."""
        with self._lock:
            nodes = self._watched()
            seen = asked(self._backend, lambda: self._backend.refresh(nodes)) if nodes else []
            if isinstance(seen, Diagnosis):
                return  # The next look is soon.
            for held in seen:
                diagnosis = self._diagnosis(held)
                if diagnosis:
                    self._note(held, diagnosis)

    def _watched(self) -> list[Held]:
        standing = {node.id for placed in self._book.placed.values() for node in _nodes(placed)}
        return [
            held
            for held in self._book.held()
            if held.id in standing - self._book.preempted.keys()
            and held.facts.get("market") == "spot"
            and not self._book.accepted(held)
        ]

    def _diagnosis(self, held: Held) -> Diagnosis | None:
        if held.state not in _ENDING and not held.problem_code:
            return None
        diagnosis = self._backend.diagnose(held)
        return diagnosis if diagnosis.kind in KINDS else None

    def _note(self, held: Held, diagnosis: Diagnosis) -> None:
        said = ": ".join(filter(None, (diagnosis.code, diagnosis.words)))
        name = held.facts.get("name", held.id)
        words = f"spot node {name} ({held.id}) in {held.zone} is taken back by {self._backend.name}: {said}"
        self._book.note(
            "preempted", data={"id": held.id, "zone": held.zone, "region": held.region, "held": held, "words": words}
        )
        if held.state == "gone":
            self._book.note_gone([held])


def _nodes(placed: Placed) -> list[Node]:
    return [node for nodes in placed.nodes.values() for node in nodes]


def lost(book: RunState, name: str) -> dict[str, list[Node]]:
    """The nodes of a topology that were taken back and not replaced yet, by group."""
    placed = book.placed.get(name)
    if placed is None:
        return {}
    found = {
        group: [node for node in nodes if node.id in book.preempted and node.id not in book.suspects]
        for group, nodes in placed.nodes.items()
    }
    return {group: nodes for group, nodes in found.items() if nodes}


def part_of(topology: Topology, missing: dict[str, list[Node]]) -> Topology:
    """The topology of what is missing alone."""
    groups = (replace(group, count=len(missing[group.name])) for group in topology.groups if group.name in missing)
    return replace(topology, groups=tuple(groups))


def mended(placed: Placed, missing: dict[str, list[Node]], part: Placed) -> Placed:
    """The placed topology with the new nodes in the places of the old ones, and under their names."""
    nodes: dict[str, tuple[Node, ...]] = {}
    for group, members in placed.nodes.items():
        new = iter(part.nodes.get(group, ()))
        gone = {node.id for node in missing.get(group, ())}
        nodes[group] = tuple(replace(next(new, node), name=node.name) if node.id in gone else node for node in members)
    return replace(placed, nodes=nodes, reservations=(*placed.reservations, *part.reservations))
