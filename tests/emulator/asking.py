"""What the tests of the emulator ask for, and how they read a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.emulated import IMAGE

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ZONE = "us-east-1a"
TYPE = "i4i.large"


class Said:
    """A refusal as a client saw it."""

    code = ""
    words = ""
    status = 0


@contextmanager
def refused(code: str, status: int = 400) -> Iterator[Said]:
    """The call inside is refused with this code and this HTTP status."""
    said = Said()
    with pytest.raises(ClientError) as caught:
        yield said
    said.code = caught.value.response["Error"]["Code"]
    said.words = caught.value.response["Error"]["Message"]
    said.status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert (said.code, said.status) == (code, status), said.words


def reserve(ec2: EC2Client, count: int = 1, **more: Any) -> Any:
    """A targeted reservation; ``more`` replaces parameters, and None leaves one out."""
    asked: dict[str, Any] = {
        "InstanceType": TYPE,
        "InstancePlatform": "Linux/UNIX",
        "AvailabilityZone": ZONE,
        "InstanceCount": count,
        "InstanceMatchCriteria": "targeted",
        **more,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    return ec2.create_capacity_reservation(**asked)["CapacityReservation"]


def run(ec2: EC2Client, count: int = 1, **more: Any) -> list[Any]:
    """Machines; ``more`` replaces parameters, and None leaves one out."""
    asked: dict[str, Any] = {
        "ImageId": IMAGE,
        "InstanceType": TYPE,
        "MinCount": count,
        "MaxCount": count,
        "Placement": {"AvailabilityZone": ZONE},
        **more,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    return list(ec2.run_instances(**asked)["Instances"])


def aimed(reservation: Any) -> dict[str, Any]:
    """RunInstances' word for: into this reservation."""
    return {"CapacityReservationTarget": {"CapacityReservationId": reservation["CapacityReservationId"]}}


def tagged(kind: str, **tags: str) -> list[Any]:
    """Tags in a create call."""
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def only(name: str, *values: str) -> list[Any]:
    """One filter."""
    return [{"Name": name, "Values": list(values)}]


def in_minutes(minutes: float) -> datetime:
    """A time from now."""
    return datetime.now(UTC) + timedelta(minutes=minutes)


def state(ec2: EC2Client, id_: str) -> str:
    """The state that EC2 lists a machine in."""
    answer = ec2.describe_instances(InstanceIds=[id_])
    return answer["Reservations"][0]["Instances"][0]["State"]["Name"]


def reservation_state(ec2: EC2Client, id_: str) -> str:
    """The state that EC2 lists a reservation in."""
    return ec2.describe_capacity_reservations(CapacityReservationIds=[id_])["CapacityReservations"][0]["State"]
