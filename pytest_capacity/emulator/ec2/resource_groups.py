"""AWS Resource Groups, as far as a pool of capacity reservations needs them: REST with JSON."""

from __future__ import annotations

from pytest_capacity.emulator.ec2.context import Context
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Reservation


def members(ctx: Context, arn: str) -> list[Reservation]:
    """The reservations in a resource group."""
    raise Refusal("InvalidParameterValue", f"The resource group '{arn}' does not exist")
