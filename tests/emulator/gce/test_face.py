"""The emulated Compute Engine refuses and answers as the real one does, in the forms of its discovery document."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from pytest_capacity.emulator.gce.routes import METHODS
from pytest_capacity.emulator.gce.wire import Filter
from pytest_capacity.emulator.refusal import Refusal
from tests.emulated import Emulator
from tests.emulator.gce.discovery import describe, wrong_answer, wrong_request, wrong_value
from tests.emulator.gce.wire import Exchange, recorded

ZONE = "us-central1-a"
AT = f"zones/{ZONE}"
Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def exchanges() -> Iterator[list[Exchange]]:
    """What goes over the wire here; every answer is as Google describes it, whatever was asked."""
    with recorded() as exchanges:
        yield exchanges
    assert not [fault for one in exchanges for fault in wrong_answer(one.verb, one.url, one.status, one.answer)]


@pytest.fixture
def call(emulator: Emulator) -> Call:
    """Makes one call below the project; the decoded answer, or, with ``refused``, its status, reason and words."""

    def make(verb: str, path: str, body: Any = None, refused: bool = False, **query: str) -> Any:
        url = f"{emulator.url}/compute/v1/projects/emulated-project/{path}".rstrip("/")
        headers = {"Authorization": f"Bearer {emulator.secret}"}
        answer = requests.request(verb, url, params=query, json=body, headers=headers, timeout=60)
        assert (answer.status_code >= 400) == refused, answer.text
        told = answer.json()
        return (answer.status_code, told["error"]["errors"][0]["reason"], told["error"]["message"]) if refused else told

    return make


def reservation(name: str = "held", count: int = 2, **more: Any) -> dict[str, Any]:
    """The body of one."""
    specific = {"count": str(count), "instanceProperties": {"machineType": "n2-standard-2"}}
    return {"name": name, "specificReservationRequired": True, "specificReservation": specific, **more}


def machine(name: str = "one", **more: Any) -> dict[str, Any]:
    """The body of one."""
    image = {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"}
    disk = {"boot": True, "autoDelete": True, "initializeParams": image}
    return {
        "name": name,
        "machineType": f"{AT}/machineTypes/n2-standard-2",
        "disks": [disk],
        "networkInterfaces": [{"network": "global/networks/default"}],
        **more,
    }


def aimed_at(name: str) -> dict[str, Any]:
    """The affinity of a machine."""
    return {"reservationAffinity": {"consumeReservationType": "SPECIFIC_RESERVATION", "key": "x", "values": [name]}}


def ended(call: Call, operation: Any) -> Any:
    """The operation when it is over."""
    told = call("POST", f"{AT}/operations/{operation['name']}/wait")
    assert told["status"] == "DONE"
    return told


def test_methods_are_as_described() -> None:
    """Verb and path of all that is emulated."""
    for name, verb, path in METHODS:
        method = describe(name)
        shape = "".join(part if "{" not in part else "{}" for part in method["path"].split("/"))
        ours = "".join(
            part if "{" not in part else "{}" for part in f"projects/{{project}}/{path}".strip("/").split("/")
        )
        assert (verb, ours) == (method["httpMethod"], shape), name


def test_an_operation_runs_when_it_is_answered(call: Call, emulator: Emulator) -> None:
    """However short it is; the thing is being made until it ends."""
    emulator.weather(operation_s=60)
    operation = call("POST", f"{AT}/reservations", reservation())
    assert (operation["status"], operation["operationType"], operation["progress"]) == ("RUNNING", "insert", 0)
    assert call("GET", f"{AT}/reservations/held")["status"] == "CREATING"
    emulator.weather(clock={"advance_s": 61})
    assert call("GET", f"{AT}/operations/{operation['name']}")["status"] == "DONE"
    assert call("GET", f"{AT}/reservations/held")["status"] == "READY"


def test_a_request_id_makes_one_thing(call: Call, emulator: Emulator) -> None:
    """Asked again, the operation of the first call is told, as it is by then; without, the name is taken."""
    token = str(uuid.uuid4())
    first = call("POST", f"{AT}/reservations", reservation(), requestId=token)
    again = call("POST", f"{AT}/reservations", reservation(), requestId=token)
    assert (again["name"], again["status"]) == (first["name"], "DONE")
    assert first["clientOperationId"] == token
    refused = call("POST", f"{AT}/reservations", reservation(), refused=True)
    assert refused[:2] == (409, "alreadyExists")
    assert len(emulator.held()) == 1


def test_a_failed_operation_is_told_again(call: Call, emulator: Emulator) -> None:
    """To the same requestId, though there would be room by now."""
    token = str(uuid.uuid4())
    emulator.weather(
        stock={ZONE: {"*": 0}, "us-central1-b": {"*": 0}, "us-central1-c": {"*": 0}, "us-central1-f": {"*": 0}}
    )
    first = ended(call, call("POST", f"{AT}/reservations", reservation(), requestId=token))
    assert first["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert (first["httpErrorStatusCode"], first["httpErrorMessage"]) == (503, "SERVICE UNAVAILABLE")
    emulator.weather(stock={})
    assert call("POST", f"{AT}/reservations", reservation(), requestId=token)["error"] == first["error"]
    assert emulator.held() == []


def test_what_a_zone_lacks_another_has(call: Call, emulator: Emulator) -> None:
    """The refusal says which."""
    emulator.weather(stock={ZONE: {"*": 0}, "us-central1-b": {"*": 0}})
    told = ended(call, call("POST", f"{AT}/instances", machine()))
    (error,) = told["error"]["errors"]
    assert error["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    about = error["errorDetails"][0]["errorInfo"]
    assert about["metadatas"]["zonesAvailable"] == "us-central1-c,us-central1-f"
    assert (about["reason"], about["domain"]) == ("resource_availability", "compute.googleapis.com")
    assert call("GET", f"{AT}/instances/one", refused=True)[:2] == (404, "notFound")


def test_a_quota_is_told_with_its_metric(call: Call, emulator: Emulator) -> None:
    """And its region, by the operation."""
    emulator.weather(quota={"gce/us-central1": {"N2_CPUS": 2}})
    told = ended(call, call("POST", f"{AT}/reservations", reservation()))
    (error,) = told["error"]["errors"]
    assert error["code"] == "QUOTA_EXCEEDED"
    assert error["message"] == "Quota 'N2_CPUS' exceeded.  Limit: 2.0 in region us-central1."
    assert error["errorDetails"][0]["quotaInfo"]["dimensions"] == {"region": "us-central1"}
    assert told["httpErrorStatusCode"] == 403
    quotas = call("GET", "regions/us-central1")["quotas"]
    assert quotas == [{"metric": "N2_CPUS", "limit": 2.0, "usage": 0.0}]


def test_things_go_in_one_order(call: Call, emulator: Emulator) -> None:
    """A policy not before a reservation, that not before its machines."""
    policy = {"name": "near", "groupPlacementPolicy": {"collocation": "COLLOCATED"}}
    call("POST", "regions/us-central1/resourcePolicies", policy)
    near = "regions/us-central1/resourcePolicies/near"
    call("POST", f"{AT}/reservations", reservation(resourcePolicies={"policy": near}))
    call("POST", f"{AT}/instances", machine(**aimed_at("held"), resourcePolicies=[near]))
    for path in (f"{AT}/reservations/held", near):
        status, reason, words = call("DELETE", path, refused=True)
        assert (status, reason) == (400, "resourceInUseByAnotherResource")
        assert "is already being used by" in words
    for path in (f"{AT}/instances/one", f"{AT}/reservations/held", near):
        call("DELETE", path)
        assert call("GET", path, refused=True)[:2] == (404, "notFound")
    assert emulator.held() == []


def test_a_reservation_that_is_on_its_way_out_is_not_ready(call: Call, emulator: Emulator) -> None:
    """It is listed as such, and a second deletion is refused for now."""
    call("POST", f"{AT}/reservations", reservation())
    emulator.weather(operation_s=60)
    call("DELETE", f"{AT}/reservations/held")
    assert call("GET", f"{AT}/reservations/held")["status"] == "DELETING"
    assert call("DELETE", f"{AT}/reservations/held", refused=True)[:2] == (400, "resourceNotReady")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (machine("two", **aimed_at("held")), "CONDITION_NOT_MET", "does not have available resources"),
        (machine("two", **aimed_at("none")), "CONDITION_NOT_MET", "do not exist"),
        (
            machine("two", **aimed_at("held"), minCpuPlatform="Intel Skylake"),
            "CONDITION_NOT_MET",
            "No available resources in specified reservations",
        ),
        (
            machine("two", **aimed_at("held"), disks=[*machine()["disks"], {"type": "SCRATCH", "autoDelete": True}]),
            "CONDITION_NOT_MET",
            "No available resources in specified reservations",
        ),
    ],
)
def test_a_machine_that_a_reservation_does_not_take(call: Call, body: Any, code: str, words: str) -> None:
    """Full, not there, or of another shape: the operation says which."""
    call("POST", f"{AT}/reservations", reservation(count=1))
    assert "error" not in ended(call, call("POST", f"{AT}/instances", machine(**aimed_at("held"))))
    (error,) = ended(call, call("POST", f"{AT}/instances", body))["error"]["errors"]
    assert error["code"] == code
    assert words in error["message"]


@pytest.mark.parametrize(
    ("collection", "body", "words"),
    [
        (
            "instances",
            machine(machineType=f"{AT}/machineTypes/none"),
            "Machine type with name 'none' does not exist in",
        ),
        ("instances", machine("Upper"), "Must be a match of regex"),
        ("instances", machine(disks=[]), "boot disk"),
        ("instances", machine(scheduling={"terminationTime": "2040-01-01T00:00:00Z"}), "instanceTerminationAction"),
        (
            "instances",
            machine(scheduling={"provisioningModel": "SPOT"}, **aimed_at("held")),
            "Spot instances cannot consume reservations",
        ),
        (
            "instances",
            machine(
                guestAccelerators=[{"acceleratorType": f"{AT}/acceleratorTypes/nvidia-tesla-t4", "acceleratorCount": 1}]
            ),
            "do not support live migration",
        ),
        (
            "instances",
            machine(scheduling={"provisioningModel": "SPOT", "onHostMaintenance": "MIGRATE"}),
            "Spot instances do not support live migration",
        ),
        (
            "instances",
            machine(minCpuPlatform="Intel None"),
            "CPU platform type with name 'Intel None' does not exist in zone",
        ),
        ("instances", machine(machineType="zones/us-east1-b/machineTypes/n2-standard-2"), "not in zone"),
        ("reservations", {"name": "held"}, "specificReservation"),
        ("reservations", reservation(deleteAtTime="2001-01-01T00:00:00Z"), "Must be in the future"),
        ("disks", {"name": "d", "sizeGb": "none"}, "must be a number"),
        ("instances/bulkInsert", {"count": "2", "instanceProperties": machine()}, "namePattern"),
    ],
)
def test_what_is_refused_at_once(call: Call, emulator: Emulator, collection: str, body: Any, words: str) -> None:
    """With 400 and the field, and nothing is made."""
    status, _, said = call("POST", f"{AT}/{collection}", body, refused=True)
    assert status == 400
    assert words in said
    assert emulator.held() == []


@pytest.mark.parametrize(
    "path",
    [
        "zones/us-central1-x/instances",
        "regions/none",
        f"{AT}/instances/none",
        "global/images/none",
        "global/networks/none",
    ],
)
def test_what_is_not_there(call: Call, path: str) -> None:
    """404, in the API's form."""
    status, reason, words = call("GET", path, refused=True)
    assert (status, reason) == (404, "notFound")
    assert "was not found" in words


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


def test_operations_of_each_scope(call: Call) -> None:
    """Each is listed, read and waited for where it belongs, and stands in the list of the whole project."""
    zonal = call("POST", f"{AT}/reservations", reservation())
    policy = {"name": "near", "groupPlacementPolicy": {"collocation": "COLLOCATED"}}
    regional = call("POST", "regions/us-central1/resourcePolicies", policy)
    for scope, begun in ((AT, zonal), ("regions/us-central1", regional)):
        name = begun["name"]
        assert call("GET", f"{scope}/operations/{name}")["status"] == "DONE"
        assert call("POST", f"{scope}/operations/{name}/wait")["targetLink"] == begun["targetLink"]
        assert [one["name"] for one in call("GET", f"{scope}/operations")["items"]] == [name]
        total = call("GET", "aggregated/operations")["items"]
        assert [one["name"] for one in total[scope]["operations"]] == [name]
    assert call("GET", "global/operations")["items"] == []
    for verb, end in (("GET", ""), ("POST", "/wait")):
        assert call(verb, f"global/operations/{zonal['name']}{end}", refused=True)[:2] == (404, "notFound")


def test_a_wait_is_answered_when_the_operation_has_ended(call: Call, emulator: Emulator) -> None:
    """And not before."""
    emulator.weather(operation_s=2)
    begun = call("POST", f"{AT}/reservations", reservation())
    assert begun["status"] == "RUNNING"
    assert call("POST", f"{AT}/operations/{begun['name']}/wait")["status"] == "DONE"


def test_a_bulk_insert_that_falls_short_is_rolled_back(call: Call, emulator: Emulator) -> None:
    """Its operation says how many it made and deleted again, and none is left."""
    emulator.weather(stock={ZONE: {"n2-standard-2": 2}})
    alike = {key: value for key, value in machine().items() if key != "name"} | {"machineType": "n2-standard-2"}
    body = {"count": "5", "namePattern": "many-#", "instanceProperties": alike}
    told = ended(call, call("POST", f"{AT}/instances/bulkInsert", body))
    status = told["instancesBulkInsertOperationMetadata"]["perLocationStatus"][AT]
    assert (status["createdVmCount"], status["deletedVmCount"]) == (2, 2)
    codes = [error["code"] for error in told["error"]["errors"]]
    assert codes == ["VM_MIN_COUNT_NOT_REACHED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"]
    assert emulator.held() == []


def test_partial_success_may_be_asked_for(call: Call) -> None:
    """As gcloud does, though the discovery document does not list it for all methods."""
    call("POST", f"{AT}/reservations", reservation())
    told = call("GET", "aggregated/reservations", returnPartialSuccess="true")
    assert [one["name"] for one in told["items"][AT]["reservations"]] == ["held"]


def test_lists_are_filtered_and_paged(call: Call) -> None:
    """In every scope; the aggregated one names those that have nothing."""
    for number in range(5):
        call("POST", f"{AT}/reservations", reservation(f"held-{number}", 1))
    page = call("GET", f"{AT}/reservations", maxResults="2", filter='name eq "held-[0-3]"')
    names = [one["name"] for one in page["items"]]
    following = call(
        "GET", f"{AT}/reservations", maxResults="2", filter='name eq "held-[0-3]"', pageToken=page["nextPageToken"]
    )
    assert [*names, *(one["name"] for one in following["items"])] == [f"held-{number}" for number in range(4)]
    assert "nextPageToken" not in following
    total = call("GET", "aggregated/reservations", filter="specificReservation.count=1")
    assert len(total["items"][AT]["reservations"]) == 5
    assert total["items"]["zones/us-east1-b"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"
    assert call("GET", f"{AT}/reservations", filter="name eq (", refused=True)[:2] == (400, "invalid")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "abc"),
        ("name=a", "a"),
        ('name="a"', "a"),
        ("name!=a", "bc"),
        ("name eq a|b", "ab"),
        ("name ne a|b", "c"),
        ("labels.x=1", "ab"),
        ("labels.x=1 AND size>=20", "b"),
        ("(labels.x=1) (size>=20)", "b"),
        ("(name=a) OR (name=c)", "ac"),
        ("NOT name=a", "bc"),
        ("labels.x:*", "ab"),
        ("on=true", "c"),
    ],
)
def test_a_filter(text: str, names: str) -> None:
    """As "Filtering" of the API's reference has it."""
    items: list[dict[str, Any]] = [
        {"name": "a", "labels": {"x": "1"}, "size": "10"},
        {"name": "b", "labels": {"x": "1"}, "size": "20"},
        {"name": "c", "on": True, "size": "10"},
    ]
    passes = Filter(text)
    assert "".join(str(item["name"]) for item in items if passes(item)) == names


@pytest.mark.parametrize("text", ["name=", "= a", "name eq (", "(name=a", "name=a)", "name eq [", "name ~ a"])
def test_no_filter(text: str) -> None:
    """It is refused, not taken for something else."""
    with pytest.raises(Refusal, match="Invalid list filter"):
        Filter(text)


def test_without_the_secret(emulator: Emulator) -> None:
    """Nothing is told."""
    answer = requests.get(f"{emulator.url}/compute/v1/projects/emulated-project", timeout=60)
    assert answer.status_code == 401
    assert answer.json()["error"]["errors"][0]["reason"] == "authError"


def test_ends_by_the_clock(call: Call, emulator: Emulator) -> None:
    """A reservation at its time; a machine after its run, deleted or stopped as it says."""
    call("POST", f"{AT}/reservations", reservation(deleteAfterDuration={"seconds": "3600"}))
    limits = {"maxRunDuration": {"seconds": "3600"}}
    call("POST", f"{AT}/instances", machine("goes", scheduling={**limits, "instanceTerminationAction": "DELETE"}))
    call("POST", f"{AT}/instances", machine("stops", scheduling={**limits, "instanceTerminationAction": "STOP"}))
    assert call("GET", f"{AT}/reservations/held")["deleteAtTime"]
    emulator.weather(clock={"advance_s": 3601})
    assert [(one["name"], one["state"]) for one in emulator.held()] == [("stops", "TERMINATED")]


def test_too_many_calls(call: Call, emulator: Emulator) -> None:
    """403, as quotas and permissions are: the reason tells them apart."""
    emulator.weather(throttle={"gce/us-central1": {"write": {"burst": 1, "per_second": 0.001}}})
    call("POST", f"{AT}/reservations", reservation("first"))
    assert call("POST", f"{AT}/reservations", reservation(), refused=True)[:2] == (403, "rateLimitExceeded")


def test_the_validator_sees_what_is_wrong() -> None:
    """Names, types, enumerations and formats, in requests and in answers."""
    url = "http://127.0.0.1/compute/v1/projects/p/zones/z/reservations"
    assert wrong_request("POST", url, reservation()) == []
    assert wrong_request("POST", f"{url}?returnPartialSuccess=true", reservation()) != []
    assert wrong_request("POST", url, {"nam": "x"}) == ["reservations.insert: body: no field 'nam'"]
    assert wrong_request("PUT", url, {}) != []
    assert wrong_request("GET", url, {}) == ["reservations.list: has a body"]
    count = {"specificReservation": {"count": 2}}
    assert wrong_request("POST", url, count) == ["reservations.insert: body.specificReservation.count: 2 is no string"]
    assert wrong_answer("GET", f"{url}/r", 200, {"status": "SLEEPING"}) != []
    assert wrong_answer("GET", f"{url}/r", 200, {"creationTimestamp": "yesterday"}) != []
    assert wrong_answer("GET", f"{url}/r", 404, {"error": "no"}) != []
    assert wrong_answer("GET", f"{url}/r", 404, {"error": {"code": 400, "message": "x", "errors": [{}]}}) != []
    assert list(wrong_value("x", {"type": "string", "format": "int64"}, "at")) == ["at: 'x' is no int64"]
