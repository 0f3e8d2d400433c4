"""DescribeImages by id, which every launch asks; other questions about images go to moto, which is slow at them."""

from __future__ import annotations

from typing import Any

from pytest_capacity.emulator.ec2.context import Context
from pytest_capacity.emulator.ec2.tagging import NotOursError
from pytest_capacity.emulator.refusal import Refusal


def describe(ctx: Context) -> dict[str, Any]:
    """DescribeImages."""
    ids = ctx.params.get("ImageIds", [])
    if not ids or set(ctx.params) - {"ImageIds", "DryRun"}:
        raise NotOursError
    ctx.dry_run()
    malformed = [id_ for id_ in ids if not id_.startswith("ami-")]
    if malformed:
        raise Refusal("InvalidAMIID.Malformed", f'Invalid id: "{malformed[0]}" (expecting "ami-...")')
    known = ctx.catalogue.backend(ctx.region).amis
    unknown = [id_ for id_ in ids if id_ not in known]
    if unknown:
        s, verb = ("", "does") if len(unknown) == 1 else ("s", "do")
        raise Refusal("InvalidAMIID.NotFound", f"The image id{s} '[{', '.join(unknown)}]' {verb} not exist")
    return {"Images": [_render(known[id_]) for id_ in dict.fromkeys(ids)]}


def _render(image: Any) -> dict[str, Any]:
    return {
        "ImageId": image.id,
        "Name": image.name,
        "Description": image.description,
        "ImageLocation": image.image_location,
        "ImageType": "machine",
        "OwnerId": image.owner_id,
        "Public": True,
        "State": "available",
        "Architecture": image.architecture,
        "Platform": "Windows" if image.platform_details.startswith("Windows") else None,
        "PlatformDetails": image.platform_details,
        "RootDeviceName": image.root_device_name,
        "RootDeviceType": "ebs",
        "VirtualizationType": image.virtualization_type,
        "Hypervisor": "xen",
    }
