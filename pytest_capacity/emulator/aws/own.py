"""The weather that only AWS has: ``own: {aws: {policy: ..., opted_in: ...}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from pytest_capacity.emulator.world import World


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """The requirements of an organization's policy for each launch: ``imdsv2``, ``encrypted``, ``tag:KEY``."""

    require: tuple[str, ...] = ()
    #: Whether the account may decode why it was refused.
    decodable: bool = True


class Own(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole part."""

    policy: Policy = field(default_factory=Policy)
    #: Groups of zones that the account has switched on: ``us-east-1-bos-1``, a local zone's, or a wavelength zone's.
    opted_in: tuple[str, ...] = ()
    #: What the account's default says of tags in the metadata service of machines that say nothing of it.
    metadata_tags: bool = False


#: What may be written without ``own: {aws: ...}`` around it.
KEYS: Final = ("policy",)


def read_own(values: Mapping[str, Any]) -> Own:
    """Return the checked part. Raise `ValueError` in words."""
    try:
        own = msgspec.convert(values, Own)
    except msgspec.ValidationError as problem:
        raise ValueError(str(problem)) from None
    for demand in own.policy.require:
        if demand not in ("imdsv2", "encrypted") and demand.removeprefix("tag:") in ("", demand):
            raise ValueError(f"policy.require: {demand!r} is none of imdsv2, encrypted, tag:KEY")
    return own


def own_of(world: World) -> Own:
    """Return it as it is now."""
    return read_own(world.weather.own.get("aws", {}))
