"""Where to try next: a pure function of the request, of what the zones offer, and of what has been refused.

`rungs` lists the placements of a topology in the order in which they would be tried were every group refused each time;
`next_rung` walks that list and moves only what was refused. A rung is a region and a zone (or several, where groups are
spread) with a market and a type for each group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.model import EXHAUSTION, Axis, Diagnosis, Market, NodeGroup, Offer, Request, Topology

#: What shares a quota with a type; the type itself where nothing is known.
Family = Callable[[str], str]

#: How long a refusal of a kind is remembered, seconds. Stock comes back within minutes (karpenter's providers block for
#: three), a quota is raised by people, and what a zone does not offer it does not offer in an hour either.
MEMORY: Final[Mapping[str, float]] = {
    "capacity-zone": 180.0,
    "capacity-region": 180.0,
    "spot-capacity": 180.0,
    "spot-price": 180.0,
    "preempted": 180.0,
    "reservation-full": 60.0,
    "network-exhausted": 30.0,
    "quota": 600.0,
    "spot-quota": 600.0,
    "type-unsupported": 3600.0,
}

#: How long a cloud's own refusals of a kind are remembered, seconds; None: as `MEMORY` has it.
Memory = Callable[[str], float | None]

#: Nothing is remembered for longer, whatever a cloud's own times are. Seconds.
MEMORY_LIMIT: Final = max(MEMORY.values())

#: Refusals that the same question would meet again however long one waits.
LASTING: Final[frozenset[str]] = frozenset(
    {
        "type-unsupported",
        "no-network",
        "reservation-mismatch",
        "auth",
        "denied",
        "form-denied",
        "not-subscribed",
        "invalid",
        "account-blocked",
    }
)

#: What a place is not able to do: beside zones without capacity it changes nothing about why a run ends.
_OF_THE_PLACE: Final[frozenset[str]] = frozenset({"type-unsupported", "no-network"})


#: Scopes narrower than a zone that name no type: what was refused is the choice that was made there.
_OF_ONE_CHOICE: Final = frozenset({"none", "reservation", "placement-group"})


class Choice(Struct, frozen=True, order=True):
    """What one group asks for on a rung."""

    market: Market
    instance_type: str


class Rung(Struct, frozen=True):
    """One placement of a whole topology: ``choices`` by the name of the group.

    ``zones`` are all of them where the groups are spread over several, ``zone`` the first of these.
    """

    region: str
    zone: str
    choices: Mapping[str, Choice]
    zones: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Its zones, one or several."""
        return self.zones or (self.zone,)


class Refusal(Struct, frozen=True, kw_only=True):
    """What a cloud refused: for these groups, in this zone. Its diagnosis says how far that reaches."""

    region: str
    zone: str
    choices: Mapping[str, Choice]
    diagnosis: Diagnosis

    def blocks(self, region: str, zone: str, choice: Choice, family: Family) -> bool:
        """Return whether ``choice`` need not be asked for there any more."""
        scope = self.diagnosis.scope
        if not self._reaches(scope, region, zone):
            return False
        exact = scope in _OF_ONE_CHOICE
        words = scope.split("+")
        for own in self.choices.values():
            if (exact or "market" in words) and own.market != choice.market:
                continue
            if (exact or "type" in words) and own.instance_type != choice.instance_type:
                continue
            if "family" in words and family(own.instance_type) != family(choice.instance_type):
                continue
            return True
        return False

    def _reaches(self, scope: str, region: str, zone: str) -> bool:
        if scope in ("cloud", "market", "type+market"):
            return True
        if "region" in scope.split("+"):
            return region == self.region
        return (region, zone) == (self.region, self.zone)


class Dry(Struct, frozen=True):
    """A choice that some run was refused in a zone not long ago."""

    region: str
    zone: str
    choice: Choice


def choices(group: NodeGroup, request: Request) -> tuple[Choice, ...]:
    """Return what a group may ask for in one zone, its first wish in front, in the order of the two inner axes."""
    markets = _markets(group, request)
    types = _types(group, request)
    order = request.fallback.order
    if order.index("market") < order.index("type"):
        return tuple(Choice(market, type_) for type_ in types for market in markets)
    return tuple(Choice(market, type_) for market in markets for type_ in types)


def rungs(
    topology: Topology, request: Request, offers: Mapping[str, Sequence[Offer]], memory: Collection[Dry] = ()
) -> list[Rung]:
    """Return every rung that the offers leave, of one zone each, as they are tried while all is refused.

    ``offers`` are the zones by region; regions that could not be read are missing. Zones in ``memory`` come last among
    the zones of their region, and zones that hold capacity which the user named come first.
    """
    ranked: list[tuple[tuple[Any, ...], Rung]] = []
    for at, region in enumerate(regions(request, topology)):
        for where, offer in enumerate(able(topology, request, offers.get(region, ()))):
            ladders = {group.name: _offered(group, request, offer) for group in topology.groups}
            for level in range(max(map(len, ladders.values()), default=0)):
                wanted = {name: own[min(level, len(own) - 1)] for name, own in ladders.items()}
                dry = any(Dry(region, offer.zone, choice) in memory for choice in wanted.values())
                place: dict[Axis, Any] = {"region": at, "zone": (not offer.preferred, dry, where)}
                place |= _moves(topology, request, wanted)
                key = tuple(place[axis] for axis in reversed(request.fallback.order))
                ranked.append((key, Rung(region, offer.zone, wanted)))
    return [rung for _, rung in sorted(ranked, key=lambda one: one[0])]


def next_rung(
    listed: Sequence[Rung], refusals: Sequence[Refusal], request: Request, family: Family = str
) -> Rung | None:
    """Return the next placement to try; None when nothing of ``listed`` is left that no refusal blocks.

    Every group asks for the first of its choices that is not blocked in the zone, so a refusal moves only those groups
    that it is about. Zones come as the list has them; one that a cloud named for what it refused comes before. Where
    groups are spread, a rung has every zone of the region that can take the same choices.
    """
    found = [rung for places in _places(listed, request) if (rung := _first_open(listed, places, refusals, family))]
    if not found:
        return None
    _, best = min(found, key=lambda one: (not _is_hinted(one[1], refusals), one[0]))
    if request.colocate != "region":
        return best
    places = [place for places in _places(listed, request) for place in places if place[0] == best.region]
    zones = [zone for region, zone in places if _takes(listed, region, zone, best.choices, refusals, family)]
    return Rung(best.region, zones[0], best.choices, tuple(zones))


def is_reserved(group: NodeGroup, request: Request, market: Market) -> bool:
    """Return whether the nodes of ``group`` get a reservation in ``market``: spot nodes never do."""
    reserve = request.reserve if group.reserve is None else group.reserve
    return reserve and market == "on-demand"


def of_market(reserved: object, *words: object) -> str:
    """Return a market and what is asked for in it, in words: ``reserved on-demand TYPE``."""
    return " ".join(filter(None, ("reserved" if reserved else "", *map(str, words))))


def is_open(
    listed: Sequence[Rung], region: str, refusals: Sequence[Refusal], request: Request, family: Family = str
) -> bool:
    """Return whether anything is left to try in ``region``."""
    return next_rung([rung for rung in listed if rung.region == region], refusals, request, family) is not None


def remembered(
    refused: Iterable[tuple[float, Refusal]], now: float, memory: Memory = lambda kind: None
) -> frozenset[Dry]:
    """Return what ran dry so recently that it is tried last. ``memory`` is the cloud's own.

    ``refused`` is when, and what. What a clock that was wrong dates far into the future is not recent for ever.
    """
    return frozenset(
        Dry(refusal.region, refusal.zone, choice)
        for at, refusal in refused
        if abs(now - at) < _memory(refusal.diagnosis.kind, memory)
        for choice in refusal.choices.values()
    )


def _memory(kind: str, own: Memory) -> float:
    seconds = own(kind)
    return MEMORY.get(kind, 0.0) if seconds is None else min(seconds, MEMORY_LIMIT)


def is_exhaustion(kinds: Collection[str]) -> bool:
    """Return whether refusals of these kinds are, all together, a lack of capacity or quota and nothing else."""
    return bool(EXHAUSTION.intersection(kinds)) and EXHAUSTION.union(_OF_THE_PLACE).issuperset(kinds)


def lasting(refusals: Iterable[Refusal]) -> list[Refusal]:
    """Return those that another round of the ladder would only meet again."""
    return [refusal for refusal in refusals if refusal.diagnosis.kind in LASTING]


def regions(request: Request, topology: Topology) -> tuple[str, ...]:
    """Return those that a topology may be placed in, in order."""
    own = topology.regions or request.regions
    return own if request.fallback.regions else own[:1]


def regions_in_use(request: Request) -> tuple[str, ...]:
    """Return those that any topology of the run may be placed in."""
    every = [region for topology in request.topologies.values() for region in regions(request, topology)]
    return tuple(dict.fromkeys(every)) or (request.regions if request.fallback.regions else request.regions[:1])


def able(topology: Topology, request: Request, offers: Sequence[Offer]) -> list[Offer]:
    """Return the zones of one region to try, in order: the wanted ones as written, or every one that can.

    Wanted zones of other regions say nothing about this one. Without fallback along zones it is the first that can,
    of those with capacity that the user named where there is one.
    """
    wanted = [offer for offer in chosen(request.zones, offers) or offers if offer.ok]
    found = [offer for offer in wanted if all(_offered(group, request, offer) for group in topology.groups)]
    if request.fallback.zones or request.colocate == "region":
        return found
    return sorted(found, key=lambda offer: not offer.preferred)[:1]


def chosen(wanted: Sequence[str], offers: Sequence[Offer]) -> list[Offer]:
    """Return the offers of the wanted zones, in that order and each once; all of them when none is named."""
    if not wanted:
        return list(offers)
    picked: list[Offer] = []
    for name in wanted:
        picked += [offer for offer in offers if matches(name, offer) and offer not in picked]
    return picked


def unknown(wanted: Sequence[str], offers: Sequence[Offer]) -> list[str]:
    """Return the wanted zones that are none of these."""
    return [name for name in wanted if not any(matches(name, offer) for offer in offers)]


def matches(name: str, offer: Offer) -> bool:
    """Return whether ``name`` (the zone's own, one of its other spellings, or ``*``: any) means this zone."""
    return name in ("*", offer.zone, *offer.aliases)


def why_not(topology: Topology, request: Request, offer: Offer) -> str:
    """Return why a zone is no rung, for the user; empty where it is one."""
    if not offer.ok:
        return offer.why
    lacking = [" or ".join(_types(group, request)) for group in topology.groups if not _offered(group, request, offer)]
    return f"does not offer {', '.join(sorted(set(lacking)))}" if lacking else ""


def unused(rung: Rung, offers: Mapping[str, Sequence[Offer]]) -> dict[str, str]:
    """Return the reservations that the user named and that nothing uses on this rung, each with why, in words."""
    places = [offer for offer in offers.get(rung.region, ()) if offer.zone in rung.places]
    wanted = {(group, choice.instance_type) for group, choice in rung.choices.items() if choice.market == "on-demand"}
    used = {id_ for offer in places for id_, users in offer.serves.items() if wanted.intersection(users)}
    found: dict[str, str] = {}
    for offer in places:
        for id_, users in offer.serves.items():
            of = ", ".join(dict.fromkeys(f"{group} as on-demand {type_}" for group, type_ in users))
            found[id_] = f"it is for {of}, which is not asked for here"
        for id_, why in offer.unused.items():
            found.setdefault(id_, why)
    return {id_: why for id_, why in found.items() if id_ not in used}


def _markets(group: NodeGroup, request: Request) -> tuple[Market, ...]:
    market = group.market or request.market
    return ("spot", "on-demand") if market == "spot" and request.fallback.spot_to_on_demand else (market,)


def _types(group: NodeGroup, request: Request) -> tuple[str, ...]:
    return (group.instance_type, *(group.alternatives if request.fallback.instance_types else ()))


def _offered(group: NodeGroup, request: Request, offer: Offer) -> list[Choice]:
    return [choice for choice in choices(group, request) if choice.instance_type not in offer.lacks]


def _moves(topology: Topology, request: Request, wanted: Mapping[str, Choice]) -> dict[Axis, Any]:
    """Return how far the groups have moved from their first wishes, along each of the two axes of a group."""
    types = [_types(group, request).index(wanted[group.name].instance_type) for group in topology.groups]
    markets = [_markets(group, request).index(wanted[group.name].market) for group in topology.groups]
    return {"type": sum(types), "market": sum(markets)}


def _places(listed: Sequence[Rung], request: Request) -> list[list[tuple[str, str]]]:
    """Return what is tried as one: a zone, or all of a region where groups are spread and none may be left out."""
    zones = list(dict.fromkeys((rung.region, rung.zone) for rung in listed))
    if request.colocate != "region" or request.fallback.zones:
        return [[zone] for zone in zones]
    return [[zone for zone in zones if zone[0] == region] for region in dict.fromkeys(region for region, _ in zones)]


def _first_open(
    listed: Sequence[Rung], places: Sequence[tuple[str, str]], refusals: Sequence[Refusal], family: Family
) -> tuple[int, Rung] | None:
    """Return the first choices that are open in all these places, and where in the list the last of them stands."""
    of_places = [(index, rung) for index, rung in enumerate(listed) if (rung.region, rung.zone) in places]
    picked: dict[str, Choice] = {}
    rank = 0
    for group in of_places[0][1].choices:
        for index, rung in of_places:
            choice = rung.choices[group]
            if not any(refusal.blocks(*place, choice, family) for refusal in refusals for place in places):
                picked[group], rank = choice, max(rank, index)
                break
        else:
            return None
    region, zone = places[0]
    return rank, Rung(region, zone, picked, tuple(zone for _, zone in places) if len(places) > 1 else ())


def _takes(
    listed: Sequence[Rung],
    region: str,
    zone: str,
    wanted: Mapping[str, Choice],
    refusals: Sequence[Refusal],
    family: Family,
) -> bool:
    """Return whether the zone is listed with each of these choices, and none of them is blocked there."""
    here = [rung for rung in listed if (rung.region, rung.zone) == (region, zone)]
    return all(
        any(rung.choices[group] == choice for rung in here)
        and not any(refusal.blocks(region, zone, choice, family) for refusal in refusals)
        for group, choice in wanted.items()
    )


def _is_hinted(rung: Rung, refusals: Sequence[Refusal]) -> bool:
    """Return whether the cloud named this zone for something that it refused elsewhere and that is asked for here."""
    return any(
        rung.region == refusal.region
        and rung.zone in refusal.diagnosis.hints
        and any(rung.choices.get(group) == choice for group, choice in refusal.choices.items())
        for refusal in refusals
    )
