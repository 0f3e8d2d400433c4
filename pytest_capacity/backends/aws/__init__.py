"""AWS: EC2 on-demand capacity reservations, instances and placement groups, through boto3's core (botocore)."""

from __future__ import annotations

from botocore.exceptions import ProfileNotFound

from pytest_capacity.backends.aws.backend import AwsBackend
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request

__all__ = ["AwsBackend", "open"]


def open(request: Request) -> AwsBackend:  # the name that `open_backend` asks every cloud's module for
    """The backend of ``request``; no call is made.

    Raises `ConfigError` for an emulated run without an endpoint, and for a profile that the SDK's files do not have.
    """
    try:
        return AwsBackend(request)
    except ProfileNotFound as error:
        raise ConfigError(
            [
                f"aws.profile: {error}. Correct aws.profile or AWS_PROFILE, or add the profile to the SDK's files "
                "(AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE)"
            ]
        ) from error
