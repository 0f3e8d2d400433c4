"""The ladder: which placements, in which order, and what a refusal leaves of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_capacity import ladder
from pytest_capacity.ladder import Choice, Dry, Refusal, Rung
from pytest_capacity.model import AXES, Axis, Diagnosis, Fallback, Market, NodeGroup, Offer, Request, Scope, Topology

_IDS = {"a": "use1-az6", "b": "use1-az1", "c": "use1-az2", "d": "use1-az4"}
DB = NodeGroup(
    name="db", count=3, instance_type="i4i.large", alternatives=("i3en.large",), market="spot", reserve=False
)
LOADER = NodeGroup(name="loader", count=1, instance_type="c6i.large", market="on-demand", reserve=True)
BOTH = Topology(groups=(DB, LOADER))
ONE = Topology(groups=(DB,))


def request(**keys: Any) -> Request:
    """A request of one region, unless ``regions`` or ``fallback`` say otherwise."""
    values: dict[str, Any] = {
        "backend": "aws",
        "run": "r",
        "project": "p",
        "topologies": {"default": BOTH},
        "regions": ("us-east-1",),
        "duration_s": 5400.0,
        "timeout_s": 900.0,
    }
    return Request(**{**values, **keys})


def zone(letter: str, region: str = "us-east-1", **keys: Any) -> Offer:
    """The offer of one zone."""
    ids = _IDS if region == "us-east-1" else {}
    return Offer(
        **{"region": region, "zone": region + letter, "aliases": (letter, ids.get(letter, "")), "ok": True, **keys}
    )


def offers(letters: str = "abcd", region: str = "us-east-1", **keys: Any) -> dict[str, Sequence[Offer]]:
    """Zones of one region."""
    return {region: [zone(letter, region, **keys) for letter in letters]}


def refusal(rung: Rung, *groups: str, scope: str = "type+zone+market", **keys: Any) -> Refusal:
    """What these groups (all, if none is named) of ``rung`` were refused."""
    named = {group: rung.choices[group] for group in groups or rung.choices}
    diagnosis = Diagnosis("move-on", keys.pop("kind", "capacity-zone"), "Dry", scope=scope, **keys)
    return Refusal(region=rung.region, zone=rung.zone, choices=named, diagnosis=diagnosis)


def climb(
    listed: Sequence[Rung], wanted: Request, *groups: str, scope: str = "type+zone+market", **keys: Any
) -> list[Rung]:
    """Every rung that is tried while ``groups`` are refused each time."""
    refusals: list[Refusal] = []
    tried: list[Rung] = []
    while rung := ladder.next_rung(listed, refusals, wanted):
        tried.append(rung)
        refusals.append(refusal(rung, *groups, scope=scope, **keys))
        assert len(tried) < 500, "the ladder does not end"
    return tried


def letters(rungs: Sequence[Rung]) -> str:
    """The zones' letters, each time that the zone changes."""
    found = [rung.zone[-1] for rung in rungs]
    return "".join(letter for index, letter in enumerate(found) if index == 0 or found[index - 1] != letter)


def shown(rungs: Sequence[Rung], group: str = "db") -> list[str]:
    """Zone, market and type of one group: ``a spot i4i.large``."""
    return [f"{rung.zone[-1]} {rung.choices[group].market} {rung.choices[group].instance_type}" for rung in rungs]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((), "abcd"),
        (("c", "a"), "ca"),
        (("us-east-1d", "a"), "da"),
        (("use1-az2", "use1-az1"), "cb"),
        (("a", "us-east-1a", "use1-az6"), "a"),
    ],
)
def test_zones_come_as_they_are_written(wanted: tuple[str, ...], expected: str) -> None:
    """Letters, names and zone ids mean zones, each once; none means all."""
    assert letters(ladder.rungs(BOTH, request(zones=wanted), offers())) == expected


def test_zones_that_cannot_are_no_rungs() -> None:
    """A zone without a subnet, or without any of a group's types, is never tried; the reason is told."""
    bad = zone("b", ok=False, why="no subnet")
    lacking = zone("c", lacks=("i4i.large", "i3en.large"))
    listed = ladder.rungs(BOTH, request(), {"us-east-1": [zone("a"), bad, lacking, zone("d")]})
    assert letters(listed) == "ad"
    assert ladder.why_not(BOTH, request(), bad) == "no subnet"
    assert ladder.why_not(BOTH, request(), lacking) == "does not offer i4i.large or i3en.large"
    assert ladder.why_not(BOTH, request(), zone("a")) == ""


def test_a_zone_without_the_first_type_begins_with_the_next() -> None:
    """A zone is filtered by what it offers of each group's types, not by the first of these alone."""
    listed = ladder.rungs(ONE, request(), {"us-east-1": [zone("a", lacks=("i4i.large",))]})
    assert shown(listed) == ["a spot i3en.large", "a on-demand i3en.large"]


def test_zones_with_capacity_of_ours_come_first() -> None:
    """Reservations that the user named are worth more than the written order."""
    zones = [zone("a"), zone("b"), zone("c", preferred=True)]
    assert letters(ladder.rungs(BOTH, request(zones=("a", "b", "c")), {"us-east-1": zones})) == "cab"


def test_unknown_zones_are_named() -> None:
    """A zone that the region does not have is a fault of the file."""
    assert ladder.unknown(("a", "q", "us-west-2a"), offers()["us-east-1"]) == ["q", "us-west-2a"]


def test_the_order_of_the_axes() -> None:
    """Market, then type, then zone; whichever axis stands in front is moved along first."""
    expected: Mapping[tuple[Axis, ...], list[str]] = {
        ("market", "type", "zone", "region"): [
            "a spot i4i.large",
            "a on-demand i4i.large",
            "a spot i3en.large",
            "a on-demand i3en.large",
            "b spot i4i.large",
        ],
        ("zone", "market", "type", "region"): [
            "a spot i4i.large",
            "b spot i4i.large",
            "a on-demand i4i.large",
            "b on-demand i4i.large",
            "a spot i3en.large",
        ],
        ("type", "zone", "region", "market"): [
            "a spot i4i.large",
            "a spot i3en.large",
            "b spot i4i.large",
            "b spot i3en.large",
            "a on-demand i4i.large",
        ],
    }
    for order, first in expected.items():
        wanted = request(fallback=Fallback(order=order))
        listed = ladder.rungs(ONE, wanted, offers("ab"))
        assert shown(listed)[:5] == first
        assert shown(climb(listed, wanted)) == shown(listed)


def test_only_the_refused_group_moves() -> None:
    """Along market and type a group moves alone; along zones the topology moves, and begins with its first wishes."""
    listed = ladder.rungs(BOTH, request(), offers("ab"))
    tried = climb(listed, request(), "db")
    assert shown(tried) == shown(ladder.rungs(ONE, request(), offers("ab")))
    assert set(shown(tried, "loader")) == {"a on-demand c6i.large", "b on-demand c6i.large"}
    assert letters(climb(listed, request(), "loader")) == "ab"
    assert shown(climb(listed, request(), "loader")) == ["a spot i4i.large", "b spot i4i.large"]


def test_axes_that_are_off() -> None:
    """Without spot_to_on_demand there is one market, without instance_types one type, without zones the first zone."""
    markets = request(fallback=Fallback(spot_to_on_demand=False))
    assert {rung.choices["db"].market for rung in ladder.rungs(ONE, markets, offers())} == {"spot"}
    types = request(fallback=Fallback(instance_types=False))
    assert {rung.choices["db"].instance_type for rung in ladder.rungs(ONE, types, offers())} == {"i4i.large"}
    zones = request(fallback=Fallback(zones=False), zones=("b", "c"))
    assert letters(ladder.rungs(ONE, zones, {"us-east-1": [zone("a"), zone("b", ok=False), zone("c")]})) == "c"
    two = offers("ab") | offers("a", "us-west-2")
    assert {rung.region for rung in ladder.rungs(ONE, request(regions=("us-east-1", "us-west-2")), two)} == {
        "us-east-1"
    }


def test_the_first_zone_of_each_region() -> None:
    """Zones off and regions on: each region gives its first configured zone, or the first that offers."""
    wanted = request(
        regions=("us-east-1", "us-west-2", "eu-west-1"),
        zones=("us-east-1b", "c"),
        fallback=Fallback(zones=False, regions=True),
    )
    listed = ladder.rungs(ONE, wanted, offers("abc") | offers("bc", "us-west-2") | offers("ab", "eu-west-1"))
    assert list(dict.fromkeys(rung.zone for rung in listed)) == ["us-east-1b", "us-west-2c", "eu-west-1a"]


def test_a_region_that_could_not_be_read_is_no_rung() -> None:
    """What was not read is left out; the others stand."""
    wanted = request(regions=("us-east-1", "us-west-2"), fallback=Fallback(regions=True))
    assert {rung.region for rung in ladder.rungs(ONE, wanted, offers("a", "us-west-2"))} == {"us-west-2"}


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        ("type+zone+market", 7),
        ("reservation", 7),
        ("type+zone", 6),
        ("family+zone", 4),
        ("zone", 4),
        ("subnet", 4),
        ("type+region+market", 6),
        ("type+region", 4),
        ("family+region+market", 4),
        ("market+region", 4),
        ("region", 0),
        ("type+market", 6),
        ("market", 4),
        ("cloud", 0),
    ],
)
def test_what_a_scope_leaves(scope: str, left: int) -> None:
    """Two types of one family in two markets and two zones of one region: so many are open after one refusal."""
    listed = ladder.rungs(ONE, request(), offers("ab"))
    refused = refusal(listed[0], scope=scope)
    family = lambda instance_type: "standard"  # noqa: E731
    open_ = [rung for rung in listed if not refused.blocks(rung.region, rung.zone, rung.choices["db"], family)]
    assert len(open_) == left


def test_another_region_is_not_blocked_by_one() -> None:
    """A quota of a region says nothing about the next one; one of the account does."""
    wanted = request(regions=("us-east-1", "us-west-2"), fallback=Fallback(regions=True))
    listed = ladder.rungs(ONE, wanted, offers("ab") | offers("ab", "us-west-2"))
    assert [rung.region for rung in climb(listed, wanted, scope="region")] == ["us-east-1", "us-west-2"]
    assert len(climb(listed, wanted, scope="cloud")) == 1
    assert not ladder.is_open(listed, "us-east-1", [refusal(listed[0], scope="region")], wanted)
    assert ladder.is_open(listed, "us-west-2", [refusal(listed[0], scope="region")], wanted)


def test_hints_come_first() -> None:
    """A zone that the cloud names for what it refused goes before those of the list, for just that."""
    listed = ladder.rungs(ONE, request(), offers("abcd"))
    hint = refusal(listed[0], scope="type+zone", hints=("us-east-1d", "us-east-1q"))
    found = ladder.next_rung(listed, [hint], request())
    assert found
    assert shown([found]) == ["d spot i4i.large"]
    dry = refusal(found, scope="type+zone")
    after = ladder.next_rung(listed, [hint, dry], request())
    assert after
    assert shown([after]) == ["a spot i3en.large"]


def test_what_ran_dry_comes_last() -> None:
    """What another run was refused a moment ago goes behind the region's other zones, and is not left out."""
    dry = Dry("us-east-1", "us-east-1a", Choice("spot", "i4i.large"))
    one = request(fallback=Fallback(spot_to_on_demand=False, instance_types=False))
    assert letters(ladder.rungs(ONE, one, offers("abc"), {dry})) == "bca"
    listed = shown(ladder.rungs(ONE, request(), offers("abc"), {dry}))
    assert (listed[0], listed[-1]) == ("a on-demand i4i.large", "a spot i4i.large")


@pytest.mark.parametrize(
    ("kind", "age", "kept"), [("capacity-zone", 100, 1), ("capacity-zone", 200, 0), ("auth", 1, 0)]
)
def test_memory_ends_by_kind(kind: str, age: float, kept: int) -> None:
    """Stock is believed to be back after minutes; what is no lack of anything is not remembered at all."""
    rung = ladder.rungs(ONE, request(), offers("a"))[0]
    assert len(ladder.remembered([(1000.0 - age, refusal(rung, kind=kind))], 1000.0)) == kept


def test_memory_is_longer_where_a_cloud_recovers_slowly() -> None:
    """Its provider says so of single kinds; never longer than journals are read."""
    rung = ladder.rungs(ONE, request(), offers("a"))[0]
    own = {"capacity-zone": 3600.0}.get
    assert ladder.remembered([(0.0, refusal(rung))], 3000.0, own)
    assert not ladder.remembered([(0.0, refusal(rung))], 3000.0)
    assert not ladder.remembered([(0.0, refusal(rung))], 3700.0, lambda kind: 1e6)


def test_a_refusal_of_the_future_is_not_remembered() -> None:
    """A clock that was hours ahead for a while; one that is ahead by a second does no harm."""
    rung = ladder.rungs(ONE, request(), offers("a"))[0]
    assert not ladder.remembered([(9000.0, refusal(rung))], 1000.0)
    assert ladder.remembered([(1001.0, refusal(rung))], 1000.0)


def test_spread_groups_have_all_open_zones() -> None:
    """colocate: region: a rung has every zone that can; a dry one drops out when nothing else there will do."""
    wanted = request(colocate="region", fallback=Fallback(spot_to_on_demand=False, instance_types=False))
    listed = ladder.rungs(ONE, wanted, offers("abc"))
    assert [rung.places for rung in climb(listed, wanted)] == [
        ("us-east-1a", "us-east-1b", "us-east-1c"),
        ("us-east-1b", "us-east-1c"),
        ("us-east-1c",),
    ]


def test_spread_groups_move_together() -> None:
    """Where spot is dry in one zone the group goes on-demand in all of them, as the order of the axes has it."""
    wanted = request(colocate="region")
    listed = ladder.rungs(ONE, wanted, offers("ab"))
    second = climb(listed, wanted)[1]
    assert second.choices["db"] == Choice("on-demand", "i4i.large")
    assert second.places == ("us-east-1a", "us-east-1b")


def test_spread_groups_without_fallback_along_zones() -> None:
    """No zone may be left out, so a refusal in one of them moves the group in all, and the last one ends it."""
    wanted = request(colocate="region", fallback=Fallback(zones=False, instance_types=False))
    listed = ladder.rungs(ONE, wanted, offers("ab"))
    assert [(rung.places, rung.choices["db"].market) for rung in climb(listed, wanted)] == [
        (("us-east-1a", "us-east-1b"), "spot"),
        (("us-east-1a", "us-east-1b"), "on-demand"),
    ]


#: On a machine under load examples take their time.
patient = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
TYPES = ("m5.large", "m5.xlarge", "c5.large", "p4d.24xlarge")
SCOPES = get_args(Scope)


def family(instance_type: str) -> str:
    """All that do not begin with p share a quota."""
    return "p" if instance_type.startswith("p") else "standard"


@st.composite
def groups(draw: st.DrawFn) -> Topology:
    """One to three groups of one to three types each."""
    names = ["db", "loader", "monitor"][: draw(st.integers(1, 3))]
    made = []
    for name in names:
        types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True))
        market: Market = draw(st.sampled_from(get_args(Market)))
        made.append(NodeGroup(name=name, count=1, instance_type=types[0], alternatives=tuple(types[1:]), market=market))
    return Topology(groups=tuple(made))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Topology, Request, dict[str, Sequence[Offer]]]:
    """A topology, a request for it, and what the zones offer."""
    topology = draw(groups())
    count = draw(st.integers(1, 3))
    fallback = Fallback(
        spot_to_on_demand=draw(st.booleans()),
        zones=draw(st.booleans()),
        regions=count > 1,
        instance_types=draw(st.booleans()),
        order=tuple(draw(st.permutations(AXES))),
    )
    found: dict[str, Sequence[Offer]] = {}
    for region in REGIONS[:count]:
        found[region] = [
            zone(
                letter,
                region,
                ok=draw(st.integers(0, 4)) > 0,
                lacks=tuple(draw(st.lists(st.sampled_from(TYPES), max_size=2, unique=True))),
                preferred=draw(st.integers(0, 5)) == 0,
            )
            for letter in "abc"
        ]
    return topology, request(regions=REGIONS[:count], fallback=fallback), found


def weather(data: st.DataObject, rung: Rung) -> Refusal:
    """Some of the groups of ``rung`` are refused, within some scope, with some hint."""
    named = data.draw(st.lists(st.sampled_from(sorted(rung.choices)), min_size=1, unique=True))
    hints = data.draw(st.sampled_from([(), (), (f"{rung.region}c",), (f"{rung.region}b", f"{rung.region}c")]))
    return refusal(rung, *named, scope=data.draw(st.sampled_from(SCOPES)), hints=hints)


@patient
@given(worlds(), st.data())
def test_climbing(world: tuple[Topology, Request, dict[str, Sequence[Offer]]], data: st.DataObject) -> None:
    """It ends, repeats no rung, enters no blocked scope, moves only who was refused, and leaves nothing untried."""
    topology, wanted, found = world
    memory = {
        Dry(region, offer.zone, Choice("spot", TYPES[0]))
        for region, zones in found.items()
        for offer in zones
        if data.draw(st.booleans())
    }
    listed = ladder.rungs(topology, wanted, found, memory)
    refusals: list[Refusal] = []
    tried: list[Rung] = []
    while rung := ladder.next_rung(listed, refusals, wanted, family):
        assert rung not in tried
        for choice in rung.choices.values():
            assert not any(one.blocks(rung.region, rung.zone, choice, family) for one in refusals)
        assert all(offer.ok for offer in found[rung.region] if offer.zone == rung.zone)
        if tried and (tried[-1].region, tried[-1].zone) == (rung.region, rung.zone):
            stayed = [group for group in rung.choices if group not in refusals[-1].choices]
            blocked = refusals[-1].blocks
            for group in stayed:
                own = tried[-1].choices[group]
                assert rung.choices[group] == own or blocked(rung.region, rung.zone, own, family)
        tried.append(rung)
        refusals.append(weather(data, rung))
        assert len(tried) <= len(listed) * len(topology.groups)
    for rung in listed:
        groups_open = [
            any(
                not any(one.blocks(rung.region, rung.zone, other.choices[group], family) for one in refusals)
                for other in listed
                if (other.region, other.zone) == (rung.region, rung.zone)
            )
            for group in rung.choices
        ]
        assert not all(groups_open), f"{rung} could still be tried"


@patient
@given(worlds())
def test_the_configured_order(world: tuple[Topology, Request, dict[str, Sequence[Offer]]]) -> None:
    """Where everything is refused as narrowly as can be, every listed rung is tried, in the order of the list.

    The outermost axis never moves back.
    """
    topology, wanted, found = world
    listed = ladder.rungs(topology, wanted, found)
    alone = replace(topology, groups=topology.groups[:1])
    single = ladder.rungs(alone, wanted, found)
    assert climb(single, wanted) == single
    if wanted.fallback.order[-1] == "region":
        at = [wanted.regions.index(rung.region) for rung in listed]
        assert at == sorted(at)
    if wanted.fallback.order[-1] == "market":
        moved = [sum(choice.market == "on-demand" for choice in rung.choices.values()) for rung in listed]
        assert moved == sorted(moved)
