"""Machines of the rack controller in our lab, for pytest-capacity."""

from __future__ import annotations

from rack_capacity.provider import RackProvider

PROVIDER = RackProvider()
