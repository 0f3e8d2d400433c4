"""Tags of what the World keeps; moto keeps those of networks and images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pytest_capacity.emulator.aws.context import CLOUD, MOST_TAGS, Context, check_id, read_tags
from pytest_capacity.emulator.aws.hosts import Host
from pytest_capacity.emulator.aws.metadata import check_tags
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Thing

#: Prefixes of ids of ours: resource type, what EC2 calls an unknown one.
KINDS: Final = {
    "i": ("instance", "InvalidInstanceID"),
    "cr": ("capacity-reservation", "InvalidCapacityReservationId"),
    "pg": ("placement-group", "InvalidPlacementGroupId"),
    "key": ("key-pair", "InvalidKeyPair"),
    "h": ("dedicated-host", "InvalidHostID"),
    "sir": ("spot-instances-request", "InvalidSpotInstanceRequestID"),
}


class NotOursError(Exception):
    """None of the resources is the World's."""


def create(ctx: Context) -> dict[str, Any]:
    """Answer CreateTags: on all the resources or on none."""
    things = _things(ctx)
    tags = read_tags(ctx.params["Tags"])
    for thing in things:
        if len({**thing.tags, **tags}) > MOST_TAGS:
            raise Refusal("TagLimitExceeded", f"The maximum number of Tags for a resource is {MOST_TAGS}")
        if thing.details.get("MetadataOptions", {}).get("InstanceMetadataTags") == "enabled":
            check_tags(tags)
    ctx.dry_run()
    for thing in things:
        thing.tags.update(tags)
    return {}


def delete(ctx: Context) -> dict[str, Any]:
    """Answer DeleteTags: those named (with that value, if one is given), or all."""
    things = _things(ctx)
    ctx.dry_run()
    for thing in things:
        if not ctx.params.get("Tags"):
            thing.tags.clear()
        for tag in ctx.params.get("Tags", []):
            key = tag.get("Key", "")
            if key in thing.tags and tag.get("Value", thing.tags[key]) == thing.tags[key]:
                del thing.tags[key]
    return {}


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeTags, of what the World keeps."""
    found = [
        {"Key": key, "Value": value, "ResourceId": thing.id, "ResourceType": KINDS[thing.id.split("-")[0]][0]}
        for thing in _all(ctx)
        if thing.visible(ctx.now)
        for key, value in thing.tags.items()
    ]
    names = {"key": "Key", "value": "Value", "resource-id": "ResourceId", "resource-type": "ResourceType"}
    for one in ctx.params.get("Filters", []):
        name = names.get(one.get("Name", ""))
        if name is None:
            raise Refusal("InvalidParameterValue", f"The filter '{one.get('Name', 'null')}' is invalid")
        found = [tag for tag in found if tag[name] in one.get("Values", [])]
    return {"Tags": found}


def _all(ctx: Context) -> Iterator[Thing]:
    yield from ctx.instances.values()
    yield from ctx.reservations.values()
    yield from ctx.groups
    yield from ctx.key_pairs
    yield from ctx.spot_requests.values()
    yield from ctx.world.of(Host, CLOUD, ctx.region)


def _things(ctx: Context) -> Sequence[Thing]:
    ids = ctx.params.get("Resources", [])
    if not ids:
        raise Refusal("MissingParameter", "The request must contain the parameter resourceIdSet")
    ours = [id_ for id_ in ids if id_.split("-")[0] in KINDS]
    if not ours:
        raise NotOursError
    if len(ours) < len(ids):
        words = "The emulator tags machines and reservations in one call, and networks in another"
        raise Refusal("UnsupportedOperation", words)
    known = {thing.id: thing for thing in _all(ctx)}
    for id_ in ids:
        prefix = id_.split("-")[0]
        check_id(id_, prefix, KINDS[prefix][1])
        if id_ not in known:
            raise Refusal(f"{KINDS[prefix][1]}.NotFound", f"The ID '{id_}' does not exist")
    return [known[id_] for id_ in dict.fromkeys(ids)]
