"""One run over two regions: each topology in its own."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.engine.offers import check_zones
from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.journal import PassingJournal
from pytest_capacity.model import Fallback, Request, Topology
from tests.backends.aws.account import stranger
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import DB, LOADER, Bench, request, within

EAST, WEST = "us-east-1", "us-west-2"


def two(emulator: Emulator, **more: Any) -> Request:
    """Database nodes in the one region, loaders in the other."""
    topologies = {"east": Topology((DB,), "east", (EAST,)), "west": Topology((LOADER,), "west", (WEST,))}
    images = dict.fromkeys((EAST, "us-east-2", WEST), IMAGE)
    given = {"topologies": topologies, "regions": (EAST, WEST), "zones": (), "aws": AwsSettings(image=images), **more}
    return request(emulator, **given)


def test_each_topology_stands_in_its_own_region(bench: Bench, emulator: Emulator) -> None:
    """Both at once; what is asked of a region is asked for its own topology only, and both are given back."""
    engine = bench.engine(two(emulator))
    placed = {name: engine.provision(name) for name in ("east", "west")}
    assert {name: one.region for name, one in placed.items()} == {"east": EAST, "west": WEST}
    asked = {(call["region"], call["operation"]) for call in emulator.calls() if call["operation"] == "RunInstances"}
    assert asked == {(EAST, "RunInstances"), (WEST, "RunInstances")}
    receipt = engine.release(within(60))
    assert receipt.clean
    assert receipt.regions == (EAST, WEST)
    assert emulator.held() == []


def test_a_dry_region_does_not_move_a_topology_into_that_of_another(bench: Bench, emulator: Emulator) -> None:
    """Fallback along regions goes along those of the topology."""
    topologies = {
        "east": Topology((DB,), "east", (EAST, "us-east-2")),
        "west": Topology((LOADER,), "west", (WEST,)),
    }
    wanted = two(emulator, topologies=topologies, fallback=Fallback(regions=True), regions=(EAST, "us-east-2", WEST))
    emulator.weather(stock={f"{EAST}{zone}": {"i4i.large": 0} for zone in "abcdef"})
    engine = bench.engine(wanted)
    assert engine.provision("east").region == "us-east-2"
    emulator.weather(stock={f"{WEST}{zone}": {"c6i.xlarge": 0} for zone in "abcd"})
    with pytest.raises(Exhausted, match="no capacity for topology 'west'"):
        engine.provision("west")
    assert {one.region for one in engine.run_state.attempts if one.topology == "west"} == {WEST}
    assert engine.release(within(60)).clean


def test_zones_are_those_of_the_whole_run(bench: Bench, emulator: Emulator) -> None:
    """A zone of the other topology's region is no slip; one of no region is."""
    engine = bench.engine(two(emulator, zones=("us-east-1b", "us-west-2c")))
    assert {engine.provision(name).zone for name in ("east", "west")} == {"us-east-1b", "us-west-2c"}
    assert engine.release(within(60)).clean
    wrong = two(emulator, run="run-2", zones=("us-east-1z",))
    with pytest.raises(Refused, match="zones us-east-1z are not in us-east-1, us-west-2 for this account"):
        make_plan(wrong, open_backend(wrong), PassingJournal(bench.path), bench.clock)


def test_zones_are_judged_once_all_regions_are_read(bench: Bench, emulator: Emulator) -> None:
    """What one region does not have may be one of the other, which is still being read."""
    wanted = two(emulator, zones=("us-west-2c",))
    east = {EAST: open_backend(wanted).offers(EAST, wanted.topologies["east"])}
    check_zones(wanted, east)
    with pytest.raises(Refused, match="zones us-west-2c are not in"):
        check_zones(wanted, {**east, WEST: ()})


def test_the_plan_has_each_topology_in_its_own_region(bench: Bench, emulator: Emulator) -> None:
    """And leaves no region out that is not the topology's."""
    wanted = two(emulator)
    plan = make_plan(wanted, open_backend(wanted), PassingJournal(bench.path), bench.clock)
    assert {name: {rung.region for rung in one.rungs} for name, one in plan.topologies.items()} == {
        "east": {EAST},
        "west": {WEST},
    }
    assert [one for topology in plan.topologies.values() for one in topology.left_out] == []


def test_a_named_reservation_of_the_other_region_is_no_fault(bench: Bench, emulator: Emulator) -> None:
    """It is looked for in all regions of the run."""
    asked = {"InstanceType": "c6i.xlarge", "InstancePlatform": "Linux/UNIX", "AvailabilityZone": "us-west-2b"}
    mine = stranger(emulator, WEST).create_capacity_reservation(**asked, InstanceCount=1)["CapacityReservation"]
    engine = bench.engine(two(emulator, use_reservations=(mine["CapacityReservationId"],)))
    placed = {name: engine.provision(name) for name in ("east", "west")}
    assert [node.reservation_id for node in placed["west"].nodes["loader"]] == [mine["CapacityReservationId"]]
    assert engine.release(within(60)).clean
