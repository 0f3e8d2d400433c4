from __future__ import annotations

from typing import TYPE_CHECKING

from tests.emulated import Emulator
from tests.emulator.asking import ZONE, aimed, only, refused, reserve, run, tagged

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.emulator.conftest import Connect

PLACED = {"AvailabilityZone": ZONE, "GroupName": "close"}


def test_a_name_is_unique_in_its_region(connect: Connect) -> None:
    """The same name again is refused, in another region and after deletion it is not."""
    ec2 = connect()
    tags = tagged("placement-group", run="r1")
    group = ec2.create_placement_group(GroupName="close", Strategy="cluster", TagSpecifications=tags)["PlacementGroup"]
    assert (group["State"], group["Strategy"], group["Tags"]) == ("available", "cluster", tags[0]["Tags"])
    with refused("InvalidPlacementGroup.Duplicate"):
        ec2.create_placement_group(GroupName="close", Strategy="spread")
    assert connect("eu-west-1").create_placement_group(GroupName="close", Strategy="cluster")
    ec2.delete_placement_group(GroupName="close")
    assert ec2.create_placement_group(GroupName="close", Strategy="cluster")


def test_it_cannot_be_deleted_while_it_is_used(emulator: Emulator, ec2: EC2Client) -> None:
    """Machines, also those on their way out, and active reservations hold it."""
    emulator.weather(stop_s=30)
    group = ec2.create_placement_group(GroupName="close", Strategy="cluster")["PlacementGroup"]
    held = reserve(ec2, PlacementGroupArn=group["GroupArn"])
    (node,) = run(ec2, Placement=PLACED, CapacityReservationSpecification=aimed(held))
    assert node["Placement"]["GroupName"] == "close"
    ec2.terminate_instances(InstanceIds=[node["InstanceId"]])
    ec2.cancel_capacity_reservation(CapacityReservationId=held["CapacityReservationId"])
    with refused("InvalidPlacementGroup.InUse"):
        ec2.delete_placement_group(GroupName="close")
    emulator.weather(clock={"advance_s": 31})
    held = reserve(ec2, PlacementGroupArn=group["GroupArn"])
    with refused("InvalidPlacementGroup.InUse"):
        ec2.delete_placement_group(GroupName="close")
    ec2.cancel_capacity_reservation(CapacityReservationId=held["CapacityReservationId"])
    ec2.delete_placement_group(GroupName="close")
    assert emulator.held() == []
    with refused("InvalidPlacementGroup.Unknown"):
        ec2.delete_placement_group(GroupName="close")


def test_a_reservation_in_a_group_takes_only_the_groups_machines(ec2: EC2Client) -> None:
    """Without the group, the launch does not match the reservation."""
    group = ec2.create_placement_group(GroupName="close", Strategy="cluster")["PlacementGroup"]
    held = reserve(ec2, PlacementGroupArn=group["GroupArn"])
    with refused("ReservationCapacityExceeded"):
        run(ec2, CapacityReservationSpecification=aimed(held))
    assert run(ec2, Placement=PLACED, CapacityReservationSpecification=aimed(held))


def test_some_types_cannot_join_a_cluster(ec2: EC2Client) -> None:
    """Burstable types are refused in a cluster group, by launches and by reservations."""
    group = ec2.create_placement_group(GroupName="close", Strategy="cluster")["PlacementGroup"]
    with refused("InvalidParameterCombination") as said:
        run(ec2, InstanceType="t3.large", Placement=PLACED)
    assert "t3.large" in said.words
    with refused("InvalidParameterCombination"):
        reserve(ec2, InstanceType="t3.large", PlacementGroupArn=group["GroupArn"])


def test_wrong_input_is_refused(emulator: Emulator, ec2: EC2Client) -> None:
    """Name, strategy and partitions are checked; a dry run makes nothing."""
    with refused("MissingParameter"):
        ec2.create_placement_group(GroupName="close")
    with refused("InvalidParameterValue"):
        ec2.create_placement_group(GroupName="close", Strategy="heap")  # type: ignore[arg-type]
    with refused("InvalidParameterValue"):
        ec2.create_placement_group(GroupName="c" * 256, Strategy="cluster")
    with refused("InvalidParameterCombination"):
        ec2.create_placement_group(GroupName="close", Strategy="cluster", PartitionCount=2)
    with refused("DryRunOperation", 412):
        ec2.create_placement_group(GroupName="close", Strategy="cluster", DryRun=True)
    assert emulator.held() == []


def test_listing(ec2: EC2Client) -> None:
    """By name, by id, by filter and by tag."""
    for name, strategy in (("a", "cluster"), ("b", "spread"), ("c", "partition")):
        tags = tagged("placement-group", run=name)
        ec2.create_placement_group(GroupName=name, Strategy=strategy, TagSpecifications=tags)  # type: ignore[arg-type]
    groups = ec2.describe_placement_groups()["PlacementGroups"]
    assert [group["GroupName"] for group in groups] == ["a", "b", "c"]
    assert (groups[1]["SpreadLevel"], groups[2]["PartitionCount"]) == ("rack", 2)
    assert ec2.describe_placement_groups(GroupNames=["b"])["PlacementGroups"] == [groups[1]]
    assert ec2.describe_placement_groups(GroupIds=[groups[2]["GroupId"]])["PlacementGroups"] == [groups[2]]
    assert ec2.describe_placement_groups(Filters=only("tag:run", "a"))["PlacementGroups"] == [groups[0]]
    assert ec2.describe_placement_groups(Filters=only("strategy", "sp*"))["PlacementGroups"] == [groups[1]]
    with refused("InvalidPlacementGroup.Unknown"):
        ec2.describe_placement_groups(GroupNames=["z"])
