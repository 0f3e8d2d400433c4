"""What real accounts say: a fault of the account or of the configuration is no lack of capacity."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.model import NodeGroup
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, Bench, request, within
from tests.engine.test_climb import BOTH_REGIONS, SPOT

OPEN = replace(DB, reserve=False)
TERMS = (
    "In order to use this AWS Marketplace product you need to accept terms and subscribe. To do so please visit "
    "https://aws.amazon.com/marketplace/pp?sku=0123456789abcdefghijklmno"
)
DENY = (
    "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/emulated is not authorized "
    "to perform: ec2:RunInstances on resource: arn:aws:ec2:us-east-1:123456789012:instance/* with an explicit deny in "
    "a service control policy."
)


def fault(code: str, message: str = "", operation: str = "RunInstances", **more: Any) -> dict[str, Any]:
    """A refusal that the emulator makes from now on."""
    return {"operation": operation, "error": code, "message": message, **more}


def refused(bench: Bench, emulator: Emulator, *groups: NodeGroup, **changes: Any) -> str:
    """The words of the `Refused` that provisioning ends with; nothing is held afterwards."""
    engine = bench.engine(request(emulator, *groups, **changes))
    with pytest.raises(Refused) as error:
        engine.provision("default")
    assert engine.release(within(20)).clean
    assert emulator.held() == []
    return str(error.value)


def test_terms_that_are_not_accepted(bench: Bench, emulator: Emulator) -> None:
    """The run is refused at once, with the whole address at which to accept them, and is not walked over zones."""
    emulator.weather(faults=[fault("OptInRequired", TERMS, http=401)])
    words = refused(bench, emulator, DB)
    assert "https://aws.amazon.com/marketplace/pp?sku=0123456789abcdefghijklmno" in words
    assert "accept the terms of the image" in words
    assert {call["zone"] for call in emulator.calls("RunInstances")} == {"us-east-1a"}


def test_a_policy_that_forbids_the_form(bench: Bench, emulator: Emulator) -> None:
    """Where a reservation was granted just before, the launch is denied for its form, and no other zone is tried."""
    emulator.weather(faults=[fault("UnauthorizedOperation", DENY)])
    words = refused(bench, emulator, DB, **BOTH_REGIONS)
    assert "explicit deny in a service control policy" in words
    assert "policy forbids this form of launch" in words
    assert "aws.metadata_options" in words
    assert len(emulator.calls("RunInstances")) == 1


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        ("UnauthorizedOperation", DENY, "A policy of the organization denies it"),
        ("PendingVerification", "Your account is currently being verified.", "Wait until AWS has verified the account"),
        ("OptInRequired", "You are not subscribed to this service.", "Enable the region for the account"),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "The provided credentials do not.", "role of Spot"),
        ("VPCIdNotSpecified", "No default VPC for this user.", "aws.subnets"),
        ("VolumeTypeNotAvailableInZone", "", "type of volume"),
        ("Unsupported", "The requested configuration is currently not supported.", "another instance type"),
    ],
)
def test_what_moves_on_and_is_no_lack_of_capacity_is_refused(
    bench: Bench, emulator: Emulator, code: str, words: str, advice: str
) -> None:
    """Every place may be tried, and yet it does not end as a lack of capacity, with the cloud's words and an advice."""
    emulator.weather(faults=[fault(code, words)])
    group = replace(SPOT, count=1) if "LinkedRole" in code else OPEN
    unfallen = request(emulator).fallback
    said = refused(bench, emulator, group, fallback=replace(unfallen, spot_to_on_demand=False))
    assert code in said
    assert " ".join(words.split()) in " ".join(said.split())
    assert advice in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80


def test_a_fault_beside_zones_that_are_dry(bench: Bench, emulator: Emulator) -> None:
    """One region is dry and the other may not be used: the fault is told, and the run is not skipped."""
    emulator.weather(
        stock={f"us-east-1{zone}": {"*": 0} for zone in "abcdef"},
        faults=[fault("PendingVerification", "Being verified.", region="us-west-2")],
    )
    words = refused(bench, emulator, OPEN, **{**BOTH_REGIONS, "zones": ()})
    assert "InsufficientInstanceCapacity" in words
    assert "PendingVerification: Being verified." in words


def test_a_zone_that_lacks_the_type_beside_one_that_is_dry(bench: Bench, emulator: Emulator) -> None:
    """What a zone is not able to do is no fault: the other zone ran out of capacity."""
    emulator.weather(
        stock={"us-east-1a": {"*": 0}}, faults=[fault("VolumeTypeNotAvailableInZone", "", zone="us-east-1b")]
    )
    engine = bench.engine(request(emulator, OPEN))
    with pytest.raises(Exhausted, match="no capacity for topology 'default'"):
        engine.provision("default")


def test_waiting_is_no_use_against_a_fault(bench: Bench, emulator: Emulator) -> None:
    """With ``retry_until`` the ladder is not walked again for what time does not cure."""
    emulator.weather(faults=[fault("PendingVerification", "Being verified.")])
    refused(bench, emulator, OPEN, retry_until_s=3600.0)
    assert len(emulator.calls("RunInstances")) == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("VolumeTypeNotAvailableInZone", "The specified volume type is not available in the zone."),
        ("UnsupportedOperation", "The instance type 'p5.48xlarge' is not supported in us-east-1a"),
        ("Unsupported", "The requested Availability Zone is currently constrained and we are no longer accepting new"),
        ("MissingInput", "No default subnet for availability zone: 'us-east-1a'."),
    ],
)
def test_codes_of_one_zone_move_on(bench: Bench, emulator: Emulator, code: str, words: str) -> None:
    """The next zone is taken."""
    emulator.weather(faults=[fault(code, words, zone="us-east-1a")])
    assert bench.engine(request(emulator, OPEN)).provision("default").zone == "us-east-1b"


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        ("InvalidSubnetID.NotFound", "The subnet ID 'subnet-0123' does not exist", "Correct aws.subnets"),
        ("InvalidGroup.NotFound", "The security group 'sg-01' does not exist", "Correct aws.security_groups"),
        (
            "InvalidParameterValue",
            "Value (x) for parameter iamInstanceProfile.name is invalid.",
            "iam_instance_profile",
        ),
        ("InvalidParameterValue", "The tag policy does not allow the specified value for 'Team'.", "aws.tags"),
        ("NetworkInterfaceLimitExceeded", "", "quota of network interfaces"),
        ("InvalidHostID.NotFound", "The host ID 'h-0123' does not exist", "aws.host_id"),
        ("AuthFailure", "Not authorized for images: [ami-0123]", "let its owner share it"),
        ("RequestExpired", "Request has expired.", "clock"),
    ],
)
def test_codes_of_one_thing_have_an_advice_of_their_own(
    bench: Bench, emulator: Emulator, code: str, words: str, advice: str
) -> None:
    """It names the setting that is to be corrected, and not a row of errors to be written."""
    emulator.weather(faults=[fault(code, words)])
    engine = bench.engine(request(emulator, OPEN))
    with pytest.raises((Refused, Exhausted)) as error:
        engine.provision("default")
    said = " ".join(str(error.value).split())
    assert advice in said
    assert "write a row" not in said


def test_reasons_of_zones_fit_a_terminal(bench: Bench, emulator: Emulator) -> None:
    """Zones with one reason share its line, and no line is longer than 80 characters."""
    emulator.weather(offerings={f"us-east-1{zone}": {"exclude": ["i4i.large"]} for zone in "abcdef"})
    words = refused(bench, emulator, DB, LOADER, zones=())
    lines = words.splitlines()
    assert "us-east-1a, us-east-1b, us-east-1c, us-east-1d, us-east-1f: does not offer i4i.large" in " ".join(
        words.split()
    )
    assert words.count("does not") == 2
    assert max(map(len, lines)) <= 80
