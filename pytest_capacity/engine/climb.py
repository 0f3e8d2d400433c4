"""One topology up its ladder: rung after rung until one stands, or none is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity import ladder
from pytest_capacity.backends import provider
from pytest_capacity.backends.base import Backend
from pytest_capacity.backends.diagnosis import remedy
from pytest_capacity.engine import messages
from pytest_capacity.engine.abandoned import Abandoned
from pytest_capacity.engine.advice import Advice
from pytest_capacity.engine.attempt import Attempter, AttemptFailed
from pytest_capacity.engine.calls import refused
from pytest_capacity.engine.clock import Clock, Deadline
from pytest_capacity.engine.leases import LEASE
from pytest_capacity.engine.offers import OfferReader, Offers, check_zones
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import CapacityError, Exhausted, Refused
from pytest_capacity.ladder import Choice, Refusal, Rung
from pytest_capacity.model import (
    EXHAUSTION,
    Attempt,
    Diagnosis,
    Held,
    Offer,
    Order,
    Piece,
    Placed,
    Placement,
    Request,
    Share,
    Topology,
)

#: Pauses between rounds of the ladder (``retry_until``), seconds: doubling from the first to the last.
FIRST_ROUND_PAUSE, LAST_ROUND_PAUSE = 5.0, 60.0

#: How long to wait before a placement is tried again of which something failed late for a reason that passes. Seconds.
LATE_PAUSE = 4.0


class Climb(Struct):
    """The state of one provisioning so far."""

    name: str
    topology: Topology
    launch: bool
    deadline: Deadline
    began: float
    #: Nowhere else than where this stands.
    beside: Placed | None = None
    tried: list[Attempt] = []
    refusals: list[Refusal] = []
    #: The kinds of all refusals, those of earlier rounds too.
    kinds: set[str] = set()
    #: Regions that could not be read, and why.
    left_out: dict[str, Diagnosis] = {}
    listed: list[Rung] = []
    offers: Offers = {}
    #: The order that failed last, where what stands of it is sound.
    sound: Order | None = None
    round: int = 1


@dataclass(eq=False)
class Climber:
    """Places topologies. One climb of a topology at a time; several topologies may climb at once."""

    _request: Request
    _backend: Backend
    _run_state: RunState
    _clock: Clock
    _attempter: Attempter
    _abandoned: Abandoned
    _offers: OfferReader
    #: When everything must be gone, and the latest that this can be moved to.
    _hard_end: Callable[[], float]
    _limit: Callable[[], float]
    _facts: Mapping[str, str]
    _advice: Advice
    _emulator: Callable[[], str]

    def place(self, name: str, launch: bool, deadline: Deadline) -> Placed:
        """Return the topology where it stands now. Raise a `CapacityError` where it cannot be placed."""
        topology = self._request.topologies[name]
        if not launch:
            # What is only reserved is on-demand: no reservation serves spot.
            groups = tuple(replace(group, market="on-demand") for group in topology.groups)
            topology = replace(topology, groups=groups)
        return self._place(Climb(name, topology, launch, deadline, self._clock.now()))

    def place_beside(self, placed: Placed, part: Topology, deadline: Deadline) -> Placed:
        """Place a part of a topology once more, where the rest of it stands. Raise as `place` does."""
        return self._place(Climb(placed.topology, part, True, deadline, self._clock.now(), placed))

    def _place(self, climb: Climb) -> Placed:
        try:
            placed = self._climb(climb)
        except CapacityError:
            self._leave(climb.sound, None)
            raise
        self._tell_markets(climb, placed)
        return placed

    def _climb(self, climb: Climb) -> Placed:
        order = self._run_state.orders.get(climb.name) or self._next(climb)
        while True:
            before = len(climb.refusals)
            releasing = self._abandoned.at_work()
            placed = self._try(order, climb)
            if (
                placed is None
                and climb.tried[-1].outcome == "quota"
                and (self._abandoned.settle(climb.deadline) or releasing)
            ):
                # It may have been full of what we were giving back, though that is gone by now.
                del climb.refusals[before:]
                failed = climb.sound
                order = self._going_on(failed, replace(order, attempt=self._run_state.next_attempt(), series=0))
                self._leave(failed, order)
                placed = self._try(order, climb)
            if placed:
                return placed
            order = self._next(climb)

    def _next(self, climb: Climb) -> Order:
        """Return the order of the next rung. What the failed one leaves that this one cannot use is being released."""
        if not climb.listed:
            self._look(climb)
        rung = self._rung(climb)
        while rung is None:
            self._go_round(climb)
            rung = self._rung(climb)
        order = self._order(climb, rung)
        self._leave(climb.sound, order)
        self._tell_unused(climb, rung)
        return order

    def _rung(self, climb: Climb) -> Rung | None:
        climb.deadline.check()
        rung = ladder.next_rung(climb.listed, climb.refusals, self._request, self._backend.family)
        last = climb.tried[-1] if climb.tried else None
        if last and (rung is None or rung.region != last.region) and not self._is_open(climb, last.region):
            here = [one for one in climb.tried if one.region == last.region]
            zones = list(dict.fromkeys(one.zone for one in here))
            dry = ladder.is_exhaustion({one.kind for one in here})
            said = "all zones of {} are exhausted for {!r}: {}" if dry else "no zone of {} takes {!r}: {}"
            self._change(climb, said.format(last.region, climb.name, ", ".join(zones)))
        return rung

    def _is_open(self, climb: Climb, region: str) -> bool:
        return ladder.is_open(climb.listed, region, climb.refusals, self._request, self._backend.family)

    def _look(self, climb: Climb) -> None:
        """List the rungs by what the zones offer now. Raises `Refused` where there is none."""
        climb.offers, climb.left_out = self._offers.read(climb.name, climb.deadline)
        check_zones(self._request, {**self._offers.seen(), **climb.offers})
        own = provider(self._request.backend).memory
        memory = ladder.remembered(self._run_state.refused_lately(self._cloud), self._clock.now(), own)
        listed = ladder.rungs(climb.topology, self._request, climb.offers, memory)
        if climb.beside:
            zones = {(node.region, node.zone) for nodes in climb.beside.nodes.values() for node in nodes}
            listed = [rung for rung in listed if (rung.region, rung.zone) in zones]
        climb.listed = list(self._advice.rungs(climb.topology, listed)) if listed else []
        if not climb.listed:
            why = "pytest_capacity_ladder left no rung" if listed else self._why_none(climb)
            # What no zone is able to take is a lack of capacity or quota only where each of them says so.
            kinds = {offer.kind for offer in self._candidates(climb)}
            raise (Exhausted if not listed and kinds and kinds <= EXHAUSTION else Refused)(why)

    def _why_none(self, climb: Climb) -> str:
        reasons = [
            (offer.zone, why)
            for offer in self._candidates(climb)
            if (why := ladder.why_not(climb.topology, self._request, offer))
        ]
        reasons += [(region, f"not read: {one.code}: {one.words}") for region, one in climb.left_out.items()]
        return messages.none_able(climb.name, climb.offers, reasons)

    def _candidates(self, climb: Climb) -> list[Offer]:
        """Return the zones that the user named, of all regions that could be read."""
        return [
            offer for zones in climb.offers.values() for offer in ladder.chosen(self._request.zones, zones) or zones
        ]

    def _go_round(self, climb: Climb) -> None:
        """Wait, and clear what was refused. Raises `Exhausted` or `Refused` when waiting cannot help any more."""
        until = climb.began + self._request.retry_until_s
        pause = min(FIRST_ROUND_PAUSE * 2 ** (climb.round - 1), LAST_ROUND_PAUSE)
        self._leave(climb.sound, None)
        climb.sound = None
        left = ladder.next_rung(climb.listed, ladder.lasting(climb.refusals), self._request, self._backend.family)
        if left is None or self._clock.now() + pause > until:
            raise self._nothing_left(climb)
        climb.round += 1
        rest = until - self._clock.now()
        self._change(
            climb,
            f"nothing was to be had for {climb.name!r}; round {climb.round} of the ladder begins in {pause:.0f} s "
            f"(retry_until: {messages.lasting(rest)} left)",
        )
        climb.deadline.wait(self._clock.jitter(pause))
        climb.refusals = ladder.lasting(climb.refusals)
        self._offers.forget(climb.name)
        self._look(climb)

    def _nothing_left(self, climb: Climb) -> CapacityError:
        """Return `Exhausted` for a lack of capacity or quota alone: no other fault is ever skipped."""
        cloud, faults = self._backend.name, {one.kind for one in climb.left_out.values()}
        if ladder.is_exhaustion(climb.kinds | faults):
            return Exhausted(messages.exhausted(cloud, climb.name, climb.tried, climb.round))
        return Refused(messages.not_placed(cloud, climb.name, climb.tried, climb.left_out))

    def _leave(self, failed: Order | None, order: Order | None) -> None:
        """Release what stands of ``failed`` and is no part of ``order``."""
        if failed is None:
            return
        series = failed.series or failed.attempt
        goes_on = order is not None and order.series == series
        keep = subjects(self._backend, order) if goes_on and order else ()
        self._abandoned.release(failed.topology.name, series, keep, (failed.placement.region,))

    def _order(self, climb: Climb, rung: Rung) -> Order:
        order = order_for(
            self._request,
            climb.topology,
            rung,
            climb.offers,
            self._facts if climb.launch else {},
            attempt=self._run_state.next_attempt(),
            lease_end=min(self._clock.now() + LEASE, self._hard_end()),
            hard_end=self._limit(),
            launch=climb.launch,
            nonce=self._run_state.nonce,
        )
        return self._going_on(climb.sound, order)

    def _going_on(self, failed: Order | None, order: Order) -> Order:
        """Return the same order in the series of the failed one, where what stands there fits: it is not made twice."""
        if failed is None or failed.placement != order.placement:
            return order
        later = replace(order, series=failed.series or failed.attempt)
        pieces = [piece for planned in self._backend.plan(later) for piece in planned]
        # What an attempt in between had no use for is on its way out, though it still stands.
        if self._abandoned.is_releasing([piece.subject for piece in pieces]):
            return order
        if not all(_is_whole(self._run_state.made(piece.subject), piece) for piece in pieces):
            return order
        return later

    def _try(self, order: Order, climb: Climb) -> Placed | None:
        """Try one rung, and add its outcome to the climb; raise what ends that. What a failed one made may stand."""
        if self._run_state.orders.get(order.topology.name) != order:
            self._run_state.intend("attempt-started", data={"order": order, **messages.rung(order, self._request)})
        began = self._clock.now()
        climb.sound = None
        placed, failed = None, None
        told = Attempt(
            number=order.attempt,
            topology=order.topology.name,
            region=order.placement.region,
            zone=order.placement.where,
            started=began,
            seconds=0.0,
            outcome="cancelled",
            **messages.asked_for(order.topology, self._request),
        )
        try:
            placed = self._attempter.attempt(order, climb.deadline)
            told = replace(told, outcome="placed")
        except AttemptFailed as error:
            failed = error
            told = replace(told, **self._outcome(order, error, climb))
        except CapacityError as error:
            told = replace(told, code=type(error).__name__, words=self._run_state.worded(str(error)))
            raise
        finally:
            told = replace(told, seconds=self._clock.now() - began)
            climb.tried.append(told)
            found = self._refusals(order, failed) if failed else []
            data = {"attempt": told, "cloud": self._cloud, "refusals": found}
            self._run_state.note("attempt-ended", data={**data, **messages.where(order), **messages.outcome(told)})
            if placed is None and not (failed and failed.sound):
                self._leave(order, None)
        if failed and failed.late and failed.diagnosis.step in ("back-off", "ask-again"):
            # The cloud had accepted it, and says "not now" of it later: the same once more, from the beginning.
            self._leave(order, None)
            climb.deadline.wait(self._clock.jitter(LATE_PAUSE))
        elif failed:
            if failed.diagnosis.step != "move-on":
                self._leave(order, None)
                raise refused(messages.asked(order), self._backend.name, failed.diagnosis, failed.worst.piece)
            climb.refusals += found
            climb.kinds |= {refusal.diagnosis.kind for refusal in found}
            climb.sound = order if failed.sound else None
        return placed

    def _outcome(self, order: Order, failed: AttemptFailed, climb: Climb) -> dict[str, str]:
        diagnosis = failed.diagnosis
        outcome = "quota" if diagnosis.kind.endswith("quota") else "no-capacity"
        if diagnosis.step != "move-on":
            outcome = "failed"
        here = {rung.zone for rung in climb.listed if rung.region == order.placement.region}
        elsewhere = messages.elsewhere(diagnosis, here)
        return {
            "outcome": outcome,
            "code": diagnosis.code,
            "words": diagnosis.words,
            "kind": diagnosis.kind,
            "scope": diagnosis.scope,
            "remedy": self._run_state.worded(remedy(self._backend.name, diagnosis) + elsewhere),
            **messages.asked_for(order.topology, self._request, failed.groups),
        }

    def _refusals(self, order: Order, failed: AttemptFailed) -> list[Refusal]:
        """Return the refusals, each once: of a hundred nodes requested one by one, most are refused alike."""
        choices = {
            group.name: Choice(group.market or self._request.market, group.instance_type)
            for group in order.topology.groups
        }
        found: list[Refusal] = []
        for failure in failed.failures:
            refusal = Refusal(
                region=order.placement.region,
                zone=failure.zone or order.placement.zone,
                choices={name: choices[name] for name in failure.groups if name in choices} or choices,
                diagnosis=failure.diagnosis,
            )
            if refusal not in found:
                found.append(refusal)
        return found

    @property
    def _cloud(self) -> str:
        return messages.cloud(self._request, self._run_state.identity, self._emulator())

    def _change(self, climb: Climb, words: str) -> None:
        self._run_state.note("changed", data={"topology": climb.name, "words": words})

    def _tell_unused(self, climb: Climb, rung: Rung) -> None:
        """Report what the user named and is not used: another reservation may be paid for beside it."""
        for id_, why in ladder.unused(rung, climb.offers).items():
            where = "+".join(rung.places)
            words = f"use_reservations: {id_} is not used for {climb.name!r} in {where}: {why}"
            if (words := self._run_state.worded(words)) not in self._run_state.changes:
                self._change(climb, words)

    def _tell_markets(self, climb: Climb, placed: Placed) -> None:
        """Report a market that is not the requested one."""
        for group in climb.topology.groups:
            wanted = group.market or self._request.market
            got = {node.market for node in placed.nodes.get(group.name, ())} - {wanted}
            if got:
                self._change(
                    climb, f"group {group.name!r} asked for {wanted} and got {', '.join(got)} in {placed.zone}"
                )


def _is_whole(made: Sequence[Held], piece: Piece) -> bool:
    """Return whether what stands of a piece, if anything, is all that it asks for, and none of it has failed."""
    counted = [held for held in made if held.kind == piece.kind] or made
    if any(held.state not in ("creating", "ready") for held in made):
        return False
    return not made or sum(held.count for held in counted) == piece.count


def subjects(backend: Backend, order: Order) -> frozenset[str]:
    """Return the subjects of all pieces of an order."""
    return frozenset(piece.subject for planned in backend.plan(order) for piece in planned)


def order_for(
    request: Request, topology: Topology, rung: Rung, offers: Offers, facts: Mapping[str, str], **more: Any
) -> Order:
    """Return the order for a topology at ``rung``; ``facts`` beside those of the zone, ``more`` fields of `Order`."""
    here = {offer.zone: offer for offer in offers[rung.region]}
    wanted = _chosen(topology, rung)
    return Order(
        run=request.run,
        project=request.project,
        topology=wanted,
        placement=Placement(rung.region, rung.zone, rung.zones),
        facts={**here[rung.zone].facts, **facts},
        shares=_shares(wanted, rung, here) if request.colocate == "region" else (),
        **more,
    )


def _chosen(topology: Topology, rung: Rung) -> Topology:
    """Return the topology with the types and markets of ``rung``."""
    groups = tuple(
        replace(
            group,
            instance_type=rung.choices[group.name].instance_type,
            market=rung.choices[group.name].market,
            alternatives=(),
        )
        for group in topology.groups
    )
    return replace(topology, groups=groups)


def _shares(topology: Topology, rung: Rung, offers: Mapping[str, Offer]) -> tuple[Share, ...]:
    """Return each group's nodes over the zones of ``rung`` in turn; zones that get none are left out."""
    places = rung.places
    counts: dict[str, dict[str, int]] = {zone: {} for zone in places}
    for group in topology.groups:
        for number in range(group.count):
            zone = places[number % len(places)]
            counts[zone][group.name] = counts[zone].get(group.name, 0) + 1
    return tuple(Share(zone, counts[zone], offers[zone].facts) for zone in places if counts[zone])
