"""What real accounts say: a fault of the account or of the configuration is no lack of capacity."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.aws.launch_options import MetadataOptions, Volume
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.model import Fallback, NodeGroup
from tests.backends.aws.account import stranger
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import DB, LOADER, Bench, request
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
    bench.give_back(engine)
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


CLOSED = [
    fault("InvalidClientTokenId", "The security token is invalid", "GetCallerIdentity", region="me-south-1", http=403),
    {
        "region": "me-south-1",
        "error": "AuthFailure",
        "http": 401,
        "message": "AWS was not able to validate the provided access credentials",
    },
]


def over(*regions: str, **more: Any) -> dict[str, Any]:
    """A run over these regions, in any zone of them."""
    aws = AwsSettings(image=dict.fromkeys(regions, IMAGE))
    return {"regions": regions, "zones": (), "fallback": Fallback(regions=True), "aws": aws, **more}


@pytest.mark.parametrize("code", ["NetworkInterfaceLimitExceeded", "AddressLimitExceeded"])
def test_a_quota_of_a_region_ends_the_region(bench: Bench, emulator: Emulator, code: str) -> None:
    """No other zone of it is asked, and the next region is taken."""
    emulator.weather(faults=[fault(code, "", region="us-east-1")])
    placed = bench.engine(request(emulator, OPEN, **over("us-east-1", "us-west-2"))).provision("default")
    assert placed.region == "us-west-2"
    assert len([call for call in emulator.calls("RunInstances") if call["region"] == "us-east-1"]) == 1


@pytest.mark.parametrize("regions", [("me-south-1", "us-east-1"), ("us-east-1", "me-south-1")])
def test_a_region_that_is_not_enabled_is_left_out(bench: Bench, emulator: Emulator, regions: tuple[str, ...]) -> None:
    """First or second, it is named with the advice to enable it, and the other region is used."""
    emulator.weather(faults=CLOSED)
    engine = bench.engine(request(emulator, OPEN, **over(*regions)))
    assert engine.provision("default").region == "us-east-1"
    (words,) = engine.run_state.troubles
    assert words.startswith("me-south-1 is left out: ")
    assert "us-east-1 accepts" in words
    assert "aws account enable-region --region-name me-south-1" in words
    assert "working credentials" not in words


def test_only_a_region_that_is_not_enabled(bench: Bench, emulator: Emulator) -> None:
    """The credentials are looked at in a region that answers, and the region is what is refused."""
    emulator.weather(faults=CLOSED)
    words = refused(bench, emulator, OPEN, **over("me-south-1"))
    assert "is not enabled for this account" in words
    assert "enable-region" in words


def test_a_region_that_is_not_enabled_is_not_skipped(bench: Bench, emulator: Emulator) -> None:
    """Though all zones of the other region are dry."""
    emulator.weather(faults=CLOSED, stock={f"us-east-1{zone}": {"*": 0} for zone in "abcdef"})
    words = refused(bench, emulator, OPEN, **over("us-east-1", "me-south-1"))
    assert "me-south-1 not read" in " ".join(words.split())


def test_credentials_that_no_region_accepts(bench: Bench, emulator: Emulator) -> None:
    """These are what is wrong, and no region is blamed."""
    emulator.weather(faults=[{"error": "AuthFailure", "http": 401, "message": "not able to validate"}])
    with pytest.raises(Refused, match=r"AuthFailure: not able to validate\. Name working credentials"):
        bench.engine(request(emulator, OPEN, **over("me-south-1", "us-east-1")))


@pytest.mark.parametrize(("wrong", "near"), [("us-esat-1", "us-east-1"), ("eu-west-9", "eu-west-1")])
def test_a_region_that_does_not_exist(bench: Bench, emulator: Emulator, wrong: str, near: str) -> None:
    """It is named as such, with the nearest one that there is, and not the credentials."""
    words = refused(bench, emulator, OPEN, **over(wrong))
    assert f"there is no region '{wrong}'" in words
    assert near in words
    assert "Correct regions" in words
    assert "credentials" not in words


def test_a_zone_without_a_default_subnet_is_no_rung(bench: Bench, emulator: Emulator) -> None:
    """It is passed over before anything is asked of it, in the round in which the offers are read."""
    remove_default_subnet(emulator, "us-east-1a")
    engine = bench.engine(request(emulator, DB))
    assert engine.provision("default").zone == "us-east-1b"
    assert {call["zone"] for call in emulator.calls("CreateCapacityReservation")} == {"us-east-1b"}


def test_no_zone_has_a_default_subnet(bench: Bench, emulator: Emulator) -> None:
    """The setting that names others is in the advice."""
    for zone in "ab":
        remove_default_subnet(emulator, f"us-east-1{zone}")
    words = " ".join(refused(bench, emulator, DB).split())
    assert "us-east-1a, us-east-1b: the zone has no default subnet" in words
    assert "aws.subnets" in words


def remove_default_subnet(emulator: Emulator, zone: str) -> None:
    """As accounts do that want no network by accident."""
    ec2 = stranger(emulator, "us-east-1")
    named = [{"Name": "availability-zone", "Values": [zone]}, {"Name": "default-for-az", "Values": ["true"]}]
    (subnet,) = ec2.describe_subnets(Filters=named)["Subnets"]
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])


DEMANDING = {"require": ["imdsv2", "encrypted", "tag:Team"]}


def test_what_a_policy_demands_can_be_given(bench: Bench, emulator: Emulator) -> None:
    """IMDSv2 by default, an encrypted root volume and tags by the section; the volume bears the tags too."""
    emulator.weather(policy=DEMANDING)
    aws = AwsSettings(
        image={"us-east-1": IMAGE}, root_volume=Volume(size_gb=50, encrypted=True), tags={"Team": "storage"}
    )
    assert len(bench.engine(request(emulator, DB, aws=aws)).provision("default").nodes["db"]) == 3


@pytest.mark.parametrize(
    ("aws", "said"),
    [
        (AwsSettings(metadata_options=MetadataOptions(http_tokens="optional")), "ec2:MetadataHttpTokens=optional"),
        (AwsSettings(tags={"Team": "storage"}), "ec2:Encrypted=false"),
        (AwsSettings(root_volume=Volume(encrypted=True)), "aws:RequestTag/Team=none"),
    ],
)
def test_what_a_policy_demands_and_is_not_given(bench: Bench, emulator: Emulator, aws: AwsSettings, said: str) -> None:
    """The encoded reason is decoded: the statement, and what it looked at, instead of kilobytes of code."""
    emulator.weather(policy=DEMANDING)
    words = refused(bench, emulator, DB, aws=replace(aws, image={"us-east-1": IMAGE}))
    assert said in words
    assert "statement Require-" in words
    assert "policy forbids this form of launch" in words
    assert "Encoded authorization failure message" not in words


def test_an_account_that_may_not_decode(bench: Bench, emulator: Emulator) -> None:
    """The code is left out, and the permission that would help is named."""
    emulator.weather(policy={**DEMANDING, "decodable": False})
    words = refused(bench, emulator, DB)
    assert "sts:DecodeAuthorizationMessage would tell" in words
    assert "explicit deny" in words
    assert max(map(len, words.split())) < 120


def test_a_group_has_options_of_its_own(bench: Bench, emulator: Emulator) -> None:
    """A group's own options go before the section's, and those of the section stay where it has none."""
    emulator.weather(policy=DEMANDING)
    aws = AwsSettings(image={"us-east-1": IMAGE}, tags={"Team": "storage"})
    own = {"root_volume": {"encrypted": True}}
    group = replace(DB, cloud=own)
    assert bench.engine(request(emulator, group, aws=aws)).provision("default").nodes["db"]
