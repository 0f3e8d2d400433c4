"""One attempt at a rung: make the pieces of one placement, round by round, and check where the nodes sit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.advice import NO_ADVICE, Advice
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import Clock, Deadline, poll_pause
from pytest_capacity.engine.make import Maker, PieceRefused
from pytest_capacity.engine.reach import Reach
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Cancelled, CapacityError, NodeError
from pytest_capacity.model import SCOPES, Diagnosis, Held, Need, Node, Order, Piece, Placed, Reservation, Topology


class Failure(Struct, frozen=True):
    """One thing that a rung failed by: for these groups (all, if none is named), in this zone (empty: any of its)."""

    diagnosis: Diagnosis
    groups: tuple[str, ...] = ()
    zone: str = ""
    #: What could not be made.
    piece: Piece | None = None


class AttemptFailed(Exception):
    """This rung does not stand; the diagnoses say what that means for the next."""

    def __init__(self, *failures: Failure, sound: bool = False, late: bool = False) -> None:
        #: The one that is reported: what stops the run, or else what reaches farthest.
        self.worst = max(failures, key=_weight)
        self.failures = failures
        #: Whether what was made stands as it was asked for: the rest was refused, and nothing died.
        self.sound = sound
        #: Whether the cloud had accepted to make what failed.
        self.late = late
        super().__init__(f"{self.diagnosis.code}: {self.diagnosis.words}")

    @property
    def diagnosis(self) -> Diagnosis:
        """Return the worst diagnosis of all."""
        return self.worst.diagnosis

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the groups that something was refused to; empty: all."""
        named = [group for failure in self.failures for group in failure.groups]
        return tuple(dict.fromkeys(named)) if all(failure.groups for failure in self.failures) else ()


@dataclass(eq=False)
class Attempter:
    """Tries rungs, one call of `attempt` each."""

    _backend: Backend
    _run_state: RunState
    _clock: Clock
    _maker: Maker
    _pool: Executor
    _reach: Reach
    _advice: Advice = NO_ADVICE

    def attempt(self, order: Order, deadline: Deadline) -> Placed:
        """Return the placed topology, all of it; raise `AttemptFailed` otherwise (and what was made is still held).

        An order that an earlier keeper began is taken up where it stands: what it made is not made again.
        """
        pieces: list[Piece] = []
        for planned in self._backend.plan(order):
            bound = [replace(piece, inputs={need.key: self._id_of(need) for need in piece.needs}) for piece in planned]
            self._create(bound, order, deadline)
            self._wait_ready(bound, deadline)
            pieces += bound
        self._verify(pieces)
        placed = self.usable(self._placed(order, pieces), order.topology, deadline)
        self._note_remarks(order, pieces)
        return placed

    def _note_remarks(self, order: Order, pieces: Sequence[Piece]) -> None:
        """Record what the summary is to contain of these pieces; once, though a topology is placed anew in parts."""
        for words in dict.fromkeys(piece.note for piece in pieces if piece.note):
            if words not in self._run_state.changes:
                self._run_state.note("changed", data={"topology": order.topology.name, "words": words})

    def _id_of(self, need: Need) -> str:
        """Return the id of what is needed, among the things that its piece has made."""
        made = self._run_state.made(need.subject)
        named = [held for held in made if held.output == need.output] if need.output else made
        of_kind = [held for held in named if held.kind == need.kind] or named
        if not of_kind:
            words = f"{need.subject} made no {need.key}, which the next round needs"
            raise AttemptFailed(Failure(Diagnosis("stop", "unknown", "no-output", words, by="the keeper")))
        return of_kind[0].id

    def _create(self, pieces: Sequence[Piece], order: Order, deadline: Deadline) -> None:
        """Make the pieces of one round side by side. All calls end before the worst failure is raised."""
        together = deadline.child()
        outcomes = list(self._pool.map(lambda piece: self._make(piece, order, together), pieces))
        refusals = [outcome for outcome in outcomes if isinstance(outcome, PieceRefused)]
        if refusals:
            raise AttemptFailed(*map(self._failure, refusals), sound=True)
        faults = [outcome for outcome in outcomes if isinstance(outcome, CapacityError)]
        if faults:
            # Not that of a piece which was only called off for another's.
            raise min(faults, key=lambda fault: isinstance(fault, Cancelled))

    def _make(self, piece: Piece, order: Order, deadline: Deadline) -> PieceRefused | CapacityError | None:
        if self._run_state.made(piece.subject):
            return None
        try:
            self._maker.make(piece, order, deadline)
        except (PieceRefused, CapacityError) as failure:
            deadline.cancel_siblings()
            return failure
        return None

    def _failure(self, refusal: PieceRefused) -> Failure:
        piece = refusal.piece
        diagnosis = self._advice.diagnose(refusal.diagnosis, piece) or self._in_form(refusal.diagnosis, piece)
        groups = piece.groups or ((piece.group,) if piece.group else ())
        return Failure(diagnosis, groups, piece.zone, piece)

    def _in_form(self, diagnosis: Diagnosis, piece: Piece) -> Diagnosis:
        """Return a policy's denial as one of the launch's form where it has just granted a reservation: another place
        would deny it too."""
        granted = any(held.kind == "reservation" and held.region == piece.region for held in self._run_state.held())
        if diagnosis.kind != "denied" or diagnosis.step != "move-on" or piece.kind != "node" or not granted:
            return diagnosis
        return replace(diagnosis, kind="form-denied", step="stop", scope="cloud", remedy="")

    def _wait_ready(self, pieces: Sequence[Piece], deadline: Deadline) -> None:
        """Wait until all that these pieces made is ready: a cloud may accept a create call and fail it later."""
        by_subject = {piece.subject: piece for piece in pieces}
        looks = 0
        while waiting := [held for held in self._run_state.held(by_subject) if held.state != "ready"]:
            if looks:
                deadline.wait(poll_pause(looks))
            deadline.check()
            self._look(waiting, by_subject)
            looks += 1
        nodes = [held for held in self._run_state.held(by_subject) if held.kind == "node"]
        if nodes:
            self._run_state.note("nodes-ready", data={"count": len(nodes)})

    def _look(self, helds: Sequence[Held], pieces: Mapping[str, Piece]) -> None:
        seen = asked(self._backend, lambda: self._backend.refresh(helds))
        if isinstance(seen, Diagnosis):
            if seen.step in ("back-off", "ask-again"):
                return
            raise AttemptFailed(Failure(seen))
        known = {held.key: held for held in helds}
        news = [held for held in seen if held.state != "unseen" and held != known[held.key]]
        if news:
            self._run_state.note("state", data={"held": news})
        dead = [held for held in seen if held.state in ("failed", "leaving", "gone")]
        if dead:
            # What failed was refused, late: the rest stands. What leaves is being removed, and the rest may follow.
            sound = all(held.state == "failed" for held in dead)
            raise AttemptFailed(*(self._late(held, pieces[held.subject]) for held in dead), sound=sound, late=True)

    def _late(self, held: Held, piece: Piece) -> Failure:
        """Return the failure of a thing whose create call had been accepted: read and judged like a refused call."""
        failure = self._failure(PieceRefused(piece, self._backend.diagnose(held, piece)))
        groups = (held.group,) if held.group else failure.groups
        return Failure(failure.diagnosis, groups, held.zone or piece.zone, piece)

    def usable(self, placed: Placed, topology: Topology, deadline: Deadline) -> Placed:
        """Return the nodes with the addresses at which they are reached, once each is ready as its group requires."""
        placed = self._reach.addressed(placed, {held.id: held for held in self._run_state.held()}, deadline)
        try:
            self._reach.await_ready(placed, topology, deadline, self._clock, self._note_ready)
        except NodeError as error:
            diagnosis = Diagnosis(
                "stop", "not-ready", "not-ready", str(error), by="the keeper", remedy=self._reach.advice
            )
            raise AttemptFailed(Failure(diagnosis)) from error
        return placed

    def _note_ready(self, node: Node, seconds: float) -> None:
        self._run_state.note(
            "node-ready", data={"id": node.id, "name": node.name, "group": node.group, "seconds": seconds}
        )

    def _verify(self, pieces: Sequence[Piece]) -> None:
        """Check, by the cloud's listing, that each node sits in the reservation that it targets."""
        for piece in pieces:
            aimed = next((piece.inputs[need.key] for need in piece.needs if need.kind == "reservation"), piece.consumes)
            nodes = [held for held in self._run_state.made(piece.subject) if held.kind == "node"]
            for node in nodes if aimed else ():
                sits_in = node.facts.get("reservation_id") or "none"
                if sits_in != aimed:
                    words = f"node {node.id} was aimed at reservation {aimed} and sits in {sits_in}"
                    diagnosis = Diagnosis("stop", "reservation-mismatch", "not-in-reservation", words, by="the keeper")
                    raise AttemptFailed(Failure(diagnosis, piece=piece))

    def _placed(self, order: Order, pieces: Sequence[Piece]) -> Placed:
        nodes: dict[str, tuple[Node, ...]] = {}
        reservations: list[Reservation] = []
        for piece in pieces:
            made = self._run_state.made(piece.subject)
            reservations += [reservation_of(held) for held in made if held.kind == "reservation"]
            members = sorted((held for held in made if held.kind == "node"), key=_launch_order)
            for held in members:
                if group := held.group or piece.group:
                    nodes[group] = (*nodes.get(group, ()), node_of(held))
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
    return diagnosis.step != "move-on", SCOPES.index(diagnosis.scope)


def _launch_order(held: Held) -> tuple[int, str]:
    """Return the place among the group's nodes: that of the file for the user's own, else what the name counts."""
    digits = held.facts.get("index") or "".join(filter(str.isdigit, held.facts.get("name", "").rpartition("-")[2]))
    return int(digits or 0), held.id


def reservation_of(held: Held) -> Reservation:
    """Return a held reservation as tests see it."""
    return Reservation(
        id=held.id,
        region=held.region,
        zone=held.zone,
        instance_type=held.facts.get("instance_type", ""),
        count=held.count,
    )


def node_of(held: Held) -> Node:
    """Return a held node as tests see it, without its `Access`."""
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
