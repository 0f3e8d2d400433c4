"""What a run would try, in which order, and what is known of each placement before anything is asked for.

A plan is made of reads alone: what the zones offer now, and what this machine's journal remembers of refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from pytest_capacity import ladder
from pytest_capacity.ladder import Choice, Family, Memory, Refusal, Rung
from pytest_capacity.model import Market, NodeGroup, Offer, Quota, Request, Topology

#: Refusals and when they were said, the oldest first.
Refused = Sequence[tuple[float, Refusal]]


class Asking(Struct, frozen=True, kw_only=True):
    """What one group asks for on a rung; ``reserved``: in a reservation."""

    count: int
    instance_type: str
    market: Market
    reserved: bool = False


class Remembered(Struct, frozen=True, kw_only=True):
    """A refusal that still counts: when (epoch seconds), of which group, the cloud's code, the table's word."""

    at: float
    group: str
    code: str
    kind: str


class Room(Struct, frozen=True, kw_only=True):
    """What one quota of the account allows, and how much of it a placement asks for."""

    market: Market
    #: The cloud's name for the quota, and what it counts.
    name: str
    unit: str
    asked: float
    limit: float
    #: What is not in use; None: that could not be read.
    free: float | None = None

    @property
    def enough(self) -> bool:
        """Whether what is asked for fits, as far as is known."""
        return self.asked <= (self.limit if self.free is None else self.free)


#: What `pytest-capacity plan --json` calls the fields of a rung that have shorter names here.
_IN_JSON: Final = {"dry": "remembered", "room": "quota_room", "price": "usd_per_hour"}


class PreviewRung(Struct, frozen=True, kw_only=True, rename=_IN_JSON):
    """One placement, and what is known of it."""

    region: str
    zone: str
    #: All of them, where groups are spread over several.
    zones: tuple[str, ...]
    groups: Mapping[str, Asking]
    #: What was refused there so recently that it is tried last.
    dry: tuple[Remembered, ...] = ()
    #: A quota that was used up so recently that it is likely to be still. Empty: nothing is known.
    quota: tuple[Remembered, ...] = ()
    #: What the account's quotas allow there; empty: they could not be read.
    room: tuple[Room, ...] = ()
    #: Reservations that the user named and that are not used there, and why.
    unused: Mapping[str, str] = {}
    #: USD an hour for all nodes, by the prices that the user gave; None where one is not known.
    price: float | None = None


class LeftOut(Struct, frozen=True):
    """A place that is no rung, and why. ``zone`` is empty where it is a whole region."""

    region: str
    zone: str
    why: str


class TopologyPreview(Struct, frozen=True):
    """The rungs of one topology in order."""

    rungs: tuple[PreviewRung, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    #: What the summary of a run in the first placement would say besides (`Piece.note`).
    remarks: tuple[str, ...] = ()


class Plan(Struct, frozen=True, kw_only=True):
    """What a run would try, by topology. ``at`` is when it was read."""

    at: float
    backend: str
    account: str
    emulated: bool = False
    regions: tuple[str, ...]
    #: What could not be read, in words.
    troubles: tuple[str, ...] = ()
    topologies: Mapping[str, TopologyPreview] = {}

    @property
    def good(self) -> bool:
        """Whether every topology has something to try."""
        return all(one.rungs for one in self.topologies.values())


def as_rung(planned: PreviewRung) -> Rung:
    """Return the rung of the ladder that ``planned`` shows."""
    choices = {name: Choice(asked.market, asked.instance_type) for name, asked in planned.groups.items()}
    return Rung(planned.region, planned.zone, choices, planned.zones)


def preview_topology(
    topology: Topology,
    request: Request,
    offers: Mapping[str, Sequence[Offer]],
    refused: Refused = (),
    now: float = 0.0,
    family: Family = str,
    memory: Memory = lambda kind: None,
    quotas: Sequence[Quota] = (),
) -> TopologyPreview:
    """Return the rungs as the ladder lists them, and the zones that are none.

    ``offers`` are by region, those that could not be read are missing; ``refused`` is what was refused lately;
    ``quotas`` are those of the account, as far as they could be read.
    """
    alive = [one for one in refused if ladder.remembered([one], now, memory)]
    listed = ladder.rungs(topology, request, offers, ladder.remembered(refused, now, memory))

    def planned(rung: Rung) -> PreviewRung:
        return PreviewRung(
            region=rung.region,
            zone=rung.zone,
            zones=rung.places,
            groups={group.name: _asking(group, request, rung.choices[group.name]) for group in topology.groups},
            dry=_newest(rung, alive, partial(_ran_dry, rung)),
            quota=_newest(rung, alive, partial(_is_full, rung, family)),
            room=tuple(_room(topology, rung, quotas)),
            unused=ladder.unused(rung, offers),
            price=_price(topology, rung, request.prices),
        )

    rungs = listed if request.colocate != "region" else _spread(listed)
    return TopologyPreview(tuple(map(planned, rungs)), tuple(_left_out(topology, request, offers, listed)))


def _spread(listed: Sequence[Rung]) -> list[Rung]:
    """Return the rungs of spread groups: one has every zone of a region that takes the same choices."""
    zones: dict[tuple[str, tuple[tuple[str, Choice], ...]], list[str]] = {}
    for rung in listed:
        zones.setdefault((rung.region, tuple(rung.choices.items())), []).append(rung.zone)
    return [Rung(region, where[0], dict(choices), tuple(where)) for (region, choices), where in zones.items()]


def _asking(group: NodeGroup, request: Request, choice: Choice) -> Asking:
    return Asking(
        count=group.count,
        instance_type=choice.instance_type,
        market=choice.market,
        reserved=ladder.is_reserved(group, request, choice.market),
    )


def _newest(rung: Rung, alive: Refused, counts: Callable[[Refusal, Choice], bool]) -> tuple[Remembered, ...]:
    """Return by group the newest refusal that ``counts`` for its choice. ``alive`` has the oldest first."""
    newest: dict[str, Remembered] = {}
    for name, choice in rung.choices.items():
        for at, refusal in alive:
            if counts(refusal, choice):
                said = refusal.diagnosis
                newest[name] = Remembered(at=at, group=name, code=said.code, kind=said.kind)
    return tuple(newest.values())


def _ran_dry(rung: Rung, refusal: Refusal, choice: Choice) -> bool:
    """Return whether it refused just this choice, in any of the zones."""
    return refusal.region == rung.region and refusal.zone in rung.places and choice in refusal.choices.values()


def _is_full(rung: Rung, family: Family, refusal: Refusal, choice: Choice) -> bool:
    """Return whether it refused a quota that the choice shares."""
    of_quota = refusal.diagnosis.kind.endswith("quota")
    return of_quota and any(refusal.blocks(rung.region, zone, choice, family) for zone in rung.places)


def _room(topology: Topology, rung: Rung, quotas: Sequence[Quota]) -> Iterator[Room]:
    """Yield what each quota allows that the rung's nodes count against. A reservation counts as its nodes do."""
    for quota in quotas:
        choices = [(group.count, rung.choices[group.name]) for group in topology.groups]
        asked = sum(
            count * quota.counts.get(choice.instance_type, 0.0)
            for count, choice in choices
            if choice.market == quota.market
        )
        if quota.region == rung.region and asked:
            free = None if quota.used is None else max(quota.limit - quota.used, 0.0)
            yield Room(market=quota.market, name=quota.name, unit=quota.unit, asked=asked, limit=quota.limit, free=free)


def _price(topology: Topology, rung: Rung, prices: Mapping[str, float]) -> float | None:
    types = [(group.count, rung.choices[group.name].instance_type) for group in topology.groups]
    known = all(type_ in prices for _, type_ in types)
    return round(sum(count * prices[type_] for count, type_ in types), 6) if known else None


def _left_out(
    topology: Topology, request: Request, offers: Mapping[str, Sequence[Offer]], listed: Sequence[Rung]
) -> Iterator[LeftOut]:
    """Yield the zones that were wanted and are no rungs, and the regions that the run may not move to."""
    rungs = {(rung.region, rung.zone) for rung in listed}
    for region, zones in offers.items():
        for offer in ladder.chosen(request.zones, zones) or zones:
            if (region, offer.zone) not in rungs:
                why = ladder.why_not(topology, request, offer) or "fallback along zones is off"
                yield LeftOut(region, offer.zone, why)
    for region in topology.regions or request.regions:
        if region not in ladder.regions(request, topology):
            yield LeftOut(region, "", "fallback along regions is off")
