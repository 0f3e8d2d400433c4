"""AWS: EC2 on-demand capacity reservations, instances and placement groups, through boto3."""

from __future__ import annotations

from pytest_capacity.backends.aws.backend import AwsBackend
from pytest_capacity.model import Request

__all__ = ["AwsBackend", "open"]


def open(request: Request) -> AwsBackend:  # the name that `open_backend` asks every cloud's module for
    """The backend of ``request``; no call is made.

    Raises `ConfigError` for an emulated run without an endpoint, botocore's ``ProfileNotFound`` for an unknown profile.
    """
    return AwsBackend(request)
