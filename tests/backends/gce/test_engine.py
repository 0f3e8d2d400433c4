"""The engine over an emulated GCE: what is asked for, what is refused late, what is left."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.gce.plan import NO_REGIONAL
from pytest_capacity.backends.gce.stamp import run_prefix
from pytest_capacity.backends.times import format_time
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.errors import Exhausted
from pytest_capacity.journal import PassingJournal
from pytest_capacity.model import Change, Fallback, NodeGroup
from pytest_capacity.report import tables
from pytest_capacity.report.render import attempt_lines
from pytest_capacity.testing import Bench
from tests.backends.gce.lab import DB, REGION, ZONES, GceLab
from tests.emulated import rounds
from tests.emulator.gce.wire import Exchange

FREE = NodeGroup(name="db", count=5, instance_type="n2-standard-2", reserve=False)
SPOT = NodeGroup(name="db", count=3, instance_type="n2-standard-2", market="spot")


def standing(bench: Bench, *groups: NodeGroup, **keys: Any) -> Engine:
    """An engine whose topology stands."""
    lab = bench.lab
    assert isinstance(lab, GceLab)
    engine = bench.engine(lab.request(*groups, **keys))
    engine.provision("default")
    return engine


def bodies(exchanges: list[Exchange], method: str) -> list[Any]:
    """What was sent to a method."""
    return [one.body for one in exchanges if one.method == method]


def test_what_a_reservation_says(bench: Bench, exchanges: list[Exchange]) -> None:
    """One a shape, consumed by name only, deleted by itself at the hard end, stamped in name and description."""
    engine = standing(bench)
    found = {one["specificReservation"]["count"]: one for one in bodies(exchanges, "reservations.insert")}
    db = found["2"]
    assert db["specificReservation"]["instanceProperties"] == {"machineType": "n2-standard-2"}
    assert db["specificReservationRequired"] is True
    assert db["name"].startswith("pc-")
    assert '"run":"run-1"' in db["description"]
    assert db["deleteAtTime"] == format_time(engine.hard_end)
    assert db["name"].startswith(run_prefix("run-1"))
    held = next(held for held in engine.run_state.held() if held.id == db["name"])
    assert held.deadline == pytest.approx(engine.hard_end, abs=1)
    assert engine.ends([held]).until == held.deadline
    bench.give_back(engine)


def test_what_a_machine_says(bench: Bench, exchanges: list[Exchange]) -> None:
    """Its reservation by name, its end, its labels; its disk goes with it."""
    engine = standing(bench)
    (bulk,) = bodies(exchanges, "instances.bulkInsert")
    (single,) = bodies(exchanges, "instances.insert")
    reservation = next(held.id for held in engine.run_state.held() if held.kind == "reservation" and held.group == "db")
    machine = bulk["instanceProperties"]
    assert (bulk["count"], bulk["minCount"], len(bulk["perInstanceProperties"])) == ("2", "2", 2)
    assert machine["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": [reservation],
    }
    assert machine["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert machine["scheduling"]["terminationTime"]
    assert machine["labels"]["pytest-capacity-run"] == "run-1"
    assert machine["disks"][0]["autoDelete"] is True
    assert machine["machineType"] == "n2-standard-2"
    assert single["machineType"] == "zones/us-central1-a/machineTypes/e2-standard-4"
    placed = engine.run_state.placed["default"]
    assert {node.reservation_id for node in placed.nodes["db"]} == {reservation}
    assert [node.name for node in placed.nodes["db"]] == ["db-0", "db-1"]
    bench.give_back(engine)


def test_a_machine_without_reservation_says_so(bench: Bench, exchanges: list[Exchange]) -> None:
    """Nothing sits down in an automatic reservation of another team."""
    engine = standing(bench, FREE)
    (bulk,) = bodies(exchanges, "instances.bulkInsert")
    assert bulk["instanceProperties"]["reservationAffinity"] == {"consumeReservationType": "NO_RESERVATION"}
    assert not bodies(exchanges, "reservations.insert")
    bench.give_back(engine)


def test_an_automatic_reservation(bench: Bench, exchanges: list[Exchange]) -> None:
    """The seeds' "shared": any machine of the project may consume it, and ours do."""
    engine = standing(bench, DB, settings={"reservation": "automatic", "share_with": ["other-project"]})
    (reservation,) = bodies(exchanges, "reservations.insert")
    assert reservation["specificReservationRequired"] is False
    assert reservation["shareSettings"]["projectMap"] == {"other-project": {"projectId": "other-project"}}
    assert {node.reservation_id for node in engine.run_state.placed["default"].nodes["db"]} == {reservation["name"]}
    bench.give_back(engine)


def test_all_that_a_group_can_ask_for(bench: Bench, exchanges: list[Exchange]) -> None:
    """Local SSDs, accelerators and the CPU platform stand in reservation and machine alike."""
    own = {
        "local_ssds": 2,
        "min_cpu_platform": "Intel Skylake",
        "accelerators": {"nvidia-tesla-t4": 1},
        "public_ip": True,
        "disk_gb": 50,
        "disk_type": "pd-ssd",
        "network_tags": ["ssh"],
        "service_account": "tests@emulated-project.iam.gserviceaccount.com",
        "scopes": ["https://www.googleapis.com/auth/devstorage.read_only"],
        "labels": {"team": "storage"},
        "shielded_vm": True,
        "subnets": "default",
        "local_ssd_interface": "SCSI",
        "image": "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64",
    }
    script = "#!/bin/sh\ntrue\n"
    group = NodeGroup(name="gpu", count=1, instance_type="n1-standard-8", reserve=True, cloud=own, user_data=script)
    engine = standing(bench, group)
    (reservation,) = bodies(exchanges, "reservations.insert")
    (machine,) = bodies(exchanges, "instances.insert")
    assert reservation["specificReservation"]["instanceProperties"] == {
        "machineType": "n1-standard-8",
        "minCpuPlatform": "Intel Skylake",
        "localSsds": [{"diskSizeGb": "375", "interface": "SCSI"}] * 2,
        "guestAccelerators": [{"acceleratorType": "nvidia-tesla-t4", "acceleratorCount": 1}],
    }
    assert machine["scheduling"]["onHostMaintenance"] == "TERMINATE"
    assert machine["tags"] == {"items": ["ssh"]}
    assert machine["serviceAccounts"] == [{"email": own["service_account"], "scopes": own["scopes"]}]
    assert set(machine["shieldedInstanceConfig"].values()) == {True}
    assert machine["networkInterfaces"] == [
        {
            "network": "global/networks/default",
            "subnetwork": f"regions/{REGION}/subnetworks/default",
            "accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}],
        }
    ]
    boot, local, _ = machine["disks"]
    assert boot["initializeParams"]["diskSizeGb"] == "50"
    assert boot["initializeParams"]["diskType"] == f"zones/{ZONES[0]}/diskTypes/pd-ssd"
    assert boot["initializeParams"]["labels"] == machine["labels"]
    assert local["interface"] == "SCSI"
    assert local["initializeParams"] == {"diskType": f"zones/{ZONES[0]}/diskTypes/local-ssd"}
    assert [disk["type"] for disk in machine["disks"]] == ["PERSISTENT", "SCRATCH", "SCRATCH"]
    assert machine["disks"][0]["initializeParams"]["sourceImage"].endswith("ubuntu-2404-noble-amd64-v20261018")
    assert {item["key"]: item["value"] for item in machine["metadata"]["items"]} == {"startup-script": script}
    assert machine["labels"]["team"] == "storage"
    (node,) = engine.run_state.placed["default"].nodes["gpu"]
    assert node.public_ip
    bench.give_back(engine)


def test_a_placement_group_goes_last(bench: Bench, lab: GceLab, exchanges: list[Exchange]) -> None:
    """A policy is made before what uses it, and removed after it."""
    group = NodeGroup(name="db", count=2, instance_type="n2-standard-2", reserve=True, placement_group=True)
    engine = standing(bench, group)
    (policy,) = bodies(exchanges, "resourcePolicies.insert")
    assert policy["groupPlacementPolicy"] == {"collocation": "COLLOCATED"}
    (bulk,) = bodies(exchanges, "instances.bulkInsert")
    assert bulk["instanceProperties"]["resourcePolicies"] == [policy["name"]]
    lab.emulator.weather(stop_s=0.5)
    bench.give_back(engine)
    assert not [call for call in lab.emulator.calls() if call["error"]]
    ends = [call for call in lab.calls() if call.endswith(".delete")]
    assert ends == ["instances.delete"] * 2 + ["reservations.delete", "resourcePolicies.delete"]


@pytest.mark.parametrize("dry", [1, 2, 3])
def test_dry_zones_cost_one_attempt_each(bench: Bench, lab: GceLab, dry: int) -> None:
    """k dry zones are k+1 attempts, and in each of them one call a reservation."""
    # The cloud says which zones have some, so all that are tried have none until the last.
    lab.emulator.weather(
        faults=[
            {"operation": "reservations.insert", "zone": zone, "error": "ZONE_RESOURCE_POOL_EXHAUSTED", "late": True}
            for zone in ZONES[:dry]
        ]
    )
    engine = standing(bench, DB, zones=("a", "b", "c", "f"))
    assert [one.zone for one in engine.run_state.attempts] == list(ZONES[: dry + 1])
    assert lab.calls().count("reservations.insert") == dry + 1
    assert lab.calls().count("instances.bulkInsert") == 1
    bench.give_back(engine)


def test_the_zone_that_the_cloud_names_is_tried_first(bench: Bench, lab: GceLab) -> None:
    """``zonesAvailable`` of a refusal names c, so b is left out though it stands before it."""
    lab.weather(dry=ZONES[:2])
    engine = standing(bench, DB, zones=("a", "b", "c"))
    assert [one.zone for one in engine.run_state.attempts] == [ZONES[0], ZONES[2]]
    assert engine.run_state.attempts[0].code == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    bench.give_back(engine)


def test_a_bulk_insert_is_over_when_its_rollback_is(bench: Bench, lab: GceLab, exchanges: list[Exchange]) -> None:
    """Two of five exist for a while; the attempt ends when they are gone again, and all five stand elsewhere."""
    lab.emulator.weather(stock={ZONES[0]: {"n2-standard-2": 2}}, operation_s=0.5)
    engine = standing(bench, FREE)
    assert [one.outcome for one in engine.run_state.attempts] == ["no-capacity", "placed"]
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in engine.run_state.attempts[0].code
    operations = [one.answer for one in exchanges if one.method == "zoneOperations.get" and one.answer.get("error")]
    (status,) = operations[0]["instancesBulkInsertOperationMetadata"]["perLocationStatus"].values()
    assert (status["createdVmCount"], status["deletedVmCount"]) == (2, 2)
    assert {one["zone"] for one in lab.emulator.held("instance")} == {ZONES[1]}
    bench.give_back(engine)


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        ({f"gce/{REGION}": {"N2_CPUS": 2}}, "Quota 'N2_CPUS' exceeded.  Limit: 2.0 in region us-central1."),
        ({"gce/*": {"CPUS_ALL_REGIONS": 2}}, "Quota 'CPUS_ALL_REGIONS' exceeded.  Limit: 2.0 globally."),
    ],
)
def test_a_quota_ends_its_scope(bench: Bench, lab: GceLab, quota: Any, words: str) -> None:
    """By its metric, in the cloud's words, after one attempt: another zone counts against the same."""
    lab.emulator.weather(quota=quota)
    engine = bench.engine(lab.request(DB))
    with pytest.raises(Exhausted, match="Raise the quota"):
        engine.provision("default")
    (attempt,) = engine.run_state.attempts
    assert (attempt.outcome, attempt.words) == ("quota", words)
    assert lab.calls().count("reservations.insert") == 1
    assert not lab.held()


@pytest.mark.parametrize(
    ("quota", "regions"),
    [
        ({f"gce/{REGION}": {"N2_CPUS": 2}}, [REGION, "us-east1"]),
        ({"gce/*": {"CPUS_ALL_REGIONS": 2}}, [REGION]),
    ],
)
def test_a_quota_of_the_project_ends_all_regions(bench: Bench, lab: GceLab, quota: Any, regions: list[str]) -> None:
    """One of a region leaves the next one to be tried."""
    lab.emulator.weather(quota=quota)
    engine = bench.engine(lab.request(DB, regions=(REGION, "us-east1"), zones=(), fallback=Fallback(regions=True)))
    with suppress(Exhausted):
        engine.provision("default")
    assert [one.region for one in engine.run_state.attempts] == regions
    bench.give_back(engine)


def test_spot_falls_to_on_demand(bench: Bench, lab: GceLab, exchanges: list[Exchange]) -> None:
    """In the same zone, and there into a reservation."""
    lab.emulator.weather(stock={ZONES[0]: {"spot": {"*": 0}}, ZONES[1]: {"spot": {"*": 0}}})
    engine = standing(bench, SPOT)
    placed = engine.run_state.placed["default"]
    assert (placed.zone, {node.market for node in placed.nodes["db"]}) == (ZONES[0], {"on-demand"})
    first = bodies(exchanges, "instances.bulkInsert")[0]["instanceProperties"]
    assert first["scheduling"]["provisioningModel"] == "SPOT"
    assert first["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert first["reservationAffinity"] == {"consumeReservationType": "NO_RESERVATION"}
    bench.give_back(engine)


def test_spot_is_deleted_whatever_else_ends_it(bench: Bench, exchanges: list[Exchange]) -> None:
    """Though nodes do not end by the clock: a spot machine that only stopped would go on to bill its disks."""
    engine = standing(bench, replace(SPOT, count=1), settings={"self_terminate": False})
    (machine,) = bodies(exchanges, "instances.insert")
    assert machine["scheduling"] == {
        "provisioningModel": "SPOT",
        "instanceTerminationAction": "DELETE",
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE",
    }
    assert engine.ends([one for one in engine.run_state.held() if one.kind == "node"]).until is None
    bench.give_back(engine)


def test_preemption_is_noticed_and_mended(bench: Bench, lab: GceLab) -> None:
    """By the operation that takes the machine back; another spot machine stands in its place."""
    engine = standing(bench, SPOT, on_preempt="replace")
    before = engine.run_state.placed["default"].nodes["db"]
    assert not engine.watch_preemption()
    lab.emulator.weather(reclaim=[before[1].id])
    assert engine.watch_preemption()
    assert list(engine.run_state.preempted) == [before[1].id]
    assert "compute.instances.preempted: Instance was preempted." in engine.run_state.preempted[before[1].id]
    after = engine.provision("default").nodes["db"]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].id != before[1].id
    bench.give_back(engine)


def test_preemption_is_noticed_with_its_notice(bench: Bench, lab: GceLab) -> None:
    """Thirty seconds before the machine is gone."""
    lab.emulator.weather(reclaim_notice_s=30)
    engine = standing(bench, SPOT)
    lost = engine.run_state.placed["default"].nodes["db"][0].id
    lab.emulator.weather(reclaim=[lost])
    assert engine.watch_preemption()
    assert lost in {one["id"] for one in lab.emulator.held("instance")}
    bench.give_back(engine)


def test_nothing_bills_after_the_hard_end(bench: Bench, lab: GceLab) -> None:
    """Though nothing of ours is left: reservations and machines end by Compute Engine's own clock."""
    engine = standing(bench)
    assert engine.ends(engine.run_state.held()).until == pytest.approx(engine.hard_end, abs=1)
    lab.emulator.weather(clock={"advance_s": 5500})
    assert lab.held() == []
    assert engine.release(lambda: False).clean


def test_extend_moves_the_stamp_alone(bench: Bench, lab: GceLab) -> None:
    """A machine's label is what can move; its end at the cloud, and its reservation's, stay, and are told."""
    engine = standing(bench, DB)
    backend = lab.backend(engine.request)
    node, reservation = (
        next(one for one in engine.run_state.held() if one.kind == kind) for kind in ("node", "reservation")
    )
    until = float(int(time.time()) + 9000)
    assert backend.change(node, Change(deadline=until)).deadline == until
    (seen,) = backend.refresh([node])
    assert seen.deadline == until
    assert backend.ends(seen, until) == backend.ends(node, until)
    assert (backend.ends(seen, until) or until) < until
    with pytest.raises(ValueError, match="cannot change"):
        backend.change(reservation, Change(deadline=until))
    bench.give_back(engine)


def test_a_reservation_grows(bench: Bench, lab: GceLab) -> None:
    """To an absolute count."""
    engine = standing(bench, DB)
    backend = lab.backend(engine.request)
    reservation = next(one for one in engine.run_state.held() if one.kind == "reservation")
    backend.change(reservation, Change(count=4))
    assert backend.refresh([reservation])[0].count == 4
    bench.give_back(engine)


def test_a_hundred_nodes_are_one_call(bench: Bench, lab: GceLab) -> None:
    """And their making is looked at with two calls a round."""
    engine = standing(bench, NodeGroup(name="db", count=100, instance_type="n2-standard-2", reserve=False))
    assert lab.calls().count("instances.bulkInsert") == 1
    assert lab.calls().count("instances.insert") == 0
    assert len(engine.run_state.placed["default"].nodes["db"]) == 100
    bench.give_back(engine)
    assert lab.calls().count("instances.delete") == 100


def test_reservations_are_made_side_by_side(bench: Bench, lab: GceLab) -> None:
    """Those of six groups in one round, and then looks at all of them together; so their ends."""
    types = ["n2-standard-2", "n2-standard-4", "n2-standard-8", "c2-standard-4", "n1-standard-1", "e2-standard-2"]
    groups = [NodeGroup(name=f"g{number}", count=1, instance_type=type_) for number, type_ in enumerate(types)]
    lab.emulator.weather(latency_ms=1000)
    engine = standing(bench, *groups)
    assert rounds(lab.emulator.calls("reservations.insert")) == 1
    assert rounds(lab.emulator.calls("instances.insert")) == 1
    looks = [call for call in lab.calls() if call.startswith(("zoneOperations", "globalOperations"))]
    assert 2 <= len(looks) <= 8
    assert set(looks) == {"globalOperations.aggregatedList"}
    bench.give_back(engine)
    assert rounds(lab.emulator.calls("instances.delete")) == 1
    assert rounds(lab.emulator.calls("reservations.delete")) == 1


def test_the_groups_are_spread_over_zones(bench: Bench, lab: GceLab) -> None:
    """One reservation a zone, for there are no regional ones; names count on."""
    group = NodeGroup(name="db", count=3, instance_type="n2-standard-2", reserve=True)
    engine = standing(bench, group, colocate="region")
    nodes = engine.run_state.placed["default"].nodes["db"]
    assert [(node.name, node.zone) for node in sorted(nodes, key=lambda node: node.name)] == [
        ("db-0", ZONES[0]),
        ("db-1", ZONES[0]),
        ("db-2", ZONES[1]),
    ]
    assert sorted(one["zone"] for one in lab.emulator.held("reservation")) == list(ZONES[:2])
    bench.give_back(engine)


@pytest.mark.parametrize(
    ("changes", "notes"),
    [({"colocate": "region"}, [NO_REGIONAL]), ({}, []), ({"colocate": "region", "reserve": False}, [])],
)
def test_the_summary_says_that_no_reservation_is_regional(
    bench: Bench, changes: dict[str, Any], notes: list[str]
) -> None:
    """Once, where groups are spread and reserved, below the attempts."""
    db = NodeGroup(name="db", count=2, instance_type="n2-standard-2")
    loader = NodeGroup(name="loader", count=2, instance_type="e2-standard-2")
    engine = standing(bench, db, loader, **changes)
    assert engine.run_state.changes == notes
    shown = attempt_lines(engine.run_state.attempts, engine.run_state.changes, verbosity=0)
    assert [line.text for line in shown if "reservations of a whole region" in line.text] == notes
    bench.give_back(engine)


@pytest.mark.parametrize(
    ("changes", "remarks"),
    [({"colocate": "region"}, (NO_REGIONAL,)), ({}, ()), ({"colocate": "region", "reserve": False}, ())],
)
def test_the_plan_says_so_too(lab: GceLab, tmp_path: Path, changes: dict[str, Any], remarks: tuple[str, ...]) -> None:
    """Before anything is created, below the rungs."""
    db = NodeGroup(name="db", count=2, instance_type="n2-standard-2")
    wanted = lab.request(db, **changes)
    plan = make_plan(wanted, lab.backend(wanted), PassingJournal(tmp_path / "journal.sqlite"), SystemClock())
    assert plan.topologies["default"].remarks == remarks
    shown = [line.strip() for line in tables.plan(plan)]
    assert [line for line in shown if "reservations of a whole region" in line] == list(remarks)
    assert not lab.held()


def test_fallback_over_regions(bench: Bench, lab: GceLab) -> None:
    """The next region's zones, when one has none."""
    lab.weather(dry=ZONES)
    engine = standing(
        bench,
        DB,
        regions=(REGION, "us-east1"),
        zones=(),
        fallback=Fallback(regions=True),
    )
    assert engine.run_state.placed["default"].region == "us-east1"
    bench.give_back(engine)
