"""Oracle Cloud Infrastructure: capacity reservations, instances and their network, through the core of `oci`."""

from __future__ import annotations

from typing import Final

from pytest_capacity.backends.oci.provider import OciProvider

__all__ = ["PROVIDER"]

PROVIDER: Final = OciProvider()
