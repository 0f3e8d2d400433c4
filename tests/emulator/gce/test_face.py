"""The emulated Compute Engine refuses and answers as the real one does, in the forms of its discovery document."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import requests

from pytest_capacity.emulator.gce.routes import METHODS
from pytest_capacity.emulator.gce.wire import Filter
from pytest_capacity.emulator.refusal import Refusal
from tests.emulated import Emulator
from tests.emulator.gce.calls import AT, ZONE, Call, aimed_at, ended, machine, reservation
from tests.emulator.gce.discovery import describe, wrong_answer, wrong_request, wrong_value

pytestmark = pytest.mark.usefixtures("exchanges")


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
