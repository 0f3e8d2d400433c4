from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3

from tests.emulated import IMAGE, Emulator
from tests.emulator.asking import TYPE, ZONE, only, refused, run, state
from tests.emulator.conftest import Connect

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

SPOT: Any = {"MarketType": "spot", "SpotOptions": {"InstanceInterruptionBehavior": "terminate"}}


def zones_of(ec2: EC2Client, type_: str, kind: Any = "availability-zone") -> list[str]:
    found = ec2.describe_instance_type_offerings(LocationType=kind, Filters=only("instance-type", type_))
    return [one["Location"] for one in found["InstanceTypeOfferings"]]


def test_offerings_are_those_of_the_zones(emulator: Emulator, ec2: EC2Client) -> None:
    """Zones lack types by moto's table and by the weather, and launches follow."""
    assert zones_of(ec2, "c6i.xlarge") == ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1f"]
    assert "use1-az6" in zones_of(ec2, TYPE, "availability-zone-id")
    assert zones_of(ec2, TYPE, "region") == ["us-east-1"]
    emulator.weather(offerings={ZONE: {"exclude": [TYPE]}})
    assert ZONE not in zones_of(ec2, TYPE)
    with refused("Unsupported") as said:
        run(ec2)
    assert "choosing us-east-1b, us-east-1c" in said.words


def test_offerings_come_in_pages(ec2: EC2Client) -> None:
    """All of a region's, whatever the page."""
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone", Filters=only("instance-type", "i4i.*"), PaginationConfig={"PageSize": 7}
    )
    found = [(one["Location"], one["InstanceType"]) for page in pages for one in page["InstanceTypeOfferings"]]
    assert len(found) == len(set(found)) > 7
    with refused("InvalidParameterValue"):
        ec2.describe_instance_type_offerings(Filters=only("colour", "blue"))


def test_zones_and_regions_are_told(ec2: EC2Client) -> None:
    """Names and ids of zones, and the regions."""
    filters = [*only("zone-type", "availability-zone"), *only("state", "available")]
    zones = ec2.describe_availability_zones(Filters=filters)["AvailabilityZones"]
    assert {zone["ZoneName"]: zone["ZoneId"] for zone in zones}[ZONE] == "use1-az6"
    assert "eu-west-1" in [region["RegionName"] for region in ec2.describe_regions()["Regions"]]


def test_spot_machines_have_a_request(emulator: Emulator, ec2: EC2Client) -> None:
    """The request is echoed, listed, and cancelled without the machine; spot has a stock and a price of its own."""
    emulator.weather(stock={ZONE: {TYPE: 5, "spot": {"*": 1}}})
    (node,) = run(ec2, InstanceMarketOptions=SPOT)
    assert node["InstanceLifecycle"] == "spot"
    id_ = node["SpotInstanceRequestId"]
    (request,) = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[id_])["SpotInstanceRequests"]
    assert (request["State"], request["Status"]["Code"]) == ("active", "fulfilled")
    assert request["InstanceId"] == node["InstanceId"]
    with refused("InsufficientInstanceCapacity", 500):
        run(ec2, InstanceMarketOptions=SPOT)
    assert run(ec2)
    (cancelled,) = ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[id_])["CancelledSpotInstanceRequests"]
    assert cancelled["State"] == "cancelled"
    assert len(emulator.held("instance")) == 2
    with refused("InvalidSpotInstanceRequestID.NotFound"):
        ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=["sir-00000000"])
    with refused("UnsupportedOperation"):
        run(ec2, InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "persistent"}})


def test_spot_machines_are_taken_back(emulator: Emulator, ec2: EC2Client) -> None:
    """``reclaim`` ends spot machines by id or by what they are, and no others."""
    one, two = run(ec2, 2, InstanceMarketOptions=SPOT)
    (other,) = run(ec2)
    emulator.weather(reclaim=[one["InstanceId"], other["InstanceId"]])
    assert {held["id"] for held in emulator.held()} == {two["InstanceId"], other["InstanceId"]}
    (request,) = ec2.describe_spot_instance_requests(Filters=only("instance-id", one["InstanceId"]))[
        "SpotInstanceRequests"
    ]
    assert (request["State"], request["Status"]["Code"]) == ("closed", "instance-terminated-no-capacity")
    answer = ec2.describe_instances(InstanceIds=[one["InstanceId"]])
    reason = answer["Reservations"][0]["Instances"][0]["StateReason"]
    assert reason["Code"] == "Server.SpotInstanceTermination"
    emulator.weather(reclaim=[{"zone": "us-east-1b"}])
    assert len(emulator.held()) == 2
    emulator.weather(reclaim=[{"zone": ZONE, "type": TYPE}])
    assert [held["id"] for held in emulator.held()] == [other["InstanceId"]]


def test_a_spot_machine_is_marked_before_it_is_taken_back(emulator: Emulator, ec2: EC2Client) -> None:
    """For as long as the weather says, by the World's clock; it runs, and bills, till then or till its user ends it."""

    def told(node: Any) -> tuple[str, str, str]:
        filters = only("instance-id", node["InstanceId"])
        (request,) = ec2.describe_spot_instance_requests(Filters=filters)["SpotInstanceRequests"]
        return state(ec2, node["InstanceId"]), request["State"], request["Status"]["Code"]

    emulator.weather(reclaim_notice_s=120)
    one, two, three = run(ec2, 3, InstanceMarketOptions=SPOT)
    emulator.weather(reclaim=[one["InstanceId"], two["InstanceId"]])
    assert told(one) == told(two) == ("running", "active", "marked-for-termination")
    assert told(three) == ("running", "active", "fulfilled")
    emulator.weather(clock={"advance_s": 90})
    ec2.terminate_instances(InstanceIds=[two["InstanceId"]])
    assert told(two) == ("terminated", "closed", "instance-terminated-by-user")
    emulator.weather(clock={"advance_s": 3600})
    assert told(one) == ("terminated", "closed", "instance-terminated-no-capacity")
    seconds = emulator.world()["bill"]["lines"][0]["machine_seconds"]
    assert 120 + 90 + 3690 <= seconds < 120 + 90 + 3690 + 120


def test_images_are_found_by_owner_and_name(emulator: Emulator, connect: Connect) -> None:
    """With wildcards, and their dates; what the weather takes from a region is not there, nor can it be launched."""
    ec2, other = connect(), connect("eu-west-1")

    def found(client: EC2Client, owner: str, **filters: str) -> list[str]:
        asked: Any = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        images = client.describe_images(Owners=[owner], Filters=asked)["Images"]
        return [image["Name"] for image in sorted(images, key=lambda image: image["CreationDate"])]

    linux = ["emulated-linux-old-x86_64", "emulated-linux-x86_64", "emulated-linux-arm64"]
    assert found(ec2, "self", name="emulated-linux-*") == linux
    assert found(ec2, "123456789012", name="*linux*", architecture="x86_64", state="available") == linux[:2]
    assert found(ec2, "amazon", name="emulated-*") == []
    assert found(ec2, "amazon", name="amzn2-ami-ecs-inf-hvm-2.0.20250613-x86_64-ebs", is_public="true") != []
    emulator.weather(images={"eu-west-1": {"exclude": [IMAGE]}})
    assert "emulated-linux-x86_64" not in found(other, "self")
    assert "emulated-linux-x86_64" in found(ec2, "self")
    with refused("InvalidAMIID.NotFound"):
        other.describe_images(ImageIds=[IMAGE])
    with refused("InvalidAMIID.NotFound"):
        run(other, Placement={"AvailabilityZone": "eu-west-1a"})
    with refused("InvalidParameterValue"):
        found(ec2, "self", colour="blue")


def test_spot_prices_are_below_the_others(ec2: EC2Client) -> None:
    """One price for each zone that sells the type."""
    prices = ec2.describe_spot_price_history(InstanceTypes=["c6i.xlarge"])["SpotPriceHistory"]
    assert len(prices) == 5
    assert {float(price["SpotPrice"]) for price in prices} == {0.051}


def test_one_account_asks(emulator: Emulator) -> None:
    """STS names the emulated account, and its faults can be scripted."""
    sts = boto3.client(
        "sts",
        "us-east-1",
        endpoint_url=emulator.url,
        aws_access_key_id="emulated",
        aws_secret_access_key=emulator.secret,
    )
    assert sts.get_caller_identity()["Account"] == "123456789012"
    emulator.weather(faults=[{"operation": "GetCallerIdentity", "error": "ExpiredToken", "http": 403}])
    with refused("ExpiredToken", 403):
        sts.get_caller_identity()
    emulator.weather(faults=[])
    with refused("InvalidAction"):
        sts.get_session_token()
