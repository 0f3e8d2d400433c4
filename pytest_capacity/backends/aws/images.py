"""Which image a group starts from in a region, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_capacity.backends.aws.reads import Read
from pytest_capacity.backends.aws.settings import DEFAULT_PLATFORM, GroupSettings, Lookup
from pytest_capacity.backends.aws.types import is_arm
from pytest_capacity.errors import Refused

#: Where the words of an image (PlatformDetails) are not those of a reservation (InstancePlatform).
_PLATFORMS: Final = {
    "Red Hat BYOL Linux": DEFAULT_PLATFORM,
    "Windows BYOL": "Windows",
    "Red Hat Enterprise Linux with HA": "RHEL with HA",
    "RHEL with SQL Server Standard and HA": "RHEL with HA and SQL Server Standard",
    "RHEL with SQL Server Enterprise and HA": "RHEL with HA and SQL Server Enterprise",
}


def image_of(group: GroupSettings, region: str, read: Read) -> Mapping[str, Any]:
    """Return the group's image as EC2 describes it: of a lookup the newest that its first type can boot."""
    wanted = group.image(region)
    if isinstance(wanted, Lookup):
        found = read.found.get(wanted) or []
        return next((image for image in found if _fits(group.group.instance_type, image)), {})
    return (read.images or {}).get(wanted or "") or ({"ImageId": wanted} if wanted else {})


def image_facts(group: GroupSettings, region: str, read: Read) -> dict[str, str]:
    """Return what `plan` has to know of the group's image."""
    image = image_of(group, region, read)
    return {
        f"image/{group.name}": image.get("ImageId", ""),
        f"platform/{group.name}": platform_of(group, region, read),
        f"architecture/{group.name}": image.get("Architecture", ""),
        f"root/{group.name}": image.get("RootDeviceType", ""),
        f"root-device/{group.name}": image.get("RootDeviceName", ""),
        f"lasting/{group.name}": " ".join(_lasting_disks(image)),
    }


def platform_of(group: GroupSettings, region: str, read: Read) -> str:
    """Return the InstancePlatform of a group's reservation: as configured, else as its image says, else Linux."""
    if group.aws.platform != "auto":
        return group.aws.platform
    details = image_of(group, region, read).get("PlatformDetails") or DEFAULT_PLATFORM
    return _PLATFORMS.get(details, str(details))


def why_no_image(group: GroupSettings, region: str, read: Read) -> str:
    """Return why the group cannot start from its image in the region; empty if it can as far as we could see."""
    wanted, image = group.image(region), image_of(group, region, read)
    if isinstance(wanted, Lookup) and not image:
        return _why_not_found(wanted, group, region, read)
    if image.get("State", "available") != "available":
        return f"image {image['ImageId']} is {image['State']}"
    return ""


def _why_not_found(lookup: Lookup, group: GroupSettings, region: str, read: Read) -> str:
    found = read.found.get(lookup)
    called = lookup.words
    if found is None:
        return f"whether there is an {called} could not be read ({read.unread.get('images', 'it is not known why')})"
    if not found:
        return f"{region} has no {called}"
    return f"{region} has no {called} that {group.group.instance_type} can boot (there is {found[0]['ImageId']})"


def check_architectures(groups: Sequence[GroupSettings], region: str, read: Read) -> None:
    """Refuse an image that its machine cannot boot: no zone cures it, and EC2 says so only at the very end.

    Raises `Refused` with every group and type that does not go with its image.
    """
    images = {group.name: image_of(group, region, read) for group in groups}
    faults = [
        f"group {group.name!r} asks for {type_} ({'arm64' if is_arm(type_) else 'x86_64'}) with the image "
        f"{images[group.name]['ImageId']} ({images[group.name]['Architecture']})"
        for group in groups
        for type_ in group.types
        if not _fits(type_, images[group.name])
    ]
    if faults:
        raise Refused(
            f"{'; '.join(faults)}: in {region} these do not go together. Nothing was created. "
            "Give each group an image of its types' architecture (image:), or types of its image's"
        )


def _fits(instance_type: str, image: Mapping[str, Any]) -> bool:
    arm, architecture = is_arm(instance_type), image.get("Architecture", "")
    return arm is None or not architecture or arm == architecture.startswith("arm64")


def _lasting_disks(image: Mapping[str, Any]) -> list[str]:
    """Return the devices of the image's disks that would outlive their machine."""
    return [
        mapping["DeviceName"]
        for mapping in image.get("BlockDeviceMappings", ())
        if mapping.get("Ebs", {}).get("DeleteOnTermination") is False
    ]
