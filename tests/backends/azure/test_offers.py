"""What is read before anything is made: zones, sizes, quotas, and capacity reservation groups of the user's."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.plan import CAPACITY_GROUP
from pytest_capacity.errors import Refused
from pytest_capacity.model import Fallback, Topology
from pytest_capacity.testing import PATIENCE, Bench
from pytest_capacity.testing.bench import within
from tests.backends.azure.runs import DB, LOADER, OTHER, REGION, SETTINGS, SIZE, given_group, request
from tests.backends.azure.test_runs import operations
from tests.emulated import Emulator, rounds

GROUPS = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.Compute"
MISSING = f"{GROUPS}/capacityReservationGroups/missing"


def theirs(emulator: Emulator, group: str, zone: str, size: str = SIZE) -> None:
    """Reserve a size in a zone of a group of another user."""
    backend: Any = open_backend(request(emulator))
    body = {"location": REGION, "zones": [zone], "sku": {"name": size, "capacity": 1}}
    backend._arm.call("test", "PUT", f"{group}/capacityReservations/theirs-{zone}", "2026-04-01", body)


def given(group: str) -> Any:
    """The section with a group of the user's."""
    return replace(SETTINGS, capacity_reservation_group=group)


def test_what_a_given_group_has_elsewhere_is_no_matter(emulator: Emulator, bench: Bench) -> None:
    """A member of the same size in a zone that the run does not use, or of another size, stands in no one's way."""
    group = given_group(open_backend(request(emulator)), ["1", "2"])
    theirs(emulator, group, "1")
    theirs(emulator, group, "2", "Standard_D2s_v5")
    engine = bench.engine(request(emulator, zones=("2",), settings=given(group)))
    assert engine.provision("default").zone == "eastus-2"
    assert engine.release(within(PATIENCE)).clean


def test_a_size_that_is_fallen_back_to_is_in_a_group_of_ours(emulator: Emulator, bench: Bench) -> None:
    """A group holds one member for each size and zone: theirs, and another node group's, stand in no one's way."""
    group = given_group(open_backend(request(emulator)), ["1", "2"])
    theirs(emulator, group, "1", "Standard_D2s_v5")
    emulator.weather(stock={"eastus-1": {SIZE: 0}})
    for settings in (given(group), SETTINGS):
        run = f"run-{settings is SETTINGS}"
        # The loader has the size that the databases move to.
        wanted = request(emulator, replace(DB, alternatives=(OTHER,)), LOADER, settings=settings, run=run)
        engine = bench.engine(wanted)
        placed = engine.provision("default")
        assert placed.zone == "eastus-1"
        assert [one.instance_type for one in placed.reservations] == [OTHER, OTHER]
        homes = {one.id.rpartition("/capacityReservations/")[0] for one in placed.reservations}
        assert len(homes) == 2
        assert (group in homes) is (settings is not SETTINGS)
        assert engine.release(within(PATIENCE)).clean


def test_a_given_group_is_used_in_its_own_zones(emulator: Emulator, bench: Bench) -> None:
    """The zones of a group never change: what lies outside of them is no rung, with or without a zone."""
    group = given_group(open_backend(request(emulator)), ["2"])
    wanted = request(emulator, zones=(), settings=given(group))
    offers = open_backend(wanted).offers(REGION, wanted.topologies["default"])
    assert {offer.zone: offer.ok for offer in offers} == {
        "eastus-1": False,
        "eastus-2": True,
        "eastus-3": False,
        "eastus-none": False,
    }
    assert offers[0].why == "is none of the zones of azure.capacity_reservation_group, which has zones 2"
    assert bench.engine(wanted).provision("default").zone == "eastus-2"
    unreserved = request(emulator, replace(DB, reserve=False), settings=given(group))
    assert all(one.ok for one in open_backend(unreserved).offers(REGION, unreserved.topologies["default"]))


def test_a_given_group_without_zones_takes_what_has_none(emulator: Emulator, bench: Bench) -> None:
    """A regional group holds regional reservations alone."""
    group = given_group(open_backend(request(emulator)), [])
    engine = bench.engine(request(emulator, zones=(), settings=given(group)))
    assert engine.provision("default").zone == "eastus-none"
    assert engine.release(within(PATIENCE)).clean


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"settings": given(MISSING)}, "azure.capacity_reservation_group"),
        ({"use_reservations": (MISSING,)}, "use_reservations"),
        ({"use_reservations": (f"{MISSING}/capacityReservations/one",)}, "use_reservations"),
    ],
)
def test_a_group_that_is_not_there_is_a_usage_error(
    emulator: Emulator, bench: Bench, changes: Any, setting: str
) -> None:
    """It is named with its setting, and nothing is made."""
    engine = bench.engine(request(emulator, **changes))
    with pytest.raises(Refused, match=f"^{setting}: there is no capacity reservation group {MISSING}. Correct the id"):
        engine.provision("default")
    assert operations(emulator) == []


def test_a_group_is_given_by_its_name(emulator: Emulator, bench: Bench) -> None:
    """A name in any case is that of a group in the region; members in it are found by their stamp alone."""
    group = given_group(open_backend(request(emulator)), ["1", "2"])
    engine = bench.engine(request(emulator, settings=given("SHARED")))
    placed = engine.provision("default")
    assert {one.id.rpartition("/capacityReservations/")[0] for one in placed.reservations} == {group}
    assert CAPACITY_GROUP not in {held.kind for held in engine.run_state.held()}
    engine.run_state.note_gone(engine.run_state.held())  # As if it had never been written down.
    assert engine.release(within(PATIENCE)).clean
    assert sorted(one["kind"] for one in emulator.held()) == ["capacityReservationGroups", "resourceGroups"]


def test_a_name_that_no_group_has_is_that_of_ours(emulator: Emulator, bench: Bench) -> None:
    """A group of that name in another region, or of another run of ours, is not taken for it."""
    given_group(open_backend(request(emulator)), ["1"], "westeurope")
    engine = bench.engine(request(emulator, settings=given("Shared")))
    engine.provision("default")
    (group,) = [held for held in engine.run_state.held() if held.kind == CAPACITY_GROUP]
    assert group.id.endswith("/capacityReservationGroups/shared")
    other = request(emulator, settings=given("Shared"), run="run-2", project="other")
    facts = [offer.facts for offer in open_backend(other).offers(REGION, other.topologies["default"])]
    assert not any("capacity-group" in one for one in facts)


def test_a_zone_that_the_region_has_not_is_a_usage_error(emulator: Emulator, bench: Bench) -> None:
    """It is named with those that there are, and nothing is made."""
    engine = bench.engine(request(emulator, zones=("1", "7")))
    with pytest.raises(Refused, match="zones 7 are not in eastus for this account; it has: eastus-1, eastus-2"):
        engine.provision("default")
    assert operations(emulator) == []


def test_a_zone_that_the_size_has_not_is_left_out(emulator: Emulator, bench: Bench) -> None:
    """A restriction of the subscription in a zone costs no call there; where no zone is left, none at all."""
    emulator.weather(offerings={"eastus-1": {"exclude": [SIZE]}})
    engine = bench.engine()
    assert engine.provision("default").zone == "eastus-2"
    assert len(engine.run_state.attempts) == 1
    bench.give_back(engine)
    emulator.weather(offerings={f"eastus-{one}": {"exclude": [SIZE]} for one in (1, 2)})
    before = len(operations(emulator))
    engine = bench.engine(request(emulator, run="run-2"))
    with pytest.raises(Refused, match=f"does not offer {SIZE}"):
        engine.provision("default")
    assert len(operations(emulator)) == before


def test_a_size_that_is_not_sold_as_spot(emulator: Emulator) -> None:
    """It cannot be had where nothing but spot will do; else it may be on-demand."""
    spot = replace(DB, instance_type="Standard_B2s", market="spot", reserve=False)
    for moves, oks in ((False, {False}), (True, {True})):
        wanted = request(emulator, spot, fallback=Fallback(spot_to_on_demand=moves))
        assert {one.ok for one in open_backend(wanted).offers(REGION, wanted.topologies["default"])} == oks


def test_what_may_not_be_read_rules_nothing_out(emulator: Emulator, bench: Bench) -> None:
    """Without the right to list sizes and quotas the zones 1, 2, 3 and none are tried, as the user may know better."""
    denied = {"error": "AuthorizationFailed", "message": "no", "http": 403}
    emulator.weather(faults=[{"operation": one, **denied} for one in ("ResourceSkus_List", "Usage_List")])
    wanted = request(emulator)
    offers = open_backend(wanted).offers(REGION, wanted.topologies["default"])
    assert [(one.zone, one.ok) for one in offers] == [(f"eastus-{one}", True) for one in ("1", "2", "3", "none")]
    engine = bench.engine()
    assert engine.provision("default").zone == "eastus-1"
    bench.give_back(engine)


def test_quotas_are_of_family_region_and_market(emulator: Emulator) -> None:
    """The larger of what one family is asked for and of what all are, spot apart; the sum over the groups counts."""

    def why(*groups: Any, **quota: int) -> str:
        emulator.weather(quota={REGION: quota})
        wanted = request(emulator, *groups, fallback=Fallback(spot_to_on_demand=False))
        (said,) = {one.why for one in open_backend(wanted).offers(REGION, wanted.topologies["default"])}
        return said

    assert why(DB, LOADER, standardLSv3Family=16, cores=20) == ""
    assert why(DB, LOADER, cores=19) == "has a quota of 19 vCPUs for cores, and 20 are asked for"
    assert why(DB, LOADER, standardLSv3Family=15).startswith("has a quota of 15 vCPUs for standardlsv3family, and 16")
    spot = replace(DB, market="spot", reserve=False)
    assert why(spot, cores=1, standardLSv3Family=1) == ""
    assert why(spot, lowPriorityCores=15).endswith("15 vCPUs for lowprioritycores, and 16 are asked for")
    two = (DB, replace(LOADER, instance_type=SIZE))
    assert why(*two, standardLSv3Family=23).endswith("and 24 are asked for")
    assert why(replace(DB, alternatives=(OTHER,)), standardLSv3Family=1) == ""


def test_reads_are_one_round_and_one_more_in_a_given_group(emulator: Emulator) -> None:
    """Sizes, quotas and groups side by side; what is in a group, and how full it is, side by side after it."""
    group = given_group(open_backend(request(emulator)), ["1", "2"])
    emulator.weather(latency_ms=1000)
    before = len(emulator.calls())
    wanted = request(emulator, use_reservations=(group,))
    open_backend(wanted).offers(REGION, wanted.topologies["default"])
    reads = emulator.calls()[before:]
    assert sorted(call["operation"] for call in reads) == [
        "CapacityReservationGroups_Get",
        "CapacityReservationGroups_Get",
        "CapacityReservations_List",
        "ResourceSkus_List",
        "Usage_List",
    ]
    assert rounds(reads) == 2


def test_a_subnet_that_is_not_there_ends_the_run(emulator: Emulator, bench: Bench) -> None:
    """It is read beside the rest, so nothing has been made when that is seen."""
    subnet = f"{GROUPS.replace('Compute', 'Network')}/virtualNetworks/n/subnets/s"
    engine = bench.engine(request(emulator, settings=replace(SETTINGS, subnets={REGION: subnet})))
    with pytest.raises(Refused, match=f"azure.subnets: there is no subnet {subnet}. Correct the id"):
        engine.provision("default")
    assert operations(emulator) == []


def test_two_topologies_have_a_group_each(emulator: Emulator, bench: Bench) -> None:
    """Azure takes one member for each size and zone in a group, so what is placed apart is reserved apart."""
    topologies = {"default": Topology((DB,)), "second": Topology((DB,))}
    engine = bench.engine(request(emulator, topologies=topologies))
    placed = [engine.provision(name) for name in topologies]
    assert {one.zone for one in placed} == {"eastus-1"}
    assert len({one.reservations[0].id.partition("/capacityReservations/")[0] for one in placed}) == 2
    bench.give_back(engine)
