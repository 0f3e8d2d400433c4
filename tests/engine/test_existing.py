"""Reservations that the user named: which are used, and how it is told that one is not."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pytest_capacity.errors import Refused
from pytest_capacity.model import Fallback, NodeGroup
from pytest_capacity.report import tables
from tests.backends.aws.account import stranger
from tests.emulated import Emulator
from tests.engine.runs import DB, Bench, request, within

CLUSTERED = NodeGroup(name="db", count=2, instance_type="c6i.xlarge", reserve=True, placement_group=True)


def reserved(emulator: Emulator, zone: str, count: int, type_: str = "i4i.large", **more: Any) -> str:
    """A reservation that the user made."""
    asked = {"InstanceType": type_, "InstancePlatform": "Linux/UNIX", "AvailabilityZone": zone, "InstanceCount": count}
    made = stranger(emulator).create_capacity_reservation(**asked, InstanceMatchCriteria="targeted", **more)
    return str(made["CapacityReservation"]["CapacityReservationId"])


def test_one_that_no_node_can_use_stops_the_run(bench: Bench, emulator: Emulator) -> None:
    """Nothing is made, in no zone: a second one would be paid for. The plan says the same."""
    mine = reserved(emulator, "us-east-1b", 3, Tenancy="dedicated")
    wanted = request(emulator, DB, use_reservations=(mine,))
    with pytest.raises(Refused, match=f"{mine} .*db has tenancy default, and it dedicated.* Nothing was created"):
        bench.engine(wanted).provision("default")
    assert [one["id"] for one in emulator.held()] == [mine]
    with pytest.raises(Refused, match="db has tenancy default, and it dedicated"):
        bench.plan_of(wanted)


def test_one_that_is_full_is_told_in_plan_lines_and_summary(bench: Bench, emulator: Emulator) -> None:
    """The run goes on with a reservation of its own, and says which is not used, where, and why."""
    mine = reserved(emulator, "us-east-1a", 4)
    target = {"CapacityReservationTarget": {"CapacityReservationId": mine}}
    stranger(emulator).run_instances(
        ImageId="ami-12c6146b",
        InstanceType="i4i.large",
        MinCount=2,
        MaxCount=2,
        CapacityReservationSpecification=target,
    )
    wanted = request(emulator, DB, use_reservations=(mine,))
    lines = list(tables.plan(bench.plan_of(wanted)))
    assert f"  not used by 1: {mine}: 2 of 4 are free, and db needs 3" in lines
    assert f"  not used by 2: {mine}: it is in us-east-1a" in lines
    engine = bench.engine(wanted)
    told: list[str] = []
    engine.run_state.listen(lambda entry: told.append(entry.data["words"]) if entry.kind == "changed" else None)
    assert engine.provision("default").zone == "us-east-1a"
    words = f"use_reservations: {mine} is not used for 'default' in us-east-1a: 2 of 4 are free, and db needs 3"
    assert told == [words]
    receipt = engine.release(within(60))
    assert receipt.changes == (words,)
    assert receipt.clean


def test_one_in_a_zone_that_runs_dry_is_told_too(bench: Bench, emulator: Emulator) -> None:
    """Its zone is tried first; where the others cannot be had there, what is bought elsewhere is not silent."""
    mine = reserved(emulator, "us-east-1b", 3)
    emulator.weather(stock={"us-east-1b": {"c6i.xlarge": 0}})
    other = NodeGroup(name="loader", count=1, instance_type="c6i.xlarge", market="on-demand", reserve=True)
    engine = bench.engine(request(emulator, DB, other, use_reservations=(mine,)))
    placed = engine.provision("default")
    assert [one.zone for one in engine.run_state.attempts] == ["us-east-1b", "us-east-1a"]
    assert placed.zone == "us-east-1a"
    receipt = engine.release(within(60))
    assert receipt.changes == (
        f"use_reservations: {mine} is not used for 'default' in us-east-1a: it is in us-east-1b",
    )


def test_one_for_nodes_that_are_spot_is_told(bench: Bench, emulator: Emulator) -> None:
    """Spot uses none; it would be used where they become on-demand, in the zone that it is in."""
    mine = reserved(emulator, "us-east-1a", 3)
    spot = NodeGroup(name="db", count=3, instance_type="i4i.large", market="spot")
    wanted = request(emulator, spot, use_reservations=(mine,))
    assert [list(rung.unused.values()) for rung in bench.plan_of(wanted).topologies["default"].rungs] == [
        ["it is for db as on-demand i4i.large, which is not asked for here"],
        [],
        ["it is in us-east-1a"],
        ["it is in us-east-1a"],
    ]
    emulator.weather(stock={"us-east-1a": {"spot": {"*": 0}}})
    engine = bench.engine(wanted)
    placed = engine.provision("default")
    assert {node.reservation_id for node in placed.nodes["db"]} == {mine}
    assert engine.release(within(60)).clean


def test_without_fallback_its_zone_is_the_one(bench: Bench, emulator: Emulator) -> None:
    """The only zone that is tried is not another one, where a second reservation would be bought."""
    mine = reserved(emulator, "us-east-1b", 3)
    wanted = request(emulator, DB, use_reservations=(mine,), fallback=Fallback(zones=False))
    engine = bench.engine(wanted)
    placed = engine.provision("default")
    assert {node.reservation_id for node in placed.nodes["db"]} == {mine}
    assert engine.release(within(60)).clean


def test_one_in_a_placement_group_makes_no_second_group(bench: Bench, emulator: Emulator) -> None:
    """The nodes run in the user's group and in the reservation; both stand when the run is over."""
    group = stranger(emulator).create_placement_group(GroupName="mine", Strategy="cluster")["PlacementGroup"]
    mine = reserved(emulator, "us-east-1b", 2, "c6i.xlarge", PlacementGroupArn=group["GroupArn"])
    before = len(emulator.calls("CreatePlacementGroup"))
    engine = bench.engine(request(emulator, CLUSTERED, use_reservations=(mine,)))
    placed = engine.provision("default")
    assert {node.reservation_id for node in placed.nodes["db"]} == {mine}
    assert len(emulator.calls("CreatePlacementGroup")) == before
    assert engine.release(within(60)).clean
    assert sorted(one["kind"] for one in emulator.held()) == ["capacity-reservation", "placement-group"]


def test_a_placement_group_of_ours_is_made_where_its_own_zone_is_dry(bench: Bench, emulator: Emulator) -> None:
    """The user's group lies in one zone; elsewhere the nodes have one that is made for them, and is removed."""
    group = stranger(emulator).create_placement_group(GroupName="mine", Strategy="cluster")["PlacementGroup"]
    mine = reserved(emulator, "us-east-1b", 2, "c6i.xlarge", PlacementGroupArn=group["GroupArn"])
    loader = NodeGroup(name="loader", count=1, instance_type="c6i.large", reserve=True, placement_group=True)
    emulator.weather(stock={"us-east-1b": {"c6i.large": 0}})
    engine = bench.engine(request(emulator, CLUSTERED, loader, use_reservations=(mine,)))
    assert engine.provision("default").zone == "us-east-1a"
    refused = [call for call in emulator.calls("CreateCapacityReservation") if call["error"]]
    assert [call["zone"] for call in refused] == ["us-east-1b"]
    assert engine.release(within(60)).clean
    assert sorted(one["kind"] for one in emulator.held()) == ["capacity-reservation", "placement-group"]


def test_two_topologies_read_side_by_side_find_the_same(bench: Bench, emulator: Emulator) -> None:
    """Each read judges by the groups of all topologies, so none is refused for what another one uses."""
    mine = reserved(emulator, "us-east-1b", 3)
    small = NodeGroup(name="db", count=1, instance_type="t3.large", reserve=False)
    base = request(emulator, DB, use_reservations=(mine,))
    topologies = {name: type(base.topologies["default"])((group,), name) for name, group in (("a", DB), ("b", small))}
    engine = bench.engine(request(emulator, topologies=topologies, use_reservations=(mine,)))
    threads = [threading.Thread(target=engine.provision, args=(name,)) for name in topologies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {node.reservation_id for node in engine.run_state.placed["a"].nodes["db"]} == {mine}
    assert "b" in engine.run_state.placed
    assert engine.run_state.changes == []
    assert engine.release(within(60)).clean
