"""Runs of the real engine on the emulated Azure: what is refused, late or at once, what is left, and what goes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.plan import CAPACITY_GROUP, NODE, RESERVATION, RESOURCE_GROUP
from pytest_capacity.backends.azure.session import Arm
from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.model import Change, Fallback, Held, Order, Placement, Unread
from pytest_capacity.testing import PATIENCE, Bench
from pytest_capacity.testing.bench import within
from pytest_capacity.testing.scaling import Scaler
from tests.backends.azure.runs import DB, LOADER, OTHER, REGION, SETTINGS, SIZE, given_group, request
from tests.emulated import Emulator, rounds

#: Codes that this cloud gives when a zone, or the region, has nothing left, and how far each reaches.
DRY = {
    "SkuNotAvailable": "no-capacity",
    "ZonalAllocationFailed": "no-capacity",
    "AllocationFailed": "no-capacity",
    "OverconstrainedZonalAllocationRequest": "no-capacity",
    "Overconstrainted": "no-capacity",
    "InsufficientCapacity": "no-capacity",
    "OperationPreempted": "no-capacity",
    "QuotaExceeded": "quota",
}


def operations(emulator: Emulator, *verbs: str) -> list[str]:
    """The calls that change something, or those with these verbs."""
    found = [call["operation"] for call in emulator.calls()]
    return [one for one in found if one.rpartition("_")[2] in (verbs or ("CreateOrUpdate", "Update", "Delete"))]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("code", DRY)
def test_what_is_refused_in_one_zone_is_had_in_the_next(
    emulator: Emulator, bench: Bench, code: str, late: bool
) -> None:
    """Whether at once or within a successful poll, each of Azure's codes for lack of capacity moves the run on."""
    fault = {
        "cloud": "azure",
        "operation": "VirtualMachines_CreateOrUpdate",
        "zone": "eastus-1",
        "error": code,
        "late": late,
        "http": 409,
    }
    emulator.weather(faults=[fault])
    engine = bench.engine(bench.lab.request(fallback=Fallback(spot_to_on_demand=True, zones=True)))
    assert engine.provision("default").zone == "eastus-2"
    first = engine.run_state.attempts[0]
    assert (first.zone, first.outcome, first.code) == ("eastus-1", DRY[code], code)
    bench.give_back(engine)


def test_what_a_region_has_not_is_had_in_the_next_region(emulator: Emulator, bench: Bench) -> None:
    """A refusal of the region costs no call in its other zones."""
    fault = {
        "operation": "VirtualMachines_CreateOrUpdate",
        "region": REGION,
        "error": "OverconstrainedAllocationRequest",
    }
    emulator.weather(faults=[{**fault, "cloud": "azure", "late": True}])
    engine = bench.engine(request(emulator, regions=(REGION, "westeurope"), fallback=Fallback(regions=True)))
    assert engine.provision("default").zone == "westeurope-1"
    assert [one.zone for one in engine.run_state.attempts] == ["eastus-1", "westeurope-1"]
    bench.give_back(engine)


def test_a_failed_machine_and_its_card_are_removed(emulator: Emulator, bench: Bench) -> None:
    """A machine that could not be allocated stays at Azure with card and disk; none of it outlives its attempt."""
    emulator.weather(stock={"eastus-1": {SIZE: 0}}, operation_s=0.05)
    engine = bench.engine(request(emulator, replace(DB, reserve=False), replace(LOADER, reserve=False)))
    placed = engine.provision("default")
    assert placed.zone == "eastus-2"
    assert engine.run_state.attempts[0].code == "ZonalAllocationFailed"
    engine.release(within(PATIENCE))
    assert not emulator.held()


def test_a_machine_that_was_refused_at_once_is_found_and_removed(emulator: Emulator, bench: Bench) -> None:
    """Azure keeps the machine of a refused PUT with its card: it is looked for, deleted by itself, and takes the card.

    The deletion of the resource group, which would take both along, comes after it.
    """
    out = {"operation": "VirtualMachines_CreateOrUpdate", "zone": "eastus-1", "error": "ZonalAllocationFailed"}
    emulator.weather(faults=[{"cloud": "azure", "http": 409, **out}])
    engine = bench.engine(request(emulator, replace(LOADER, reserve=False)))
    assert engine.provision("default").zone == "eastus-2"
    assert [one.code for one in engine.run_state.attempts if one.zone == "eastus-1"] == ["ZonalAllocationFailed"]
    bench.give_back(engine)
    deletes = [call for call in emulator.calls() if call["operation"].endswith("_Delete") and not call["error"]]
    assert "eastus-1" in {call["zone"] for call in deletes if call["operation"] == "VirtualMachines_Delete"}
    seen = [held for entry in bench.events("run-1") for held in entry.data.get("held", ())]
    (found,) = {held["id"] for held in seen if held["kind"] == NODE and held["zone"] == "eastus-1"}
    assert {held["state"] for held in seen if held["id"] == found} >= {"failed"}


def test_growth_that_is_refused_leaves_no_machine_beside_the_others(emulator: Emulator, bench: Bench) -> None:
    """The resource group stands on, so nothing but a look for the refused machine finds it, and its card."""
    engine = bench.engine(request(emulator, replace(LOADER, reserve=False)))
    engine.provision("default")
    before = sorted(bench.lab.held())
    refused = {"operation": "VirtualMachines_CreateOrUpdate", "error": "ZonalAllocationFailed", "http": 409}
    emulator.weather(faults=[{"cloud": "azure", **refused}])
    (asked,) = Scaler(bench, engine).ask("loader", count=2)
    assert asked.outcome == "failed"
    assert "ZonalAllocationFailed" in asked.reason
    assert sorted(bench.lab.held()) == before
    emulator.weather(faults=[])
    bench.give_back(engine)


def test_after_the_zones_comes_the_placement_without_one(emulator: Emulator, bench: Bench) -> None:
    """Where 1, 2 and 3 have nothing left the region is asked for a place of its own choice, with a member like that."""
    words = "The requested size is not available: Following SKUs have failed for Capacity Restrictions"
    dry = {"cloud": "azure", "operation": "CapacityReservations_CreateOrUpdate", "error": "SkuNotAvailable"}
    emulator.weather(faults=[{**dry, "zone": f"eastus-{number}", "message": words} for number in (1, 2, 3)])
    engine = bench.engine(request(emulator, LOADER, zones=("*",)))
    placed = engine.provision("default")
    assert [one.zone for one in engine.run_state.attempts] == ["eastus-1", "eastus-2", "eastus-3", "eastus-none"]
    assert placed.zone == "eastus-none"
    backend: Any = open_backend(engine.request)
    held = {one.kind: one for one in engine.run_state.held()}
    for kind in (NODE, RESERVATION):
        assert not backend._arm.get("test", held[kind].id, "2026-03-01").get("zones"), kind
    assert held[NODE].facts["reservation_id"] == held[RESERVATION].id
    bench.give_back(engine)


def test_a_card_without_its_machine_is_found_and_removed(emulator: Emulator, bench: Bench) -> None:
    """A card that stands in the way of its network, and that no call of ours has named, goes with the run."""
    engine = bench.engine()
    engine.provision("default", launch=False)
    group = next(held for held in engine.run_state.held() if held.kind == RESOURCE_GROUP)
    backend: Any = open_backend(engine.request)
    tags = {"pytest-capacity:run": "run-1", "pytest-capacity:project": "tests", "pytest-capacity:piece": group.subject}
    tags["pytest-capacity:deadline"] = "2030-01-01T00:00:00Z"
    card = f"{group.id}/providers/Microsoft.Network/networkInterfaces/left"
    backend._arm.call("test", "PUT", card, "2026-03-01", {"location": REGION, "tags": tags, "properties": {}})
    found = {held.id: held for held in backend.inventory("run-1", (REGION,)) if isinstance(held, Held)}
    assert found[card].kind == "network-card"
    bench.give_back(engine)


def test_a_quota_of_a_family_moves_to_another_size(emulator: Emulator, bench: Bench) -> None:
    """The family and the region stand in the text alone; a size of another family is tried in the same zone."""
    emulator.weather(quota={REGION: {"standardLSv3Family": 8}})
    engine = bench.engine(request(emulator, replace(DB, alternatives=(OTHER,))))
    placed = engine.provision("default")
    assert {node.instance_type for node in placed.nodes["db"]} == {OTHER}
    assert placed.zone == "eastus-1"
    first = engine.run_state.attempts[0]
    assert (first.outcome, first.code, first.scope) == ("quota", "OperationNotAllowed", "family+region+market")
    bench.give_back(engine)


def test_a_quota_that_is_too_small_for_all_costs_no_create_call(emulator: Emulator, bench: Bench) -> None:
    """A limit below what is asked for is read before anything is made."""
    emulator.weather(quota={REGION: {"cores": 8}})
    engine = bench.engine()
    with pytest.raises(Exhausted, match="has a quota of 8 vCPUs for cores, and 20 are asked for"):
        engine.provision("default")
    assert operations(emulator) == []


def test_spot_falls_back_to_on_demand(emulator: Emulator, bench: Bench) -> None:
    """What the zones do not have as spot is had as on-demand, in no one's reservation."""
    emulator.weather(stock={zone: {"spot": {"*": 0}} for zone in ("eastus-1", "eastus-2", "eastus-3")})
    spot = replace(DB, market="spot", reserve=False)
    engine = bench.engine(request(emulator, spot, fallback=Fallback(spot_to_on_demand=True)))
    placed = engine.provision("default")
    assert {node.market for node in placed.nodes["db"]} == {"on-demand"}
    assert engine.run_state.attempts[0].code == "SkuNotAvailable"
    bench.give_back(engine)


def test_an_evicted_machine_is_seen_as_preempted(emulator: Emulator, bench: Bench) -> None:
    """Azure deletes it without a word; what goes though nothing has asked for it was evicted."""
    engine = bench.engine(request(emulator, replace(DB, market="spot", reserve=False)))
    engine.provision("default")
    nodes = [held for held in engine.run_state.held() if held.kind == NODE]
    emulator.weather(reclaim=[{"cloud": "azure"}])
    backend = open_backend(engine.request)
    seen = backend.refresh(nodes)
    assert {(held.state, backend.diagnose(held).kind) for held in seen} == {("gone", "preempted")}
    bench.give_back(engine)


def test_reservations_are_set_to_nothing_beside_the_deletion_of_machines(emulator: Emulator, bench: Bench) -> None:
    """The bill for what is reserved ends at once; members, group, network and resource group go after the machines."""
    emulator.weather(stop_s=0.2, operation_s=0.02)
    engine = bench.engine()
    engine.provision("default")
    emulator.weather()
    before = len(emulator.calls())
    bench.give_back(engine)
    changes = [
        call["operation"]
        for call in emulator.calls()[before:]
        if call["operation"].rpartition("_")[2] in ("Update", "Delete")
    ]
    first = changes[:5]
    assert sorted(first) == ["CapacityReservations_Update"] * 2 + ["VirtualMachines_Delete"] * 3
    assert changes[5:7] == ["CapacityReservations_Delete"] * 2
    assert set(changes[7:9]) == {"CapacityReservationGroups_Delete", "VirtualNetworks_Delete"}
    assert changes[9:] == ["ResourceGroups_Delete"]


def test_a_reservation_alone_is_deleted_at_once(emulator: Emulator, bench: Bench) -> None:
    """Where no machine is, nothing is set to 0 first: three rounds of deletions are all."""
    engine = bench.engine()
    engine.provision("default", launch=False)
    before = len(emulator.calls())
    bench.give_back(engine)
    changes = [
        call["operation"] for call in emulator.calls()[before:] if call["operation"].endswith(("Update", "Delete"))
    ]
    assert changes[:2] == ["CapacityReservations_Delete"] * 2
    assert set(changes[2:]) == {
        "CapacityReservationGroups_Delete",
        "ResourceGroups_Delete",
    }


def test_a_machine_beside_a_full_reservation_is_seen(emulator: Emulator, bench: Bench) -> None:
    """Azure lets more machines name a group than it has room for; those sit in no reservation, which ends the run."""
    plain: Any = open_backend(request(emulator))
    group = given_group(plain, ["1", "2"])
    body = {"location": REGION, "zones": ["1"], "sku": {"name": SIZE, "capacity": 2}}
    member = f"{group}/capacityReservations/theirs"
    plain._arm.call("test", "PUT", member, "2026-04-01", body)
    engine = bench.engine(request(emulator, DB, zones=("1",), use_reservations=(group,)))
    offers = engine.backend.offers(REGION, engine.request.topologies["default"])
    assert offers[0].preferred
    plain._arm.call("test", "PATCH", member, "2026-04-01", {"sku": {"capacity": 1}})
    order = Order(
        run="run-1",
        project="tests",
        topology=engine.request.topologies["default"],
        placement=Placement(REGION, "eastus-1"),
        attempt=1,
        lease_end=2e9,
        hard_end=2e9,
        facts=offers[0].facts,
    )
    helds: list[Held] = []
    for round_ in engine.backend.plan(order):
        inputs = {held.kind: held.id for held in helds}
        made = [held for piece in round_ for held in engine.backend.create(replace(piece, inputs=inputs))]
        helds += engine.backend.refresh(made)
    seats = [held.facts.get("reservation_id") for held in helds if held.kind == NODE]
    assert sorted(seats, key=bool) == [None, member]
    assert all(piece.consumes == member for piece in engine.backend.plan(order)[-1])


@pytest.mark.parametrize(
    ("code", "http", "state"),
    [("ResourceGroupBeingDeleted", 409, "leaving"), ("ResourceNotFound", 404, "gone")],
)
def test_what_goes_already_is_no_error(emulator: Emulator, bench: Bench, code: str, http: int, state: str) -> None:
    """A thing that is not there, or goes with its resource group, has been given back, a reservation too."""
    engine = bench.engine()
    engine.provision("default")
    backend = open_backend(engine.request)
    kinds = {held.kind: held for held in engine.run_state.held()}
    refused = {"error": code, "http": http, "times": 1}
    calls = ("VirtualMachines_Delete", "VirtualNetworks_Delete", "ResourceGroups_Delete", "CapacityReservations_Update")
    emulator.weather(faults=[{"operation": one, **refused} for one in calls])
    for kind in (NODE, "network", RESOURCE_GROUP):
        assert [held.state for held in backend.release([kinds[kind]])] == [state]
    (member,) = backend.release([kinds[RESERVATION]])
    assert member.state == "gone"
    emulator.weather(faults=[])
    bench.give_back(engine)


def test_a_reservation_that_cannot_be_changed_goes_as_it_is(emulator: Emulator, bench: Bench) -> None:
    """Setting it to 0 is for the bill: what refuses that, as busy or as no valid change, is deleted with the rest."""
    engine = bench.engine()
    engine.provision("default")
    fault = {"operation": "CapacityReservations_Update", "error": "AnotherOperationInProgress", "http": 409}
    emulator.weather(faults=[fault], stop_s=0.2)
    before = len(emulator.calls())
    bench.give_back(engine)
    updates = [call for call in emulator.calls()[before:] if call["operation"] == "CapacityReservations_Update"]
    assert len(updates) == 2


def test_a_machine_is_deleted_by_force(emulator: Emulator, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else Azure shuts its operating system down first, which takes minutes; and nothing else is."""
    urls: list[tuple[str, str]] = []
    send = Arm._send

    def recorded(arm: Arm, operation: str, asked: Any) -> Any:
        urls.append((operation.rpartition("/")[2], asked.url))
        return send(arm, operation, asked)

    engine = bench.engine(request(emulator, DB))
    engine.provision("default")
    monkeypatch.setattr(Arm, "_send", recorded)
    bench.give_back(engine)
    forced = [url for verb, url in urls if verb == "delete" and "forceDeletion=true" in url]
    assert len(forced) == 2
    assert all("/virtualMachines/" in url for url in forced)


def test_what_does_not_bear_the_whole_stamp_is_told_and_stays(emulator: Emulator, bench: Bench) -> None:
    """A resource group with the run's id alone may be anybody's: it is named, and neither it nor what is in it goes."""
    engine = bench.engine()
    engine.provision("default", launch=False)
    plain: Any = open_backend(engine.request)
    for name, tags in (("half", {}), ("another", {"pytest-capacity:project": "other"})):
        whole = {"pytest-capacity:piece": "default/1/eastus-1/resource-group/run", "pytest-capacity:project": "tests"}
        body = {"pytest-capacity:run": "run-1", "pytest-capacity:deadline": "2030-01-01T00:00:00Z"}
        body |= {**whole, **tags} if tags else {}
        path = plain._arm.path(f"/resourceGroups/{name}")
        plain._arm.call("test", "PUT", path, "2025-04-01", {"location": REGION, "tags": body})
        network = f"{path}/providers/Microsoft.Network/virtualNetworks/net"
        plain._arm.call("test", "PUT", network, "2026-03-01", {"location": REGION})
    found = {held.place: held for held in plain.inventory("run-1", (REGION,)) if held.place in ("half", "another")}
    assert {held.subject for held in found.values()} == {""}
    assert "not our whole stamp (no project, no piece)" in found["half"].problem
    assert "project 'other'" in found["another"].problem
    engine.release(within(PATIENCE))
    assert sorted(one["kind"] for one in emulator.held()) == ["resourceGroups"] * 2 + ["virtualNetworks"] * 2


def test_nothing_ends_by_itself_and_all_can_be_removed_by_hand(emulator: Emulator, bench: Bench) -> None:
    """No thing has an end; the commands come in the order in which Azure lets things go."""
    engine = bench.engine()
    engine.provision("default")
    backend = open_backend(engine.request)
    helds = engine.run_state.held()
    assert {backend.ends(held, 2e9) for held in helds} == {None}
    words = [command.split()[:4] for command in backend.by_hand(helds[::-1])]
    assert words[:3] == [["az", "vm", "delete", "--yes"]] * 3
    assert words[3:5] == [["az", "capacity", "reservation", "delete"]] * 2
    assert words[5:7] == [["az", "resource", "delete", "--ids"]] * 2
    assert words[7:] == [["az", "group", "delete", "--yes"]]
    bench.give_back(engine)


def test_a_group_that_lags_is_asked_again(emulator: Emulator, bench: Bench) -> None:
    """For a while after its last member is gone, Azure says that a group still has some."""
    engine = bench.engine()
    engine.provision("default", launch=False)
    emulator.weather(consistency_s=3.0)
    receipt = engine.release(within(PATIENCE))
    assert receipt.clean, receipt
    refused = [call for call in emulator.calls("CapacityReservationGroups_Delete") if call["error"]]
    assert refused
    assert {call["error"] for call in refused} == {"OperationNotAllowed"}


def test_calls_of_a_run(emulator: Emulator, bench: Bench) -> None:
    """Resource group, then group and network, then members, then all machines: each a round of calls side by side."""
    emulator.weather(latency_ms=1000)
    engine = bench.engine()
    emulator.calls()
    engine.provision("default")
    made = [call for call in emulator.calls() if call["operation"].endswith("_CreateOrUpdate")]
    by_operation = [call["operation"] for call in made]
    assert by_operation[0] == "ResourceGroups_CreateOrUpdate"
    assert set(by_operation[1:3]) == {"CapacityReservationGroups_CreateOrUpdate", "VirtualNetworks_CreateOrUpdate"}
    assert by_operation[3:5] == ["CapacityReservations_CreateOrUpdate"] * 2
    assert by_operation[5:] == ["VirtualMachines_CreateOrUpdate"] * 3
    assert rounds(made) == 4
    reads = [call for call in emulator.calls() if call["operation"] in ("ResourceSkus_List", "Usage_List")]
    assert len(reads) == 2
    assert rounds(reads) == 1
    emulator.weather(latency_ms=0)
    bench.give_back(engine)


def test_machines_are_looked_at_by_one_list(emulator: Emulator, bench: Bench) -> None:
    """However many there are; their addresses and places in the reservation are read once, by a list each."""
    engine = bench.engine(request(emulator, replace(DB, count=3)))
    engine.provision("default")
    backend = open_backend(engine.request)
    nodes = [held for held in engine.run_state.held() if held.kind == NODE]
    before = len(emulator.calls())
    assert list(backend.refresh(nodes)) == nodes
    assert [call["operation"] for call in emulator.calls()[before:]] == ["VirtualMachines_List"]
    new = [
        replace(
            held, facts={key: value for key, value in held.facts.items() if key not in ("private_ip", "reservation_id")}
        )
        for held in nodes
    ]
    before = len(emulator.calls())
    assert list(backend.refresh(new)) == nodes
    assert sorted(call["operation"] for call in emulator.calls()[before:]) == [
        "CapacityReservationGroups_Get",
        "NetworkInterfaces_List",
        "VirtualMachines_List",
    ]
    bench.give_back(engine)


def test_the_inventory_is_of_the_whole_subscription(emulator: Emulator, bench: Bench) -> None:
    """Two lists by tag, with their pages, whatever the number of regions; strangers' things are not in it."""
    engine = bench.engine()
    engine.provision("default", launch=False)
    backend: Any = open_backend(engine.request)
    for number in range(25):
        path = backend._arm.path(f"/resourceGroups/other{number}")
        backend._arm.call("test", "PUT", path, "2025-04-01", {"location": "westeurope", "tags": {"a": "b"}})
    before = len(emulator.calls())
    found = list(backend.inventory("run-1", ("westeurope",)))
    assert {held.kind for held in found} >= {RESOURCE_GROUP, CAPACITY_GROUP, RESERVATION}
    assert {held.region for held in found} == {REGION}
    lists = [call["operation"] for call in emulator.calls()[before:]]
    assert lists.count("ResourceGroups_List") == 1
    assert lists.count("Resources_List") == 1
    receipt = engine.release(within(PATIENCE))
    assert receipt.clean, receipt


def test_all_pages_are_read(emulator: Emulator, bench: Bench) -> None:
    """Of more machines than a page of a list has each is seen, in the inventory too."""
    engine = bench.engine(request(emulator, replace(DB, count=22, reserve=False)))
    engine.provision("default")
    backend = open_backend(engine.request)
    nodes = [held for held in engine.run_state.held() if held.kind == NODE]
    assert [held.state for held in backend.refresh(nodes)] == ["ready"] * 22
    listed = [held for held in backend.inventory("run-1", (REGION,)) if isinstance(held, Held)]
    assert {held.id for held in listed if held.kind == NODE} == {held.id for held in nodes}
    bench.give_back(engine)


def test_what_cannot_be_listed_is_told(emulator: Emulator, bench: Bench) -> None:
    """A part of the inventory that was refused is unread, never empty."""
    engine = bench.engine()
    fault = {"operation": "ResourceGroups_List", "error": "AuthorizationFailed", "message": "no", "http": 403}
    emulator.weather(faults=[fault])
    found = list(open_backend(engine.request).inventory("run-1", (REGION,)))
    assert found == [Unread("", RESOURCE_GROUP, "AuthorizationFailed: no")]


def test_the_deadline_is_moved_by_one_call(emulator: Emulator, bench: Bench) -> None:
    """A deadline is a tag, and the other tags stay."""
    engine = bench.engine()
    engine.provision("default")
    backend = open_backend(engine.request)
    node = next(held for held in engine.run_state.held() if held.kind == NODE)
    before = len(emulator.calls())
    backend.change(node, Change(deadline=2_000_000_000.0))
    assert [call["operation"] for call in emulator.calls()[before:]] == ["Tags_UpdateAtScope"]
    (seen,) = backend.refresh([node])
    assert (seen.deadline, seen.subject, seen.facts["name"]) == (2_000_000_000.0, node.subject, node.facts["name"])
    with pytest.raises(ValueError, match="cannot change a node so"):
        backend.change(node, Change(instance_type=OTHER))
    bench.give_back(engine)


def test_a_size_that_cannot_be_reserved_is_told_before_any_call(emulator: Emulator, bench: Bench) -> None:
    """The list of sizes says which of them can be reserved."""
    engine = bench.engine(request(emulator, replace(DB, instance_type="Standard_HB120rs_v3")))
    with pytest.raises(Refused, match="cannot be reserved: write `reserve: false`"):
        engine.provision("default")
    assert operations(emulator) == []


def test_a_region_without_zones_is_used_without_one(emulator: Emulator, bench: Bench) -> None:
    """What has no zone is reserved and launched without one."""
    settings = replace(SETTINGS, image={"westus": SETTINGS.image[REGION]})
    engine = bench.engine(request(emulator, settings=settings, regions=("westus",), zones=()))
    placed = engine.provision("default")
    assert placed.zone == "westus-none"
    assert len(placed.reservations) == 2
    bench.give_back(engine)


def test_zones_then_none_then_the_next_region(emulator: Emulator, bench: Bench) -> None:
    """The ladder goes over the zones, the placement without one, and then the next region."""
    emulator.weather(stock={f"eastus-{zone}": {SIZE: 0} for zone in ("1", "2", "3", "none")})
    engine = bench.engine(
        request(emulator, DB, regions=(REGION, "westeurope"), zones=(), fallback=Fallback(regions=True))
    )
    placed = engine.provision("default")
    assert placed.zone == "westeurope-1"
    tried = [one.zone for one in engine.run_state.attempts]
    assert tried[0] == "eastus-1"
    assert tried[-1] == "westeurope-1"
    assert [one.code for one in engine.run_state.attempts[:-1]] == ["ZonalAllocationFailed"] * 3 + ["AllocationFailed"]
    bench.give_back(engine)
