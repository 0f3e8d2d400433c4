"""What a run would try, in which order, and what is known of each placement before anything is asked for.

A plan is made of reads alone: what the zones offer now, and what this machine's journal remembers of refusals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity import ladder
from pytest_capacity.ladder import Choice, Family, Memory, Refusal, Rung
from pytest_capacity.model import Market, NodeGroup, Offer, Quota, Request, Topology

#: Refusals and when they were said.
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


class PreviewRung(Struct, frozen=True, kw_only=True):
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

    backend: str
    account: str
    regions: tuple[str, ...]
    at: float
    emulated: bool = False
    topologies: Mapping[str, TopologyPreview] = {}
    #: What could not be read, in words.
    troubles: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether every topology has something to try."""
        return all(one.rungs for one in self.topologies.values())


def as_rung(planned: PreviewRung) -> Rung:
    """Return the rung of the ladder that ``planned`` shows."""
    choices = {
        name: Choice("spot" if asked.market == "spot" else "on-demand", asked.instance_type)
        for name, asked in planned.groups.items()
    }
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
    rungs = listed if request.colocate != "region" else _spread(listed)
    planned = [
        replace(
            _planned(topology, request, rung, alive, family),
            unused=ladder.unused(rung, offers),
            room=_room(topology, rung, quotas),
        )
        for rung in rungs
    ]
    return TopologyPreview(tuple(planned), tuple(_left_out(topology, request, offers, listed)))


def _spread(listed: Sequence[Rung]) -> list[Rung]:
    """Return the rungs of spread groups: one has every zone of a region that takes the same choices."""
    zones: dict[tuple[str, tuple[tuple[str, Choice], ...]], list[str]] = {}
    for rung in listed:
        zones.setdefault((rung.region, tuple(rung.choices.items())), []).append(rung.zone)
    return [Rung(region, where[0], dict(choices), tuple(where)) for (region, choices), where in zones.items()]


def _planned(topology: Topology, request: Request, rung: Rung, alive: Refused, family: Family) -> PreviewRung:
    counts = {group.name: group.count for group in topology.groups}
    types = [(counts[name], choice.instance_type) for name, choice in rung.choices.items()]
    known = all(type_ in request.prices for _, type_ in types)
    return PreviewRung(
        region=rung.region,
        zone=rung.zone,
        zones=rung.places,
        groups={group.name: _asking(group, request, rung.choices[group.name]) for group in topology.groups},
        dry=_dry(rung, alive),
        quota=_quota(rung, alive, family),
        price=round(sum(count * request.prices[type_] for count, type_ in types), 6) if known else None,
    )


def _asking(group: NodeGroup, request: Request, choice: Choice) -> Asking:
    return Asking(
        count=group.count,
        instance_type=choice.instance_type,
        market=choice.market,
        reserved=ladder.is_reserved(group, request, choice.market),
    )


def _dry(rung: Rung, alive: Refused) -> tuple[Remembered, ...]:
    """Return by group the newest refusal of just this choice, in any of the zones."""
    return _newest(
        (name, at, refusal)
        for name, choice in rung.choices.items()
        for at, refusal in alive
        if refusal.region == rung.region and refusal.zone in rung.places and choice in refusal.choices.values()
    )


def _quota(rung: Rung, alive: Refused, family: Family) -> tuple[Remembered, ...]:
    """Return by group the newest refusal of a quota that it shares."""
    return _newest(
        (name, at, refusal)
        for name, choice in rung.choices.items()
        for at, refusal in alive
        if refusal.diagnosis.kind.endswith("quota")
        and any(refusal.blocks(rung.region, zone, choice, family) for zone in rung.places)
    )


def _room(topology: Topology, rung: Rung, quotas: Sequence[Quota]) -> tuple[Room, ...]:
    """What each quota allows that the rung's nodes count against. A reservation counts as its nodes do."""
    found = []
    for quota in quotas:
        choices = [(group.count, rung.choices[group.name]) for group in topology.groups]
        asked = sum(
            count * quota.counts.get(choice.instance_type, 0.0)
            for count, choice in choices
            if choice.market == quota.market
        )
        if quota.region == rung.region and asked:
            free = None if quota.used is None else max(quota.limit - quota.used, 0.0)
            found.append(
                Room(
                    market=quota.market,
                    name=quota.name,
                    unit=quota.unit,
                    asked=asked,
                    limit=quota.limit,
                    free=free,
                )
            )
    return tuple(found)


def _newest(found: Iterable[tuple[str, float, Refusal]]) -> tuple[Remembered, ...]:
    newest: dict[str, Remembered] = {}
    for group, at, refusal in found:
        if group not in newest or newest[group].at <= at:
            said = refusal.diagnosis
            newest[group] = Remembered(at=at, group=group, code=said.code, kind=said.kind)
    return tuple(newest.values())


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
