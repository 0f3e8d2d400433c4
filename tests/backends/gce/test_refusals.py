"""Refusals on an emulated GCE: bad input, names that are taken, releases that have to be asked again."""

from __future__ import annotations

import time
from itertools import chain
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from pytest_capacity.backends.gce.operations import OperationFailed
from pytest_capacity.backends.gce.session import ApiError
from pytest_capacity.errors import CapacityError, Exhausted, Refused
from pytest_capacity.model import Change, Held, NodeGroup
from pytest_capacity.testing import Bench
from tests.backends.gce.lab import DB, LOADER, REGION, ZONES, GceLab, make_reservation
from tests.backends.gce.test_engine import standing
from tests.backends.gce.test_plan import order


def refused(bench: Bench, *groups: NodeGroup, **keys: Any) -> str:
    """The words with which a run is refused."""
    with pytest.raises((Refused, Exhausted, CapacityError)) as caught:
        standing(bench, *groups, **keys)
    return str(caught.value)


def own(**settings: Any) -> NodeGroup:
    """A group with settings of its own."""
    return NodeGroup(name="db", count=1, instance_type="n2-standard-2", cloud=settings)


@pytest.mark.parametrize("error", ["resourceNotReady", "conflict", "resourceInUseByAnotherResource"])
@pytest.mark.parametrize("call", ["instances.delete", "reservations.delete"])
def test_a_release_that_is_refused_for_now_is_asked_again(bench: Bench, lab: GceLab, call: str, error: str) -> None:
    """Until it is accepted, and the release is as clean as any other."""
    engine = standing(bench, DB)
    http = 409 if error == "conflict" else 400
    lab.emulator.weather(faults=[{"operation": call, "error": error, "http": http, "times": 1}])
    receipt = engine.release(lambda: False)
    assert receipt.clean
    assert not receipt.troubles
    assert lab.calls().count(call) == (3 if call == "instances.delete" else 2)
    assert not lab.held()


def test_labels_that_changed_meanwhile_are_read_anew(bench: Bench, lab: GceLab) -> None:
    """A renewal that met another's change says so, and the next one is accepted."""
    engine = standing(bench, LOADER)
    backend = lab.backend(engine.request)
    node = next(one for one in engine.run_state.held() if one.kind == "node")
    fault = {"operation": "instances.setLabels", "error": "conditionNotMet", "http": 412, "times": 1}
    lab.emulator.weather(
        faults=[{**fault, "message": "Supplied fingerprint does not match current metadata fingerprint."}]
    )
    with pytest.raises(ApiError) as caught:
        backend.change(node, Change(deadline=2e9))
    assert backend.diagnose(caught.value).step == "ask-again"
    assert backend.change(node, Change(deadline=2e9)).deadline == 2e9
    bench.give_back(engine)


def test_bad_input_makes_nothing(bench: Bench, lab: GceLab) -> None:
    """An unknown reservation, one of another shape, image, network, subnet, and what does not fit together."""
    make_reservation(lab, "mine", "n2-standard-8")
    make_reservation(lab, "any", "n2-standard-4", specific=False)
    before = len(lab.emulator.calls("reservations.insert"))
    cases = {
        "use_reservations asks for none-such": refused(bench, DB, use_reservations=("none-such",), run="r1"),
        "mine, which is for n2-standard-8: no group": refused(bench, DB, use_reservations=("mine",), run="r2"),
        "n2-standard-4, consumed automatically: no group": refused(
            bench, replace(DB, instance_type="n2-standard-4"), use_reservations=("any",), run="r14"
        ),
        "has no such image family": refused(bench, own(image="projects/debian-cloud/global/images/family/x"), run="r3"),
        "has no such image (": refused(bench, own(image="nothing"), run="r4"),
        "has no such network": refused(bench, own(network="global/networks/none"), run="r5"),
        "us-central1 has no subnet none": refused(bench, own(subnets="none"), run="r6"),
        "needs 30 GB": refused(bench, own(image="family/scylla-2026-1", disk_gb=20), run="r7"),
        "is for ARM64, and n2-standard-2 is X86_64": refused(
            bench, own(image="projects/debian-cloud/global/images/family/debian-12-arm64"), run="r8"
        ),
        "has no nvidia-tesla-t4": refused(
            bench, own(accelerators={"nvidia-tesla-t4": 1}), zones=("us-central1-c",), run="r9"
        ),
        "zones us-central1-x are not in us-central1": refused(bench, DB, zones=("us-central1-x",), run="r11"),
        "zones x are not in us-central1": refused(bench, DB, zones=("x",), run="r12"),
        "has no CPU platform Intel None": refused(bench, own(min_cpu_platform="Intel None"), run="r13"),
        "does not offer n2-standard-3": refused(
            bench, NodeGroup(name="db", count=1, instance_type="n2-standard-3"), run="r10"
        ),
    }
    for words, said in cases.items():
        assert words in said, said
    assert len(lab.emulator.calls("reservations.insert")) == before
    assert not lab.emulator.held("instance")


def test_a_disk_that_stays_is_found(bench: Bench, lab: GceLab) -> None:
    """Where the machine did not take it along, the inventory has it by its label, and it is released."""
    engine = standing(bench, DB)
    node = next(one for one in engine.run_state.held() if one.kind == "node")
    session = lab.backend(engine.request)._session  # type: ignore[attr-defined]
    made = session.call("instances.get", {"zone": node.zone, "instance": node.id})
    disks = [
        one for page in session.pages("disks.aggregatedList") for one in page["items"][f"zones/{node.zone}"]["disks"]
    ]
    about = next(one for one in disks if one["name"] == made["name"])
    left = {"name": "left-behind", "sizeGb": "10", "labels": about["labels"], "description": about["description"]}
    answer = call(lab, f"zones/{node.zone}/disks", left)
    assert answer["operationType"] == "insert"
    found = [one for one in lab.backend(engine.request).inventory("run-1", (REGION,)) if isinstance(one, Held)]
    assert [one.id for one in found if one.kind == "disk"] == ["left-behind"]
    bench.give_back(engine)


def call(lab: GceLab, path: str, body: Any) -> Any:
    """A call that no backend makes."""
    headers = {"Authorization": f"Bearer {lab.emulator.secret}"}
    url = f"{lab.emulator.url}/compute/v1/projects/emulated-project/{path}"
    return requests.post(url, json=body, headers=headers, timeout=60).json()


def test_warnings_of_an_operation_are_shown(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """In the keeper's log, once."""
    engine = standing(bench, own(disk_gb=50))
    (record,) = [one for one in caplog.records if one.name == "pytest_capacity.gce"]
    assert "DISK_SIZE_LARGER_THAN_IMAGE_SIZE" in record.getMessage()
    bench.give_back(engine)


@pytest.mark.parametrize("kind", ["reservation", "node", "placement-policy"])
def test_a_name_that_is_taken_by_ourselves(lab: GceLab, kind: str) -> None:
    """Where a requestId has been forgotten: what bears our stamp is ours, and is given back."""
    group = NodeGroup(name="db", count=2, instance_type="n2-standard-2", reserve=True, placement_group=True)
    backend = lab.backend(lab.request(group))
    made: dict[str, str] = {}
    for piece in chain(*backend.plan(order(lab.request(group), hard_end=time.time() + 3600))):
        whole = replace(piece, inputs={need.key: made[need.kind] for need in piece.needs})
        first = backend.create(whole)
        made[piece.kind] = first[0].id
        if piece.kind == kind:
            again = backend.create(replace(whole, token="another"))
            assert [(one.id, one.subject, one.state) for one in again] == [
                (one.id, piece.subject, "ready") for one in first
            ]


def test_a_call_again_that_failed_says_so_at_once(lab: GceLab) -> None:
    """With the token of a call whose operation has ended with errors: those errors, in the same words."""
    wanted = lab.request(DB)
    backend = lab.backend(wanted)
    piece = backend.plan(order(wanted, hard_end=time.time() + 3600))[0][0]
    lab.weather(dry=ZONES)
    assert backend.create(piece)[0].state == "creating"
    with pytest.raises(OperationFailed, match=r"reservations\.insert: ZONE_RESOURCE_POOL_EXHAUSTED") as caught:
        backend.create(piece)
    found = backend.diagnose(caught.value, piece)
    assert (found.kind, found.operation) == ("capacity-zone", "reservations.insert")


def test_a_name_that_is_taken_by_another(lab: GceLab) -> None:
    """It is refused, and left alone."""
    wanted = lab.request(DB)
    backend = lab.backend(wanted)
    piece = backend.plan(order(wanted, hard_end=time.time() + 3600))[0][0]
    theirs = {**piece.spec, "description": "another team's"}
    call(lab, f"zones/{piece.zone}/reservations", theirs)
    with pytest.raises(ApiError) as caught:
        backend.create(piece)
    found = backend.diagnose(caught.value, piece)
    assert (found.code, found.kind) == ("alreadyExists", "conflict")
    assert len(lab.held()) == 1
