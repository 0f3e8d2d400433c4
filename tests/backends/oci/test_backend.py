"""The verbs of the backend by themselves: changes, releases, inventories, credentials."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec.structs import replace
from oci.exceptions import ServiceError

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.oci.backend import OciBackend
from pytest_capacity.backends.oci.session import COMPUTE, PLACEMENT
from pytest_capacity.backends.oci.settings import OciSettings
from pytest_capacity.model import Change, Held, Request, Unread
from tests.backends.oci.runs import DB, DOMAINS, REGION, SETTINGS, SHAPE, request
from tests.backends.oci.test_plan import order
from tests.emulated import PATIENCE, Emulator

NIGHTLY = "ocid1.compartment.oc1..aaaaaaaaemulatednightly"
IMAGES = {
    f"image/{group}/{shape}": "ocid1.image.oc1.iad.aaaaaaaaoraclelinux96202610200"
    for group, shape in (("db", SHAPE), ("loader", "VM.Standard2.1"))
}


def opened(asked: Request) -> OciBackend:
    backend = open_backend(asked)
    assert isinstance(backend, OciBackend)
    return backend


def made(backend: OciBackend, asked: Request, **changes: Any) -> list[Held]:
    """Make all that a plan has, in its order, and return it as it is then."""
    ids: dict[str, str] = {}
    helds: list[Held] = []
    for pieces in backend.plan(order(asked, **{"facts": IMAGES, **changes})):
        for piece in pieces:
            (held,) = backend.create(replace(piece, inputs={need.key: ids[need.subject] for need in piece.needs}))
            ids[piece.subject] = held.id
            helds.append(held)
    return list(backend.refresh(helds))


def only(helds: list[Held], kind: str) -> Held:
    return next(held for held in helds if held.kind == kind)


def read(backend: OciBackend, held: Held, path: str) -> dict[str, Any]:
    body: dict[str, Any] = backend._cloud.get(COMPUTE, held.region, "Get", f"{path}/{held.id}").data
    return body


# -- changes -------------------------------------------------------------------------------------------------------


def test_a_later_deadline_keeps_every_configuration(emulator: Emulator) -> None:
    """OCI drops what an update leaves out: all configurations and all tags are sent again."""
    asked = request(emulator)
    backend = opened(asked)
    reservation = only(made(backend, asked), "reservation")
    before = read(backend, reservation, "/computeCapacityReservations")
    changed = backend.change(reservation, Change(deadline=1_900_001_000.0))
    after = read(backend, reservation, "/computeCapacityReservations")
    assert changed.deadline == 1_900_001_000.0
    assert len(after["instanceReservationConfigs"]) == 2
    assert after["instanceReservationConfigs"] == before["instanceReservationConfigs"]
    tags = before["freeformTags"] | {"pytest-capacity:deadline": "2030-03-17T18:03:20Z"}
    assert after["freeformTags"] == tags


@pytest.mark.parametrize("kind", ["node", "network", "placement-group"])
def test_a_later_deadline_is_in_the_tags(emulator: Emulator, kind: str) -> None:
    """Of anything else the stamp moves, and the rest of the tags stays."""
    asked = request(emulator, replace(DB, placement_group=True))
    backend = opened(asked)
    held = only(made(backend, asked), kind)
    backend.change(held, Change(deadline=1_900_001_000.0))
    (now,) = backend.refresh([held])
    assert (now.deadline, now.subject, now.state) == (1_900_001_000.0, held.subject, "ready")


def test_a_change_beside_another_is_refused(emulator: Emulator) -> None:
    """``if-match``: what has changed since it was read is not overwritten, and asked for again later."""
    asked = request(emulator, DB)
    backend = opened(asked)
    reservation = only(made(backend, asked), "reservation")
    path = f"/computeCapacityReservations/{reservation.id}"
    body: dict[str, Any] = {"freeformTags": {}}
    with pytest.raises(ServiceError) as stale:
        backend._cloud.call(
            COMPUTE, REGION, "UpdateComputeCapacityReservation", "PUT", path, body=body, headers={"if-match": "99"}
        )
    assert stale.value.status == 412
    assert backend.diagnose(stale.value).step == "back-off"


# -- release and inventory -----------------------------------------------------------------------------------------


def test_what_is_gone_is_gone(emulator: Emulator) -> None:
    """A thing that is hidden from a delete and from a look is gone, which is no refusal."""
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    assert backend.release([node])[0].state == "leaving"
    assert backend.release([node])[0].state == "gone"


def test_what_may_not_be_deleted_is_not_gone(emulator: Emulator) -> None:
    """The same answer for a thing that can be seen means that we may not: it is raised, so that it is not forgotten."""
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    emulator.weather(faults=[{"operation": "TerminateInstance", "error": "NotAuthorizedOrNotFound", "http": 404}])
    with pytest.raises(ServiceError) as refused:
        backend.release([node])
    assert backend.diagnose(refused.value).kind == "denied"
    assert [one["id"] for one in emulator.held("instance")] == [node.id]


def test_what_is_released_while_it_starts_has_not_failed(emulator: Emulator) -> None:
    """Its work request has no error, so it leaves and is gone, though it was never seen to run."""
    emulator.weather(boot_s=600, stop_s=60)
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    assert node.state == "creating"
    backend.release([node])
    assert backend.refresh([node])[0].state == "leaving"
    emulator.weather(clock={"advance_s": 60})
    assert backend.refresh([node])[0].state == "gone"


def test_a_stranger_is_left_alone(emulator: Emulator) -> None:
    """Without a subject it is not ours to delete."""
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    with pytest.raises(ValueError, match="do not bear our whole stamp"):
        backend.release([replace(node, subject="")])
    assert len(emulator.held("instance")) == 1


def test_deletes_in_the_wrong_order_are_a_conflict(emulator: Emulator) -> None:
    """What is still used is refused, which is waited out."""
    asked = request(emulator)
    backend = opened(asked)
    helds = made(backend, asked)
    for kind in ("reservation", "subnet", "network", "security-list"):
        with pytest.raises(ServiceError) as refused:
            backend.release([only(helds, kind)])
        diagnosis = backend.diagnose(refused.value)
        assert (diagnosis.kind, diagnosis.step) == ("conflict", "back-off")


def test_inventory_reads_compartments_below_and_all_regions(emulator: Emulator) -> None:
    """What was made in a compartment below the one of the request, and in another region, is found."""
    below = request(emulator, settings=replace(SETTINGS, compartment=NIGHTLY))
    made(opened(below), below)
    from pytest_capacity.model import Placement

    phoenix = {key: value.replace(".iad.", ".phx.") for key, value in IMAGES.items()}
    made(opened(below), below, placement=Placement("us-phoenix-1", "Uocm:PHX-AD-1"), facts=phoenix)
    above = opened(request(emulator))
    listed = [one for one in above.inventory("run-1", (REGION, "us-phoenix-1")) if isinstance(one, Held)]
    kinds = ["network", "node", "node", "node", "reservation", "security-list", "subnet"]
    for region in (REGION, "us-phoenix-1"):
        assert sorted(held.kind for held in listed if held.region == region) == kinds
    assert {held.place for held in listed} == {NIGHTLY}


def test_inventory_of_the_root_reads_the_whole_tree(emulator: Emulator) -> None:
    """From the tenancy all compartments are listed by one call."""
    below = request(emulator, settings=replace(SETTINGS, compartment=NIGHTLY))
    made(opened(below), below)
    before = len(emulator.calls("ListCompartments"))
    root = opened(request(emulator, settings=replace(SETTINGS, compartment=None)))
    assert len([one for one in root.inventory("run-1", (REGION,)) if isinstance(one, Held)]) == 7
    assert len(emulator.calls("ListCompartments")) == before + 1


def test_inventory_says_what_it_could_not_read(emulator: Emulator) -> None:
    """A kind that may not be listed is unread, never taken for empty; the others are read."""
    asked = request(emulator)
    backend = opened(asked)
    made(backend, asked)
    emulator.weather(faults=[{"operation": "ListVcns", "error": "NotAuthorizedOrNotFound", "http": 404}])
    listed = list(backend.inventory("run-1", (REGION,)))
    assert {(one.region, one.kind) for one in listed if isinstance(one, Unread)} == {(REGION, "network")}
    assert sorted({one.kind for one in listed if isinstance(one, Held)}) == ["node", "reservation"]


@pytest.mark.parametrize(("wants", "unread"), [(True, {"placement-group"}), (False, set())])
def test_inventory_without_rights_to_cluster_placement_groups(
    emulator: Emulator, wants: bool, unread: set[str]
) -> None:
    """A run that makes none is not kept from a clean receipt by a policy that does not speak of them; another is."""
    backend = opened(request(emulator, replace(DB, placement_group=wants)))
    missing = {"error": "NotAuthorizedOrNotFound", "http": 404}
    emulator.weather(faults=[{"operation": "ListClusterPlacementGroups", **missing}])
    assert {one.kind for one in backend.inventory("run-1", (REGION,)) if isinstance(one, Unread)} == unread
    emulator.weather(faults=[{"operation": "ListClusterPlacementGroups", "error": "InternalError", "http": 500}])
    every = {one.kind for one in backend.inventory("run-1", (REGION,)) if isinstance(one, Unread)}
    assert every == {"placement-group"}


def test_inventory_finds_cluster_placement_groups(emulator: Emulator) -> None:
    """One that is left is found, by a run that makes none, too; a deleted one is not."""
    asked = request(emulator, replace(DB, placement_group=True))
    backend = opened(asked)
    group = only(made(backend, asked, launch=False), "placement-group")
    plain = opened(request(emulator))
    found = [one for one in plain.inventory("run-1", (REGION,)) if isinstance(one, Held)]
    assert group.key in {one.key for one in found}
    with pytest.raises(ServiceError, match="has resources in it"):
        backend.release([group])
    backend.release([one for one in found if one.kind == "reservation"])
    backend.release([group])
    assert list(plain.inventory("run-1", (REGION,))) == []


def test_a_cluster_placement_group_that_is_deactivated_has_failed(emulator: Emulator) -> None:
    """It takes no launches: what is asked for in it next would be refused."""
    asked = request(emulator, replace(DB, placement_group=True))
    backend = opened(asked)
    group = only(made(backend, asked, launch=False), "placement-group")
    path = f"/clusterPlacementGroups/{group.id}/actions/deactivate"
    backend._cloud.call(PLACEMENT, REGION, "DeactivateClusterPlacementGroup", "POST", path, body={})
    (now,) = backend.refresh([group])
    assert (now.state, now.problem_code) == ("failed", "ClusterPlacementGroup.INACTIVE")
    assert backend.diagnose(now).step == "stop"


def test_inventory_says_that_compartments_could_not_be_read(emulator: Emulator) -> None:
    """The compartment of the run is read all the same."""
    asked = request(emulator)
    backend = opened(asked)
    made(backend, asked)
    emulator.weather(faults=[{"operation": "ListCompartments", "error": "NotAuthorizedOrNotFound", "http": 404}])
    listed = list(backend.inventory("run-1", (REGION,)))
    assert [(one.region, one.kind) for one in listed if isinstance(one, Unread)] == [("", "compartment")]
    assert len([one for one in listed if isinstance(one, Held)]) == 7


def test_inventory_follows_pages(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """``opc-next-page`` is followed to the end."""
    asked = request(emulator, replace(DB, count=5, reserve=False))
    backend = opened(asked)
    made(backend, asked)
    monkeypatch.setattr("pytest_capacity.backends.oci.session.PAGE", 2)
    listed = [one for one in backend.inventory("run-1", (REGION,)) if isinstance(one, Held) and one.kind == "node"]
    assert len(listed) == 5
    assert len(emulator.calls("ListInstances")) >= 3


def test_inventory_reports_half_a_stamp(emulator: Emulator) -> None:
    """What bears the run and not the project comes without a subject, and so is never released."""
    asked = request(emulator, replace(DB, count=1, reserve=False))
    made(opened(asked), asked)
    other = opened(replace(asked, project="another"))
    listed = [one for one in other.inventory("run-1", (REGION,)) if isinstance(one, Held)]
    assert {held.subject for held in listed} == {""}
    assert all("project 'tests'" in held.problem for held in listed)


# -- nodes ---------------------------------------------------------------------------------------------------------


def test_a_preempted_node_says_so(emulator: Emulator) -> None:
    """A preemptible instance that goes without our asking was taken back; a release of ours is none."""
    asked = request(emulator, replace(DB, count=2, market="spot"))
    backend = opened(asked)
    taken, kept = [held for held in made(backend, asked) if held.kind == "node"]
    emulator.weather(reclaim=[taken.id])
    (now,) = backend.refresh([taken])
    assert now.state in ("leaving", "gone")
    assert backend.diagnose(now).kind == "preempted"
    (released,) = backend.refresh(backend.release([kept]))
    assert released.state in ("leaving", "gone")
    assert backend.diagnose(released).kind != "preempted"


def test_a_stopped_node_has_failed(emulator: Emulator) -> None:
    """Its disk is billed on, and none but a person stops our nodes."""
    asked = request(emulator, replace(DB, count=1, reserve=False))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    backend._cloud.call(
        COMPUTE, REGION, "InstanceAction", "POST", f"/instances/{node.id}", query={"action": "STOP"}, body={}
    )
    assert backend.refresh([node])[0].state == "failed"


def test_what_is_not_listed_is_unseen(emulator: Emulator) -> None:
    """It is not gone for that: lists lag behind."""
    emulator.weather(consistency_s=60)
    asked = request(emulator, replace(DB, count=1, reserve=False))
    assert {held.state for held in made(opened(asked), asked)} == {"unseen"}


def test_the_console_is_read(emulator: Emulator) -> None:
    """What the machine wrote is captured, read and not left behind."""
    asked = request(emulator, replace(DB, count=1, reserve=False, user_data="#!/bin/sh\n"))
    backend = opened(asked)
    facts = {**IMAGES, "ssh-key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Hf0S7Zk1yQ8S5mZq5y8u0m0T1m3mWf0c6d6JtJ2Qh t"}
    node = only(made(backend, asked, facts=facts), "node")
    end = time.monotonic() + PATIENCE
    while not (text := backend.console(node)):
        assert time.monotonic() < end, "the console stays empty"
        time.sleep(0.05)
    assert "db-0-run-1" in text
    assert emulator.calls("DeleteConsoleHistory")


def test_by_hand_is_in_the_order_that_works(emulator: Emulator) -> None:
    """Nodes first, the network last, with region and compartment's ids."""
    asked = request(emulator, settings=replace(SETTINGS, public_ip=True))
    backend = opened(asked)
    helds = made(backend, asked)
    commands = list(backend.by_hand(helds))
    assert commands[0].startswith("oci compute instance terminate --preserve-boot-volume false --instance-id ocid1.")
    assert commands[-1].startswith("oci network vcn delete --vcn-id ocid1.vcn.")
    assert all(f"--region {REGION} --force" in command for command in commands)
    assert all(any(held.id in command for command in commands) for held in helds)


def test_nothing_ends_by_itself(emulator: Emulator) -> None:
    """OCI has no end date, and bills a machine that shut itself down: no run says otherwise."""
    asked = request(emulator)
    backend = opened(asked)
    assert {backend.ends(held, 1_900_000_000.0) for held in made(backend, asked)} == {None}
    assert backend.leased == frozenset()


# -- credentials ---------------------------------------------------------------------------------------------------


def test_regions_are_those_of_the_tenancy(emulator: Emulator) -> None:
    """Every region to which it is subscribed."""
    assert "eu-frankfurt-1" in opened(request(emulator)).regions()


def test_domains_are_named_with_all_their_spellings(emulator: Emulator) -> None:
    """What a user may write for a domain is in its offer."""
    asked = request(emulator)
    (first, *_) = opened(asked).offers(REGION, asked.topologies["default"])
    assert first.zone == DOMAINS[0]
    assert first.aliases == ("US-ASHBURN-AD-1", "AD-1", "1")
    assert first.ok


def test_no_answer_is_an_unknown_outcome(emulator: Emulator) -> None:
    """A connection that is refused made nothing; one that breaks may have."""
    asked = replace(request(emulator), endpoint="http://127.0.0.1:1")
    backend = opened(asked)
    with pytest.raises(Exception) as broken:  # noqa: PT011 - the SDK's own, whichever it is
        backend.whoami()
    assert backend.diagnose(broken.value).step == "ask-again"


def test_settings_of_a_group_go_before_the_sections(emulator: Emulator) -> None:
    """A group's own size is launched."""
    asked = request(emulator, replace(DB, count=1, reserve=False, cloud={"ocpus": 2.0, "memory_gb": 16.0}))
    backend = opened(asked)
    node = only(made(backend, asked), "node")
    assert read(backend, node, "/instances")["shapeConfig"] == {"ocpus": 2.0, "memoryInGBs": 16.0}
    assert isinstance(SETTINGS, OciSettings)
