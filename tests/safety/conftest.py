"""A suite on an emulator for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.emulated import Emulator
from tests.safety.phases import Decoy
from tests.safety.runs import Suite, suite_in


@pytest.fixture
def suite(tmp_path: Path, emulator_process: Emulator) -> Iterator[Suite]:
    """A suite of this test's own, on an empty World."""
    with suite_in(tmp_path, emulator_process) as suite:
        yield suite


@pytest.fixture(scope="session")
def ec2(emulator_process: Emulator) -> Any:
    """Another user's client of the same cloud. Untyped, as boto3 makes it at run time."""
    return boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=emulator_process.url,
        aws_access_key_id="x",
        aws_secret_access_key=emulator_process.secret,
    )


@pytest.fixture
def decoy(suite: Suite, ec2: Any) -> Decoy:
    """What no run may touch, in the World before the run begins."""
    return Decoy(ec2, suite.emulator)
