"""The wire of EC2 (and of STS): moto's base, and on it what moto lacks, decided by the World."""

from __future__ import annotations

from pytest_capacity.emulator.ec2.descriptions import read_fast

read_fast()
