"""Node groups at Azure: what its capacity reservations, its deallocated machines and its sizes do differently."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.azure.backend import AzureBackend
from pytest_capacity.errors import CapacityError
from pytest_capacity.model import Change, Held, NodeChange
from pytest_capacity.testing import PATIENCE, Bench
from pytest_capacity.testing.bench import within
from pytest_capacity.testing.scaling import Scaler
from tests.backends.azure.runs import DB, request
from tests.backends.azure.test_runs import operations
from tests.emulated import Emulator

SMALL = "Standard_D2s_v5"
LARGE = "Standard_D4s_v5"
GROUP = replace(DB, instance_type=SMALL)


def of_kind(engine: Any, kind: str) -> list[Held]:
    """What the run holds of a kind."""
    return [held for held in engine.run_state.held() if held.kind == kind]


def test_a_member_that_cannot_grow_gets_its_old_quantity_back(emulator: Emulator, bench: Bench) -> None:
    """An increase that Azure cannot hold leaves the member Failed, and of no use until it has its old quantity."""
    engine = bench.engine(request(emulator, GROUP))
    engine.provision("default")
    emulator.weather(stock={"eastus-1": {SMALL: 2}}, operation_s=0.1)
    before = len(emulator.calls())
    (asked,) = Scaler(bench, engine).ask("db", count=5)
    assert asked.outcome == "failed"
    assert "ZonalAllocationFailed" in asked.reason
    assert "as it was before" in asked.reason
    changes = [call for call in emulator.calls()[before:] if call["operation"] == "CapacityReservations_Update"]
    assert len(changes) == 2
    assert not [call for call in emulator.calls()[before:] if call["operation"].startswith("VirtualMachines_Create")]
    backend = AzureBackend(engine.request)
    (member,) = backend.refresh(of_kind(engine, "reservation"))
    assert (member.state, member.count) == ("ready", 2)
    emulator.weather(stock={}, operation_s=0)
    (again,) = Scaler(bench, engine).ask("db", count=3)
    assert again.outcome == "successful", again.reason
    bench.give_back(engine)


def test_while_a_member_grows_it_is_not_ready(emulator: Emulator, bench: Bench) -> None:
    """Azure shows the new quantity at once, which says what is asked for; and Failed is told with Azure's reason."""
    engine = bench.engine(request(emulator, GROUP))
    engine.provision("default")
    (member,) = of_kind(engine, "reservation")
    backend = AzureBackend(engine.request)
    emulator.weather(operation_s=30)
    changed = backend.change(member, Change(count=4, instance_type=SMALL))
    assert (changed.state, changed.count) == ("creating", 2)
    # A keeper that knows nothing of the call sees it, too.
    (seen,) = AzureBackend(engine.request).refresh([member])
    assert (seen.state, seen.count) == ("creating", 4)
    emulator.weather(clock={"advance_s": 31})
    assert backend.refresh([member])[0].state == "ready"
    emulator.weather(stock={"eastus-1": {SMALL: 0}}, operation_s=0)
    backend.change(member, Change(count=6, instance_type=SMALL))
    (failed,) = AzureBackend(engine.request).refresh([member])
    assert failed.state == "failed"
    assert backend.diagnose(failed).kind == "capacity-zone"
    assert engine.release(within(PATIENCE)).clean


def test_a_refusal_at_once_changes_nothing(emulator: Emulator, bench: Bench) -> None:
    """A quota is told before Azure tries: the member is what it was, and is asked for nothing more."""
    engine = bench.engine(request(emulator, GROUP))
    engine.provision("default")
    emulator.weather(quota={"eastus": {"standardDSv5Family": 4}})
    before = len(operations(emulator))
    try:
        (asked,) = Scaler(bench, engine).ask("db", count=5)
        reason = asked.reason
    except CapacityError as error:
        reason = str(error)
    assert "quota" in reason
    assert set(operations(emulator)[before:]) <= {"CapacityReservations_Update"}
    bench.give_back(engine)


def test_in_place_the_new_member_comes_first_and_the_old_one_goes_last(emulator: Emulator, bench: Bench) -> None:
    """Each machine is deallocated, gets size and group by one call, and is started into its seat."""
    engine = bench.engine(request(emulator, GROUP))
    before = engine.provision("default").nodes["db"]
    since = len(emulator.calls())
    (asked,) = Scaler(bench, engine).ask("db", instance_type=LARGE, mode="in_place")
    assert asked.outcome == "successful", asked.reason
    verbs = ("CreateOrUpdate", "Update", "Delete", "UpdateAtScope", "Deallocate", "Start")
    made = [call["operation"] for call in emulator.calls()[since:] if call["operation"].rpartition("_")[2] in verbs]
    assert made[:2] == ["CapacityReservationGroups_CreateOrUpdate", "CapacityReservations_CreateOrUpdate"]
    assert sorted(made[2:6]) == ["Tags_UpdateAtScope"] * 2 + ["VirtualMachines_Deallocate"] * 2
    assert made[6:10] == ["VirtualMachines_Update"] * 2 + ["VirtualMachines_Start"] * 2
    assert made[10:] == ["CapacityReservations_Delete"]
    after = engine.run_state.placed["default"].nodes["db"]
    (member,) = of_kind(engine, "reservation")
    assert [(node.id, node.reservation_id) for node in after] == [(node.id, member.id) for node in before]
    bench.give_back(engine)


def test_a_machine_that_was_deallocated_is_seen_as_such(emulator: Emulator, bench: Bench) -> None:
    """Lists do not say it, and the keeper that has asked for it may be dead: the machine's tag does."""
    engine = bench.engine(request(emulator, replace(GROUP, count=1)))
    engine.provision("default")
    (node,) = of_kind(engine, "node")
    emulator.weather(stop_s=30)
    AzureBackend(engine.request).change(node, Change(running=False))
    other = AzureBackend(engine.request)
    (seen,) = other.refresh([node])
    assert (seen.state, seen.facts["power"]) == ("creating", "deallocating")
    emulator.weather(clock={"advance_s": 31})
    (seen,) = other.refresh([node])
    assert (seen.state, seen.facts["power"]) == ("creating", "off")
    assert "reservation_id" not in seen.facts
    emulator.weather(stop_s=0)
    other.change(seen, Change(running=False))
    other.change(seen, Change(running=True))
    (again,) = AzureBackend(engine.request).refresh([node])
    assert (again.state, again.facts["power"]) == ("ready", "on")
    assert again.facts["reservation_id"] == of_kind(engine, "reservation")[0].id
    bench.give_back(engine)


def test_a_start_that_fails_is_told_with_its_reason(emulator: Emulator, bench: Bench) -> None:
    """A machine without a seat may not come back: it stays deallocated, and Azure calls it Failed."""
    engine = bench.engine(request(emulator, replace(GROUP, count=1, reserve=False)))
    engine.provision("default")
    (node,) = of_kind(engine, "node")
    backend = AzureBackend(engine.request)
    (off,) = backend.refresh([backend.change(node, Change(running=False))])
    emulator.weather(stock={"eastus-1": {SMALL: 0}})
    (failed,) = backend.refresh([backend.change(off, Change(running=True))])
    assert (failed.state, failed.facts["power"]) == ("failed", "off")
    assert backend.diagnose(failed).code == "ZonalAllocationFailed"
    emulator.weather(stock={}, operation_s=0)
    (ready,) = backend.refresh([backend.change(failed, Change(running=True))])
    assert ready.state == "ready"
    bench.give_back(engine)


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (SMALL, LARGE, []),
        (SMALL, "Standard_Nothing", ["unknown-type"]),
        (SMALL, "Standard_D2ps_v5", ["architecture"]),
        ("Standard_D2s_v3", "Standard_D4s_v3", ["local-disks"]),
        (SMALL, "Standard_D4s_v3", ["unsupported"]),
        ("Standard_D4s_v3", LARGE, ["unsupported", "local-disks"]),
        ("Standard_L8s_v4", LARGE, ["local-disks"]),
    ],
)
def test_what_azure_does_not_change_in_place(
    emulator: Emulator, bench: Bench, old: str, new: str, kinds: list[str]
) -> None:
    """Another architecture, a temporary disk or none; and what is on local disks would be lost. One read says it."""
    group = replace(GROUP, instance_type=old)
    backend = AzureBackend(request(emulator, group))
    node = Held(kind="node", id="/subscriptions/s/resourceGroups/g", region="eastus", zone="eastus-1", state="ready")
    wanted = NodeChange(topology="default", group="db", instance_type=new, mode="in_place")
    assert [one.kind for one in backend.obstacles(wanted, group, [node])] == kinds
    assert {call["operation"] for call in emulator.calls()} == {"ResourceSkus_List"}
    assert backend.obstacles(replace(wanted, mode="replace"), group, [node]) == []


def test_what_cannot_be_set_is_refused_before_any_call(emulator: Emulator) -> None:
    """Changes come one at a time, and each of the kind of thing that it is for."""
    backend = AzureBackend(request(emulator))
    node = Held(kind="node", id="/subscriptions/s/resourceGroups/g", region="eastus", zone="", state="ready")
    for held, to in (
        (node, Change(count=2)),
        (node, Change(instance_type=LARGE)),
        (node, Change(running=False, instance_type=LARGE, reservation_id="")),
        (node, Change(disk_gb=64)),
        (node, Change(deadline=1.0, running=False)),
        (replace(node, kind="reservation"), Change(running=False)),
        (replace(node, kind="network"), Change(count=1)),
    ):
        with pytest.raises(ValueError, match="chang"):
            backend.change(held, to)
    assert emulator.calls() == []
