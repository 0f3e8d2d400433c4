"""The wire of EC2 (and of STS): moto's base, and on it what moto lacks, decided by the World."""

from __future__ import annotations

import os

from pytest_capacity.emulator.aws.descriptions import read_fast

# A user's profiles, broken ones too, are none of the emulator's.
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

read_fast()
