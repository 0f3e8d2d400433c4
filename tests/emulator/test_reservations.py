from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulated import Emulator
from tests.emulator.asking import (
    TYPE,
    ZONE,
    aimed,
    in_minutes,
    only,
    refused,
    reservation_state,
    reserve,
    run,
    tagged,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.emulator.conftest import Connect


def test_a_reservation_is_described_as_it_was_asked_for(ec2: EC2Client) -> None:
    """Every parameter of the create call is told again by describe, with what EC2 adds."""
    end = in_minutes(30)
    made = reserve(
        ec2, 3, EndDateType="limited", EndDate=end, TagSpecifications=tagged("capacity-reservation", run="r1")
    )
    (found,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert found == made
    assert found["State"] == "active"
    assert (found["TotalInstanceCount"], found["AvailableInstanceCount"]) == (3, 3)
    assert (found["AvailabilityZone"], found["AvailabilityZoneId"]) == (ZONE, "use1-az6")
    assert found["Tags"] == [{"Key": "run", "Value": "r1"}]
    assert abs((found["EndDate"] - end).total_seconds()) < 0.01
    assert found["CapacityReservationArn"].endswith(f":capacity-reservation/{made['CapacityReservationId']}")


def test_a_zone_may_be_given_by_its_id(ec2: EC2Client) -> None:
    """AvailabilityZoneId does the same as AvailabilityZone."""
    made = reserve(ec2, AvailabilityZone=None, AvailabilityZoneId="use1-az2")
    assert made["AvailabilityZone"] == "us-east-1c"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"AvailabilityZone": "us-east-1z"}, "InvalidParameterValue"),
        ({"AvailabilityZone": None}, "MissingParameter"),
        ({"AvailabilityZoneId": "use1-az2"}, "InvalidParameterCombination"),
        ({"InstanceType": "x99.huge"}, "InvalidParameterValue"),
        ({"InstanceType": "c6i.large", "AvailabilityZone": "us-east-1e"}, "Unsupported"),
        ({"InstancePlatform": "BeOS"}, "InvalidParameterValue"),
        ({"InstanceCount": 0}, "InvalidParameterValue"),
        ({"InstanceCount": 1001}, "InvalidParameterValue"),
        ({"EndDateType": "limited"}, "InvalidParameterCombination"),
        ({"EndDateType": "unlimited", "EndDate": in_minutes(30)}, "InvalidParameterCombination"),
        ({"EndDateType": "limited", "EndDate": in_minutes(-1)}, "InvalidParameterValue"),
        ({"InstanceMatchCriteria": "whatever"}, "InvalidParameterValue"),
        ({"Tenancy": "host"}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("instance", a="b")}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("capacity-reservation", **{"aws:a": "b"})}, "InvalidParameterValue"),
        ({"PlacementGroupArn": "arn:aws:ec2:us-east-1:1:placement-group/none"}, "InvalidPlacementGroup.Unknown"),
        ({"ClientToken": "t" * 65}, "InvalidParameterValue"),
        ({"StartDate": in_minutes(90)}, "UnsupportedOperation"),
    ],
)
def test_wrong_input_is_refused(emulator: Emulator, ec2: EC2Client, wrong: dict[str, Any], code: str) -> None:
    """What EC2 refuses is refused, and nothing is made."""
    with refused(code):
        reserve(ec2, **wrong)
    assert emulator.held() == []


def test_a_dry_run_makes_nothing(emulator: Emulator, ec2: EC2Client) -> None:
    """DryRun answers DryRunOperation with HTTP 412 to what would have worked."""
    with refused("DryRunOperation", 412):
        reserve(ec2, DryRun=True)
    with refused("Unsupported"):
        reserve(ec2, DryRun=True, InstanceType="c6i.large", AvailabilityZone="us-east-1e")
    assert emulator.held() == []


def test_the_same_token_makes_one_reservation(emulator: Emulator, ec2: EC2Client) -> None:
    """A repeated call gives the same reservation, a changed one is refused, and another zone is another scope."""
    first = reserve(ec2, 2, ClientToken="t1")
    assert reserve(ec2, 2, ClientToken="t1")["CapacityReservationId"] == first["CapacityReservationId"]
    with refused("IdempotentParameterMismatch"):
        reserve(ec2, 3, ClientToken="t1")
    other = reserve(ec2, 2, ClientToken="t1", AvailabilityZone="us-east-1b")
    assert other["CapacityReservationId"] != first["CapacityReservationId"]
    assert len(emulator.held()) == 2


def test_a_token_is_looked_at_before_the_stock(emulator: Emulator, ec2: EC2Client) -> None:
    """A repeated call is answered although the zone has run dry since."""
    emulator.weather(stock={ZONE: {TYPE: 2}})
    first = reserve(ec2, 2, ClientToken="t1")
    emulator.weather(faults=[{"operation": "CreateCapacityReservation", "error": "InsufficientInstanceCapacity"}])
    assert reserve(ec2, 2, ClientToken="t1")["CapacityReservationId"] == first["CapacityReservationId"]


def test_a_refused_call_does_not_use_up_its_token(emulator: Emulator, ec2: EC2Client) -> None:
    """After a refusal for stock, the same token makes a reservation when there is stock."""
    emulator.weather(stock={ZONE: {"*": 0}})
    with refused("InsufficientInstanceCapacity", 500):
        reserve(ec2, ClientToken="t1")
    emulator.weather(stock={})
    assert reserve(ec2, ClientToken="t1")["State"] == "active"


def test_a_dry_zone_is_told_in_two_words(emulator: Emulator, ec2: EC2Client) -> None:
    """InsufficientInstanceCapacity is HTTP 500; of a reservation it does not say which zones have capacity."""
    emulator.weather(stock={ZONE: {"*": 0}})
    with refused("InsufficientInstanceCapacity", 500) as said:
        reserve(ec2, 2)
    assert said.words == "Insufficient capacity."


def test_the_sdk_retries_a_dry_zone(emulator: Emulator, connect: Connect) -> None:
    """botocore's default retries ask three times, since the status is 500."""
    emulator.weather(stock={ZONE: {"*": 0}})
    with refused("InsufficientInstanceCapacity", 500):
        reserve(connect(attempts=None))
    assert [call["status"] for call in emulator.calls("CreateCapacityReservation")] == [500, 500, 500]


def test_reservations_count_against_the_quota(emulator: Emulator, ec2: EC2Client) -> None:
    """An unused reservation uses up vCPUs; machines inside it use no more."""
    emulator.weather(quota={"us-east-1": {"vcpus": 8}})
    held = reserve(ec2, 3)
    run(ec2, 3, CapacityReservationSpecification=aimed(held))
    with refused("VcpuLimitExceeded"):
        reserve(ec2, 2)
    assert run(ec2, 1, CapacityReservationSpecification={"CapacityReservationPreference": "none"})


def test_a_reservation_ends_at_its_end_date(emulator: Emulator, ec2: EC2Client) -> None:
    """It expires by the World's clock; its machines run on, and bill for themselves from then."""
    made = reserve(ec2, EndDateType="limited", EndDate=in_minutes(30))
    (node,) = run(ec2, CapacityReservationSpecification=aimed(made))
    emulator.weather(clock={"advance_s": 29 * 60})
    assert reservation_state(ec2, made["CapacityReservationId"]) == "active"
    emulator.weather(clock={"advance_s": 61 * 60})
    assert reservation_state(ec2, made["CapacityReservationId"]) == "expired"
    (held,) = emulator.held()
    assert (held["id"], held["reservation"]) == (node["InstanceId"], None)
    seconds = {line["kind"]: line["machine_seconds"] for line in emulator.world()["bill"]["lines"]}
    assert seconds["capacity-reservation"] == pytest.approx(30 * 60, abs=5)
    assert seconds["instance"] == pytest.approx(60 * 60, abs=5)


def test_modify_changes_end_and_count(emulator: Emulator, ec2: EC2Client) -> None:
    """A lease is renewed by a new end date; the count goes up within stock and down to what is used."""
    emulator.weather(stock={ZONE: {TYPE: 3}})
    id_ = reserve(ec2, 2, EndDateType="limited", EndDate=in_minutes(30))["CapacityReservationId"]
    assert ec2.modify_capacity_reservation(CapacityReservationId=id_, EndDate=in_minutes(60))["Return"]
    ec2.modify_capacity_reservation(CapacityReservationId=id_, InstanceCount=3)
    with refused("InsufficientInstanceCapacity", 500):
        ec2.modify_capacity_reservation(CapacityReservationId=id_, InstanceCount=4)
    emulator.weather(clock={"advance_s": 45 * 60})
    (found,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert (found["State"], found["TotalInstanceCount"]) == ("active", 3)
    run(ec2, 2, CapacityReservationSpecification=aimed(found))
    with refused("InvalidParameterValue"):
        ec2.modify_capacity_reservation(CapacityReservationId=id_, InstanceCount=1)
    with refused("InvalidParameterCombination"):
        ec2.modify_capacity_reservation(CapacityReservationId=id_, InstanceMatchCriteria="open")
    ec2.modify_capacity_reservation(CapacityReservationId=id_, EndDateType="unlimited")
    (found,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert "EndDate" not in found


def test_cancel_once_and_only_when_active(emulator: Emulator, ec2: EC2Client) -> None:
    """A pending reservation cannot be cancelled or modified, an active one can, a cancelled one cannot again."""
    emulator.weather(pending_s=100)
    id_ = reserve(ec2)["CapacityReservationId"]
    assert reservation_state(ec2, id_) == "pending"
    with refused("InvalidCapacityReservationState"):
        ec2.cancel_capacity_reservation(CapacityReservationId=id_)
    with refused("InvalidCapacityReservationState"):
        ec2.modify_capacity_reservation(CapacityReservationId=id_, InstanceCount=2)
    assert len(emulator.held("capacity-reservation")) == 1
    emulator.weather(clock={"advance_s": 101})
    assert ec2.cancel_capacity_reservation(CapacityReservationId=id_)["Return"]
    assert reservation_state(ec2, id_) == "cancelled"
    assert emulator.held() == []
    with refused("InvalidCapacityReservationState"):
        ec2.cancel_capacity_reservation(CapacityReservationId=id_)


def test_ids_are_checked(connect: Connect) -> None:
    """Unknown ids, malformed ones and those of another region are refused."""
    ec2 = connect()
    made = reserve(ec2)["CapacityReservationId"]
    for id_, code in (
        ("cr-00000000000000000", "NotFound"),
        ("cr-1", "Malformed"),
        ("i-00000000000000000", "Malformed"),
    ):
        with refused(f"InvalidCapacityReservationId.{code}"):
            ec2.cancel_capacity_reservation(CapacityReservationId=id_)
        with refused(f"InvalidCapacityReservationId.{code}"):
            ec2.describe_capacity_reservations(CapacityReservationIds=[made, id_])
    with refused("InvalidCapacityReservationId.NotFound"):
        connect("eu-west-1").describe_capacity_reservations(CapacityReservationIds=[made])


def test_listing_filters_and_pages(ec2: EC2Client) -> None:
    """Filters combine, know wildcards and tags; pages hold MaxResults each and lose none."""
    for number in range(5):
        tags = tagged("capacity-reservation", run="r1" if number < 3 else "r2", n=str(number))
        reserve(ec2, TagSpecifications=tags, AvailabilityZone=["us-east-1a", "us-east-1b"][number % 2])

    def listed(*filters: Any) -> set[str]:
        found = ec2.describe_capacity_reservations(Filters=[one for group in filters for one in group])
        return {tag["Value"] for one in found["CapacityReservations"] for tag in one["Tags"] if tag["Key"] == "n"}

    assert listed(only("tag:run", "r1")) == {"0", "1", "2"}
    assert listed(only("tag:run", "r?")) == {"0", "1", "2", "3", "4"}
    assert listed(only("tag-key", "nothing")) == set()
    assert listed(only("availability-zone", "us-east-1b"), only("tag:run", "r*")) == {"1", "3"}
    assert listed(only("state", "active", "pending"), only("instance-type", "i4i.*")) == {"0", "1", "2", "3", "4"}
    with refused("InvalidParameterValue"):
        listed(only("colour", "blue"))
    pages = list(ec2.get_paginator("describe_capacity_reservations").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["CapacityReservations"]) for page in pages] == [2, 2, 1]
    assert len({one["CapacityReservationId"] for page in pages for one in page["CapacityReservations"]}) == 5
    with refused("InvalidNextToken"):
        ec2.describe_capacity_reservations(NextToken="never given")


def test_new_things_may_be_unseen_for_a_while(emulator: Emulator, ec2: EC2Client) -> None:
    """Under ``consistency_s`` neither filters nor ids find what was just made, though it is there."""
    emulator.weather(consistency_s=10)
    id_ = reserve(ec2)["CapacityReservationId"]
    assert ec2.describe_capacity_reservations()["CapacityReservations"] == []
    with refused("InvalidCapacityReservationId.NotFound"):
        ec2.describe_capacity_reservations(CapacityReservationIds=[id_])
    assert len(emulator.held()) == 1
    emulator.weather(clock={"advance_s": 10})
    assert reservation_state(ec2, id_) == "active"
