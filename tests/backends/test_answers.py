"""Answers of several errors: how they are taken apart, and which of them counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pytest_capacity.backends.answers import read_answer
from pytest_capacity.backends.diagnosis import diagnose_parts, make_table
from pytest_capacity.model import ErrorPart

TABLES: Final = {
    cloud: make_table(cloud, rows)
    for cloud, rows in yaml.safe_load(Path(__file__).with_name("answers.yaml").read_text(encoding="utf-8")).items()
}
_INNER: Final = {"error": {"code": "ZonalAllocationFailed", "message": "no capacity in this zone"}}

#: (cloud, body, status) as it is sent, and the code that counts, its class, scope and step.
ANSWERS: Final[list[tuple[str, object, int | None, str, str]]] = [
    (
        "azure",
        {"error": {"code": "DeploymentFailed", "message": "See details.", "details": [_INNER["error"]]}},
        200,
        "ZonalAllocationFailed",
        "capacity-zone type+zone move-on",
    ),
    (
        "azure",
        {"error": {"code": "Conflict", "details": [{"code": "Conflict", "details": [{"code": "SkuNotAvailable"}]}]}},
        409,
        "SkuNotAvailable",
        "type-unsupported type+zone move-on",
    ),
    (
        "azure",
        {"error": {"code": "Conflict", "message": "no", "innererror": {"code": "AllocationFailed"}}},
        409,
        "AllocationFailed",
        "capacity-region type+zone move-on",
    ),
    (
        "azure",
        {"error": {"code": "ResourceDeploymentFailure", "message": f"failed: {json.dumps(_INNER)} (see log)"}},
        200,
        "ZonalAllocationFailed",
        "capacity-zone type+zone move-on",
    ),
    (
        "azure",
        {
            "error": {
                "code": "QuotaExceeded",
                "message": "Quota exceeded",
                "details": [
                    {"code": "OperationNotAllowed", "message": "exceeding approved standardDSv3Family Cores quota"}
                ],
            }
        },
        400,
        "OperationNotAllowed",
        "quota family+region+market move-on",
    ),
    (
        "azure",
        {"error": {"code": "SkuNotAvailable", "innererror": {"code": "NeverHeardOf"}}},
        503,
        "SkuNotAvailable",
        "type-unsupported type+zone move-on",
    ),
    (
        "gce",
        {"error": {"code": 403, "message": "Forbidden", "errors": [{"reason": "rateLimitExceeded"}]}},
        403,
        "rateLimitExceeded",
        "throttle none back-off",
    ),
    (
        "gce",
        {
            "status": "DONE",
            "error": {
                "errors": [{"code": "VM_MIN_COUNT_NOT_REACHED"}, {"code": "QUOTA_EXCEEDED", "message": "in region r"}]
            },
        },
        None,
        "QUOTA_EXCEEDED",
        "quota family+region+market move-on",
    ),
    (
        "gce",
        {"errors": [{"code": "QUOTA_EXCEEDED", "message": "globally"}, {"code": "ZONE_RESOURCE_POOL_EXHAUSTED_X"}]},
        None,
        "ZONE_RESOURCE_POOL_EXHAUSTED_X",
        "capacity-zone type+zone+market move-on",
    ),
    (
        "oci",
        [{"code": "unknown", "message": "Out of host capacity."}],
        None,
        "unknown",
        "capacity-zone type+zone+market move-on",
    ),
    (
        "blazar",
        {"forbidden": {"code": 403, "message": "Quota exceeded for cores"}},
        403,
        "403",
        "quota region move-on",
    ),
    (
        "blazar",
        {"error_code": 400, "error_message": "Not enough hosts available", "error_name": 400},
        400,
        "400",
        "capacity-zone type+zone move-on",
    ),
    ("gce", b'{"error": {"errors": [{"reason": "quotaExceeded"}]}}', 403, "quotaExceeded", "quota family+zone move-on"),
    ("gce", "<html>502</html>", 502, "", "transient none ask-again"),
]


@pytest.mark.parametrize(("cloud", "body", "http", "code", "meaning"), ANSWERS)
def test_the_error_that_says_why_counts(cloud: str, body: object, http: int | None, code: str, meaning: str) -> None:
    """The deepest one that is known; side by side the one that leaves most to be done."""
    found = diagnose_parts(TABLES[cloud], read_answer(body, http))
    assert (found.code, f"{found.kind} {found.scope} {found.step}") == (code, meaning)


@pytest.mark.parametrize(
    ("metric", "dimensions", "scope"),
    [
        ("CPUS", {"region": "us-central1"}, "family+region+market"),
        ("CPUS", {"zone": "us-central1-a"}, "family+zone"),
        ("CPUS", {}, "cloud"),
        ("PREEMPTIBLE_CPUS", {"region": "us-central1"}, "market+region"),
    ],
)
def test_a_quota_says_beside_its_message_how_far_it_reaches(
    metric: str, dimensions: dict[str, str], scope: str
) -> None:
    """GCE's quotaInfo; the words that are shown are the message's alone."""
    details = [{"quotaInfo": {"metricName": metric, "dimensions": dimensions, "limit": 8}}]
    error: dict[str, Any] = {"code": "QUOTA_EXCEEDED", "message": "Quota exceeded.", "errorDetails": details}
    found = diagnose_parts(TABLES["gce"], read_answer({"error": {"errors": [error]}}))
    assert (found.scope, found.words) == (scope, "Quota exceeded.")


def test_where_nothing_is_known_the_outermost_words_are_shown() -> None:
    """And the run stops."""
    body = {"error": {"code": "Odd", "message": "strange", "details": [{"code": "Odder"}]}}
    found = diagnose_parts(TABLES["azure"], read_answer(body, 400))
    assert (found.step, found.kind, found.code, found.words) == ("stop", "unknown", "Odd", "strange")
    assert diagnose_parts(TABLES["azure"], ()).kind == "unknown"


def test_an_answer_without_errors_has_no_parts() -> None:
    """Whatever it is."""
    assert read_answer({}) == read_answer([]) == read_answer(None) == read_answer(5) == ()


def test_words_with_braces_are_words() -> None:
    """They are kept whole, whether or not what stands in the braces can be read."""
    assert read_answer("no {json} here") == (ErrorPart(message="no {json} here"),)
    assert read_answer('see {"code": "X"}!') == (
        ErrorPart(message='see {"code": "X"}!'),
        ErrorPart(code="X", depth=1),
    )


def test_an_endless_answer_is_cut() -> None:
    """Neither depth nor length of an answer can hang the reader."""
    deep: dict[str, Any] = {"code": "X"}
    for _ in range(500):
        deep = {"code": "X", "details": [deep]}
    assert 1 < len(read_answer(deep)) < 100
    assert len(read_answer([{"code": "X"}] * 10_000)) == 100
    assert read_answer('{"a":' * 100_000)[0].message.startswith('{"a":')


def gce_stockout(zones: str) -> dict[str, Any]:
    """A failed operation of GCE, as kubernetes/k8s.io issue 9834 has it."""
    words = "A n1-standard-4 VM instance is currently unavailable in the us-central1-b zone."
    told = {"vmType": "n1-standard-4", "attachment": "", "zone": "us-central1-b", "zonesAvailable": zones}
    details = [
        {"help": {"links": [{"url": "https://cloud.google.com/compute/docs/resource-error"}]}},
        {"localizedMessage": {"locale": "en-US", "message": words}},
        {"errorInfo": {"domain": "compute.googleapis.com", "reason": "resource_availability", "metadatas": told}},
    ]
    error = {"code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "message": "no", "errorDetails": details}
    return {"status": "DONE", "error": {"errors": [error]}}


@pytest.mark.parametrize(
    ("zones", "hints"),
    [("us-central1-a,us-central1-f", ("us-central1-a", "us-central1-f")), ("", ()), ("us-east4-c", ("us-east4-c",))],
)
def test_the_zones_that_gce_names_are_hints(zones: str, hints: tuple[str, ...]) -> None:
    """They stand beside the message, with the error that counts."""
    found = diagnose_parts(TABLES["gce"], read_answer(gce_stockout(zones)))
    assert (found.kind, found.hints) == ("capacity-zone", hints)


def test_the_zones_that_gce_names_in_words_are_hints() -> None:
    """The same, in the text for people, which older answers have alone."""
    words = (
        "A n1-standard-4 VM instance is currently unavailable in the us-central1-b zone. Consider trying your request "
        "in the us-central1-a, us-central1-f zone(s), which currently has capacity to accommodate your request."
    )
    body = {"error": {"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": words}]}}
    assert diagnose_parts(TABLES["gce"], read_answer(body)).hints == ("us-central1-a", "us-central1-f")


@pytest.mark.parametrize(
    "details", ["x", [1], [{"errorInfo": 1}], [{"errorInfo": {"metadatas": 1}}], [{"errorInfo": {"metadatas": {}}}]]
)
def test_details_of_another_form_hint_at_nothing(details: object) -> None:
    """A cloud may change what stands there; the error is read all the same."""
    body = {"error": {"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "errorDetails": details}]}}
    found = diagnose_parts(TABLES["gce"], read_answer(body))
    assert (found.kind, found.hints) == ("capacity-zone", ())
