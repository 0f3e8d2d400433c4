"""What is found by name in each region before anything is created: images, subnets, security groups, key pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from pytest_capacity.backends.aws.settings import AwsSettings, Lookup
from pytest_capacity.errors import Refused
from pytest_capacity.model import Fallback, NodeGroup, Offer
from tests.backends.aws.account import Account, rounds, stranger
from tests.backends.aws.orders import IMAGE, REGION, group, order, request
from tests.emulated import Emulator

OTHER = "eu-west-1"
ARM = "ami-0e000000000000001"
LINUX = Lookup(name="emulated-linux-*")
DB = group("db", "i4i.large", reserve=False)


def settings(**changes: Any) -> AwsSettings:
    """Images for both regions, and what a test wants else."""
    return AwsSettings(**{"image": {REGION: IMAGE, OTHER: IMAGE}, **changes})


def account_of(emulator: Emulator, aws: AwsSettings, *groups: NodeGroup, **more: Any) -> Account:
    """An account whose runs may move from one region to the other."""
    wanted = {"regions": (REGION, OTHER), "fallback": Fallback(regions=True), **more}
    return Account(emulator, request(*(groups or (DB,)), aws=aws, **wanted))


def offers(account: Account, region: str = REGION) -> Mapping[str, Offer]:
    """The zones' answers by name."""
    return {one.zone: one for one in account.backend.offers(region, account.request.topologies["default"])}


def whys(found: Mapping[str, Offer]) -> set[str]:
    """Why none of the zones will do; each says something."""
    assert not any(offer.ok for offer in found.values())
    return {offer.why for offer in found.values()}


def launched(account: Account, offer: Offer) -> Any:
    """The one node that comes of an offer, as EC2 describes it."""
    (node,) = account.make(order(account.request, offer, now=account.emulator.world(calls=False)["now"]))
    return stranger(account.emulator).describe_instances(InstanceIds=[node.id])["Reservations"][0]["Instances"][0]


def named(emulator: Emulator, zone: str, name: str, cidr: str) -> str:
    """A new subnet with this tag."""
    ec2 = stranger(emulator)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    tags = [{"ResourceType": "subnet", "Tags": [{"Key": "Name", "Value": name}]}]
    made = ec2.create_subnet(VpcId=vpc, AvailabilityZone=zone, CidrBlock=cidr, TagSpecifications=tags)
    return str(made["Subnet"]["SubnetId"])


def test_the_newest_image_of_the_name_that_the_type_can_boot_is_taken(emulator: Emulator) -> None:
    """Each group the one of its own architecture, and a launch is made with it."""
    arm = group("arm", "t4g.micro", reserve=False)
    account = account_of(emulator, settings(image={REGION: LINUX}), DB, arm, regions=(REGION,))
    offer = offers(account)["us-east-1a"]
    assert (offer.facts["image/db"], offer.facts["image/arm"]) == (IMAGE, ARM)
    assert offer.facts["platform/db"] == "Linux/UNIX"
    alone = account_of(emulator, settings(image={REGION: LINUX}))
    assert launched(alone, offers(alone)["us-east-1a"])["ImageId"] == IMAGE


def test_a_region_without_the_image_is_not_used(emulator: Emulator) -> None:
    """None of its zones, which say what there is not; nothing is raised, and the other region is as it was."""
    emulator.weather(images={OTHER: {"exclude": [IMAGE, "ami-0e000000000000005", ARM]}})
    account = account_of(emulator, settings(image={REGION: LINUX, OTHER: LINUX}))
    assert whys(offers(account, OTHER)) == {"eu-west-1 has no image of self called 'emulated-linux-*'"}
    assert offers(account)["us-east-1a"].ok
    emulator.weather(images={OTHER: {"exclude": [IMAGE, "ami-0e000000000000005"]}})
    words = f"eu-west-1 has no image of self called 'emulated-linux-*' that i4i.large can boot (there is {ARM})"
    assert whys(offers(account, OTHER)) == {words}
    emulator.weather(faults=[{"operation": "DescribeImages", "error": "UnauthorizedOperation"}])
    (why,) = whys(offers(account))
    assert "could not be read (UnauthorizedOperation" in why


def test_a_groups_own_lookup_goes_before_the_sections(emulator: Emulator) -> None:
    """As it stands in the group's settings after a journey as JSON."""
    own = replace(DB, cloud={"image": {REGION: {"name": "emulated-suse-*", "owner": "self"}}})
    account = account_of(emulator, settings(), own, group("other", "i4i.large", reserve=False))
    facts = offers(account)["us-east-1a"].facts
    assert (facts["platform/db"], facts["image/other"]) == ("SUSE Linux", IMAGE)
    assert offers(account, OTHER)["eu-west-1a"].facts["image/db"] == IMAGE


def test_an_image_that_another_type_of_the_group_cannot_boot_is_refused(emulator: Emulator) -> None:
    """One image serves the group, whatever it moves to."""
    both = replace(DB, alternatives=("i4g.large",))
    with pytest.raises(Refused, match=rf"i4g.large \(arm64\) with the image {IMAGE} \(x86_64\)"):
        offers(account_of(emulator, settings(image={REGION: LINUX}), both))


def test_subnets_are_found_by_their_tag(emulator: Emulator) -> None:
    """Of several in a zone the one with most free addresses; zones without one are not used."""
    named(emulator, "us-east-1a", "test-small", "172.31.240.0/28")
    large = named(emulator, "us-east-1a", "test-large", "172.31.241.0/24")
    named(emulator, "us-east-1b", "prod", "172.31.242.0/24")
    account = account_of(emulator, settings(subnet_name="test-*"))
    found = offers(account)
    assert [zone for zone, offer in found.items() if offer.ok] == ["us-east-1a"]
    assert found["us-east-1b"].why == "no subnet called 'test-*'"
    assert launched(account, found["us-east-1a"])["SubnetId"] == large
    emulator.weather(faults=[{"operation": "DescribeSubnets", "error": "UnauthorizedOperation"}])
    assert "could not be read (UnauthorizedOperation" in next(iter(whys(offers(account))))


def test_security_groups_are_found_by_name_in_the_subnets_network(emulator: Emulator) -> None:
    """One of that name elsewhere is not the one; ids stay as they are."""
    ec2 = stranger(emulator)
    default, foreign = ec2.describe_vpcs()["Vpcs"][0]["VpcId"], ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    ids = {
        (vpc, name): ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc)["GroupId"]
        for vpc, name in ((default, "ssh only"), (foreign, "ssh only"), (foreign, "far"), (default, "by id"))
    }
    own = ids[default, "by id"]
    account = account_of(emulator, settings(security_groups=("ssh only", own)))
    node = launched(account, offers(account)["us-east-1a"])
    assert {one["GroupId"] for one in node["SecurityGroups"]} == {ids[default, "ssh only"], own}
    away = account_of(emulator, settings(security_groups=("far",)))
    assert whys(offers(away)) == {"no security group called far in its VPC"}
    by_region = account_of(emulator, settings(security_groups={REGION: (own,), OTHER: ("nowhere",)}))
    assert offers(by_region)["us-east-1a"].ok
    assert whys(offers(by_region, OTHER)) == {"no security group called nowhere in its VPC"}


def test_a_parameter_names_the_image(emulator: Emulator) -> None:
    """Of Systems Manager, in each region; the launch gets the id, which two keepers have alike."""
    name = "/aws/service/debian/release/12/latest/amd64"
    account = account_of(emulator, settings(image={REGION: Lookup(ssm=name)}), regions=(REGION,))
    offer = offers(account)["us-east-1a"]
    assert (offer.facts["image/db"], offer.facts["platform/db"]) == (IMAGE, "Linux/UNIX")
    assert launched(account, offer)["ImageId"] == IMAGE
    unknown = account_of(emulator, settings(image={REGION: Lookup(ssm="/mine")}), regions=(REGION,))
    with pytest.raises(ClientError, match="Parameter /mine not found"):
        offers(unknown)


def test_an_image_is_found_by_owner_architecture_and_tag(emulator: Emulator) -> None:
    """Of several owners, of one architecture; by its tag where none is called so."""
    own = Lookup(name="emulated-linux-*", owner=("amazon", "self"), architecture="arm64")
    arm = group("db", "t4g.micro", reserve=False)
    account = account_of(emulator, settings(image={REGION: own}), arm, regions=(REGION,))
    assert offers(account)["us-east-1a"].facts["image/db"] == ARM
    wrong = account_of(emulator, settings(image={REGION: own}), regions=(REGION,))
    (why,) = whys(offers(wrong))
    assert "no arm64 image of amazon or self called 'emulated-linux-*' that i4i.large can boot" in why
    others = replace(own, owner=("amazon",))
    away = account_of(emulator, settings(image={REGION: others}), arm, regions=(REGION,))
    assert offers(away)["us-east-1a"].why == "us-east-1 has no arm64 image of amazon called 'emulated-linux-*'"
    stranger(emulator).create_tags(Resources=[IMAGE], Tags=[{"Key": "Name", "Value": "scylla-by-tag"}])
    tagged = Lookup(name="scylla-by-tag", or_tag=True)
    account = account_of(emulator, settings(image={REGION: tagged}), regions=(REGION,))
    assert offers(account)["us-east-1a"].facts["image/db"] == IMAGE
    firm = account_of(emulator, settings(image={REGION: replace(tagged, or_tag=False)}), regions=(REGION,))
    assert whys(offers(firm)) == {"us-east-1 has no image of self called 'scylla-by-tag'"}


def test_a_key_pair_must_be_there_in_a_second_region(emulator: Emulator) -> None:
    """In the first one the launch says so, which costs no call; where it may not be looked for, it is believed."""
    account = account_of(emulator, settings(key_name="mine"))
    assert offers(account)["us-east-1a"].ok
    assert account.asked("DescribeKeyPairs") == 0
    assert whys(offers(account, OTHER)) == {"eu-west-1 has no key pair called 'mine'"}
    emulator.weather(faults=[{"operation": "DescribeKeyPairs", "error": "UnauthorizedOperation", "times": 1}])
    assert offers(account, OTHER)["eu-west-1a"].ok
    stranger(emulator, OTHER).create_key_pair(KeyName="mine")
    assert offers(account, OTHER)["eu-west-1a"].ok


def test_everything_is_looked_up_in_one_round(emulator: Emulator) -> None:
    """However much there is to look up."""
    aws = settings(image={OTHER: LINUX}, subnet_name="x", security_groups=("y",), key_name="z")
    account = account_of(emulator, aws)
    account.backend.offers(OTHER, account.request.topologies["default"])
    emulator.reset(latency_ms=1000)
    offers(account, OTHER)
    calls = emulator.calls()
    assert sorted(call["operation"] for call in calls) == [
        "DescribeAvailabilityZones",
        "DescribeImages",
        "DescribeInstanceTypeOfferings",
        "DescribeKeyPairs",
        "DescribeSecurityGroups",
        "DescribeSubnets",
    ]
    assert rounds(calls) == 1


def test_a_reservation_that_is_listed_may_live_in_any_region_of_the_run(emulator: Emulator) -> None:
    """What none of them has is refused, by whichever is read last."""
    asked = {"InstanceType": "i4i.large", "InstancePlatform": "Linux/UNIX", "AvailabilityZone": "eu-west-1a"}
    made = stranger(emulator, OTHER).create_capacity_reservation(**asked, InstanceCount=1)["CapacityReservation"]
    there = made["CapacityReservationId"]
    account = account_of(emulator, settings(), use_reservations=(there,))
    assert not any(offer.preferred for offer in offers(account).values())
    assert offers(account, OTHER)["eu-west-1a"].preferred
    both = account_of(emulator, settings(), use_reservations=(there, "cr-0123456789abcdef0"))
    assert offers(both, OTHER)["eu-west-1a"].ok
    with pytest.raises(Refused, match="asks for cr-0123456789abcdef0 in us-east-1, eu-west-1; EC2 lists no such"):
        offers(both)
    alone = account_of(emulator, settings(), use_reservations=(there,), fallback=Fallback())
    with pytest.raises(Refused, match=f"asks for {there} in us-east-1;"):
        offers(alone)
