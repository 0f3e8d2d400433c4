"""Nodes that the cloud takes back or replaces while the run has them: found by looks, replaced by the engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend, GivesNotice
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.model import Diagnosis, Held, Node, Placed, Topology
from pytest_capacity.remote.ready import outputs

#: What a cloud says of a spot node that it takes back, in the table's words.
KINDS: Final = frozenset({"preempted", "spot-capacity", "spot-price"})

_ENDING: Final = frozenset({"failed", "leaving", "gone"})

#: How often spot nodes are asked by SSH whether they will be taken back, and how long each may take. Seconds.
NOTICES: Final = 10.0
ANSWER: Final = 5.0

#: How often nodes are looked at that are not spot: a cloud replaces them for its own maintenance, if ever. Seconds.
ALL_NODES: Final = 60.0


class Preemption:
    """Looks at the nodes that stand: at those on spot each time, at the others once a minute. One look at a time.

    A node is lost when the cloud takes it back, when it is gone though the engine did not remove it, and when the cloud
    has put another machine in its place under the same id (`Held.facts`: ``incarnation``). Where the cloud announces it
    on the node (`GivesNotice`), and the node is reached by SSH, it is lost as soon as the notice comes.
    """

    def __init__(self, backend: Backend, run_state: RunState, clock: Clock, *, ask_nodes: bool = True) -> None:
        """Set the times. ``ask_nodes`` is false for emulated nodes: their shells are on this machine."""
        self._backend = backend
        self._run_state = run_state
        self._clock = clock
        self._lock = threading.Lock()
        self._all_at = clock.now() + ALL_NODES
        self._giving = backend if ask_nodes and isinstance(backend, GivesNotice) else None
        self._notices_at = clock.now()

    def look(self) -> None:
        """Look once at what is due, if anything is; what is lost is recorded in the run's state on return."""
        with self._lock:
            nodes = self._watched()
            seen = asked(self._backend, lambda: self._backend.refresh(nodes)) if nodes else []
            if isinstance(seen, Diagnosis):
                return  # The next look is soon.
            # What is changed on purpose, or has been since the call was made, is looked at the next time.
            same = {held.key: held for held in self._watched_now(nodes)}
            for before, held in zip(nodes, seen, strict=True):
                if same.get(before.key) == before and (words := self._why_lost(before, held)):
                    self._note(held, words)
            for held, words in self._announced(nodes):
                self._note(held, words)

    def _announced(self, watched: Sequence[Held]) -> list[tuple[Held, str]]:
        """Return the spot nodes on which the cloud announces that they will be taken back, and the announcements."""
        giving, now = self._giving, self._clock.now()
        if giving is None or now < self._notices_at:
            return []
        spot = {held.id: held for held in watched if _is_spot(held) and held.id not in self._run_state.preempted}
        nodes = [
            node
            for placed in self._run_state.placed.values()
            for node in _nodes(placed)
            if node.id in spot and node.access is not None
        ]
        if not nodes:
            return []  # The first calls are made at once.
        self._notices_at = now + NOTICES
        found = outputs(nodes, giving.notice_command, ANSWER)
        said = {id_: giving.read_notice(spot[id_], text) for id_, text in found.items()}
        return [
            (spot[id_], f"will be taken back by {self._backend.name}: {words}") for id_, words in said.items() if words
        ]

    def _watched_now(self, nodes: Sequence[Held]) -> list[Held]:
        keys, altering = {held.key for held in nodes}, self._run_state.altering()
        return [held for held in self._run_state.held() if held.key in keys and held.id not in altering]

    def _watched(self) -> list[Held]:
        standing = {node.id for placed in self._run_state.placed.values() for node in _nodes(placed)}
        ours = [
            held
            for held in self._run_state.held()
            if held.kind == "node"
            and held.id in standing - self._run_state.preempted.keys()
            and not self._run_state.accepted(held)
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
        self._run_state.note(
            "preempted", data={"id": held.id, "zone": held.zone, "region": held.region, "held": held, "words": words}
        )
        if held.state == "gone":
            self._run_state.note_gone([held])


def _is_spot(held: Held) -> bool:
    return held.facts.get("market") == "spot"


def _nodes(placed: Placed) -> list[Node]:
    return [node for nodes in placed.nodes.values() for node in nodes]


def lost(run_state: RunState, name: str) -> dict[str, list[Node]]:
    """Return the nodes of a topology that were taken back and not replaced yet, by group."""
    placed = run_state.placed.get(name)
    if placed is None:
        return {}
    found = {
        group: [node for node in nodes if node.id in run_state.preempted and node.id not in run_state.suspects]
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
