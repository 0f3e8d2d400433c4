"""DescribeImages: by id, which every launch asks, or by owner and filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.context import Context
from pytest_capacity.emulator.aws.listing import matches
from pytest_capacity.emulator.aws.tagging import NotOursError
from pytest_capacity.emulator.refusal import Refusal


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeImages. What is not known here is left to moto."""
    if set(ctx.params) - {"ImageIds", "DryRun", "Owners", "Filters", "IncludeDeprecated"}:
        raise NotOursError
    ctx.dry_run()
    found = _by_id(ctx, ctx.params["ImageIds"]) if ctx.params.get("ImageIds") else _all(ctx)
    owners = ctx.params.get("Owners", [])
    if owners:
        found = [image for image in found if _is_owned(image, owners)]
    return {"Images": [_render(image) for image in _chosen(found, ctx.params.get("Filters", []))]}


def _all(ctx: Context) -> list[Any]:
    return [image for image in ctx.catalogue.backend(ctx.region).amis.values() if ctx.has_image(image.id)]


def _by_id(ctx: Context, ids: Sequence[str]) -> list[Any]:
    malformed = [id_ for id_ in ids if not id_.startswith("ami-")]
    if malformed:
        raise Refusal("InvalidAMIID.Malformed", f'Invalid id: "{malformed[0]}" (expecting "ami-...")')
    known = ctx.catalogue.backend(ctx.region).amis
    unknown = [id_ for id_ in ids if id_ not in known or not ctx.has_image(id_)]
    if unknown:
        s, verb = ("", "does") if len(unknown) == 1 else ("s", "do")
        raise Refusal("InvalidAMIID.NotFound", f"The image id{s} '[{', '.join(unknown)}]' {verb} not exist")
    return [known[id_] for id_ in dict.fromkeys(ids)]


def _is_owned(image: Any, owners: Sequence[str]) -> bool:
    return bool({image.owner_id, image.owner_alias} & {ACCOUNT if owner == "self" else owner for owner in owners})


def _chosen(images: Iterable[Any], filters: Sequence[Mapping[str, Any]]) -> list[Any]:
    chosen = list(images)
    for one in filters:
        name, wanted = one.get("Name"), one.get("Values")
        if name is None or name not in _FILTERS:
            raise Refusal("InvalidParameterValue", f"The filter '{name or 'null'}' is invalid")
        if not wanted:
            raise Refusal("InvalidParameterValue", f"The filter '{name}' has no values")
        read = _FILTERS[name]
        chosen = [image for image in chosen if matches([str(read(image) or "")], wanted)]
    return chosen


def _created(image: Any) -> str:
    date = image.creation_date
    return f"{date:%Y-%m-%dT%H:%M:%S}.000Z" if isinstance(date, datetime) else str(date)


_FILTERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "architecture": lambda image: image.architecture,
    "creation-date": _created,
    "description": lambda image: image.description,
    "hypervisor": lambda image: image.hypervisor,
    "image-id": lambda image: image.id,
    "image-type": lambda image: "machine",
    "is-public": lambda image: str(image.is_public).lower(),
    "name": lambda image: image.name,
    "owner-alias": lambda image: image.owner_alias,
    "owner-id": lambda image: image.owner_id,
    "platform": lambda image: image.platform,
    "root-device-name": lambda image: image.root_device_name,
    "root-device-type": lambda image: "ebs",
    "state": lambda image: "available",
    "tag:Name": lambda image: next((tag["value"] for tag in image.get_tags() if tag["key"] == "Name"), ""),
    "virtualization-type": lambda image: image.virtualization_type,
}


def _render(image: Any) -> dict[str, Any]:
    return {
        "ImageId": image.id,
        "Name": image.name,
        "Description": image.description,
        "ImageLocation": image.image_location,
        "ImageOwnerAlias": image.owner_alias,
        "ImageType": "machine",
        "OwnerId": image.owner_id,
        "CreationDate": _created(image),
        "Public": bool(image.is_public),
        "State": "available",
        "Architecture": image.architecture,
        "Platform": "Windows" if image.platform_details.startswith("Windows") else None,
        "PlatformDetails": image.platform_details,
        "RootDeviceName": image.root_device_name,
        "RootDeviceType": "ebs",
        "VirtualizationType": image.virtualization_type,
        "Hypervisor": image.hypervisor,
    }
