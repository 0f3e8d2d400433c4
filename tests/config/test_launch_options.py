"""How nodes are launched: what the file may say by section and by group, and what RunInstances is given."""

from __future__ import annotations

from itertools import chain
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator
from msgspec.structs import replace

from pytest_capacity.backends.aws.plan import create_parameters, plan_rounds
from pytest_capacity.errors import ConfigError, Refused
from pytest_capacity.model import Request
from tests.backends.aws.orders import order
from tests.config.files import Loader, aws, db

FULL: dict[str, Any] = {
    "metadata_options": {"http_tokens": "required", "hop_limit": 2, "instance_tags": "enabled"},
    "iam_instance_profile": "db-nodes",
    "root_volume": {"size_gb": 100, "type": "gp3", "iops": 6000, "throughput": 250, "kms_key": "alias/ebs"},
    "volumes": [{"size_gb": 500, "type": "io2", "iops": 20000}, {"size_gb": 10, "device": "/dev/sdz"}],
    "ebs_optimized": True,
    "ipv6": True,
}


def launched(request: Request, **facts: str) -> dict[str, Any]:
    """The parameters of the only RunInstances of ``request``; they are good ones to the SDK."""
    planned = plan_rounds(request, order(request, facts={"root-device/db": "/dev/xvda", **facts}))
    (piece,) = [piece for piece in chain(*planned) if piece.kind == "node"]
    operation, parameters = create_parameters(piece)
    client = boto3.client("ec2", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    shape = client.meta.service_model.operation_model("RunInstances").input_shape
    assert shape is not None
    assert operation == "run_instances"
    assert ParamValidator().validate(parameters, shape).generate_report() == ""
    return parameters


@pytest.mark.parametrize("by_group", [False, True])
def test_every_option_reaches_the_launch(loading: Loader, by_group: bool) -> None:
    """By the section and by the group alike."""
    given = db(aws=FULL) if by_group else aws(**FULL)
    parameters = launched(loading(given))
    assert parameters["MetadataOptions"] == {
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 2,
        "InstanceMetadataTags": "enabled",
    }
    assert parameters["IamInstanceProfile"] == {"Name": "db-nodes"}
    assert parameters["EbsOptimized"] is True
    assert parameters["NetworkInterfaces"][0]["Ipv6AddressCount"] == 1
    disks = {one["DeviceName"]: one["Ebs"] for one in parameters["BlockDeviceMappings"]}
    assert list(disks) == ["/dev/xvda", "/dev/sdf", "/dev/sdz"]
    assert disks["/dev/xvda"] == {
        "DeleteOnTermination": True,
        "VolumeSize": 100,
        "VolumeType": "gp3",
        "Iops": 6000,
        "Throughput": 250,
        "Encrypted": True,
        "KmsKeyId": "alias/ebs",
    }
    assert all(disk["DeleteOnTermination"] for disk in disks.values())


def test_what_is_switched_off_is_said(loading: Loader) -> None:
    """Some types are EBS-optimized unless a launch says no; a file that says nothing leaves it to the type."""
    assert launched(loading(aws(ebs_optimized=False)))["EbsOptimized"] is False
    assert "EbsOptimized" not in launched(loading(aws()))


def test_an_instance_profile_may_be_an_arn(loading: Loader) -> None:
    """EC2 takes names and ARNs in different fields."""
    arn = "arn:aws:iam::123456789012:instance-profile/db-nodes"
    assert launched(loading(aws(iam_instance_profile=arn)))["IamInstanceProfile"] == {"Arn": arn}


def test_imdsv2_is_the_default(loading: Loader) -> None:
    """A launch that says nothing of it would be refused by many an account."""
    assert launched(loading(aws()))["MetadataOptions"] == {"HttpTokens": "required"}


def test_a_dedicated_host_takes_no_reservation(loading: Loader) -> None:
    """Its capacity is the account's own."""
    request = loading(db(aws={"host_id": "h-0123456789abcdef0"}))
    assert launched(request)["Placement"]["HostId"] == "h-0123456789abcdef0"
    assert launched(request)["Placement"]["Tenancy"] == "host"
    assert {piece.kind for piece in chain(*plan_rounds(request, order(request)))} == {"node"}


def test_what_a_group_may_say_for_itself(loading: Loader) -> None:
    """Network, tags, tenancy and address of a group go before the section's; tags are added."""
    own = {
        "security_groups": ["sg-0123456789abcdef0"],
        "public_ip": True,
        "tags": {"Role": "db"},
        "tenancy": "dedicated",
    }
    request = loading({**aws(tags={"Team": "storage"}), "groups": db(aws=own)["groups"]})
    parameters = launched(request)
    (card,) = parameters["NetworkInterfaces"]
    assert card["AssociatePublicIpAddress"] is True
    assert card["Groups"] == ["sg-0123456789abcdef0"]
    assert parameters["Placement"]["Tenancy"] == "dedicated"
    tags = {tag["Key"]: tag["Value"] for tag in parameters["TagSpecifications"][0]["Tags"]}
    assert (tags["Team"], tags["Role"]) == ("storage", "db")


def test_a_root_volume_without_its_device(loading: Loader) -> None:
    """A wrong device name would make a second volume, so the launch is refused before anything is created."""
    request = loading(aws(root_volume={"size_gb": 9}))
    with pytest.raises(Refused, match="Allow ec2:DescribeImages"):
        plan_rounds(request, replace(order(request), facts={}))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"metadata_options": {"http_tokens": "v2"}}, r"metadata_options\.http_tokens"),
        ({"metadata_options": {"hop_limit": 0}}, r"hop_limit: 0 is no whole number from 1 to 64"),
        ({"iam_profile": "x"}, r"iam_profile.*iam_instance_profile"),
        ({"root_volume": {"size": 9}}, r"root_volume\.size.*size_gb"),
        ({"root_volume": {"device": "/dev/sda"}}, r"root_volume\.device"),
        ({"volumes": {"size_gb": 9}}, r"volumes: is not a list"),
        ({"volumes": [{"kms_key": "alias/x", "encrypted": False}]}, r"kms_key: is there beside"),
        ({"host_id": "host-1"}, r"host_id.*h-0123456789abcdef0"),
        ({"host_id": "h-0123456789abcdef0", "tenancy": "dedicated"}, r"host_id: is there beside `tenancy`"),
    ],
)
def test_what_is_wrong_is_named(loading: Loader, given: dict[str, Any], fault: str) -> None:
    """With its key, in the section and in a group."""
    for wrong in (aws(**given), db(aws=given)):
        with pytest.raises(ConfigError, match=fault):
            loading(wrong)
