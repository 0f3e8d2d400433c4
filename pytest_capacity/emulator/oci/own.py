"""The weather that only OCI has: ``own: {oci: {count_lag_s: ...}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pytest_capacity.emulator.world import World


class Own(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole part."""

    #: How long after a launch its reservation counts the instance as used.
    count_lag_s: float = 0.0


def read_own(values: Mapping[str, Any]) -> Own:
    """Return the checked part. Raise `ValueError` in words."""
    try:
        own = msgspec.convert(values, Own)
    except msgspec.ValidationError as problem:
        raise ValueError(str(problem)) from None
    if own.count_lag_s < 0:
        raise ValueError(f"count_lag_s is {own.count_lag_s}; give 0 or more seconds")
    return own


def own_of(world: World) -> Own:
    """Return it as it is now."""
    return read_own(world.weather.own.get("oci", {}))
