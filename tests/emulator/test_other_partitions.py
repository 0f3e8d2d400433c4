"""Regions of other partitions, and those that the emulator's tables know little of: an answer, and never a defect."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from tests.emulated import Emulator


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-gov-west-1", "aws-us-gov"),
        ("cn-north-1", "aws-cn"),
        ("ap-east-2", "aws"),
        ("ap-southeast-6", "aws"),
        ("ap-southeast-7", "aws"),
        ("mx-central-1", "aws"),
    ],
)
def test_every_region_answers_or_is_refused(emulator: Emulator, region: str, partition: str) -> None:
    """ARNs are of the partition; what is sold there is a list, though an empty one; nothing ends as HTTP 500."""
    keys: dict[str, Any] = {
        "aws_access_key_id": "x",
        "aws_secret_access_key": emulator.secret,
        "endpoint_url": emulator.url,
    }
    ec2 = boto3.client("ec2", region, **keys)
    sts = boto3.client("sts", region, **keys)
    assert sts.get_caller_identity()["Arn"].startswith(f"arn:{partition}:iam::")
    refused = None
    try:
        offered = ec2.describe_instance_type_offerings(LocationType="availability-zone")
        zones = ec2.describe_availability_zones()
    except ec2.exceptions.ClientError as problem:
        refused = problem.response
    if refused is None:
        assert isinstance(offered["InstanceTypeOfferings"], list)
        assert zones["AvailabilityZones"]
    else:
        said = (refused["Error"]["Code"], refused["ResponseMetadata"]["HTTPStatusCode"])
        assert said == ("AuthFailure", 401)
    statuses = {call["status"] for call in emulator.calls() if "status" in call}
    assert not any(status >= 500 for status in statuses)
