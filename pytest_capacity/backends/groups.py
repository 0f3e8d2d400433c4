"""A node group as a backend plans it: with the defaults of the request, its own words over the cloud's section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pytest_capacity.model import Market, NodeGroup, Order, Request

SettingsT = TypeVar("SettingsT", bound=Struct)


@dataclass(frozen=True)
class PlannedGroup:
    """A group with every default filled in; each cloud adds its own settings."""

    group: NodeGroup
    market: Market
    #: Whether it is reserved as it is now (spot cannot use a reservation), and whether it would be were it on-demand.
    reserve: bool
    wants_reservation: bool
    #: The types that will do, the one in front that is wanted first.
    types: tuple[str, ...]
    #: Whether it is on-demand, or can become so.
    may_be_on_demand: bool

    @property
    def name(self) -> str:
        """The group's name."""
        return self.group.name


def defaults_of(request: Request, group: NodeGroup) -> dict[str, Any]:
    """Return the fields of `PlannedGroup` for ``group``."""
    market = group.market or request.market
    reserve = request.reserve if group.reserve is None else group.reserve
    others = group.alternatives if request.fallback.instance_types else ()
    return {
        "group": group,
        "market": market,
        "reserve": reserve and market == "on-demand",
        "wants_reservation": reserve,
        "types": (group.instance_type, *others),
        "may_be_on_demand": market == "on-demand" or request.fallback.spot_to_on_demand,
    }


def merged(
    kind: type[SettingsT], section: Mapping[str, Any], own: Mapping[str, Any], *joined: str, without: str = ""
) -> SettingsT:
    """Return the settings of a group: what it says itself before the section, and of keys in ``joined`` both.

    ``without`` is a key of ``own`` in which a group may have another form than the section.
    """
    words = {key: value for key, value in own.items() if key != without}
    for key in joined:
        if key in words:
            words[key] = {**section.get(key, {}), **words[key]}
    return msgspec.convert({**section, **words}, kind)


def plain(settings: Struct) -> dict[str, Any]:
    """Return settings as plain data, less what is as by default."""
    default = msgspec.to_builtins(type(settings)())
    return {key: value for key, value in msgspec.to_builtins(settings).items() if value != default.get(key)}


def use_fact(group: str, instance_type: str) -> str:
    """Return the fact of an offer that says which existing reservation serves a group of that type."""
    return f"use/{group}/{instance_type}"


def used(order: Order, group: PlannedGroup) -> str:
    """Return the id of the existing reservation that serves the group as it is now; "" where there is none."""
    if group.market == "spot":
        return ""
    return order.facts.get(use_fact(group.name, group.group.instance_type), "")


def group_of(request: Request, topology: str, name: str | None) -> NodeGroup | None:
    """Return a group as it is configured; None where the request has none of that name."""
    known = request.topologies.get(topology)
    return next((group for group in known.groups if group.name == name), None) if known else None


def has_moved(request: Request, order: Order, group: PlannedGroup) -> bool:
    """Return whether the group's type or market is not the one that the user wants first.

    What is reserved for others by then is not made larger for it: it gets a reservation of its own.
    """
    first = group_of(request, order.topology.name, group.name)
    now = (group.group.instance_type, group.market)
    return first is not None and (first.instance_type, first.market or request.market) != now


def served(sharing: Sequence[PlannedGroup]) -> dict[str, Any]:
    """Return the fields of `Piece` that say for which groups and how many nodes a reservation is."""
    return {
        "count": sum(group.group.count for group in sharing),
        "group": sharing[0].name if len(sharing) == 1 else None,
        "groups": tuple(group.name for group in sharing),
        "market": "on-demand",
    }
