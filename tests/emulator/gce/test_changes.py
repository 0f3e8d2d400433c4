"""The emulated Compute Engine changes what stands as the real one does: machines, disks, reservations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulated import Emulator
from tests.emulator.gce.calls import AT, ZONE, Call, aimed_at, ended, machine, reservation

pytestmark = pytest.mark.usefixtures("exchanges")


def test_labels_change_under_their_fingerprint(call: Call) -> None:
    """One that is not theirs is refused with 412."""
    call("POST", f"{AT}/instances", machine(labels={"a": "1"}))
    told = call("GET", f"{AT}/instances/one")
    body = {"labels": {"a": "2"}, "labelFingerprint": told["labelFingerprint"]}
    call("POST", f"{AT}/instances/one/setLabels", body)
    assert call("GET", f"{AT}/instances/one")["labels"] == {"a": "2"}
    assert call("POST", f"{AT}/instances/one/setLabels", body, refused=True)[:2] == (412, "conditionNotMet")


def test_stopped_started_and_of_another_type(call: Call) -> None:
    """A machine that runs cannot be given another type."""
    call("POST", f"{AT}/instances", machine())
    body = {"machineType": f"{AT}/machineTypes/n2-standard-4"}
    status, reason, words = call("POST", f"{AT}/instances/one/setMachineType", body, refused=True)
    assert (status, reason) == (400, "invalid")
    assert "must be stopped" in words
    call("POST", f"{AT}/instances/one/stop")
    assert call("GET", f"{AT}/instances/one")["status"] == "TERMINATED"
    call("POST", f"{AT}/instances/one/setMachineType", body)
    call("POST", f"{AT}/instances/one/start")
    told = call("GET", f"{AT}/instances/one")
    assert told["status"] == "RUNNING"
    assert told["machineType"].endswith("n2-standard-4")


def test_a_stopped_machine_gives_its_place_up_and_takes_another(call: Call, emulator: Emulator) -> None:
    """It starts in the reservation that it is aimed at by then, and in no other; where that is full, its operation
    says so and it stays stopped."""
    call("POST", f"{AT}/reservations", reservation("old", count=1))
    call("POST", f"{AT}/instances", machine(**aimed_at("old")))
    large = {"count": "1", "instanceProperties": {"machineType": "n2-standard-4"}}
    call("POST", f"{AT}/reservations", reservation("new", specificReservation=large))
    status, _, words = call("PUT", f"{AT}/instances/one", _aimed(call, "new"), refused=True)
    assert (status, "must be stopped" in words) == (400, True)
    call("POST", f"{AT}/instances/one/stop")
    stopped = call("GET", f"{AT}/instances/one")
    assert "resourceStatus" not in stopped
    assert call("GET", f"{AT}/reservations/old")["specificReservation"]["inUseCount"] == "0"
    call("POST", f"{AT}/instances/one/setMachineType", {"machineType": f"{AT}/machineTypes/n2-standard-4"})
    wrong = ended(call, call("POST", f"{AT}/instances/one/start"))
    assert wrong["error"]["errors"][0]["code"] == "CONDITION_NOT_MET"
    assert call("PUT", f"{AT}/instances/one", {**stopped, "fingerprint": "AAAA"}, refused=True)[:2] == (
        412,
        "conditionNotMet",
    )
    call("PUT", f"{AT}/instances/one", _aimed(call, "new"))
    call("DELETE", f"{AT}/reservations/old")
    assert "error" not in ended(call, call("POST", f"{AT}/instances/one/start"))
    told = call("GET", f"{AT}/instances/one")
    assert told["status"] == "RUNNING"
    assert told["resourceStatus"]["reservationConsumptionInfo"]["consumedReservation"].endswith("/reservations/new")


def _aimed(call: Call, name: str) -> Any:
    """The machine as it is, aimed at another reservation."""
    return {**call("GET", f"{AT}/instances/one"), **aimed_at(name)}


def test_a_start_without_capacity_is_told_by_its_operation(call: Call, emulator: Emulator) -> None:
    """The machine stays stopped."""
    call("POST", f"{AT}/instances", machine())
    call("POST", f"{AT}/instances/one/stop")
    emulator.weather(stock={zone: {"*": 0} for zone in ("us-central1-a", "us-central1-b")})
    told = ended(call, call("POST", f"{AT}/instances/one/start"))
    assert told["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    assert call("GET", f"{AT}/instances/one")["status"] == "TERMINATED"


def test_a_machine_that_is_changed_is_not_ready_for_another_change(call: Call, emulator: Emulator) -> None:
    """Until the operation of the first one has ended."""
    call("POST", f"{AT}/instances", machine())
    emulator.weather(operation_s=60)
    call("POST", f"{AT}/instances/one/stop")
    for path, body in (("start", None), ("stop", None), ("setMachineType", {"machineType": "n2-standard-4"})):
        refused = call("POST", f"{AT}/instances/one/{path}", body, refused=True)
        assert refused[:2] == (400, "resourceNotReady")
    emulator.weather(clock={"advance_s": 61})
    call("POST", f"{AT}/instances/one/start")


def test_a_machine_may_be_deleted_while_it_is_changed(call: Call, emulator: Emulator) -> None:
    """The change then comes to nothing."""
    call("POST", f"{AT}/instances", machine())
    call("POST", f"{AT}/instances/one/stop")
    emulator.weather(operation_s=60)
    call("POST", f"{AT}/instances/one/setMachineType", {"machineType": f"{AT}/machineTypes/n2-standard-4"})
    call("DELETE", f"{AT}/instances/one")
    emulator.weather(clock={"advance_s": 61})
    assert emulator.held() == []


def test_what_becomes_of_local_disks_must_be_said(call: Call) -> None:
    """Whether they were asked for, or come with the type."""
    scratch = {"type": "SCRATCH", "autoDelete": True, "initializeParams": {"diskType": f"{AT}/diskTypes/local-ssd"}}
    built_in = machine("two", machineType=f"{AT}/machineTypes/c3-standard-4-lssd")
    for body in (machine("one", disks=[*machine()["disks"], scratch]), built_in):
        call("POST", f"{AT}/instances", body)
        refused = call("POST", f"{AT}/instances/{body['name']}/stop", refused=True)
        assert "Local SSD" in refused[2]
        call("POST", f"{AT}/instances/{body['name']}/stop", discardLocalSsd="true")
        assert call("GET", f"{AT}/instances/{body['name']}")["status"] == "TERMINATED"
    types = call("GET", f"{AT}/machineTypes", filter='name eq "(c3-standard-4|c3-standard-4-lssd)"')["items"]
    assert [one.get("bundledLocalSsds", {}).get("partitionCount") for one in types] == [None, 1]


def test_a_reservation_that_is_resized_says_so(call: Call, emulator: Emulator) -> None:
    """With the count of before, and takes no other change meanwhile; it holds 1000 at most."""
    call("POST", f"{AT}/reservations", reservation(count=2))
    assert call("POST", f"{AT}/reservations/held/resize", {"specificSkuCount": "1001"}, refused=True)[0] == 400
    emulator.weather(operation_s=60)
    call("POST", f"{AT}/reservations/held/resize", {"specificSkuCount": "3"})
    told = call("GET", f"{AT}/reservations/held")
    assert (told["status"], told["specificReservation"]["count"]) == ("UPDATING", "2")
    again = call("POST", f"{AT}/reservations/held/resize", {"specificSkuCount": "4"}, refused=True)
    assert again[:2] == (400, "resourceNotReady")
    emulator.weather(clock={"advance_s": 61})
    told = call("GET", f"{AT}/reservations/held")
    assert (told["status"], told["specificReservation"]["count"]) == ("READY", "3")


def test_a_disk_becomes_larger_and_never_smaller(call: Call, emulator: Emulator) -> None:
    """That of a running machine too; one that stays without a machine costs by its size."""
    call("POST", f"{AT}/disks", {"name": "data", "sizeGb": "10"})
    emulator.weather(clock={"advance_s": 3600})
    ten = emulator.world()["bill"]["usd"]
    assert ten > 0
    assert ended(call, call("POST", f"{AT}/disks/data/resize", {"sizeGb": "20"}))["operationType"] == "resizeDisk"
    assert call("GET", f"{AT}/disks/data")["sizeGb"] == "20"
    emulator.weather(clock={"advance_s": 3600})
    assert emulator.world()["bill"]["usd"] == pytest.approx(3 * ten, rel=0.01)
    status, reason, words = call("POST", f"{AT}/disks/data/resize", {"sizeGb": "19"}, refused=True)
    assert (status, reason) == (400, "invalid")
    assert "cannot be decreased" in words
    call("POST", f"{AT}/instances", machine())
    call("POST", f"{AT}/disks/one/resize", {"sizeGb": "50"})
    assert call("GET", f"{AT}/instances/one")["disks"][0]["diskSizeGb"] == "50"


def test_metadata_change_under_their_fingerprint(call: Call) -> None:
    """One that is not theirs is refused with 412."""
    call("POST", f"{AT}/instances", machine(metadata={"items": [{"key": "a", "value": "1"}]}))
    before = call("GET", f"{AT}/instances/one")["metadata"]
    items = [{"key": "a", "value": "2"}]
    body = {"items": items, "fingerprint": before["fingerprint"]}
    call("POST", f"{AT}/instances/one/setMetadata", body)
    assert call("GET", f"{AT}/instances/one")["metadata"]["items"] == items
    assert call("POST", f"{AT}/instances/one/setMetadata", body, refused=True)[:2] == (412, "conditionNotMet")


def test_a_reservation_is_shared_anew_and_resized(call: Call, emulator: Emulator) -> None:
    """Never below what is in use, and only as far as there is capacity and quota, which its operation says."""
    emulator.weather(stock={ZONE: {"n2-standard-2": 3}})
    call("POST", f"{AT}/reservations", reservation(count=2))
    shared = {"shareType": "SPECIFIC_PROJECTS", "projectMap": {"p": {"projectId": "p"}}}
    call("PATCH", f"{AT}/reservations/held", {"shareSettings": shared}, paths="shareSettings")
    assert call("GET", f"{AT}/reservations/held")["shareSettings"] == shared
    for name in ("one", "two"):
        call("POST", f"{AT}/instances", machine(name, **aimed_at("held")))
    refused = call("POST", f"{AT}/reservations/held/resize", {"specificSkuCount": "1"}, refused=True)
    assert refused[:2] == (400, "invalid")
    too_many = ended(call, call("POST", f"{AT}/reservations/held/resize", {"specificSkuCount": "4"}))
    assert too_many["error"]["errors"][0]["code"].startswith("ZONE_RESOURCE_POOL_EXHAUSTED")
    assert call("GET", f"{AT}/reservations/held")["specificReservation"]["count"] == "2"
    call("POST", f"{AT}/reservations/held/resize", {"specificSkuCount": "3"})
    assert call("GET", f"{AT}/reservations/held")["specificReservation"]["count"] == "3"
