"""AWS: EC2 on-demand capacity reservations, instances and placement groups, through boto3's core (botocore)."""

from __future__ import annotations

from typing import Final

from pytest_capacity.backends.aws.provider import AwsProvider

PROVIDER: Final = AwsProvider()
