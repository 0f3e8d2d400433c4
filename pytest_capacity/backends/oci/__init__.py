"""Oracle Cloud Infrastructure: capacity reservations, instances and their network, through the core of `oci`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_capacity.backends.oci.provider import OciProvider

if TYPE_CHECKING:
    from pytest_capacity.backends.base import Provider

__all__ = ["PROVIDER"]

PROVIDER: Final[Provider] = OciProvider()
