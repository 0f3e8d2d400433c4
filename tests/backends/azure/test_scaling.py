"""Node groups at Azure: what its capacity reservations, its deallocated machines and its sizes do differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.azure.backend import AzureBackend
from pytest_capacity.errors import CapacityError
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup
from pytest_capacity.testing import PATIENCE, Bench, Dying, Killed
from pytest_capacity.testing.bench import benched, within
from pytest_capacity.testing.scaling import Scaler
from tests.backends.azure.runs import DB, AzureLab, request
from tests.backends.azure.test_runs import operations
from tests.emulated import Emulator

SMALL = "Standard_D2s_v5"
LARGE = "Standard_D4s_v5"
GROUP = replace(DB, instance_type=SMALL)
#: Of a size with a temporary disk.
OLD = replace(DB, instance_type="Standard_D2s_v3")
BROKEN = {"error": "BadRequest", "message": "The disk is broken.", "http": 400}


def of_kind(engine: Any, kind: str) -> list[Held]:
    """What the run holds of a kind."""
    return [held for held in engine.run_state.held() if held.kind == kind]


def changes(emulator: Emulator, since: int) -> list[dict[str, Any]]:
    """The calls that change something, but for the first ``since`` of all."""
    verbs = ("CreateOrUpdate", "Update", "Delete", "UpdateAtScope", "Deallocate", "Start")
    return [call for call in emulator.calls()[since:] if call["operation"].rpartition("_")[2] in verbs]


def power(engine: Any) -> set[str | None]:
    """Whether the nodes run, by what Azure says of them now; None: they were never deallocated."""
    seen = AzureBackend(engine.request).refresh(of_kind(engine, "node"))
    assert {held.state for held in seen} <= {"ready", "creating"}
    return {held.facts.get("power") for held in seen}


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
    made = [call["operation"] for call in changes(emulator, since)]
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


def sizes(emulator: Emulator) -> list[int]:
    """How large the disks are, by the run's own reading of them, in the order of the machines' names."""
    engine = AzureBackend(request(emulator, GROUP))
    nodes = [held for held in engine.inventory("run-1", ("eastus",)) if isinstance(held, Held) and held.kind == "node"]
    return list(engine.disks(sorted(nodes, key=lambda held: held.facts["name"])))


def test_disks_grow_while_all_machines_are_deallocated(emulator: Emulator, bench: Bench) -> None:
    """Each machine is deallocated, its disk gets the size by one call, and it is started into the seat that it had."""
    engine = bench.engine(request(emulator, GROUP))
    before = engine.provision("default").nodes["db"]
    emulator.weather(operation_s=0.2, stop_s=0.2)
    since = len(emulator.calls())
    (asked,) = Scaler(bench, engine).ask("db", disk_gb=64, restart=True)
    assert asked.outcome == "successful", asked.reason
    made = changes(emulator, since)
    names = [call["operation"] for call in made]
    assert sorted(names[:4]) == ["Tags_UpdateAtScope"] * 2 + ["VirtualMachines_Deallocate"] * 2
    assert names[4:] == ["Disks_Update"] * 2 + ["VirtualMachines_Start"] * 2
    assert [call["error"] for call in made] == [None] * len(made)
    assert sizes(emulator) == [64, 64]
    assert engine.run_state.placed["default"].nodes["db"] == before
    (member,) = AzureBackend(engine.request).refresh(of_kind(engine, "reservation"))
    assert {node.reservation_id for node in before} == {member.id}
    bench.give_back(engine)


@pytest.mark.parametrize(
    ("group", "asked", "words", "advice"),
    [
        (GROUP, {}, "only while the machine is deallocated", " Use restart=True where .* again$"),
        (GROUP, {"disk_gb": 29}, "29 GB are asked for, and .* db-1 30 GB: disks never shrink", "$"),
        (GROUP, {"disk_gb": 5000, "restart": True}, "at most 4095 GB", "$"),
        (replace(GROUP, market="spot"), {"restart": True}, "has spot nodes, which cannot be stopped", "$"),
        (OLD, {"restart": True}, "Standard_D2s_v3 has local disks", " Use lose_local_disks=True where .* go$"),
        (OLD, {}, "is deallocated; Standard_D2s_v3 has", " Use restart=True .* and lose_local_disks=True where .* go$"),
    ],
)
def test_disks_that_do_not_grow(
    emulator: Emulator, bench: Bench, group: NodeGroup, asked: dict[str, Any], words: str, advice: str
) -> None:
    """What a test has not allowed, or never can, is refused before any change, with the words that allow it."""
    engine = bench.engine(request(emulator, group))
    engine.provision("default")
    since = len(emulator.calls())
    with pytest.raises(CapacityError, match=f"{words}.* Nothing was changed\\.?{advice}"):
        Scaler(bench, engine).ask("db", **{"disk_gb": 64, **asked})
    assert changes(emulator, since) == []
    bench.give_back(engine)


def test_local_disks_may_be_lost_for_larger_ones(emulator: Emulator, bench: Bench) -> None:
    """A size with a temporary disk is deallocated where the test says that it may be."""
    engine = bench.engine(request(emulator, OLD))
    engine.provision("default")
    (asked,) = Scaler(bench, engine).ask("db", disk_gb=64, restart=True, lose_local_disks=True)
    assert asked.outcome == "successful", asked.reason
    bench.give_back(engine)


def test_nodes_run_again_whose_disks_did_not_grow(emulator: Emulator, bench: Bench) -> None:
    """Of two disks one grows: both machines are started, and the error says how large each disk is."""
    engine = bench.engine(request(emulator, GROUP))
    before = engine.provision("default").nodes["db"]
    emulator.weather(faults=[{"operation": "Disks_Update", "times": 1, **BROKEN}])
    (asked,) = Scaler(bench, engine).ask("db", disk_gb=64, restart=True)
    assert asked.outcome == "failed"
    found = sizes(emulator)
    assert sorted(found) == [30, 64]
    assert "The disk is broken" in asked.reason
    assert asked.reason.endswith(f"Its nodes run, their disks are db-0 {found[0]} GB, db-1 {found[1]} GB")
    assert power(engine) == {"on"}
    assert engine.run_state.placed["default"].nodes["db"] == before
    (again,) = Scaler(bench, engine).ask("db", disk_gb=64, restart=True)
    assert (again.outcome, sizes(emulator)) == ("successful", [64, 64]), again.reason
    bench.give_back(engine)


def test_nodes_that_do_not_start_again_are_named(emulator: Emulator, bench: Bench) -> None:
    """A machine that Azure does not start stays deallocated: the error says so; the same once more starts it."""
    engine = bench.engine(request(emulator, replace(GROUP, count=1)))
    (node,) = engine.provision("default").nodes["db"]
    emulator.weather(faults=[{"operation": "VirtualMachines_Start", **BROKEN}])
    (asked,) = Scaler(bench, engine).ask("db", disk_gb=64, restart=True)
    assert asked.outcome == "failed"
    assert "It could not be undone" in asked.reason
    assert f"has db-0 ({node.id}, {SMALL}, stopped); their disks are db-0 64 GB" in asked.reason
    emulator.weather(faults=[])
    (again,) = Scaler(bench, engine).ask("db", disk_gb=64, restart=True)
    assert (again.outcome, power(engine)) == ("successful", {"on"}), again.reason
    with pytest.raises(CapacityError, match="has disks of 64 GB already"):
        Scaler(bench, engine).ask("db", disk_gb=64, restart=True)
    bench.give_back(engine)


def test_killed_while_nodes_are_started_again(emulator: Emulator, tmp_path: Path) -> None:
    """Where disks do not grow, the next keeper starts the nodes, whenever the one before it ends."""
    for fatal in range(1, 20):
        emulator.weather(faults=[])
        with benched(AzureLab(emulator), tmp_path / str(fatal)) as bench:
            dying = Dying(AzureBackend(request(emulator, GROUP, run=f"run-{fatal}")))
            engine = bench.engine(request(emulator, GROUP, run=f"run-{fatal}"), dying=dying)
            before = engine.provision("default").nodes["db"]
            emulator.weather(faults=[{"operation": "Disks_Update", **BROKEN}])
            dying.die_at(fatal)
            died = False
            try:
                Scaler(bench, engine).ask("db", disk_gb=64, restart=True)
            except Killed:
                died = True
                engine.stop.set()
                engine = bench.engine(engine.request)
            dying.die_at(0)
            scaler = Scaler(bench, engine)
            scaler.finish()
            assert [request.outcome for request in scaler.state.all()] == ["failed"]
            assert engine.run_state.placed["default"].nodes["db"] == before
            assert power(engine) <= {"on", None}
            bench.give_back(engine)
        if not died:
            assert fatal > 8, f"only {fatal - 1} boundaries were crossed"
            return
    raise AssertionError("more boundaries than two nodes have")


def test_a_disk_that_is_changed_has_no_size_yet(emulator: Emulator, bench: Bench) -> None:
    """Azure shows the requested size at once; a smaller or equal one is not asked for."""
    engine = bench.engine(request(emulator, replace(GROUP, count=1)))
    engine.provision("default")
    backend = AzureBackend(engine.request)
    (off,) = backend.refresh([backend.change(of_kind(engine, "node")[0], Change(running=False))])
    emulator.weather(operation_s=30)
    backend.change(off, Change(disk_gb=64))
    assert backend.disks([off]) == [0]
    emulator.weather(clock={"advance_s": 31}, operation_s=0)
    assert backend.disks([off]) == [64]
    backend.change(off, Change(disk_gb=64))
    backend.change(off, Change(disk_gb=32))
    assert len(emulator.calls("Disks_Update")) == 1
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
        (node, Change(disk_gb=64, running=False)),
        (node, Change(deadline=1.0, running=False)),
        (replace(node, kind="reservation"), Change(running=False)),
        (replace(node, kind="network"), Change(count=1)),
    ):
        with pytest.raises(ValueError, match="chang"):
            backend.change(held, to)
    assert emulator.calls() == []
