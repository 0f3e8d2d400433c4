"""What of a node group can be changed while it stands: reservations, stopped machines, disks; and what cannot."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.base import Backend, scaling_of
from pytest_capacity.backends.gce.existing_reservations import affinity_of
from pytest_capacity.backends.gce.session import ApiError
from pytest_capacity.engine import Engine
from pytest_capacity.errors import CapacityError
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup
from pytest_capacity.testing import Bench
from pytest_capacity.testing.scaling import Scaler
from tests.backends.gce.lab import DB, ZONES, GceLab
from tests.emulator.gce.wire import Exchange

PATIENCE = 60.0
FREE = NodeGroup(name="db", count=1, instance_type="n2-standard-2", reserve=False)
OLD, NEW = "n2-standard-2", "n2-standard-4"


def standing(bench: Bench, *groups: NodeGroup, **keys: Any) -> tuple[Engine, Backend]:
    """An engine whose topology stands, and a backend of its request."""
    engine = bench.engine(bench.lab.request(*groups, **keys))
    engine.provision("default")
    return engine, bench.lab.backend(engine.request)


def held(engine: Engine, kind: str) -> Held:
    """The first thing of a kind."""
    return next(one for one in engine.run_state.held() if one.kind == kind)


def until(backend: Backend, one: Held, state: str = "", power: str | None = None) -> Held:
    """Look until it is so."""
    end = time.monotonic() + PATIENCE
    while True:
        (one,) = backend.refresh([one])
        if (not state or one.state == state) and (power is None or one.facts.get("power", "") == power):
            return one
        assert time.monotonic() < end, one
        time.sleep(0.02)


def larger(lab: GceLab, zone: str, name: str = "larger") -> None:
    """A reservation for the new type."""
    lab.backend(lab.request())._session.call(  # type: ignore[attr-defined]
        "reservations.insert",
        {"zone": zone},
        body={
            "name": name,
            "specificReservationRequired": True,
            "specificReservation": {"count": "2", "instanceProperties": {"machineType": NEW}},
        },
    )


def test_a_reservation_that_is_resized_is_not_ready(bench: Bench, lab: GceLab) -> None:
    """Until the operation has ended; its count is the one that the cloud has."""
    engine, backend = standing(bench, DB)
    reservation = held(engine, "reservation")
    lab.emulator.weather(operation_s=60)
    changed = backend.change(reservation, Change(count=4, instance_type=OLD))
    assert [(one.state, one.count) for one in (changed, *backend.refresh([changed]))] == [("creating", 2)] * 2
    lab.emulator.weather(clock={"advance_s": 61})
    now = until(backend, changed, "ready")
    assert (now.count, now.facts["available"], now.subject) == (4, "2", reservation.subject)
    lab.emulator.weather(operation_s=0)
    bench.give_back(engine)


def test_a_growth_without_capacity_fails_late_and_stays_so(bench: Bench, lab: GceLab) -> None:
    """By its operation alone, look after look, until the old count is asked for; the reservation is as it was."""
    lab.emulator.weather(stock={ZONES[0]: {OLD: 3}})
    engine, backend = standing(bench, DB)
    changed = backend.change(held(engine, "reservation"), Change(count=4, instance_type=OLD))
    failed = until(backend, changed, "failed")
    for now in (failed, *backend.refresh([failed])):
        assert (now.state, now.count) == ("failed", 2)
        found = backend.diagnose(now)
        assert (found.kind, found.step) == ("capacity-zone", "move-on")
        assert found.code.startswith("ZONE_RESOURCE_POOL_EXHAUSTED")
    back = until(backend, backend.change(failed, Change(count=2, instance_type=OLD)), "ready")
    assert (back.count, back.problem, back.parts) == (2, "", ())
    bench.give_back(engine)


@pytest.mark.parametrize("how", ["stock", "fault", "refusal"])
def test_a_reservation_that_cannot_grow_leaves_the_group_as_it_was(bench: Bench, lab: GceLab, how: str) -> None:
    """Whether its operation says so or the call itself: no node is launched, and the old count is asked for."""
    engine, _ = standing(bench, DB)
    before = engine.run_state.placed["default"].nodes["db"]
    fault = {"operation": "reservations.resize", "error": "ZONE_RESOURCE_POOL_EXHAUSTED", "times": 1}
    if how == "stock":
        lab.emulator.weather(stock={ZONES[0]: {OLD: 1}})
    else:
        lab.emulator.weather(faults=[{**fault, "late": how == "fault"}])
    scaler = Scaler(bench, engine)
    (request,) = scaler.ask("db", count=4)
    assert request.outcome == "failed"
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in request.reason
    assert "as it was before" in request.reason
    assert engine.run_state.placed["default"].nodes["db"] == before
    assert lab.calls().count("instances.insert") + lab.calls().count("instances.bulkInsert") == 1
    assert [one.count for one in engine.run_state.held() if one.kind == "reservation"] == [2]
    lab.emulator.weather(stock={}, faults=[])
    (request,) = scaler.ask("db", count=3)
    assert request.outcome == "successful", request.reason
    bench.give_back(engine)


def test_a_group_with_local_disks_is_changed_where_they_may_go(
    bench: Bench, lab: GceLab, exchanges: list[Exchange]
) -> None:
    """Refused without a change otherwise; what becomes of them is said when a node is stopped."""
    engine, _ = standing(bench, replace(DB, cloud={"local_ssds": 2}))
    scaler, before = Scaler(bench, engine), list(lab.calls())
    with pytest.raises(CapacityError, match=r"local SSDs .* lose_local_disks"):
        scaler.ask("db", instance_type=NEW, mode="in_place")
    assert set(lab.calls()[len(before) :]) <= {"machineTypes.aggregatedList"}
    (request,) = scaler.ask("db", instance_type=NEW, mode="in_place", lose_local_disks=True)
    assert request.outcome == "successful", request.reason
    assert len([one for one in exchanges if "/stop?" in one.url and "discardLocalSsd=true" in one.url]) == 2
    bodies = [one.body for one in exchanges if one.method == "reservations.insert"]
    assert len(bodies[-1]["specificReservation"]["instanceProperties"]["localSsds"]) == 2
    bench.give_back(engine)


def test_a_node_gets_another_type_and_reservation(bench: Bench, lab: GceLab, exchanges: list[Exchange]) -> None:
    """Stopped, changed, started: the same machine, of the new type, in the reservation that was named."""
    engine, backend = standing(bench, replace(DB, count=1))
    node = held(engine, "node")
    lab.emulator.weather(stop_s=600)
    stopping = backend.change(node, Change(running=False))
    (seen,) = backend.refresh([stopping])
    assert seen.facts.get("power") is None
    lab.emulator.weather(clock={"advance_s": 600})
    off = until(backend, stopping, power="off")
    assert "reservation_id" not in off.facts
    larger(lab, node.zone)
    changed = backend.change(off, Change(instance_type=NEW, reservation_id="larger"))
    assert [one.body for one in exchanges if one.method == "instances.setMachineType"] == [
        {"machineType": f"zones/{node.zone}/machineTypes/{NEW}"}
    ]
    on = until(backend, backend.change(changed, Change(running=True)), "ready")
    assert (on.id, on.facts["incarnation"]) == (node.id, node.facts["incarnation"])
    assert (on.facts["instance_type"], on.facts["reservation_id"]) == (NEW, "larger")
    assert "power" not in on.facts
    lab.emulator.weather(stop_s=0)
    assert engine.release(lambda: False).clean


def test_what_is_so_already_is_asked_for_without_harm(bench: Bench, lab: GceLab) -> None:
    """A second stop, a second start; of the type only what is left to do is called for."""
    engine, backend = standing(bench, FREE)
    node = held(engine, "node")
    assert until(backend, backend.change(node, Change(running=True)), "ready").id == node.id
    off = until(backend, backend.change(node, Change(running=False)), power="off")
    assert until(backend, backend.change(off, Change(running=False)), power="off").id == node.id
    fault = {"operation": "instances.update", "error": "resourceNotReady", "http": 400, "times": 1}
    lab.emulator.weather(faults=[fault])
    to = Change(instance_type=NEW, reservation_id="")
    larger(lab, node.zone)
    aimed = replace(to, reservation_id="larger")
    with pytest.raises(ApiError) as caught:
        backend.change(off, aimed)
    assert backend.diagnose(caught.value).step == "back-off"
    for _ in range(2):
        backend.change(off, aimed)
    assert lab.calls().count("instances.setMachineType") == 1
    assert lab.calls().count("instances.update") == 2
    backend.change(off, to)
    assert lab.calls().count("instances.update") == 3
    on = until(backend, backend.change(off, Change(running=True)), "ready")
    assert (on.facts["instance_type"], on.facts.get("reservation_id")) == (NEW, None)
    assert engine.release(lambda: False).clean


def test_a_node_without_reservation_takes_no_place_in_one(bench: Bench, lab: GceLab, exchanges: list[Exchange]) -> None:
    """Before and after: another team's automatic reservation for the new type is left alone."""
    engine, backend = standing(bench, FREE)
    off = until(backend, backend.change(held(engine, "node"), Change(running=False)), power="off")
    for _ in range(2):
        backend.change(off, Change(instance_type=NEW, reservation_id=""))
    assert not [one for one in exchanges if one.method == "instances.update"]
    told = [one.answer["reservationAffinity"] for one in exchanges if one.method == "instances.get"]
    assert told[-1] == {"consumeReservationType": "NO_RESERVATION"}
    bench.give_back(engine)


def test_an_automatic_reservation_is_consumed_automatically(bench: Bench, exchanges: list[Exchange]) -> None:
    """Ours is not one that can be named."""
    engine, backend = standing(bench, replace(DB, count=1), settings={"reservation": "automatic"})
    off = until(backend, backend.change(held(engine, "node"), Change(running=False)), power="off")
    backend.change(off, Change(instance_type=OLD, reservation_id=held(engine, "reservation").id))
    assert not [one for one in exchanges if one.method == "instances.update"]
    on = until(backend, backend.change(off, Change(running=True)), "ready")
    assert on.facts["reservation_id"] == held(engine, "reservation").id
    bench.give_back(engine)


def test_an_existing_reservation_is_named_with_its_project(lab: GceLab) -> None:
    """Where another project shares it; one that the user has not named is our own."""
    links = ("projects/other/zones/z/reservations/theirs", "projects/me/zones/z/reservations/mine", "plain")
    wanted = lab.request(DB, use_reservations=links)
    named = {name: affinity_of(wanted, "me", name) for name in ("theirs", "mine", "plain", "pc-1")}
    assert named == {"theirs": "projects/other/reservations/theirs", "mine": "mine", "plain": "plain", "pc-1": ""}


def test_a_start_that_finds_no_capacity_leaves_the_node_off(bench: Bench, lab: GceLab) -> None:
    """And says why, look after look; once there is some, it starts."""
    engine, backend = standing(bench, FREE)
    off = until(backend, backend.change(held(engine, "node"), Change(running=False)), power="off")
    lab.emulator.weather(stock={zone: {"*": 0} for zone in ZONES})
    # What another keeper has read of it need not say that it is off.
    known = replace(off, facts={key: value for key, value in off.facts.items() if key != "power"})
    failed = until(backend, backend.change(known, Change(running=True)), "failed", "off")
    for now in (failed, *backend.refresh([failed])):
        assert now.facts["power"] == "off"
        assert backend.diagnose(now).kind == "capacity-zone"
    lab.emulator.weather(stock={})
    until(backend, backend.change(failed, Change(running=True)), "ready", "")
    bench.give_back(engine)


def test_a_disk_grows_while_its_node_runs(bench: Bench, lab: GceLab) -> None:
    """It is as large as asked for when the operation has ended; one that is large enough is left alone."""
    engine, backend = standing(bench, DB)
    disks = scaling_of(backend)[0].disks
    nodes = [one for one in engine.run_state.held() if one.kind == "node"]
    assert list(disks(nodes)) == [10, 10]
    lab.emulator.weather(operation_s=60)
    backend.change(nodes[0], Change(disk_gb=25))
    assert list(disks(nodes)) == [10, 10]
    lab.emulator.weather(clock={"advance_s": 61})
    assert list(disks(nodes)) == [25, 10]
    assert list(disks([])) == []
    assert list(disks([replace(nodes[0], id="another"), nodes[0]])) == [0, 25]
    for size in (25, 20):
        backend.change(nodes[0], Change(disk_gb=size))
    assert lab.calls().count("disks.resize") == 1
    lab.emulator.weather(operation_s=0)
    bench.give_back(engine)


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("node", Change(count=2)),
        ("node", Change(instance_type=NEW)),
        ("node", Change(reservation_id="r")),
        ("node", Change(running=True, disk_gb=20)),
        ("node", Change(instance_type=NEW, reservation_id="r", running=True)),
        ("node", Change()),
        ("reservation", Change(deadline=2e9)),
        ("reservation", Change(count=2, deadline=2e9)),
        ("reservation", Change(running=False)),
        ("disk", Change(disk_gb=20)),
    ],
)
def test_what_cannot_be_set_is_refused_before_any_call(lab: GceLab, kind: str, to: Change) -> None:
    """With what was asked for."""
    thing = Held(kind=kind, id="x", region="us-central1", zone=ZONES[0], state="ready")
    with pytest.raises(ValueError, match=f"{kind} x: Compute Engine cannot change"):
        lab.backend(lab.request()).change(thing, to)
    assert lab.calls() == []


SSD = NodeGroup(name="db", count=1, instance_type="n2-standard-2", cloud={"local_ssds": 1})
BUILT_IN = NodeGroup(name="db", count=1, instance_type="c3-standard-4-lssd")
BOARD = NodeGroup(name="db", count=1, instance_type="n1-standard-4", cloud={"accelerators": {"nvidia-tesla-t4": 1}})
NEAR = NodeGroup(name="db", count=1, instance_type="n2-standard-2", placement_group=True)


@pytest.mark.parametrize(
    ("group", "change", "found"),
    [
        (DB, {"instance_type": NEW, "mode": "in_place"}, []),
        (DB, {"instance_type": NEW}, []),
        (DB, {"count": 3}, []),
        (DB, {"disk_gb": 100}, []),
        (DB, {"disk_gb": 70000}, [("unsupported", "a disk has at most 65536 GB")]),
        (
            DB,
            {"instance_type": "n9-standard-2"},
            [("unknown-type", "Compute Engine has no machine type n9-standard-2")],
        ),
        (
            DB,
            {"instance_type": "t2a-standard-2", "mode": "in_place"},
            [("architecture", "t2a-standard-2 is ARM64, and n2-standard-2 is X86_64")],
        ),
        (DB, {"instance_type": "t2a-standard-2"}, []),
        (
            SSD,
            {"instance_type": NEW, "mode": "in_place", "lose_local_disks": True},
            [("local-disks", "its nodes have local SSDs (n2-standard-2), whose data is lost when they are stopped")],
        ),
        (SSD, {"instance_type": NEW}, []),
        (
            SSD,
            {"instance_type": "e2-standard-4"},
            [("unsupported", "local_ssds is 1, and e2-standard-4 takes none")],
        ),
        (
            BUILT_IN,
            {"instance_type": "c3-standard-8-lssd", "mode": "in_place"},
            [
                (
                    "local-disks",
                    "its nodes have local SSDs (c3-standard-4-lssd), whose data is lost when they are stopped",
                )
            ],
        ),
        (
            DB,
            {"instance_type": "c3-standard-4-lssd", "mode": "in_place"},
            [
                (
                    "unsupported",
                    "of n2-standard-2 and c3-standard-4-lssd one has local SSDs built in, and the other has none",
                )
            ],
        ),
        (DB, {"instance_type": "c3-standard-4-lssd"}, []),
        (BOARD, {"instance_type": NEW}, [("unsupported", "n2-standard-4 takes no accelerators")]),
        (BOARD, {"instance_type": "n1-standard-8", "mode": "in_place"}, []),
        (NEAR, {"instance_type": "e2-standard-4"}, [("unsupported", "e2-standard-4 cannot be placed compactly")]),
    ],
)
def test_what_stands_against_a_change(
    lab: GceLab, group: NodeGroup, change: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    """By one list at most, and no call that changes anything."""
    backend = lab.backend(lab.request(group))
    wanted = NodeChange(topology="default", group="db", **change)
    assert [(one.kind, one.words) for one in scaling_of(backend)[0].obstacles(wanted, group, [])] == found
    assert lab.calls() == (["machineTypes.aggregatedList"] if "instance_type" in change else [])
