"""Reservations that the user named, groups that take ours, and what is refused of both."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.plan import CAPACITY_GROUP
from pytest_capacity.errors import Refused
from pytest_capacity.testing import PATIENCE, Bench
from pytest_capacity.testing.bench import within
from tests.backends.azure.runs import DB, REGION, SETTINGS, SIZE, given_group, request
from tests.backends.azure.test_runs import operations
from tests.emulated import Emulator


def test_a_given_group_gets_our_member_and_stays(emulator: Emulator, bench: Bench) -> None:
    """Members of ours go into a group of another user, and out of it; the group itself is never touched."""
    plain = open_backend(request(emulator))
    group = given_group(plain, ["1", "2"])
    engine = bench.engine(request(emulator, settings=replace(SETTINGS, capacity_reservation_group=group)))
    placed = engine.provision("default")
    assert all(
        one.id.startswith(f"{group}/capacityreservations/".lower()) or group in one.id for one in placed.reservations
    )
    assert CAPACITY_GROUP not in {held.kind for held in engine.run_state.held()}
    receipt = engine.release(within(PATIENCE))
    assert receipt.clean, receipt
    assert sorted(one["kind"] for one in emulator.held()) == ["capacityReservationGroups", "resourceGroups"]


def test_a_size_that_the_given_group_has_is_a_usage_error(emulator: Emulator, bench: Bench) -> None:
    """Azure takes one member for each size and zone; a stranger's is never changed, and nothing is made."""
    plain: Any = open_backend(request(emulator))
    group = given_group(plain, ["1", "2"])
    body = {"location": REGION, "zones": ["1"], "sku": {"name": SIZE, "capacity": 1}}
    plain._arm.call("test", "PUT", f"{group}/capacityReservations/theirs", "2026-04-01", body)
    before = len(operations(emulator))
    engine = bench.engine(request(emulator, settings=replace(SETTINGS, capacity_reservation_group=group)))
    with pytest.raises(Refused, match="already reserves Standard_L8s_v3 in eastus-1"):
        engine.provision("default")
    assert len(operations(emulator)) == before


def test_an_existing_reservation_is_used(emulator: Emulator, bench: Bench) -> None:
    """Nodes sit in a member with enough room, and none is made for them."""
    plain: Any = open_backend(request(emulator))
    group = given_group(plain, ["1", "2"])
    body = {"location": REGION, "zones": ["2"], "sku": {"name": SIZE, "capacity": 2}}
    plain._arm.call("test", "PUT", f"{group}/capacityReservations/theirs", "2026-04-01", body)
    engine = bench.engine(request(emulator, DB, use_reservations=(group,)))
    placed = engine.provision("default")
    assert placed.zone == "eastus-2"
    assert not placed.reservations
    assert {node.reservation_id for node in placed.nodes["db"]} == {f"{group}/capacityReservations/theirs"}
    receipt = engine.release(within(PATIENCE))
    assert receipt.clean
    assert sorted(one["kind"] for one in emulator.held()) == [
        "capacityReservationGroups",
        "capacityReservations",
        "resourceGroups",
    ]


def test_a_reservation_that_no_node_can_use_is_refused(emulator: Emulator, bench: Bench) -> None:
    """Of another size, or for nodes that are not reserved: a second one would be paid for. Nothing is made."""
    plain: Any = open_backend(request(emulator))
    group = given_group(plain, ["1", "2"])
    body = {"location": REGION, "zones": ["2"], "sku": {"name": "Standard_D2s_v5", "capacity": 2}}
    plain._arm.call("test", "PUT", f"{group}/capacityReservations/theirs", "2026-04-01", body)
    with pytest.raises(Refused, match=f"db is {SIZE}, and it reserves Standard_D2s_v5. Nothing was created"):
        bench.engine(request(emulator, DB, use_reservations=(group,))).provision("default")
    spared = replace(DB, reserve=False)
    with pytest.raises(Refused, match="db has `reserve: false`"):
        bench.engine(request(emulator, spared, run="run-3", use_reservations=(group,))).provision("default")


def test_a_reservation_in_another_region_is_refused(emulator: Emulator, bench: Bench) -> None:
    """A group serves its own region only."""
    away = given_group(open_backend(request(emulator)), ["1"], "westeurope")
    with pytest.raises(Refused, match="it is in westeurope, and the run in eastus"):
        bench.engine(request(emulator, DB, use_reservations=(away,))).provision("default")


def test_a_reservation_that_is_full_is_told(emulator: Emulator, bench: Bench) -> None:
    """The run goes on with one of its own, and says which is not used, and why."""
    plain: Any = open_backend(request(emulator))
    group = given_group(plain, ["1", "2"])
    body = {"location": REGION, "zones": ["2"], "sku": {"name": SIZE, "capacity": 1}}
    plain._arm.call("test", "PUT", f"{group}/capacityReservations/theirs", "2026-04-01", body)
    engine = bench.engine(request(emulator, DB, use_reservations=(group,)))
    unused = {offer.zone: offer.unused for offer in engine.backend.offers(REGION, engine.request.topologies["default"])}
    assert unused["eastus-2"] == {group: f"1 are free, and db needs {DB.count}"}
    assert unused["eastus-1"] == {group: "it reserves nothing for them in zone 1"}
    placed = engine.provision("default")
    receipt = engine.release(within(PATIENCE))
    assert receipt.changes == (
        f"use_reservations: {group} is not used for 'default' in {placed.zone}: {unused[placed.zone][group]}",
    )


def test_a_group_in_another_region_is_a_usage_error(emulator: Emulator, bench: Bench) -> None:
    """A capacity reservation group serves its own region only."""
    plain = open_backend(request(emulator))
    group = given_group(plain, ["1"], "westeurope")
    before = len(operations(emulator))
    engine = bench.engine(request(emulator, settings=replace(SETTINGS, capacity_reservation_group=group)))
    with pytest.raises(Refused, match="is in westeurope, and eastus is asked for"):
        engine.provision("default")
    assert len(operations(emulator)) == before
