"""Every row of AWS, from the bytes that EC2 sends, or the exception that botocore raises, to the step."""

from __future__ import annotations

from typing import Any, Final
from xml.sax.saxutils import escape

import botocore.exceptions as sdk
import pytest
from botocore.exceptions import ClientError
from botocore.model import Shape
from botocore.parsers import ResponseParserError, create_parser

from pytest_capacity.backends.aws.errors import diagnose_error
from pytest_capacity.backends.aws.profiles import MfaCodeNeededError
from pytest_capacity.backends.aws.regions import ClosedRegionError, UnknownRegionError
from pytest_capacity.backends.aws.session import WrongAccountError
from pytest_capacity.backends.diagnosis import diagnose_held, packaged_table, table_of
from pytest_capacity.model import ErrorRow, Held
from tests.backends.aws.published import BARE, LEFT_UNKNOWN, PUBLISHED

UNSUPPORTED: Final = ("move-on", "type-unsupported")

#: (code, message, status) as EC2 answers, and the step and class that follow.
ANSWERS: Final[list[tuple[str, str, int, str, str]]] = [
    (
        "InsufficientInstanceCapacity",
        "We currently do not have sufficient i4i.large capacity in the Availability Zone you requested (us-east-1a).",
        500,
        "move-on",
        "capacity-zone",
    ),
    (
        "InsufficientInstanceCapacity",
        "There is no Spot capacity available that matches your request.",
        500,
        "move-on",
        "spot-capacity",
    ),
    (
        "InsufficientInstanceCapacity",
        "You have reached the limit of instances in this spread placement group for us-east-1a.",
        500,
        "move-on",
        "capacity-zone",
    ),
    ("InsufficientHostCapacity", "", 500, "move-on", "capacity-zone"),
    ("InsufficientReservedInstanceCapacity", "", 500, "move-on", "capacity-zone"),
    ("InsufficientVolumeCapacity", "", 500, "move-on", "capacity-zone"),
    ("UnfulfillableCapacity", "", 500, "move-on", "spot-capacity"),
    ("SpotMaxPriceTooLow", "Your Spot request price of 0.01 is lower than the minimum", 400, "move-on", "spot-price"),
    (
        "Unsupported",
        "Your requested instance type (i4i.large) is not supported in your requested Availability Zone (us-east-1e).",
        400,
        "move-on",
        "type-unsupported",
    ),
    (
        "Unsupported",
        "The requested configuration is currently not supported. Please check the documentation.",
        400,
        "move-on",
        "type-unsupported",
    ),
    ("Unsupported", "This is something else that is not supported", 400, "stop", "unknown"),
    (
        "ReservationCapacityExceeded",
        "The requested reservation does not have sufficient compatible and available capacity for this request.",
        400,
        "move-on",
        "reservation-full",
    ),
    (
        "InvalidParameterValue",
        "The market type (purchasing) option is not valid for the capacity reservation",
        400,
        "stop",
        "reservation-mismatch",
    ),
    ("VcpuLimitExceeded", "You have requested more vCPU capacity than your limit of 32", 400, "move-on", "quota"),
    ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "", 403, "move-on", "auth"),
    ("UnauthorizedOperation", "with an explicit deny in a service control policy", 403, "move-on", "denied"),
    ("UnauthorizedOperation", "You are not authorized to perform this operation.", 403, "stop", "denied"),
    ("AccessDenied", "", 403, "stop", "denied"),
    ("AuthFailure", "AWS was not able to validate the provided access credentials", 401, "stop", "auth"),
    ("InvalidClientTokenId", "", 403, "stop", "auth"),
    ("SignatureDoesNotMatch", "", 403, "stop", "auth"),
    ("ExpiredToken", "", 403, "stop", "auth"),
    ("MissingAuthenticationToken", "", 403, "stop", "auth"),
    ("RequestExpired", "Request has expired.", 400, "stop", "auth"),
    ("OptInRequired", "", 403, "move-on", "account-blocked"),
    ("InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist", 400, "stop", "invalid"),
    ("InvalidParameterValue", "Value (x) for parameter y is invalid", 400, "stop", "invalid"),
    ("ParameterNotFound", "Parameter /mine not found.", 400, "stop", "invalid"),
    ("InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist", 400, "gone", "missing"),
    ("InvalidKeyPair.NotFound", "The key pair 'pytest-capacity-r-n-default-1' does not exist", 400, "gone", "missing"),
    ("InvalidKeyPair.NotFound", "The key pair 'key-0123456789abcdef0' does not exist", 400, "gone", "missing"),
    ("InvalidKeyPair.NotFound", "The key pair 'mine' does not exist", 400, "stop", "invalid"),
    ("InvalidKeyPair.Duplicate", "The keypair already exists", 400, "stop", "conflict"),
    ("InvalidKey.Format", "Key is not in valid OpenSSH public key format", 400, "stop", "invalid"),
    ("RequestLimitExceeded", "Request limit exceeded.", 503, "back-off", "throttle"),
    ("EC2ThrottledException", "", 503, "back-off", "throttle"),
    ("Throttling", "Rate exceeded", 400, "back-off", "throttle"),
    ("SlowDown", "", 503, "back-off", "throttle"),
    ("NeverHeardOf", "too fast", 429, "back-off", "throttle"),
    ("InternalError", "An internal error has occurred", 500, "ask-again", "transient"),
    ("InternalFailure", "", 500, "ask-again", "transient"),
    ("ServerInternal", "", 500, "ask-again", "transient"),
    ("ServiceUnavailable", "", 503, "ask-again", "transient"),
    ("Unavailable", "The server is overloaded", 503, "ask-again", "transient"),
    ("NeverHeardOf", "", 500, "ask-again", "transient"),
    ("InvalidSubnetID.NotFound", "The subnet ID 'subnet-01234567' does not exist", 400, "stop", "invalid"),
    (
        "OptInRequired",
        "you need to accept terms and subscribe: https://aws.amazon.com/x",
        401,
        "stop",
        "not-subscribed",
    ),
    ("UnsupportedOperation", "The instance type 'p5.48xlarge' is not supported in us-east-1a", 400, *UNSUPPORTED),
    ("Unsupported", "The requested Availability Zone is currently constrained and we are no", 400, *UNSUPPORTED),
    ("MissingInput", "No default subnet for availability zone: 'us-east-1a'.", 400, "move-on", "no-network"),
    ("AuthFailure", "Not authorized for images: [ami-01234567]", 401, "stop", "invalid"),
    (
        "InvalidInstanceAttributeValue",
        "Modifying the instance type to y is not allowed.",
        400,
        "stop",
        "invalid",
    ),
    ("InvalidParameterValue", "The tag policy does not allow the value for tag key 'Team'", 400, "stop", "form-denied"),
    ("InvalidParameterValue", "Value (x) for parameter iamInstanceProfile.name is invalid", 400, "stop", "invalid"),
    ("SignatureDoesNotMatch", "Signature expired: 20261129T090000Z is now earlier than", 403, "stop", "auth"),
    *((code, "", 400, step, kind) for (step, kind), codes in BARE.items() for code in codes.split()),
]

#: What botocore raises by itself.
RAISED: Final[list[tuple[Exception, str, str]]] = [
    (sdk.ReadTimeoutError(endpoint_url="http://x"), "ask-again", "timeout"),
    (sdk.ConnectionClosedError(endpoint_url="http://x"), "ask-again", "transient"),
    (sdk.HTTPClientError(error="reset"), "ask-again", "transient"),
    (sdk.ResponseStreamingError(error="cut"), "ask-again", "transient"),
    (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), "ask-again", "transient"),
    (ConnectionResetError("reset by peer"), "ask-again", "transient"),
    (sdk.EndpointConnectionError(endpoint_url="http://x"), "back-off", "transient"),
    (sdk.ConnectTimeoutError(endpoint_url="http://x"), "back-off", "transient"),
    (sdk.ProxyConnectionError(proxy_url="http://x"), "back-off", "transient"),
    (sdk.SSLError(endpoint_url="https://x", error=OSError("certificate")), "stop", "invalid"),
    (sdk.NoCredentialsError(), "stop", "auth"),
    (sdk.PartialCredentialsError(provider="env", cred_var="secret"), "stop", "auth"),
    (sdk.CredentialRetrievalError(provider="process", error_msg="no"), "stop", "auth"),
    (sdk.ProfileNotFound(profile="mine"), "stop", "auth"),
    (sdk.TokenRetrievalError(provider="sso", error_msg="no"), "stop", "auth"),
    (sdk.SSOTokenLoadError(error_msg="no"), "stop", "auth"),
    (sdk.UnauthorizedSSOTokenError(), "stop", "auth"),
    (sdk.ParamValidationError(report="bad"), "stop", "invalid"),
    (WrongAccountError(now="1", began="2"), "stop", "auth"),
    (EOFError("EOF when reading a line"), "stop", "auth"),
    (MfaCodeNeededError(profile="mine", serial="arn:aws:iam::1:mfa/x"), "stop", "auth"),
    (sdk.RefreshWithMFAUnsupportedError(), "stop", "auth"),
    (FileNotFoundError(2, "No such file or directory: '/opt/helper'"), "stop", "auth"),
    (PermissionError(13, "Permission denied: '/opt/helper'"), "stop", "auth"),
    (sdk.MissingDependencyException(msg="needs CRT"), "stop", "auth"),
    (sdk.InvalidConfigError(error_msg="x"), "stop", "auth"),
    (sdk.InfiniteLoopConfigError(source_profile="a", visited_profiles=["a"]), "stop", "auth"),
    (sdk.ConfigParseError(path="x"), "stop", "auth"),
    (sdk.ConfigNotFound(path="x"), "stop", "auth"),
    (sdk.UnknownCredentialError(name="x"), "stop", "auth"),
    (sdk.SSOTokenLoadError(error_msg="x"), "stop", "auth"),
    (OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /x"), "stop", "invalid"),
    (
        ClosedRegionError(region="me-south-1", code="AuthFailure", home="us-east-1", status=""),
        "move-on",
        "account-blocked",
    ),
    (UnknownRegionError(region="us-esat-1", near=""), "stop", "invalid"),
    (ResponseParserError("no"), "ask-again", "transient"),
    (sdk.NoRegionError(), "stop", "unknown"),
    (KeyError("a slip of ours"), "stop", "unknown"),
]

#: Why a node died (StateReason.Code), or how a spot request ended.
DEATHS: Final[list[tuple[str, str, str]]] = [
    ("Server.InsufficientInstanceCapacity", "move-on", "capacity-zone"),
    ("Server.SpotInstanceTermination", "move-on", "preempted"),
    ("Server.SpotInstanceShutdown", "move-on", "preempted"),
    ("marked-for-termination", "move-on", "preempted"),
    ("marked-for-stop", "move-on", "preempted"),
    ("instance-terminated-no-capacity", "move-on", "preempted"),
    ("instance-terminated-capacity-oversubscribed", "move-on", "preempted"),
    ("instance-terminated-by-price", "move-on", "preempted"),
    ("instance-terminated-by-service", "move-on", "preempted"),
    ("instance-terminated-by-experiment", "move-on", "preempted"),
    ("capacity-not-available", "move-on", "spot-capacity"),
    ("capacity-oversubscribed", "move-on", "spot-capacity"),
    ("price-too-low", "move-on", "spot-price"),
    ("spotInstanceCountLimitExceeded", "move-on", "spot-quota"),
    ("Server.InternalError", "back-off", "transient"),
    ("Client.VolumeLimitExceeded", "move-on", "quota"),
    ("Client.InternalError", "stop", "invalid"),
    ("Client.InvalidSnapshot.NotFound", "stop", "invalid"),
    ("CapacityReservation.failed", "stop", "conflict"),
    ("Client.UserInitiatedShutdown", "stop", "conflict"),
    ("Client.InstanceInitiatedShutdown", "stop", "conflict"),
    ("Client.InstanceTerminated", "stop", "conflict"),
]


#: Other names for refusals, as scylla-cluster-tests has them.
ALIASES: Final[list[tuple[str, str, str]]] = [
    ("MAX_SPOT_EXCEEDED_ERROR", "move-on", "spot-quota"),
    ("FLEET_LIMIT_EXCEEDED_ERROR", "move-on", "spot-quota"),
    ("SPOT_CAPACITY_NOT_AVAILABLE_ERROR", "move-on", "spot-capacity"),
    ("SPOT_PRICE_TOO_LOW", "move-on", "spot-price"),
    ("SPOT_STATUS_UNEXPECTED_ERROR", "move-on", "spot-capacity"),
]

#: How far a refusal reaches.
REACH: Final[list[tuple[str, str, str]]] = [
    ("InsufficientInstanceCapacity", "", "type+zone+market"),
    ("InsufficientInstanceCapacity", "the limit of instances in this spread placement group", "placement-group"),
    ("InsufficientVolumeCapacity", "", "zone"),
    ("Unsupported", "not supported in your requested Availability Zone", "type+zone"),
    ("InsufficientFreeAddressesInSubnet", "", "subnet"),
    ("InsufficientAddressCapacity", "", "region"),
    ("ReservationCapacityExceeded", "", "reservation"),
    ("VcpuLimitExceeded", "", "family+region+market"),
    ("MaxSpotInstanceCountExceeded", "", "market+region"),
    ("MaxFleetCountExceeded", "", "region"),
    ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "", "market"),
    ("UnauthorizedOperation", "", "cloud"),
    ("UnauthorizedOperation", "denied by a service control policy", "region"),
    ("OptInRequired", "", "region"),
    ("InvalidAMIID.NotFound", "", "region"),
    ("RequestLimitExceeded", "", "none"),
]


def raised_by(code: str, message: str, status: int) -> ClientError:
    """What botocore makes of EC2's answer."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        "</Error></Errors><RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>"
    )
    return parsed(body.encode(), status)


def parsed(body: bytes, status: int) -> ClientError:
    """botocore's own reading of an answer of EC2 with this status and body."""
    answer: dict[str, Any] = {"status_code": status, "headers": {}, "body": body}
    return ClientError(create_parser("ec2").parse(answer, Shape("Answer", {"type": "structure"})), "RunInstances")


@pytest.mark.parametrize(("code", "message", "status", "step", "kind"), ANSWERS)
def test_an_answer_of_ec2_leads_to_its_step(code: str, message: str, status: int, step: str, kind: str) -> None:
    """From the bytes on the wire, through botocore's parser and the table, and EC2's own words are kept."""
    found = diagnose_error(raised_by(code, message, status))
    assert (found.step, found.kind, found.code) == (step, kind, code)
    assert found.words == message


@pytest.mark.parametrize(("problem", "step", "kind"), RAISED, ids=lambda value: type(value).__name__)
def test_what_the_sdk_raises_leads_to_its_step(problem: Exception, step: str, kind: str) -> None:
    """What was never sent is tried anew; what may have been received is asked again with its token."""
    found = diagnose_error(problem)
    assert (found.step, found.kind) == (step, kind)


@pytest.mark.parametrize(("code", "message", "scope"), REACH)
def test_a_refusal_reaches_as_far_as_it_says(code: str, message: str, scope: str) -> None:
    """The scope comes with the diagnosis, for the choice of the next place."""
    assert diagnose_error(raised_by(code, message, 400)).scope == scope


@pytest.mark.parametrize(("code", "step", "kind"), [*DEATHS, *ALIASES])
def test_the_reason_of_a_death_leads_to_its_step(code: str, step: str, kind: str) -> None:
    """A node that dies before it runs says why in the code of its StateReason."""
    held = Held(kind="node", id="i-1", region="r", zone="z", state="failed", problem_code=code, problem="it died")
    found = diagnose_held(packaged_table("aws"), held)
    assert (found.step, found.kind, found.words) == (step, kind, "it died")


#: How EC2 ends its refusals where another zone would do.
ELSEWHERE: Final[list[tuple[str, str]]] = [
    (
        "InsufficientInstanceCapacity",
        "We currently do not have sufficient i4i.large capacity in the Availability Zone you requested (us-east-1a). "
        "Our system will be working on provisioning additional capacity. You can currently get i4i.large capacity by "
        "not specifying an Availability Zone in your request or choosing us-east-1b, us-east-1c.",
    ),
    (
        "Unsupported",
        "Your requested instance type (i4i.large) is not supported in your requested Availability Zone (us-east-1a). "
        "Please retry your request by not specifying an Availability Zone or choosing us-east-1b, us-east-1c.",
    ),
]


@pytest.mark.parametrize(("code", "message"), ELSEWHERE)
def test_the_zones_that_ec2_names_are_hints(code: str, message: str) -> None:
    """In its order, without the one that was asked for, and none where it names none."""
    assert diagnose_error(raised_by(code, message, 500)).hints == ("us-east-1b", "us-east-1c")
    assert diagnose_error(raised_by(code, message.partition(" or choosing")[0], 500)).hints == ()


def test_a_thing_that_vanished_without_a_word_is_gone() -> None:
    """Nothing is read into silence."""
    unseen = Held(kind="node", id="i-1", region="r", zone="z", state="unseen")
    assert diagnose_held(packaged_table("aws"), unseen).step == "gone"


@pytest.mark.parametrize("body", [b"<html>502 Bad Gateway</html>", b""])
def test_an_answer_from_something_before_ec2_is_an_unknown_outcome(body: bytes) -> None:
    """A gateway's page says nothing of what EC2 did."""
    assert diagnose_error(parsed(body, 502)).step == "ask-again"


def test_an_unreadable_answer_is_an_unknown_outcome() -> None:
    """botocore cannot parse it, and so it is not known what was done."""
    with pytest.raises(Exception, match="Unable to parse") as caught:
        parsed(b"{not xml", 500)
    assert diagnose_error(caught.value).step == "ask-again"


def test_no_row_is_without_a_case() -> None:
    """Each row of the table is the answer to at least one case above, and each of its codes is asked."""
    asked: list[tuple[str, str, int | None]] = [(code, message, status) for code, message, status, _, _ in ANSWERS]
    asked += [(kind.__name__, str(problem), None) for problem, _, _ in RAISED for kind in type(problem).__mro__]
    asked += [(code, "", None) for code, _, _ in (*DEATHS, *ALIASES)]
    rows = packaged_table("aws").rows
    hit = [next((row for row in rows if row.matches(*case)), None) for case in asked]
    assert [row for row in rows if row not in hit] == []
    assert {code for row in rows for code in row.code} - {code for code, _, _ in asked} == set()


def test_every_published_code_is_classed_or_left_unknown_on_purpose() -> None:
    """EC2's list has no code that was not looked at, and what is left unknown is of calls that are never made."""
    known = {code for row in packaged_table("aws").rows for code in row.code}
    assert sorted(PUBLISHED - known - LEFT_UNKNOWN) == []
    assert sorted(LEFT_UNKNOWN & known) == []
    assert len(PUBLISHED) > 375


def test_the_rows_of_the_user_are_asked_first() -> None:
    """A row of one's own goes before a row of ours that says more; other codes and other clouds' rows are as before."""
    own = (
        ErrorRow(cloud="aws", code=("Unsupported",), kind="capacity-zone", step="move-on", scope="type+zone"),
        ErrorRow(cloud="gce", code=("VcpuLimitExceeded",), kind="capacity-zone", step="move-on"),
    )
    table = table_of("aws", own)
    problem = raised_by("Unsupported", "The requested configuration is currently not supported", 400)
    assert diagnose_error(problem).kind == "type-unsupported"
    assert diagnose_error(problem, table).kind == "capacity-zone"
    assert diagnose_error(raised_by("VcpuLimitExceeded", "", 400), table).kind == "quota"


def test_a_row_of_the_user_matches_by_all_that_it_names() -> None:
    """A status that it names is compared too: the same code with another status is still ours."""
    own = ErrorRow(cloud="aws", code=("Unsupported",), http=("5xx",), kind="capacity-zone", step="move-on")
    table = table_of("aws", [own])
    assert diagnose_error(raised_by("Unsupported", "", 503), table).kind == "capacity-zone"
    assert diagnose_error(raised_by("Unsupported", "", 400), table).kind == "type-unsupported"
