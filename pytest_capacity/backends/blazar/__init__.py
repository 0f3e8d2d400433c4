"""OpenStack Blazar: leases on reserved hosts and instances, and Nova's servers in them."""

from __future__ import annotations

from pytest_capacity.backends.blazar.provider import BlazarProvider

PROVIDER = BlazarProvider()

__all__ = ["PROVIDER"]
