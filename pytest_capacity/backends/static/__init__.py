"""Machines of the user's own: no cloud, no SDK, no extra."""

from __future__ import annotations

from typing import Final

from pytest_capacity.backends.static.provider import StaticProvider

PROVIDER: Final = StaticProvider()
