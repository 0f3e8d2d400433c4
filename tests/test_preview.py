"""The plan: the ladder's rungs, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_capacity.ladder import Choice, Refusal
from pytest_capacity.model import Diagnosis, Fallback, Market, NodeGroup, Offer, Request, Topology
from pytest_capacity.preview import TopologyPreview, preview_topology

DB = NodeGroup(name="db", count=3, instance_type="i4i.large", alternatives=("i3en.large",), reserve=True)
LOADER = NodeGroup(name="loader", count=1, instance_type="c6i.large", reserve=False)
BOTH = Topology((DB, LOADER))
NOW = 10_000.0


def request(**keys: Any) -> Request:
    """A request of one region."""
    values: dict[str, Any] = {"backend": "aws", "run": "r", "project": "p", "topologies": {}, "regions": ("r-1",)}
    return Request(**{**values, "duration_s": 1.0, "timeout_s": 1.0, **keys})


def zones(letters: str, region: str = "r-1", **keys: Any) -> dict[str, Sequence[Offer]]:
    """What the zones of one region say."""
    return {
        region: [
            Offer(**{"region": region, "zone": region + one, "aliases": (one,), "ok": True, **keys}) for one in letters
        ]
    }


def refused(
    ago: float, kind: str, scope: str, type_: str = "i4i.large", market: Market = "on-demand"
) -> tuple[float, Refusal]:
    """A refusal in zone a."""
    diagnosis = Diagnosis("move-on", kind, "Code", scope=scope)
    return NOW - ago, Refusal(region="r-1", zone="r-1a", choices={"any": Choice(market, type_)}, diagnosis=diagnosis)


def brief(plan: TopologyPreview) -> list[tuple[str, ...]]:
    """Zone and types of each rung."""
    return [(rung.zone, *(asked.instance_type for asked in rung.groups.values())) for rung in plan.rungs]


def test_the_rungs_are_those_of_the_ladder() -> None:
    """In its order, with what each group asks for."""
    plan = preview_topology(BOTH, request(), zones("ab"))
    assert brief(plan) == [
        (zone, type_, "c6i.large") for zone in ("r-1a", "r-1b") for type_ in ("i4i.large", "i3en.large")
    ]
    db, loader = plan.rungs[0].groups.values()
    assert (db.count, db.market, loader.count, loader.market) == (3, "on-demand", 1, "on-demand")
    assert (db.reserved, loader.reserved) == (True, False)


def test_spot_is_never_reserved() -> None:
    """The rung after it is, where that is asked for."""
    topology = Topology((NodeGroup(name="db", count=1, instance_type="t", market="spot", reserve=True),))
    plan = preview_topology(topology, request(), zones("a"))
    groups = [rung.groups["db"] for rung in plan.rungs]
    assert [(group.market, group.reserved) for group in groups] == [("spot", False), ("on-demand", True)]


def test_groups_that_are_spread_have_their_zones_in_one_rung() -> None:
    """As the ladder is climbed."""
    plan = preview_topology(BOTH, request(colocate="region"), zones("ab"))
    assert [(rung.zones, rung.groups["db"].instance_type) for rung in plan.rungs] == [
        (("r-1a", "r-1b"), "i4i.large"),
        (("r-1a", "r-1b"), "i3en.large"),
    ]


@pytest.mark.parametrize(
    ("keys", "offers", "left_out"),
    [
        ({}, zones("a", ok=False, why="no subnet"), [("r-1a", "no subnet")]),
        ({}, zones("a", lacks=("i4i.large", "i3en.large")), [("r-1a", "does not offer i4i.large or i3en.large")]),
        ({"zones": ("a",)}, zones("ab"), []),
        ({"fallback": Fallback(zones=False)}, zones("ab"), [("r-1b", "fallback along zones is off")]),
        ({"regions": ("r-1", "r-2")}, zones("a"), [("", "fallback along regions is off")]),
    ],
    ids=["refused", "lacks", "not wanted", "zones off", "regions off"],
)
def test_what_is_no_rung_has_its_reason(
    keys: dict[str, Any], offers: dict[str, Sequence[Offer]], left_out: list[tuple[str, str]]
) -> None:
    """Zones that were not asked for have none."""
    plan = preview_topology(BOTH, request(**keys), offers)
    assert [(one.zone, one.why) for one in plan.left_out] == left_out


def test_the_price_is_known_where_all_types_are() -> None:
    """USD an hour for all nodes."""
    prices = {"i4i.large": 0.172, "c6i.large": 0.1}
    plan = preview_topology(BOTH, request(prices=prices), zones("a"))
    assert [rung.price for rung in plan.rungs] == [pytest.approx(0.616), None]


def test_what_ran_dry_is_remembered_and_comes_last() -> None:
    """With its code and time, the newest; what was refused too long ago, or of another type, is not."""
    told = [
        refused(100, "capacity-zone", "type+zone+market"),
        refused(50, "capacity-zone", "type+zone+market"),
        refused(500, "capacity-zone", "type+zone+market", "c6i.large"),
    ]
    plan = preview_topology(
        Topology((LOADER, DB)), request(fallback=Fallback(instance_types=False)), zones("ab"), told, NOW
    )
    assert [(rung.zone, [(one.group, one.at, one.code) for one in rung.dry]) for rung in plan.rungs] == [
        ("r-1b", []),
        ("r-1a", [("db", NOW - 50, "Code")]),
    ]
    assert not any(rung.quota for rung in plan.rungs)


def test_a_quota_that_was_full_a_moment_ago_counts_as_far_as_it_reaches() -> None:
    """In each zone of its region, for the types that share it, in its market."""
    told = [refused(60, "quota", "family+region+market", "i3en.large")]
    plan = preview_topology(BOTH, request(), zones("ab"), told, NOW, family=lambda type_: type_[0])
    assert {rung.zone: [one.group for one in rung.quota] for rung in plan.rungs} == {"r-1a": ["db"], "r-1b": ["db"]}
    assert not any(rung.quota for rung in preview_topology(BOTH, request(), zones("ab"), told, NOW + 600).rungs)
