"""What of a node group that stands can be changed (reservations, nodes, disks), and what cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from oci.exceptions import ServiceError

from pytest_capacity.backends.oci.backend import OciBackend
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup, Placement, Request
from pytest_capacity.testing.bench import benched
from pytest_capacity.testing.scaling import Scaler
from tests.backends.oci.runs import DB, DOMAINS, FIXED, LOADER, OTHER, REGION, SETTINGS, SHAPE, OciLab, request
from tests.backends.oci.test_backend import made, only, opened, read
from tests.emulated import Emulator

ARM = "VM.Standard.A1.Flex"
DENSE = "VM.DenseIO.E4.Flex"
LARGER = "VM.Standard2.4"


def reservation_of(backend: OciBackend, asked: Request) -> Held:
    return only(made(backend, asked, launch=False), "reservation")


def settled(emulator: Emulator, backend: OciBackend, held: Held) -> Held:
    """A thing once the cloud has done what it was asked for."""
    emulator.weather(clock={"advance_s": 300})
    (now,) = backend.refresh([held])
    return now


# -- reservations --------------------------------------------------------------------------------------------------


def test_a_reservation_grows_and_shrinks(emulator: Emulator) -> None:
    """It is being changed until its work request is done; then it has the new count, and all else as before."""
    asked = request(emulator, DB)
    backend = opened(asked)
    reservation = reservation_of(backend, asked)
    emulator.weather(pending_s=300)
    growing = backend.change(reservation, Change(count=5, instance_type=SHAPE))
    (now,) = backend.refresh([growing])
    assert (growing.state, now.state, now.count) == ("creating", "creating", 2)
    grown = settled(emulator, backend, now)
    assert (grown.state, grown.count, grown.subject) == ("ready", 5, reservation.subject)
    (config,) = read(backend, grown, "/computeCapacityReservations")["instanceReservationConfigs"]
    assert config["instanceShapeConfig"] == {"ocpus": 4.0, "memoryInGBs": 64.0}
    less = settled(emulator, backend, backend.change(grown, Change(count=1)))
    assert (less.state, less.count) == ("ready", 1)


def test_a_reservation_of_several_shapes_grows_by_one(emulator: Emulator) -> None:
    """The count is of all together; what is more is of the shape that is named, and the others stay."""
    asked = request(emulator)
    backend = opened(asked)
    reservation = reservation_of(backend, asked)

    def counts(held: Held) -> dict[str, int]:
        configs = read(backend, held, "/computeCapacityReservations")["instanceReservationConfigs"]
        return {one["instanceShape"]: one["reservedCount"] for one in configs}

    (grown,) = backend.refresh([backend.change(reservation, Change(count=6, instance_type=FIXED))])
    assert (grown.state, grown.count, counts(grown)) == ("ready", 6, {SHAPE: 2, FIXED: 4})
    (again,) = backend.refresh([backend.change(grown, Change(count=6, instance_type=FIXED))])
    assert (again.count, counts(again)) == (6, {SHAPE: 2, FIXED: 4})
    (less,) = backend.refresh([backend.change(again, Change(count=2, instance_type=FIXED))])
    assert (less.count, counts(less)) == (2, {SHAPE: 2})
    (back,) = backend.refresh([backend.change(less, Change(count=3, instance_type=FIXED))])
    assert (back.count, counts(back)) == (3, {SHAPE: 2, FIXED: 1})


def test_a_count_that_does_not_say_of_what(emulator: Emulator) -> None:
    """Several configurations have no single count, and a shape that is in none has none, either."""
    asked = request(emulator)
    backend = opened(asked)
    reservation = reservation_of(backend, asked)
    for change, words in (
        (Change(count=5), "2 configurations, and one count"),
        (Change(count=5, instance_type=OTHER), "0 configurations of VM"),
        (Change(count=1, instance_type=FIXED), "holds more than 1 for other shapes"),
    ):
        with pytest.raises(ValueError, match=words):
            backend.change(reservation, change)
    assert emulator.calls("UpdateComputeCapacityReservation") == []


def test_growth_without_capacity_is_refused(emulator: Emulator) -> None:
    """It is a lack of capacity, and the reservation is as before."""
    asked = request(emulator, DB)
    backend = opened(asked)
    reservation = reservation_of(backend, asked)
    emulator.weather(stock={DOMAINS[0]: {SHAPE: 3}})
    with pytest.raises(ServiceError) as refused:
        backend.change(reservation, Change(count=4, instance_type=SHAPE))
    assert backend.diagnose(refused.value).kind == "capacity-zone"
    (now,) = backend.refresh([reservation])
    assert (now.state, now.count) == ("ready", 2)


def test_growth_that_fails_later_says_why(emulator: Emulator) -> None:
    """The reservation is active as before, so the work request tells; asked for the old count it is ready again."""
    asked = request(emulator, DB)
    backend = opened(asked)
    reservation = reservation_of(backend, asked)
    out = {"error": "InternalError", "message": "Out of host capacity.", "late": True, "times": 1}
    emulator.weather(pending_s=300, faults=[{"operation": "UpdateComputeCapacityReservation", **out}])
    growing = backend.change(reservation, Change(count=5, instance_type=SHAPE))
    (waiting,) = backend.refresh([growing])
    failed = settled(emulator, backend, waiting)
    assert (waiting.state, failed.state, failed.count) == ("creating", "failed", 2)
    assert backend.diagnose(failed).kind == "capacity-zone"
    back = settled(emulator, backend, backend.change(failed, Change(count=2, instance_type=SHAPE)))
    assert (back.state, back.count, back.problem) == ("ready", 2, "")


def test_a_deadline_does_not_change_the_state(emulator: Emulator) -> None:
    """A renewal is an update, too, and no reason to wait for the reservation."""
    asked = request(emulator, DB)
    backend = opened(asked)
    reservation = reservation_of(backend, asked)
    emulator.weather(pending_s=300)
    assert backend.change(reservation, Change(deadline=1_900_001_000.0)).state == "ready"
    assert backend.refresh([reservation])[0].state == "ready"


@pytest.mark.parametrize("fault_domain", ["", ".FAULT-DOMAIN-2"])
def test_a_shape_comes_back_as_it_was(emulator: Emulator, fault_domain: str) -> None:
    """A configuration that was left out has its size, fault domain and cluster placement group again."""
    asked = request(emulator, replace(DB, placement_group=True), LOADER)
    backend = opened(asked)
    place = Placement(REGION, f"{DOMAINS[0]}{fault_domain}")
    reservation = only(made(backend, asked, launch=False, placement=place), "reservation")
    before = read(backend, reservation, "/computeCapacityReservations")["instanceReservationConfigs"]
    (less,) = backend.refresh([backend.change(reservation, Change(count=1, instance_type=SHAPE))])
    (back,) = backend.refresh([backend.change(less, Change(count=3, instance_type=SHAPE))])
    after = read(backend, back, "/computeCapacityReservations")["instanceReservationConfigs"]
    assert sorted(before, key=str) == sorted(after, key=str)
    assert any(one.get("clusterPlacementGroupId") for one in after)


# -- groups that share a reservation -------------------------------------------------------------------------------


def test_a_group_leaves_a_shared_reservation_and_comes_back(emulator: Emulator, tmp_path: Path) -> None:
    """Two groups are in one reservation: the other one's part stays as it is, whatever becomes of the first."""
    lab = OciLab(emulator)
    with benched(lab, tmp_path) as bench:
        engine = bench.engine(lab.request())
        engine.provision("default")
        scaler = Scaler(bench, engine)

        def standing() -> dict[str, dict[str, int]]:
            backend = opened(engine.request)
            listed = list(backend.inventory("run-1", (REGION,)))
            reservations = [one for one in listed if isinstance(one, Held) and one.kind == "reservation"]
            configs = [read(backend, one, "/computeCapacityReservations") for one in reservations]
            return {
                one["id"]: {
                    config["instanceShape"]: config["usedCount"]
                    for config in one["instanceReservationConfigs"]
                    if config["usedCount"] == config["reservedCount"]
                }
                for one in configs
            }

        ((shared, first),) = standing().items()
        assert first == {SHAPE: 2, FIXED: 1}
        for change, wanted in (
            ({"count": 3}, {SHAPE: 3, FIXED: 1}),
            ({"instance_type": OTHER}, {FIXED: 1}),
            ({"instance_type": SHAPE, "mode": "in_place"}, {SHAPE: 3, FIXED: 1}),
            ({"instance_type": OTHER, "mode": "in_place"}, {FIXED: 1}),
            ({"instance_type": SHAPE}, {SHAPE: 3, FIXED: 1}),
            ({"count": 1}, {SHAPE: 1, FIXED: 1}),
        ):
            (operation,) = scaler.ask("db", **change)
            assert operation.outcome == "successful", operation.reason
            now = standing()
            assert now.pop(shared) == wanted
            assert list(now.values()) == ([] if SHAPE in wanted else [{OTHER: 3}])
        bench.give_back(engine)
        assert emulator.held() == []


# -- nodes ---------------------------------------------------------------------------------------------------------


def test_a_node_is_changed_while_it_is_off(emulator: Emulator) -> None:
    """Stopped by its operating system, given shape and reservation by one update, and started in the new one."""
    asked = request(emulator, replace(DB, count=1))
    backend = opened(asked)
    helds = made(backend, asked)
    node = only(helds, "node")
    larger = reservation_of(backend, request(emulator, replace(DB, count=1, instance_type=LARGER), run="larger"))
    emulator.weather(stop_s=200, boot_s=200)
    backend.change(node, Change(running=False))
    (stopping,) = backend.refresh([node])
    assert "power" not in stopping.facts
    backend.change(stopping, Change(running=False))
    off = settled(emulator, backend, stopping)
    assert (off.facts["power"], off.facts["reservation_id"]) == ("off", only(helds, "reservation").id)
    changed = backend.change(off, Change(instance_type=LARGER, reservation_id=larger.id))
    assert (changed.facts["instance_type"], changed.facts["reservation_id"]) == (LARGER, larger.id)
    starting = backend.change(changed, Change(running=True))
    assert backend.change(starting, Change(running=True)).state == "creating"
    on = settled(emulator, backend, starting)
    assert (on.state, on.id, on.facts["private_ip"]) == ("ready", node.id, node.facts["private_ip"])
    assert (on.facts["instance_type"], on.facts["reservation_id"]) == (LARGER, larger.id)
    assert "power" not in on.facts
    assert "shapeConfig" not in read(backend, on, "/instances")
    assert len(emulator.calls("InstanceAction")) == 2
    assert len(emulator.calls("UpdateInstance")) == 1


def test_a_node_leaves_its_reservation(emulator: Emulator) -> None:
    """With an empty id it takes no place in any; of a flexible shape the size goes along."""
    asked = request(emulator, replace(DB, count=1, cloud={"ocpus": 2.0, "memory_gb": 20.0}))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    backend.change(node, Change(running=False))
    backend.change(node, Change(instance_type=OTHER, reservation_id=""))
    backend.change(node, Change(running=True))
    (now,) = backend.refresh([node])
    assert (now.state, now.facts["instance_type"]) == ("ready", OTHER)
    assert "reservation_id" not in now.facts
    assert read(backend, now, "/instances")["shapeConfig"] == {"ocpus": 2.0, "memoryInGBs": 20.0}


def test_a_node_that_runs_is_not_changed(emulator: Emulator) -> None:
    """Oracle would restart it for the new shape: it is refused, and asked for again later."""
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    with pytest.raises(ServiceError) as refused:
        backend.change(node, Change(instance_type=OTHER, reservation_id=""))
    assert backend.diagnose(refused.value).step == "back-off"
    assert read(backend, node, "/instances")["shape"] == SHAPE


def test_a_reservation_without_room_for_the_new_shape(emulator: Emulator) -> None:
    """The node's own reservation is of the old shape: what Oracle says is a full reservation."""
    asked = request(emulator, replace(DB, count=1))
    backend = opened(asked)
    helds = made(backend, asked)
    node = only(helds, "node")
    backend.change(node, Change(running=False))
    with pytest.raises(ServiceError, match="does not have sufficient capacity for the new shape") as refused:
        backend.change(node, Change(instance_type=OTHER, reservation_id=only(helds, "reservation").id))
    assert backend.diagnose(refused.value).kind == "reservation-full"


def test_a_start_without_capacity_is_refused(emulator: Emulator) -> None:
    """A node that is off holds no capacity outside of a reservation."""
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    backend.change(node, Change(running=False))
    emulator.weather(stock={DOMAINS[0]: {SHAPE: 0}})
    with pytest.raises(ServiceError) as refused:
        backend.change(node, Change(running=True))
    assert backend.diagnose(refused.value).kind == "capacity-zone"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("node", Change(count=2)),
        ("node", Change(instance_type=OTHER)),
        ("node", Change(running=True, disk_gb=100)),
        ("node", Change(running=True, deadline=1_900_001_000.0)),
        ("reservation", Change(instance_type=OTHER)),
        ("reservation", Change(disk_gb=100)),
        ("reservation", Change(running=False)),
        ("network", Change(count=1)),
    ],
)
def test_what_cannot_be_changed_is_refused_before_any_call(emulator: Emulator, kind: str, change: Change) -> None:
    """What OCI has no call for is a mistake of ours."""
    asked = request(emulator, DB)
    backend = opened(asked)
    held = only(made(backend, asked), kind)
    before = len(emulator.calls())
    with pytest.raises(ValueError, match="at OCI"):
        backend.change(held, change)
    assert len(emulator.calls()) == before


# -- disks ---------------------------------------------------------------------------------------------------------


def test_disks_grow(emulator: Emulator) -> None:
    """The boot volume of each node by itself; while it is being changed it has no size; as large is left alone."""
    asked = request(emulator, replace(DB, reserve=False), settings=replace(SETTINGS, boot_volume_gb=60))
    backend = opened(asked)
    nodes = [held for held in made(backend, asked) if held.kind == "node"]
    assert backend.disks(nodes) == [60, 60]
    emulator.weather(pending_s=300)
    backend.change(nodes[1], Change(disk_gb=100))
    assert backend.disks(nodes) == [60, 0]
    emulator.weather(clock={"advance_s": 300})
    assert backend.disks(nodes) == [60, 100]
    assert backend.disks(nodes[1:]) == [100]
    backend.change(nodes[1], Change(disk_gb=100))
    backend.change(nodes[1], Change(disk_gb=80))
    assert len(emulator.calls("UpdateBootVolume")) == 1
    backend.release(nodes[:1])
    assert backend.disks(nodes) == [0, 100]
    with pytest.raises(ValueError, match="has no boot volume"):
        backend.change(nodes[0], Change(disk_gb=100))


# -- obstacles -----------------------------------------------------------------------------------------------------


def kinds_of(emulator: Emulator, group: NodeGroup, settings: Any = SETTINGS, **wanted: Any) -> list[str]:
    """The kinds of what stands against a change of a group, whose nodes are there."""
    asked = request(emulator, group, settings=settings)
    backend = opened(asked)
    facts = {f"image/db/{group.instance_type}": "ocid1.image.oc1.iad.aaaaaaaaoraclelinux96202610200"}
    nodes = [held for held in made(backend, asked, facts=facts) if held.kind == "node"]
    before = len(emulator.calls())
    found = backend.obstacles(NodeChange(topology="default", group="db", **wanted), group, nodes)
    calls = emulator.calls()[before:]
    assert {call["operation"] for call in calls} <= {"ListShapes"}
    assert all(obstacle.words for obstacle in found)
    return [obstacle.kind for obstacle in found]


@pytest.mark.parametrize(
    ("standing", "wanted", "kinds"),
    [
        (SHAPE, {"count": 5}, []),
        (SHAPE, {"instance_type": OTHER}, []),
        (SHAPE, {"instance_type": ARM}, []),
        (SHAPE, {"instance_type": "VM.Standard9.Flex"}, ["unknown-type"]),
        (SHAPE, {"instance_type": OTHER, "mode": "in_place"}, []),
        (SHAPE, {"instance_type": ARM, "mode": "in_place"}, ["architecture"]),
        (SHAPE, {"instance_type": DENSE, "mode": "in_place"}, ["unsupported"]),
        (SHAPE, {"instance_type": "VM.Standard9.Flex", "mode": "in_place"}, ["unknown-type"]),
        (DENSE, {"instance_type": SHAPE, "mode": "in_place"}, ["local-disks", "unsupported"]),
        (DENSE, {"instance_type": SHAPE, "mode": "in_place", "lose_local_disks": True}, ["local-disks", "unsupported"]),
        (DENSE, {"instance_type": SHAPE}, []),
        (SHAPE, {"disk_gb": 100}, []),
        (SHAPE, {"disk_gb": 40000}, ["unsupported"]),
    ],
)
def test_obstacles(emulator: Emulator, standing: str, wanted: dict[str, Any], kinds: list[str]) -> None:
    """By Oracle's own lists of shapes, in one round of reads: what there is, and what the nodes' image can boot."""
    group = replace(DB, count=1, reserve=False, instance_type=standing)
    settings = replace(SETTINGS, ocpus=8.0, memory_gb=128.0)
    assert kinds_of(emulator, group, settings, **wanted) == kinds


def test_what_oci_can(emulator: Emulator) -> None:
    """All of it."""
    backend = opened(request(emulator, DB, LOADER))
    assert backend.scaling == {"count", "replace", "in-place", "storage"}
    assert REGION in backend.regions()
