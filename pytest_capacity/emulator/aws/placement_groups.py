"""Placement groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.aws.context import Context, render_tags
from pytest_capacity.emulator.aws.listing import Reading, choose
from pytest_capacity.emulator.aws.things import PlacementGroup
from pytest_capacity.emulator.refusal import Refusal

STRATEGIES: Final = ("cluster", "spread", "partition")


def create(ctx: Context) -> dict[str, Any]:
    """Answer CreatePlacementGroup. The name is unique in the region; there is no client token."""
    ctx.require("GroupName", "Strategy")
    name, strategy = ctx.params["GroupName"], ctx.params["Strategy"]
    if len(name) > 255 or not name.isascii():
        raise Refusal("InvalidParameterValue", f"Value ({name}) for parameter groupName is invalid.")
    if strategy not in STRATEGIES:
        words = f"Value ({strategy}) for parameter strategy is invalid. Valid values: {', '.join(STRATEGIES)}."
        raise Refusal("InvalidParameterValue", words)
    partitions = ctx.params.get("PartitionCount", 0)
    if partitions and strategy != "partition":
        words = "The PartitionCount parameter is only valid with the partition strategy."
        raise Refusal("InvalidParameterCombination", words)
    tags = ctx.tags_for("placement-group")["placement-group"]
    if _find(ctx, name) is not None:
        raise Refusal("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
    ctx.dry_run()
    group = PlacementGroup(
        **ctx.born("pg"),
        tags=tags,
        name=name,
        strategy=strategy,
        partitions=partitions or (2 if strategy == "partition" else 0),
        spread_level=ctx.params.get("SpreadLevel", "rack") if strategy == "spread" else "",
    )
    ctx.world.add(group)
    return {"PlacementGroup": render(ctx, group)}


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribePlacementGroups. No pages: EC2 has none here."""
    ctx.dry_run()
    found = [one for one in ctx.groups if one.visible(ctx.now)]
    for name in ctx.params.get("GroupNames", []):
        if all(one.name != name for one in found):
            raise unknown(name)
    for id_ in ctx.params.get("GroupIds", []):
        if all(one.id != id_ for one in found):
            raise unknown(id_)
    names, ids = ctx.params.get("GroupNames", []), ctx.params.get("GroupIds", [])
    if names or ids:
        found = [one for one in found if one.name in names or one.id in ids]
    chosen = choose(found, ctx.params.get("Filters", []), _readings(ctx))
    return {"PlacementGroups": [render(ctx, one) for one in chosen]}


def delete(ctx: Context) -> dict[str, Any]:
    """Answer DeletePlacementGroup: not while a machine (also one being removed) or an active reservation uses it."""
    group = by_name(ctx, ctx.params["GroupName"])
    now = ctx.now
    machines = any(one.group_name == group.name and one.live(now) for one in ctx.instances.values())
    arn = ctx.arn("placement-group", group.name)
    if machines or any(one.group_arn == arn and one.live(now) for one in ctx.reservations.values()):
        words = f"The placement group '{group.name}' is in use and may not be deleted."
        raise Refusal("InvalidPlacementGroup.InUse", words)
    ctx.dry_run()
    ctx.world.remove(group)
    return {}


def by_name(ctx: Context, name: str) -> PlacementGroup:
    """Return a group of this region by its name."""
    group = _find(ctx, name)
    if group is None:
        raise unknown(name)
    return group


def by_arn(ctx: Context, arn: str) -> PlacementGroup:
    """Return a group of this region by its ARN."""
    for group in ctx.groups:
        if ctx.arn("placement-group", group.name) == arn:
            return group
    raise unknown(arn)


def unknown(name: str) -> Refusal:
    """Return EC2's words for a group that is not there."""
    return Refusal("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")


def render(ctx: Context, one: PlacementGroup) -> dict[str, Any]:
    """Return a group as EC2 describes it."""
    return {
        "GroupName": one.name,
        "State": one.state(ctx.now),
        "Strategy": one.strategy,
        "PartitionCount": one.partitions or None,
        "GroupId": one.id,
        "Tags": render_tags(one) or None,
        "GroupArn": ctx.arn("placement-group", one.name),
        "SpreadLevel": one.spread_level or None,
    }


def _find(ctx: Context, name: str) -> PlacementGroup | None:
    return next((group for group in ctx.groups if group.name == name), None)


def _readings(ctx: Context) -> Mapping[str, Reading]:
    return {
        "group-name": lambda one: [one.name],
        "group-arn": lambda one: [ctx.arn("placement-group", one.name)],
        "state": lambda one: [one.state(ctx.now)],
        "strategy": lambda one: [one.strategy],
        "spread-level": lambda one: [one.spread_level] if one.spread_level else [],
    }
