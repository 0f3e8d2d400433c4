"""Every row of Compute Engine's table, and the places in which an error may stand."""

from __future__ import annotations

from typing import Any, Final

import pytest
import requests
from google.auth.exceptions import DefaultCredentialsError

from pytest_capacity.backends.diagnosis import diagnose, packaged_table
from pytest_capacity.backends.gce.errors import diagnose_error
from pytest_capacity.backends.gce.operations import OperationFailed, error_parts, warnings
from pytest_capacity.backends.gce.session import ApiError, NoProject
from pytest_capacity.model import ErrorPart, Market

TABLE: Final = packaged_table("gce")

#: Code, message and status, and the class, scope and step that follow.
Said = tuple[str, str, int | None, str]

CASES: Final[list[Said]] = [
    ("ZONE_RESOURCE_POOL_EXHAUSTED", "", None, "capacity-zone type+zone+market move-on"),
    ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "", None, "capacity-zone type+zone+market move-on"),
    ("RESOURCE_POOL_EXHAUSTED", "", None, "capacity-zone type+zone+market move-on"),
    ("insufficientCapacity", "", None, "capacity-zone type+zone+market move-on"),
    ("INSUFFICIENT_CAPACITY", "", None, "capacity-zone type+zone+market move-on"),
    ("GCE_STOCKOUT", "", None, "capacity-zone type+zone+market move-on"),
    ("ERROR_STOCKOUT", "", None, "capacity-zone type+zone+market move-on"),
    ("stockout", "", None, "capacity-zone type+zone+market move-on"),
    (
        "",
        "The zone does not have enough resources available to fulfill the request.",
        None,
        "capacity-zone type+zone+market move-on",
    ),
    ("", "(stockout) n2-standard-4", None, "capacity-zone type+zone+market move-on"),
    ("VM_MIN_COUNT_NOT_REACHED", "", None, "capacity-zone type+zone+market move-on"),
    ("UNSUPPORTED_OPERATION", "", None, "invalid none stop"),
    ("", "Instance was preempted.", None, "preempted type+zone+market move-on"),
    ("", "Instance failed to start due to preemption.", None, "spot-capacity type+zone+market move-on"),
    (
        "QUOTA_EXCEEDED",
        "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.",
        None,
        "quota family+region+market move-on",
    ),
    (
        "quotaExceeded",
        "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.",
        None,
        "quota family+region+market move-on",
    ),
    ("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0", None, "quota cloud move-on"),
    ("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 32.0 globally.", None, "quota cloud move-on"),
    ("QUOTA_EXCEEDED", "Quota 'X' exceeded.  Limit: 1.0 in zone us-central1-a.", None, "quota family+zone move-on"),
    (
        "QUOTA_EXCEEDED",
        "Quota 'PREEMPTIBLE_CPUS' exceeded.  Limit: 1.0 in region us-central1.",
        None,
        "spot-quota market+region move-on",
    ),
    ("QUOTA_EXCEEDED", "", None, "quota family+zone move-on"),
    ("rateLimitExceeded", "Rate Limit Exceeded", None, "throttle none back-off"),
    ("", "Rate Limit Exceeded", None, "throttle none back-off"),
    ("userRateLimitExceeded", "", None, "throttle none back-off"),
    ("RESOURCE_OPERATION_RATE_EXCEEDED", "", None, "throttle none back-off"),
    ("IP_SPACE_EXHAUSTED_WITH_DETAILS", "", None, "network-exhausted region move-on"),
    ("", "External IP resource pool is exhausted", None, "network-exhausted region move-on"),
    (
        "CONDITION_NOT_MET",
        "Specified reservation 'r' does not have available resources for the request.",
        None,
        "reservation-full reservation move-on",
    ),
    (
        "CONDITION_NOT_MET",
        "No available resources in specified reservations 'r'",
        None,
        "reservation-mismatch reservation stop",
    ),
    ("CONDITION_NOT_MET", "Specified reservations [r] do not exist.", None, "reservation-mismatch reservation stop"),
    (
        "CONDITION_NOT_MET",
        "Cannot use r: it requires reservation to be in READY state, it is CREATING",
        None,
        "reservation-not-ready reservation back-off",
    ),
    (
        "CONDITION_NOT_MET",
        "All automatic reservations in your project that match are fully consumed.",
        None,
        "reservation-full reservation move-on",
    ),
    (
        "CONDITION_NOT_MET",
        "There is no automatic reservation matching the instance",
        None,
        "reservation-mismatch zone move-on",
    ),
    (
        "CONDITION_NOT_MET",
        "Reservation r is incorrect for the requested resources.",
        None,
        "reservation-mismatch reservation stop",
    ),
    (
        "CONDITION_NOT_MET",
        "The reservation must exist in the same project as the instance.",
        None,
        "reservation-mismatch reservation stop",
    ),
    (
        "CONDITION_NOT_MET",
        "Zone does not currently have sufficient capacity for the requested resources",
        None,
        "capacity-zone type+zone+market move-on",
    ),
    ("CONDITION_NOT_MET", "Constraint constraints/compute.vmExternalIpAccess violated", None, "denied cloud stop"),
    (
        "",
        "Machine type with name 'n9' does not exist in zone 'us-central1-a'.",
        None,
        "type-unsupported type+zone move-on",
    ),
    ("", "a2-highgpu-1g can not be used without accelerator(s)", None, "type-unsupported type+zone move-on"),
    (
        "notFound",
        "The resource 'projects/p/zones/z/machineTypes/n9' was not found",
        None,
        "type-unsupported type+zone move-on",
    ),
    ("notFound", "The resource 'projects/p/global/images/mine' was not found", None, "invalid region stop"),
    ("notFound", "The resource 'projects/p' was not found", None, "invalid region stop"),
    ("RESOURCE_NOT_FOUND", "The resource 'projects/p/zones/z/instances/one' was not found", None, "missing none gone"),
    (
        "forbidden",
        "Location us-central1-a is not found or access is unauthorized.",
        None,
        "account-blocked zone move-on",
    ),
    ("RESOURCE_NOT_READY", "", None, "conflict none back-off"),
    (
        "resourceNotReady",
        "The resource 'projects/p/zones/z/reservations/r' is not ready",
        400,
        "conflict none back-off",
    ),
    ("conflict", "The operation was aborted", 409, "conflict none back-off"),
    (
        "conditionNotMet",
        "Supplied fingerprint does not match current metadata fingerprint.",
        412,
        "conflict none ask-again",
    ),
    ("resourceAvailability", "", None, "capacity-zone type+zone+market move-on"),
    ("resource_availability", "", None, "capacity-zone type+zone+market move-on"),
    ("alreadyExists", "", None, "conflict none ask-again"),
    ("resourceInUseByAnotherResource", "", None, "conflict none back-off"),
    ("", "The resource_policy resource 'p' is already being used by 'r'", None, "conflict none back-off"),
    ("PERMISSIONS_ERROR", "", None, "denied cloud stop"),
    ("IAM_PERMISSION_DENIED", "", None, "denied cloud stop"),
    ("SERVICE_ACCOUNT_ACCESS_DENIED", "", None, "denied cloud stop"),
    ("accessNotConfigured", "", None, "denied cloud stop"),
    ("forbidden", "", None, "denied cloud stop"),
    ("", "Required 'compute.instances.create' permission for 'projects/p'", None, "denied cloud stop"),
    ("authError", "Invalid Credentials", None, "auth cloud stop"),
    ("required", "Login Required", None, "auth cloud stop"),
    ("", "", 401, "auth cloud stop"),
    ("invalid", "", None, "invalid none stop"),
    ("badRequest", "", None, "invalid none stop"),
    ("TIMEOUT", "", None, "timeout type+zone+market move-on"),
    ("backendError", "", None, "transient none ask-again"),
    ("internalError", "", None, "transient none ask-again"),
    ("INTERNAL_ERROR", "", None, "transient none ask-again"),
    ("", "bad gateway", 502, "transient none ask-again"),
    ("", "", 429, "throttle none back-off"),
    ("conditionNotMet", "", None, "unknown none stop"),
    ("ConnectTimeout", "", None, "timeout none ask-again"),
    ("ReadTimeout", "", None, "timeout none ask-again"),
    ("Timeout", "", None, "timeout none ask-again"),
    ("SSLError", "certificate verify failed", None, "invalid none stop"),
    ("ConnectionError", "", None, "transient none ask-again"),
    ("ChunkedEncodingError", "", None, "transient none ask-again"),
    ("ContentDecodingError", "", None, "transient none ask-again"),
    ("ProxyError", "", None, "transient none ask-again"),
    ("TransportError", "", None, "transient none ask-again"),
    ("DefaultCredentialsError", "", None, "auth cloud stop"),
    ("RefreshError", "", None, "auth cloud stop"),
    ("GoogleAuthError", "", None, "auth cloud stop"),
    ("MalformedError", "", None, "auth cloud stop"),
    ("ReauthFailError", "", None, "auth cloud stop"),
    ("NoProject", "", None, "invalid cloud stop"),
]

#: What depends on the market that was tried.
BY_MARKET: Final[list[tuple[str, Market, str]]] = [
    ("UNSUPPORTED_OPERATION", "spot", "spot-capacity type+zone+market move-on"),
    ("UNSUPPORTED_OPERATION", "on-demand", "invalid none stop"),
]

#: What scylla-cluster-tests looks for: each is known, and each moves on when nothing more is said.
KEYWORDS: Final = (
    "ZONE_RESOURCE_POOL_EXHAUSTED",
    "QUOTA_EXCEEDED",
    "stockout",
    "does not have enough resources",
    "Instance failed to start due to preemption",
)


@pytest.mark.parametrize(("code", "message", "http", "meaning"), CASES)
def test_an_error_leads_to_its_step(code: str, message: str, http: int | None, meaning: str) -> None:
    """Class, scope and step follow from it; the cloud's own code and words are kept."""
    found = diagnose(TABLE, code=code, message=message, http=http)
    assert f"{found.kind} {found.scope} {found.step}" == meaning
    assert (found.code, found.words) == (code, message)


@pytest.mark.parametrize(("code", "market", "meaning"), BY_MARKET)
def test_what_was_tried_may_tell_what_is_meant(code: str, market: Market, meaning: str) -> None:
    """Some codes mean something else of a spot machine."""
    found = diagnose(TABLE, code=code, market=market)
    assert f"{found.kind} {found.scope} {found.step}" == meaning


def test_no_row_is_without_a_case() -> None:
    """Each row is the answer to at least one case, and each of its codes is asked."""
    hit = [TABLE.row_for(ErrorPart(code, message, http), None) for code, message, http, _ in CASES]
    hit += [TABLE.row_for(ErrorPart(code), market) for code, market, _ in BY_MARKET]
    assert [row for row in TABLE.rows if row not in hit] == []
    assert {code for row in TABLE.rows for code in row.code} - {code for code, *_ in CASES} == set()


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_alone_moves_on(keyword: str) -> None:
    """As a code, or as the words: nothing says that it reaches farther than the zone."""
    found = [diagnose(TABLE, code=keyword), diagnose(TABLE, code="X", message=keyword)]
    assert "move-on" in {one.step for one in found}
    assert {one.step for one in found if one.kind != "unknown"} == {"move-on"}


ERRORS: Final = {"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": "no"}]}


@pytest.mark.parametrize(
    ("operation", "codes"),
    [
        ({"status": "DONE", "error": ERRORS}, ["ZONE_RESOURCE_POOL_EXHAUSTED"]),
        (
            {"status": "DONE", "error": ERRORS, "httpErrorStatusCode": 503, "httpErrorMessage": "SERVICE UNAVAILABLE"},
            ["ZONE_RESOURCE_POOL_EXHAUSTED"],
        ),
        ({"status": "DONE", "httpErrorStatusCode": 503, "httpErrorMessage": "QUOTA_EXCEEDED"}, ["QUOTA_EXCEEDED"]),
        ({"status": "DONE", "httpErrorStatusCode": 503}, [""]),
        ({"status": "DONE", "httpErrorStatusCode": 200}, []),
        ({"status": "DONE"}, []),
        ({"status": "RUNNING", "error": ERRORS}, []),
    ],
)
def test_an_operation_tells_its_errors_in_two_places(operation: dict[str, Any], codes: list[str]) -> None:
    """Each of the two may stand alone, and counts; while it runs nothing does."""
    assert [part.code for part in error_parts(operation)] == codes


def test_an_answer_tells_the_third() -> None:
    """A call that is refused outright: by its reason, and not by the status that stands there as a code too."""
    body = {"error": {"code": 403, "message": "Rate", "errors": [{"reason": "rateLimitExceeded", "message": "Rate"}]}}
    found = diagnose_error(ApiError("instances.insert", 403, body), TABLE)
    assert (found.code, found.step, found.operation) == ("rateLimitExceeded", "back-off", "instances.insert")
    plain = diagnose_error(ApiError("instances.insert", 502, "<html>Bad Gateway</html>"), TABLE)
    assert (plain.kind, plain.step) == ("transient", "ask-again")


def test_a_reason_that_no_row_knows_is_shown() -> None:
    """Not the status that stands before it as a code."""
    body = {"error": {"code": 418, "message": "Tea", "errors": [{"reason": "teapot", "message": "Tea"}]}}
    found = diagnose_error(ApiError("instances.insert", 418, body), TABLE)
    assert (found.kind, found.code, found.words) == ("unknown", "teapot", "Tea")
    bare = diagnose_error(ApiError("instances.insert", 418, {}), TABLE)
    assert (bare.kind, bare.words) == ("unknown", "HTTP 418")


def test_the_reason_beside_a_vague_code_counts() -> None:
    """Of a bulk insert: that too few came of it is said first, and why beside it."""
    details = [{"errorInfo": {"reason": "resource_availability", "metadatas": {"zonesAvailable": "us-b1-a, us-b1-f"}}}]
    errors = [
        {"code": "VM_MIN_COUNT_NOT_REACHED", "message": "Requested minimum count of 3 VMs could not be created."},
        {"code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "message": "no", "errorDetails": details},
    ]
    failed = OperationFailed("instances.bulkInsert", {"status": "DONE", "error": {"errors": errors}})
    found = diagnose_error(failed, TABLE)
    assert (found.code, found.hints) == ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", ("us-b1-a", "us-b1-f"))


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (requests.exceptions.ReadTimeout("slow"), "timeout ask-again"),
        (requests.exceptions.ConnectionError("reset"), "transient ask-again"),
        (requests.exceptions.SSLError("certificate"), "invalid stop"),
        (DefaultCredentialsError("none"), "auth stop"),
        (NoProject(), "invalid stop"),
        (ZeroDivisionError("defect"), "unknown stop"),
    ],
)
def test_errors_of_the_way_there_are_read(error: Exception, meaning: str) -> None:
    """By the names of their classes."""
    found = diagnose_error(error, TABLE)
    assert f"{found.kind} {found.step}" == meaning
    assert found.by == "the SDK"


def test_warnings_are_kept() -> None:
    """Of an operation that went well."""
    told = {"warnings": [{"code": "DISK_SIZE_LARGER_THAN_IMAGE_SIZE", "message": "resize it"}]}
    assert warnings(told) == ("DISK_SIZE_LARGER_THAN_IMAGE_SIZE: resize it",)
