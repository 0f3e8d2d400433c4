from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.emulated import IMAGE, Emulator
from tests.emulator.asking import TYPE, ZONE, aimed, in_minutes, only, refused, reserve, run, state, tagged

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.emulator.conftest import Connect

NONE = {"CapacityReservationPreference": "none"}
ONLY = {"CapacityReservationPreference": "capacity-reservations-only"}
SPOT: dict[str, Any] = {"MarketType": "spot", "SpotOptions": {"InstanceInterruptionBehavior": "terminate"}}


def test_machines_sit_in_the_reservation_that_they_are_aimed_at(emulator: Emulator, ec2: EC2Client) -> None:
    """A targeted launch takes seats, says so, and one more than there are is refused as a whole."""
    held = reserve(ec2, 3)
    nodes = run(ec2, 2, CapacityReservationSpecification=aimed(held))
    id_ = held["CapacityReservationId"]
    assert {node["CapacityReservationId"] for node in nodes} == {id_}
    assert nodes[0]["CapacityReservationSpecification"] == aimed(held)
    (found,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert found["AvailableInstanceCount"] == 1
    with refused("ReservationCapacityExceeded"):
        run(ec2, 2, CapacityReservationSpecification=aimed(held))
    assert len(emulator.held("instance")) == 2
    assert len(run(ec2, 1, MaxCount=2, CapacityReservationSpecification=aimed(held))) == 1


@pytest.mark.parametrize(
    "unlike",
    [
        {"InstanceType": "i4i.xlarge"},
        {"Placement": {"AvailabilityZone": "us-east-1b"}},
        {"ImageId": "ami-0e000000000000002"},
        {"Placement": {"AvailabilityZone": ZONE, "Tenancy": "dedicated"}},
    ],
)
def test_what_does_not_match_a_reservation_is_not_let_in(ec2: EC2Client, unlike: dict[str, Any]) -> None:
    """Type, zone, platform and tenancy must be the reservation's."""
    with refused("ReservationCapacityExceeded"):
        run(ec2, CapacityReservationSpecification=aimed(reserve(ec2)), **unlike)


def test_an_ended_reservation_takes_nobody(emulator: Emulator, ec2: EC2Client) -> None:
    """Neither a cancelled reservation nor a pending one is launched into."""
    held = reserve(ec2)
    ec2.cancel_capacity_reservation(CapacityReservationId=held["CapacityReservationId"])
    with refused("ReservationCapacityExceeded"):
        run(ec2, CapacityReservationSpecification=aimed(held))
    emulator.weather(pending_s=60)
    with refused("ReservationCapacityExceeded"):
        run(ec2, CapacityReservationSpecification=aimed(reserve(ec2)))


def test_open_reservations_are_taken_by_default(ec2: EC2Client) -> None:
    """A launch that says nothing eats an open reservation of anybody; preference none does not, nor does spot."""
    held = reserve(ec2, 2, InstanceMatchCriteria="open")
    assert run(ec2, CapacityReservationSpecification=NONE)[0].get("CapacityReservationId") is None
    assert run(ec2, InstanceMarketOptions=SPOT)[0].get("CapacityReservationId") is None
    nodes = run(ec2, 3)
    ids = [node.get("CapacityReservationId") for node in nodes]
    assert ids == [held["CapacityReservationId"], held["CapacityReservationId"], None]
    with refused("ReservationCapacityExceeded"):
        run(ec2, CapacityReservationSpecification=ONLY)


def test_targeted_reservations_are_left_alone_by_others(ec2: EC2Client) -> None:
    """A default launch does not sit down in a targeted reservation."""
    reserve(ec2)
    assert run(ec2)[0].get("CapacityReservationId") is None


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "image"}, "InvalidAMIID.Malformed"),
        ({"ImageId": None}, "MissingParameter"),
        ({"ImageId": "ami-0e000000000000001"}, "InvalidParameterValue"),
        ({"InstanceType": "x99.huge"}, "InvalidParameterValue"),
        ({"InstanceType": "c6i.large", "Placement": {"AvailabilityZone": "us-east-1e"}}, "Unsupported"),
        ({"Placement": {"AvailabilityZone": "eu-west-1a"}}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": ZONE, "GroupName": "none"}}, "InvalidPlacementGroup.Unknown"),
        ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
        ({"KeyName": "nobody's"}, "InvalidKeyPair.NotFound"),
        ({"MinCount": 2, "MaxCount": 1}, "InvalidParameterValue"),
        ({"MinCount": 0}, "InvalidParameterValue"),
        ({"InstanceInitiatedShutdownBehavior": "explode"}, "InvalidParameterValue"),
        ({"UserData": "x" * 16385}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("capacity-reservation", a="b")}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("instance", **{str(n): "" for n in range(51)})}, "TagLimitExceeded"),
        ({"LaunchTemplate": {"LaunchTemplateName": "x"}}, "UnsupportedOperation"),
        ({"InstanceMarketOptions": {"MarketType": "capacity-block"}}, "UnsupportedOperation"),
        (
            {"CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": "cr-1"}}},
            "InvalidCapacityReservationId.Malformed",
        ),
        (
            {
                "CapacityReservationSpecification": {
                    "CapacityReservationTarget": {"CapacityReservationId": "cr-00000000000000000"}
                }
            },
            "InvalidCapacityReservationId.NotFound",
        ),
    ],
)
def test_wrong_input_is_refused(emulator: Emulator, ec2: EC2Client, wrong: dict[str, Any], code: str) -> None:
    """What EC2 refuses is refused, and nothing is made."""
    with refused(code):
        run(ec2, **wrong)
    assert emulator.held() == []


def test_a_target_excludes_other_wishes(ec2: EC2Client) -> None:
    """Neither preference none nor spot goes with a target; capacity-reservations-only does."""
    held = reserve(ec2)
    with refused("InvalidParameterCombination"):
        run(ec2, CapacityReservationSpecification={**aimed(held), **NONE})
    with refused("InvalidParameterCombination"):
        run(ec2, CapacityReservationSpecification=aimed(held), InstanceMarketOptions=SPOT)
    assert run(ec2, CapacityReservationSpecification={**aimed(held), **ONLY})


def test_a_dry_run_makes_nothing(emulator: Emulator, ec2: EC2Client) -> None:
    """DryRun answers DryRunOperation to what is well formed."""
    with refused("DryRunOperation", 412):
        run(ec2, DryRun=True)
    assert emulator.held() == []


def test_the_same_token_starts_the_same_machines(emulator: Emulator, ec2: EC2Client) -> None:
    """A repeated call gives the same ids, also when seats and stock are gone; a changed one is refused."""
    emulator.weather(stock={ZONE: {TYPE: 2}})
    held = reserve(ec2, 2)
    first = run(ec2, 2, ClientToken="t1", CapacityReservationSpecification=aimed(held))
    again = run(ec2, 2, ClientToken="t1", CapacityReservationSpecification=aimed(held))
    assert [node["InstanceId"] for node in again] == [node["InstanceId"] for node in first]
    with refused("IdempotentParameterMismatch"):
        run(ec2, 2, ClientToken="t1", CapacityReservationSpecification=aimed(held), InstanceType="i4i.xlarge")
    assert len(emulator.held("instance")) == 2


def test_a_launch_is_all_or_nothing_below_its_least(emulator: Emulator, ec2: EC2Client) -> None:
    """MinCount that does not fit makes nothing; between MinCount and MaxCount it makes what fits."""
    emulator.weather(stock={ZONE: {TYPE: 3}})
    with refused("InsufficientInstanceCapacity", 500) as said:
        run(ec2, 4)
    assert "choosing us-east-1b, us-east-1c" in said.words
    assert emulator.held() == []
    assert len(run(ec2, 2, MaxCount=10)) == 3


def test_machines_and_reservations_share_the_stock(emulator: Emulator, ec2: EC2Client) -> None:
    """A reservation takes its machines from the zone, and those inside it take no more."""
    emulator.weather(stock={ZONE: {"*": 3}})
    held = reserve(ec2, 2)
    run(ec2, 2, CapacityReservationSpecification=aimed(held))
    (last,) = run(ec2)
    with refused("InsufficientInstanceCapacity", 500):
        run(ec2)
    ec2.terminate_instances(InstanceIds=[last["InstanceId"]])
    assert run(ec2)


def test_capacity_comes_back_only_when_a_machine_is_gone(emulator: Emulator, ec2: EC2Client) -> None:
    """One on its way out still occupies its place, and its seat."""
    emulator.weather(stock={ZONE: {TYPE: 1}}, stop_s=30)
    held = reserve(ec2)
    (node,) = run(ec2, CapacityReservationSpecification=aimed(held))
    ec2.terminate_instances(InstanceIds=[node["InstanceId"]])
    with refused("ReservationCapacityExceeded"):
        run(ec2, CapacityReservationSpecification=aimed(held))
    emulator.weather(clock={"advance_s": 31})
    assert run(ec2, CapacityReservationSpecification=aimed(held))


def test_quotas_of_the_two_markets_are_apart(emulator: Emulator, ec2: EC2Client) -> None:
    """On-demand vCPUs and spot vCPUs are counted apart, each with its own code."""
    emulator.weather(quota={"us-east-1": {"vcpus": 4, "spot_vcpus": 2}})
    run(ec2, 2)
    with refused("VcpuLimitExceeded"):
        run(ec2)
    run(ec2, InstanceMarketOptions=SPOT)
    with refused("MaxSpotInstanceCountExceeded"):
        run(ec2, InstanceMarketOptions=SPOT)


def test_without_a_zone_ec2_chooses_one_with_stock(emulator: Emulator, ec2: EC2Client) -> None:
    """No zone and no subnet: the first that has what is asked, or the target's."""
    emulator.weather(stock={"us-east-1a": {"*": 0}, "us-east-1b": {"*": 0}})
    assert run(ec2, Placement=None)[0]["Placement"]["AvailabilityZone"] == "us-east-1c"
    held = reserve(ec2, AvailabilityZone="us-east-1d")
    (node,) = run(ec2, Placement=None, CapacityReservationSpecification=aimed(held))
    assert node["Placement"]["AvailabilityZone"] == "us-east-1d"


def test_a_subnet_decides_the_zone(ec2: EC2Client) -> None:
    """A subnet's zone is the machine's; another zone beside it is refused."""
    (subnet,) = ec2.describe_subnets(Filters=only("availability-zone", "us-east-1c"))["Subnets"]
    (node,) = run(ec2, Placement=None, SubnetId=subnet["SubnetId"])
    assert node["Placement"]["AvailabilityZone"] == "us-east-1c"
    assert (node["SubnetId"], node["VpcId"]) == (subnet["SubnetId"], subnet["VpcId"])
    with refused("InvalidParameterCombination"):
        run(ec2, SubnetId=subnet["SubnetId"])


def test_networks_keys_and_groups_of_ones_own(emulator: Emulator, ec2: EC2Client) -> None:
    """What is made in the emulated account can be launched with, and is gone after a reset."""
    ec2.create_key_pair(KeyName="mine")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="mine", Description="mine", VpcId=vpc)["GroupId"]
    (node,) = run(ec2, KeyName="mine", SecurityGroupIds=[group])
    assert (node["KeyName"], node["SecurityGroups"]) == ("mine", [{"GroupId": group, "GroupName": "mine"}])
    emulator.reset()
    assert ec2.describe_key_pairs()["KeyPairs"] == []


def test_a_network_interface_says_whether_the_address_is_public(ec2: EC2Client) -> None:
    """AssociatePublicIpAddress counts over what the subnet does; addresses differ."""
    interface: Any = [{"DeviceIndex": 0, "AssociatePublicIpAddress": False}]
    private = run(ec2, 2, NetworkInterfaces=interface)
    assert all("PublicIpAddress" not in node for node in private)
    public = run(ec2, 2)
    addresses = {node["PublicIpAddress"] for node in public} | {node["PrivateIpAddress"] for node in private + public}
    assert len(addresses) == 6
    with refused("InvalidParameterCombination"):
        run(ec2, NetworkInterfaces=interface, SubnetId="subnet-00000000000000000")


def test_the_platform_of_an_image_is_told(ec2: EC2Client) -> None:
    """Every image tells PlatformDetails, which a reservation's platform is read from."""
    ids = [IMAGE, "ami-0e000000000000001", "ami-0e000000000000002", "ami-0e000000000000003", "ami-0e000000000000004"]
    images = ec2.describe_images(ImageIds=ids)["Images"]
    told = {image["ImageId"]: (image["PlatformDetails"], image["Architecture"]) for image in images}
    assert list(told.values()) == [
        ("Linux/UNIX", "x86_64"),
        ("Linux/UNIX", "arm64"),
        ("Windows", "x86_64"),
        ("Red Hat Enterprise Linux", "x86_64"),
        ("SUSE Linux", "x86_64"),
    ]
    named = ec2.describe_images(Filters=only("name", "emulated-linux-x86_64"))["Images"]
    assert [(image["ImageId"], image["PlatformDetails"]) for image in named] == [(IMAGE, "Linux/UNIX")]
    with refused("InvalidAMIID.NotFound"):
        ec2.describe_images(ImageIds=[IMAGE, "ami-00000000000000000"])


def test_an_image_of_another_architecture_is_refused_in_ec2s_words(ec2: EC2Client) -> None:
    """Both architectures are named, the type's first."""
    for type_, image, words in (
        ("t4g.micro", IMAGE, "The architecture 'arm64' of the specified instance type does not match the architecture"),
        (TYPE, "ami-0e000000000000001", "type does not match the architecture 'arm64' of the specified AMI."),
    ):
        with refused("InvalidParameterValue") as said:
            run(ec2, InstanceType=type_, ImageId=image)
        assert words in said.words


def test_images_exist_in_every_region(connect: Connect) -> None:
    """The documented image can be launched in any region."""
    ec2 = connect("eu-central-1")
    assert run(ec2, Placement={"AvailabilityZone": "eu-central-1b"})[0]["ImageId"] == IMAGE


def test_a_machine_heeds_the_timer_in_its_user_data(emulator: Emulator, ec2: EC2Client) -> None:
    """With shutdown behaviour terminate it is gone at the time that its script says, in either form."""
    relative = base64.b64encode(b"#!/bin/sh\nshutdown -P +60\n").decode()
    absolute = f"left=$(( {int(time.time()) + 7200} - $(date +%s) ))\nshutdown -P +$left\n"
    told: dict[str, Any] = {"InstanceInitiatedShutdownBehavior": "terminate"}
    first = run(ec2, UserData=base64.b64decode(relative), **told)[0]["InstanceId"]
    second = run(ec2, UserData=absolute, **told)[0]["InstanceId"]
    third = run(ec2, UserData=absolute)[0]["InstanceId"]
    emulator.weather(clock={"advance_s": 3590})
    assert [state(ec2, id_) for id_ in (first, second, third)] == ["running"] * 3
    emulator.weather(clock={"advance_s": 20})
    assert [state(ec2, id_) for id_ in (first, second, third)] == ["terminated", "running", "running"]
    emulator.weather(clock={"advance_s": 3600})
    assert [one["id"] for one in emulator.held()] == [third]


def test_a_pool_of_reservations_is_a_target(emulator: Emulator, ec2: EC2Client) -> None:
    """A launch aimed at a resource group sits in any reservation of it that fits."""
    groups = boto3.client(
        "resource-groups",
        "us-east-1",
        endpoint_url=emulator.url,
        aws_access_key_id="emulated",
        aws_secret_access_key=emulator.secret,
    )
    pool = groups.create_group(Name="pool", Configuration=[{"Type": "AWS::EC2::CapacityReservationPool"}])
    arn = pool["Group"]["GroupArn"]
    held = [reserve(ec2), reserve(ec2), reserve(ec2, EndDateType="limited", EndDate=in_minutes(5))]
    answer = groups.group_resources(Group=arn, ResourceArns=[one["CapacityReservationArn"] for one in held[:2]])
    assert len(answer["Succeeded"]) == 2
    target = {"CapacityReservationTarget": {"CapacityReservationResourceGroupArn": arn}}
    nodes = run(ec2, 2, CapacityReservationSpecification=target)
    assert {node["CapacityReservationId"] for node in nodes} == {one["CapacityReservationId"] for one in held[:2]}
    with refused("ReservationCapacityExceeded"):
        run(ec2, CapacityReservationSpecification=target)
    groups.ungroup_resources(Group="pool", ResourceArns=[held[0]["CapacityReservationArn"]])
    listed = groups.list_group_resources(Group=arn)["ResourceIdentifiers"]
    assert [one["ResourceArn"] for one in listed] == [held[1]["CapacityReservationArn"]]
    groups.delete_group(Group=arn)
    with refused("NotFoundException", 404):
        groups.list_group_resources(Group=arn)
    with refused("InvalidParameterValue"):
        run(ec2, CapacityReservationSpecification=target)
