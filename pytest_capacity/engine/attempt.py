"""One rung tried: make all the pieces of one placement, wait for the nodes, see that they sit where they should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Final, get_args

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.advice import NO_ADVICE, Advice
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.halt import Deadline
from pytest_capacity.engine.make import Maker, PieceRefused
from pytest_capacity.engine.reach import Reach
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Cancelled, CapacityError, NodeError
from pytest_capacity.model import Diagnosis, Held, Node, Order, Piece, Placed, Reservation, Scope

#: The narrowest first.
SCOPES: Final[tuple[str, ...]] = get_args(Scope)

#: Pauses between looks at nodes that boot, seconds: short at first, since some boot fast, then every five.
POLLS: Final = (1.0, 1.0, 2.0, 3.0, 5.0)


class Failure(Struct, frozen=True):
    """One thing that a rung failed by: for these groups (all, if none is named), in this zone (empty: any of its)."""

    diagnosis: Diagnosis
    groups: tuple[str, ...] = ()
    zone: str = ""
    #: What could not be made.
    piece: Piece | None = None


class AttemptFailed(Exception):
    """This rung does not stand; the diagnoses say what that means for the next."""

    def __init__(self, *failures: Failure, sound: bool = False) -> None:
        #: The one that is told: what stops the run, or else what reaches farthest.
        self.worst = max(failures, key=_weight)
        self.failures = failures
        #: Whether what was made stands as it was asked for: the rest was refused, and nothing died.
        self.sound = sound
        super().__init__(f"{self.diagnosis.code}: {self.diagnosis.words}")

    @property
    def diagnosis(self) -> Diagnosis:
        """The worst of all."""
        return self.worst.diagnosis

    @property
    def groups(self) -> tuple[str, ...]:
        """Those that something was refused to; empty: all."""
        named = [group for failure in self.failures for group in failure.groups]
        return tuple(dict.fromkeys(named)) if all(failure.groups for failure in self.failures) else ()


class Attempter:
    """Tries rungs, one call of `attempt` each."""

    def __init__(
        self,
        backend: Backend,
        book: RunState,
        clock: Clock,
        maker: Maker,
        pool: Executor,
        reach: Reach,
        advice: Advice = NO_ADVICE,
    ) -> None:
        self._backend = backend
        self._advice = advice
        self._book = book
        self._clock = clock
        self._maker = maker
        self._pool = pool
        self._reach = reach

    def attempt(self, order: Order, halt: Deadline) -> Placed:
        """All of it or none: the placed topology, or `AttemptFailed` (and what was made is still held).

        An order that an earlier keeper began is taken up where it stands: what it made is not made again.
        """
        pieces: list[Piece] = []
        ids: dict[str, str] = {}
        for planned in self._backend.plan(order):
            bound = [replace(piece, inputs={need: ids[need] for need in piece.needs}) for piece in planned]
            for piece, helds in zip(bound, self._round(bound, order, halt), strict=True):
                ids[piece.subject] = helds[0].id
            pieces += bound
        self._wait_ready(pieces, halt)
        self._verify(pieces)
        return self._usable(self._placed(order, pieces), order, halt)

    def _round(self, pieces: Sequence[Piece], order: Order, halt: Deadline) -> list[list[Held]]:
        """Make the pieces of one round side by side. All calls end before the worst failure is raised."""
        together = halt.child()
        outcomes = list(self._pool.map(lambda piece: self._make(piece, order, together), pieces))
        refusals = [outcome for outcome in outcomes if isinstance(outcome, PieceRefused)]
        if refusals:
            raise AttemptFailed(*map(self._failure, refusals), sound=True)
        faults = [outcome for outcome in outcomes if isinstance(outcome, CapacityError)]
        if faults:
            # Not that of a piece which was only called off for another's.
            raise min(faults, key=lambda fault: isinstance(fault, Cancelled))
        return [outcome for outcome in outcomes if not isinstance(outcome, Exception)]

    def _make(self, piece: Piece, order: Order, halt: Deadline) -> list[Held] | PieceRefused | CapacityError:
        made = self._book.made(piece.subject)
        if made:
            return made
        try:
            return self._maker.make(piece, order, halt)
        except (PieceRefused, CapacityError) as failure:
            halt.refuse()
            return failure

    def _failure(self, refusal: PieceRefused) -> Failure:
        piece = refusal.piece
        diagnosis = self._advice.diagnose(refusal.diagnosis, piece) or refusal.diagnosis
        groups = piece.groups or ((piece.group,) if piece.group else ())
        return Failure(diagnosis, groups, piece.zone, piece)

    def _wait_ready(self, pieces: Sequence[Piece], halt: Deadline) -> None:
        subjects = [piece.subject for piece in pieces if piece.kind == "node"]
        rounds = 0
        while subjects:
            nodes = self._book.held(subjects)
            waiting = [node for node in nodes if node.state != "ready"]
            if not waiting:
                self._book.note("nodes-ready", data={"count": len(nodes)})
                return
            if rounds:
                halt.wait(POLLS[min(rounds, len(POLLS)) - 1])
            halt.check()
            self._look(waiting)
            rounds += 1

    def _look(self, nodes: Sequence[Held]) -> None:
        seen = asked(self._backend, lambda: self._backend.refresh(nodes))
        if isinstance(seen, Diagnosis):
            if seen.step in ("back-off", "ask-again"):
                return
            raise AttemptFailed(Failure(seen))
        known = {node.id: node for node in nodes}
        news = [node for node in seen if node.state != "unseen" and node != known[node.id]]
        if news:
            self._book.note("state", data={"held": news})
        dead = [node for node in seen if node.state in ("failed", "leaving", "gone")]
        if dead:
            raise AttemptFailed(*map(self._death, dead))

    def _death(self, node: Held) -> Failure:
        return Failure(self._backend.diagnose(node), (node.group,) if node.group else (), node.zone)

    def _usable(self, placed: Placed, order: Order, halt: Deadline) -> Placed:
        """The nodes with the addresses at which they are reached, once each is ready as its group says."""
        placed = self._reach.addressed(placed, {held.id: held for held in self._book.held()}, halt)
        try:
            self._reach.await_ready(placed, order.topology, halt, self._clock, self._note_ready)
        except NodeError as error:
            diagnosis = Diagnosis("stop", "not-ready", "not-ready", str(error), by="the keeper")
            raise AttemptFailed(Failure(diagnosis)) from error
        return placed

    def _note_ready(self, node: Node, seconds: float) -> None:
        self._book.note("node-ready", data={"id": node.id, "name": node.name, "group": node.group, "seconds": seconds})

    def _verify(self, pieces: Sequence[Piece]) -> None:
        """The cloud's own word that each node sits in the reservation that it was aimed at."""
        reservations = {piece.subject for piece in pieces if piece.kind == "reservation"}
        for piece in pieces:
            if piece.kind != "node":
                continue
            aimed = next((piece.inputs[need] for need in piece.needs if need in reservations), piece.consumes)
            for node in self._book.made(piece.subject) if aimed else ():
                sits_in = node.facts.get("reservation_id") or "none"
                if sits_in != aimed:
                    words = f"node {node.id} was aimed at reservation {aimed} and sits in {sits_in}"
                    diagnosis = Diagnosis("stop", "reservation-mismatch", "not-in-reservation", words, by="the keeper")
                    raise AttemptFailed(Failure(diagnosis, piece=piece))

    def _placed(self, order: Order, pieces: Sequence[Piece]) -> Placed:
        nodes: dict[str, tuple[Node, ...]] = {}
        reservations: list[Reservation] = []
        for piece in pieces:
            if piece.kind == "reservation":
                reservations += map(_reservation, self._book.made(piece.subject))
            if piece.kind == "node" and piece.group:
                made = sorted(self._book.made(piece.subject), key=_launch_order)
                nodes[piece.group] = nodes.get(piece.group, ()) + tuple(map(_node, made))
        return Placed(
            topology=order.topology.name,
            region=order.placement.region,
            zone=order.placement.where,
            nodes=nodes,
            reservations=tuple(reservations),
            attempt=order.attempt,
        )


def _weight(failure: Failure) -> tuple[bool, int]:
    diagnosis = failure.diagnosis
    return diagnosis.step != "move-on", SCOPES.index(diagnosis.scope) if diagnosis.scope in SCOPES else 0


def _launch_order(held: Held) -> tuple[int, str]:
    """Machines of the user's own are in the order of the file; others in the one that their names count."""
    digits = held.facts.get("index") or "".join(filter(str.isdigit, held.facts.get("name", "").rpartition("-")[2]))
    return int(digits or 0), held.id


def _reservation(held: Held) -> Reservation:
    return Reservation(
        id=held.id,
        region=held.region,
        zone=held.zone,
        instance_type=held.facts.get("instance_type", ""),
        count=held.count,
    )


def _node(held: Held) -> Node:
    facts: Mapping[str, str] = held.facts
    return Node(
        id=held.id,
        name=facts.get("name", held.id),
        group=held.group or "",
        region=held.region,
        zone=held.zone,
        market="spot" if facts.get("market") == "spot" else "on-demand",
        instance_type=facts.get("instance_type", ""),
        private_ip=facts.get("private_ip") or None,
        public_ip=facts.get("public_ip") or None,
        reservation_id=facts.get("reservation_id") or None,
    )
