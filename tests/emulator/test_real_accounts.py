"""What real accounts of AWS have beyond zones and plain machines: other zones, hosts, options that come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.emulated import Emulator
from tests.emulator.asking import refused, run

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

MAC_IMAGE = "ami-0e000000000000006"


def zones(ec2: EC2Client, **asked: Any) -> list[tuple[str, str, str]]:
    found: Sequence[Any] = ec2.describe_availability_zones(**asked)["AvailabilityZones"]
    return [(zone["ZoneName"], zone["ZoneType"], zone["OptInStatus"]) for zone in found]


def test_local_and_wavelength_zones_are_listed_and_switched_off(ec2: EC2Client) -> None:
    """By themselves an account has the zones of the region; all there are come with AllAvailabilityZones."""
    plain = zones(ec2)
    assert {kind for _, kind, _ in plain} == {"availability-zone"}
    assert {status for *_, status in plain} == {"opt-in-not-required"}
    every = zones(ec2, AllAvailabilityZones=True)
    assert ("us-east-1-bos-1a", "local-zone", "not-opted-in") in every
    assert ("us-east-1-wl1-bos-wlz-1", "wavelength-zone", "not-opted-in") in every
    only = zones(ec2, AllAvailabilityZones=True, Filters=[{"Name": "zone-type", "Values": ["local-zone"]}])
    assert {kind for _, kind, _ in only} == {"local-zone"}
    assert zones(ec2, ZoneNames=["us-east-1a"]) == [("us-east-1a", "availability-zone", "opt-in-not-required")]
    with refused("InvalidParameterValue"):
        ec2.describe_availability_zones(ZoneNames=["us-east-1z"])
    with refused("InvalidParameterValue"):
        ec2.describe_availability_zones(Filters=[{"Name": "colour", "Values": ["red"]}])


def test_a_group_of_zones_is_switched_on(ec2: EC2Client, emulator: Emulator) -> None:
    """By the call, or by the weather; then its zones are among the account's."""
    group = "us-east-1-bos-1"
    ec2.modify_availability_zone_group(GroupName=group, OptInStatus="opted-in")
    assert ("us-east-1-bos-1a", "local-zone", "opted-in") in zones(ec2)
    assert not [name for name, *_ in zones(ec2) if "mia" in name]
    emulator.weather(own={"aws": {"opted_in": ["us-east-1-mia-1"]}})
    assert [name for name, kind, _ in zones(ec2) if kind == "local-zone"] == ["us-east-1-mia-1a"]
    with refused("InvalidParameterValue"):
        ec2.modify_availability_zone_group(GroupName="us-east-1-xyz-1", OptInStatus="opted-in")
    with refused("OptInStatusUnsupported"):
        ec2.modify_availability_zone_group(GroupName=group, OptInStatus="not-opted-in")


def host(ec2: EC2Client, type_: str, **more: Any) -> str:
    asked: dict[str, Any] = {"AvailabilityZone": "us-east-1a", "InstanceType": type_, "Quantity": 1, **more}
    return ec2.allocate_hosts(**asked)["HostIds"][0]


def tagged(kind: str, key: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": "v"}]}]


def on(host_id: str | None = None, **more: Any) -> dict[str, Any]:
    placement = {"AvailabilityZone": "us-east-1a", "Tenancy": "host", **({"HostId": host_id} if host_id else {})}
    return {"Placement": {**placement, **more}}


def test_a_mac_runs_on_a_host_of_its_own_alone(ec2: EC2Client) -> None:
    """One at a time; it shows where it is, and the host goes once it is empty."""
    mac: dict[str, Any] = {"InstanceType": "mac2.metal", "ImageId": MAC_IMAGE}
    with refused("Unsupported"):
        run(ec2, **mac)
    with refused("UnavailableHostRequirements"):
        run(ec2, **mac, **on())
    id_ = host(ec2, "mac2.metal")
    (machine,) = run(ec2, **mac, **on(id_))
    found = ec2.describe_instances(InstanceIds=[machine["InstanceId"]])["Reservations"][0]["Instances"][0]
    placement = found["Placement"]
    assert (placement["Tenancy"], placement["HostId"], placement["Affinity"]) == ("host", id_, "default")
    with refused("InsufficientCapacityOnHost"):
        run(ec2, **mac, **on(id_))
    listed: Any = ec2.describe_hosts(HostIds=[id_])["Hosts"][0]
    assert listed["Instances"] == [{"InstanceId": machine["InstanceId"], "InstanceType": "mac2.metal"}]
    assert listed["AvailableCapacity"]["AvailableInstanceCapacity"][0]["AvailableCapacity"] == 0
    kept: Any = ec2.release_hosts(HostIds=[id_])
    assert kept["Unsuccessful"][0]["Error"]["Code"] == "Client.InvalidHost.Occupied"
    ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
    assert ec2.release_hosts(HostIds=[id_])["Successful"] == [id_]
    with refused("InvalidHostID.NotFound"):
        ec2.describe_hosts(HostIds=[id_])


def test_a_launch_finds_a_host_that_takes_it(ec2: EC2Client, emulator: Emulator) -> None:
    """One of its type and zone that is not set apart; and a host is held, and bills."""
    id_ = host(ec2, "c6i.large", TagSpecifications=tagged("dedicated-host", "a"))
    apart = host(ec2, "c6i.xlarge", AutoPlacement="off")
    (machine,) = run(ec2, InstanceType="c6i.large", **on())
    assert machine["Placement"]["HostId"] == id_
    with refused("UnavailableHostRequirements"):
        run(ec2, InstanceType="c6i.xlarge", **on())
    with refused("UnsupportedInstanceTypeOnHost"):
        run(ec2, InstanceType="c6i.large", **on(apart))
    assert {one["id"] for one in emulator.held("dedicated-host")} == {id_, apart}
    before = emulator.world()["bill"]["usd"]
    emulator.weather(clock={"advance_s": 3600})
    assert emulator.world()["bill"]["usd"] > before
    (found,) = cast("Any", ec2).describe_hosts(Filter=[{"Name": "tag:a", "Values": ["v"]}])["Hosts"]
    assert found["HostId"] == id_
    emulator.weather(stock={"us-east-1a": {"c6i.xlarge": 0}})
    with refused("InsufficientHostCapacity", 500):
        host(ec2, "c6i.xlarge")


@pytest.mark.parametrize("placement", [{"HostId": "h-0123456789abcdef0"}, {"Affinity": "default"}])
def test_what_is_for_hosts_is_for_hosts(ec2: EC2Client, placement: dict[str, str]) -> None:
    """A host or an affinity without that tenancy is refused, and so is a placement group with it."""
    with refused("InvalidParameterCombination"):
        run(ec2, Placement={"AvailabilityZone": "us-east-1a", **placement})
    ec2.create_placement_group(GroupName="g", Strategy="cluster")
    with refused("InvalidParameterCombination"):
        run(ec2, InstanceType="c6i.large", **on(GroupName="g"))


def test_options_of_a_launch_come_back(ec2: EC2Client) -> None:
    """Metadata service, disks, addresses, profile: as they were asked for, in the description."""
    disk = {"VolumeSize": 30, "VolumeType": "gp3", "Iops": 4000, "Throughput": 200}
    disk |= {"Encrypted": True, "KmsKeyId": "alias/k"}
    (machine,) = run(
        ec2,
        InstanceType="c6i.large",
        EbsOptimized=True,
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        IamInstanceProfile={"Name": "nodes"},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": disk}],
        NetworkInterfaces=[{"DeviceIndex": 0, "Ipv6AddressCount": 1}],
    )
    (found,) = ec2.describe_instances(InstanceIds=[machine["InstanceId"]])["Reservations"][0]["Instances"]
    assert found["MetadataOptions"] == {
        "State": "applied",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 2,
        "HttpEndpoint": "enabled",
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "disabled",
    }
    assert found["EbsOptimized"] is True
    assert found["IamInstanceProfile"]["Arn"] == "arn:aws:iam::123456789012:instance-profile/nodes"
    (card,) = found["NetworkInterfaces"]
    assert [one["Ipv6Address"] for one in card["Ipv6Addresses"]] == [found["Ipv6Address"]]
    assert found["Ipv6Address"].startswith("2001:db8:")
    ids = {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in found["BlockDeviceMappings"]}
    root, data = (ec2.describe_volumes(VolumeIds=[ids[device]])["Volumes"][0] for device in ("/dev/xvda", "/dev/sdf"))
    assert (data["Size"], data["Iops"], data["Throughput"], data["Encrypted"]) == (30, 4000, 200, True)
    assert data["KmsKeyId"] == "alias/k"
    assert (root["Size"], root["Iops"], root["Throughput"], root["Encrypted"]) == (8, 3000, 125, False)


def test_what_is_not_asked_for_is_as_ec2_has_it(ec2: EC2Client) -> None:
    """No profile, no IPv6, and a metadata service without tokens."""
    (machine,) = run(ec2)
    (found,) = ec2.describe_instances(InstanceIds=[machine["InstanceId"]])["Reservations"][0]["Instances"]
    assert found["MetadataOptions"]["HttpTokens"] == "optional"
    assert "Ipv6Address" not in found
    assert "IamInstanceProfile" not in found
    assert found["Placement"]["Tenancy"] == "default"
    assert "HostId" not in found["Placement"]
    with refused("InvalidParameterValue"):
        run(ec2, MetadataOptions={"HttpPutResponseHopLimit": 65})


TAGGED: dict[str, Any] = {"MetadataOptions": {"InstanceMetadataTags": "enabled"}}


@pytest.mark.parametrize("key", ["Patch Group", "k8s.io/owner", "_index", ".."])
def test_tags_that_the_metadata_service_cannot_show_are_refused(ec2: EC2Client, key: str) -> None:
    """Only where it shows tags: at the launch, and when they are added."""
    tags = tagged("instance", key)
    run(ec2, TagSpecifications=tags)
    with refused("InvalidParameterValue"):
        run(ec2, TagSpecifications=tags, **TAGGED)
    (machine,) = run(ec2, TagSpecifications=tagged("instance", "a:b"), **TAGGED)
    with refused("InvalidParameterValue"):
        ec2.create_tags(Resources=[machine["InstanceId"]], Tags=[{"Key": key, "Value": "v"}])


def test_the_accounts_default_counts(ec2: EC2Client, emulator: Emulator) -> None:
    """A launch that says nothing of tags in the metadata service gets what the account has set."""
    emulator.weather(own={"aws": {"metadata_tags": True}})
    tags = tagged("instance", "a b")
    with refused("InvalidParameterValue"):
        run(ec2, TagSpecifications=tags)
    run(ec2, TagSpecifications=tags, MetadataOptions={"InstanceMetadataTags": "disabled"})


def test_a_policy_may_demand_tags_of_volumes_too(ec2: EC2Client, emulator: Emulator) -> None:
    """The launch is refused for the kind of thing that lacks the tag, and goes through with it on both."""
    emulator.weather(policy={"require": ["tag:Team"]})
    tags = {kind: {"ResourceType": kind, "Tags": [{"Key": "Team", "Value": "x"}]} for kind in ("instance", "volume")}
    for given, lacking in (((), "instance"), (("volume",), "instance"), (("instance",), "volume")):
        with refused("UnauthorizedOperation", 403) as said:
            run(ec2, TagSpecifications=[tags[kind] for kind in given] or None)
        assert f":{lacking}/*" in said.words
    assert len(run(ec2, TagSpecifications=list(tags.values()))) == 1


def test_policy_is_the_weather_of_aws_alone(emulator: Emulator) -> None:
    """In ``own``, or at the top as a short form, which leaves the rest of ``own`` as it is."""
    emulator.weather(own={"kubernetes": {"step_s": 1}, "aws": {"opted_in": ["us-east-1-bos-1"]}})
    emulator.weather(policy={"require": ["imdsv2"]})
    own = emulator.world()["weather"]["own"]
    assert own["kubernetes"] == {"step_s": 1}
    assert own["aws"] == {"opted_in": ["us-east-1-bos-1"], "policy": {"require": ["imdsv2"]}}
    for wrong, words in (
        ({"policy": {"require": ["imdsv3"]}}, "policy.require: 'imdsv3' is none of imdsv2, encrypted, tag:KEY"),
        ({"policy": {"demand": []}}, "unknown field `demand`"),
        ({"own": {"aws": {"weather": 1}}}, "own.aws: Object contains unknown field `weather`"),
        ({"polici": {}}, "unknown key polici; known keys: .*policy"),
    ):
        with pytest.raises(ValueError, match=words):
            emulator.weather(**wrong)
    with pytest.raises(ValueError, match="tag:KEY"):
        emulator.weather(own={"aws": {"policy": {"require": ["tag:"]}}})
