"""Every row of OCI's table: from an error as the SDK gives it to class, scope and step."""

from __future__ import annotations

from typing import Final

import pytest

from pytest_capacity.backends.diagnosis import diagnose, packaged_table, remedy
from pytest_capacity.model import Diagnosis, ErrorPart

#: Code, message and status, and the class, scope and step that follow.
CASES: Final[list[tuple[str, str, int | None, str]]] = [
    ("InternalError", "Out of host capacity.", None, "capacity-zone type+zone+market move-on"),
    ("", "Out of host capacity.", None, "capacity-zone type+zone+market move-on"),
    (
        "",
        "Out of capacity for shape VM.Standard.A1.Flex in availability domain AD-1.",
        None,
        "capacity-zone type+zone move-on",
    ),
    ("OutOfCapacity", "", None, "capacity-zone type+zone move-on"),
    ("OutOfHostCapacity", "", None, "capacity-zone type+zone move-on"),
    (
        "",
        "reservation does not have sufficient capacity for the new shape",
        None,
        "reservation-full reservation move-on",
    ),
    (
        "LimitExceeded",
        "The following service limits were exceeded: standard-a1-core-count.",
        None,
        "quota family+zone move-on",
    ),
    (
        "LimitExceeded",
        "The following service limits were exceeded: standard-a1-core-count, standard-a1-core-regional-count.",
        None,
        "quota family+region+market move-on",
    ),
    ("LimitExceeded", "", None, "quota family+zone move-on"),
    ("QuotaExceeded", "", None, "quota region move-on"),
    ("TooManyRequests", "", None, "throttle none back-off"),
    ("", "Too many requests for the user", None, "throttle none back-off"),
    ("", "", 429, "throttle none back-off"),
    ("IncorrectState", "", None, "conflict none back-off"),
    ("ExternalServerIncorrectState", "", None, "conflict none back-off"),
    ("LockConflict", "", None, "conflict none back-off"),
    ("InvalidatedRetryToken", "", None, "conflict none back-off"),
    ("Conflict", "", None, "conflict none back-off"),
    ("NotAuthorizedOrNotFound", "", None, "denied cloud stop"),
    ("NotAuthorized", "", None, "denied cloud stop"),
    ("SignUpRequired", "", None, "denied cloud stop"),
    ("NotAllowed", "", None, "denied cloud stop"),
    ("NotAuthenticated", "", None, "auth cloud stop"),
    ("", "", 401, "auth cloud stop"),
    ("RelatedResourceNotAuthorizedOrNotFound", "", None, "invalid none stop"),
    ("InvalidParameter", "", None, "invalid none stop"),
    ("MissingParameter", "", None, "invalid none stop"),
    ("CannotParseRequest", "", None, "invalid none stop"),
    ("InternalServerError", "", None, "transient none ask-again"),
    ("InternalError", "", None, "transient none ask-again"),
    ("", "", 503, "transient none ask-again"),
    (
        "LimitExceeded",
        "The subnet has no more private IP addresses available.",
        400,
        "network-exhausted subnet move-on",
    ),
    ("NoEtagMatch", "", 412, "conflict none back-off"),
    ("PreemptibleInstanceTerminated", "", None, "preempted type+zone+market move-on"),
    ("ComputeCapacityReservation.DELETED", "", None, "conflict reservation stop"),
    ("Instance.TERMINATED", "", None, "conflict none stop"),
    ("ClusterPlacementGroup.FAILED", "", None, "conflict placement-group stop"),
    ("ConnectTimeout", "", None, "timeout none back-off"),
    ("RequestException", "", None, "transient none ask-again"),
    ("WrongTenancyError", "", None, "auth cloud stop"),
    ("NoPrincipalError", "", None, "auth cloud stop"),
]


@pytest.mark.parametrize(("code", "message", "http", "meaning"), CASES)
def test_an_error_leads_to_its_step(code: str, message: str, http: int | None, meaning: str) -> None:
    """Class, scope and step; the cloud's own code and words are kept."""
    found = diagnose(packaged_table("oci"), code=code, message=message, http=http)
    assert f"{found.kind} {found.scope} {found.step}" == meaning
    assert (found.code, found.words) == (code, message)


def test_no_row_is_without_a_case() -> None:
    """Each row is the answer to at least one case, and each of its codes is asked."""
    table = packaged_table("oci")
    hit = [table.row_for(ErrorPart(code, message, http), None) for code, message, http, _ in CASES]
    assert [row for row in table.rows if row not in hit] == []
    assert {code for row in table.rows for code in row.code} - {code for code, *_ in CASES} == set()


def test_lack_of_capacity_goes_before_the_status() -> None:
    """HTTP 500 alone is an unknown outcome; with the text it is a dry domain, in whatever case it is written."""
    for message in ("Out of host capacity.", "OUT OF HOST CAPACITY"):
        assert diagnose(packaged_table("oci"), code="InternalError", message=message, http=500).kind == "capacity-zone"
    assert diagnose(packaged_table("oci"), code="InternalError", message="Internal error", http=500).step == "ask-again"


def test_a_refusal_names_what_to_allow() -> None:
    """The operation by Oracle's name, and by what it is allowed."""
    denied = Diagnosis(step="stop", kind="denied", operation="LaunchInstance")
    assert remedy("oci", denied).startswith("Allow LaunchInstance to these credentials by a policy")
