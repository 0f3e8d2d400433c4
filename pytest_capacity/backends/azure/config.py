"""The forms in which Azure writes regions, zones, sizes and ids, and the ``azure:`` section read by them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_capacity.backends.azure.ids import ResourceId
from pytest_capacity.backends.azure.settings import NATIONAL_CLOUDS, NO_ZONE, AzureSettings
from pytest_capacity.backends.images import group_images, plain_images
from pytest_capacity.config.fields import (
    EVERY_OTHER,
    Faults,
    Reader,
    as_bool,
    as_form,
    as_mapping,
    as_text,
    as_texts,
    by_region,
    chosen,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.provider import GroupDraft, Section

REGION_FORM: Final = re.compile(r"[a-z][a-z0-9]{3,30}")
ZONE_FORM: Final = re.compile(rf"(?:[a-z][a-z0-9]{{3,30}}-)?(?:[1-9]|{NO_ZONE})")
SIZE_FORM: Final = re.compile(r"(?:Standard|Basic)_[A-Za-z0-9_-]{1,60}")
URN_FORM: Final = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+:[\w.-]+")
IMAGE_ID_FORM: Final = re.compile(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/Microsoft\.Compute/(?:images|galleries)/[^\s]+"
    r"|/(?:CommunityGalleries|SharedGalleries)/[^\s]+",
    re.IGNORECASE,
)
UUID_FORM: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
GROUP_NAME_FORM: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?")
DISK_TYPES: Final = ("Standard_LRS", "StandardSSD_LRS", "StandardSSD_ZRS", "Premium_LRS", "Premium_ZRS")
_URN: Final = "Canonical:ubuntu-24_04-lts:server:latest"
_IMAGE_REMEDY: Final = f"Give one for all groups (`azure: {{image: '{_URN}'}}`) or for this one (`image: '{_URN}'`)."
_ID: Final = "/subscriptions/ID/resourceGroups/NAME/providers"
_SUBNET: Final = f"{_ID}/Microsoft.Network/virtualNetworks/NAME/subnets/NAME"
_GUARD: Final = f"{_ID}/Microsoft.Network/networkSecurityGroups/NAME"
_IDENTITY: Final = f"{_ID}/Microsoft.ManagedIdentity/userAssignedIdentities/NAME"
_GROUP: Final = f"{_ID}/Microsoft.Compute/capacityReservationGroups/NAME"
_OUR_TAGS: Final = ("testid", "capacityreservation", "backend")
# https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations (50; nine are ours)
_MAX_TAGS: Final = 40
#: Keys that a group may have for itself.
_OF_NODES: Final = ("os_disk_gb", "os_disk_type")
_MAX_TAG_NAME: Final = 512
_MAX_TAG_VALUE: Final = 256
_MOST_DISK_GB: Final = 4095


def read_section(section: Section, faults: Faults) -> AzureSettings:
    """Return the ``azure:`` section. In an emulated run ``subscription`` and ``tenant`` are checked and left out."""
    values, where = section.values, section.where
    refuse_unknown(values, AzureSettings.__struct_fields__, f"{where}.", faults)
    read = read_keys(values, _READERS, where, faults)
    if "image" in values:
        read["image"] = as_images(values["image"], section.regions, f"{where}.image", faults)
    for key, example in (("subnets", _SUBNET), ("security_groups", _GUARD)):
        read[key] = _ids_by_region(values, key, example, section, faults)
    if section.emulated:
        for key in ("subscription", "tenant"):
            read.pop(key, None)
    return AzureSettings(**read)


def read_group(settings: AzureSettings, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
    """Return the group's own images, where it has some; a single one where it is the same in all regions."""
    where, before = group.where, len(faults.lines)
    refuse_unknown(group.own, ("image", "availability_set", *_OF_NODES), f"{where}.azure.", faults)
    disk = read_keys({key: group.own[key] for key in _OF_NODES if key in group.own}, _READERS, f"{where}.azure", faults)
    if "availability_set" in group.own:
        remedy = "Remove it: zones, or a placement without one, take its place."
        faults.add(f"{where}.azure.availability_set", "no reservation serves a machine in an availability set", remedy)
    if group.placement_group and group.reserve and group.market == "on-demand":
        remedy = "Set one of the two to false."
        faults.add(
            f"{where}.placement_group",
            "Azure reserves nothing in a proximity placement group, and it is reserved",
            remedy,
        )
    own = group_images(group, "azure", lambda value, at: as_images(value, section.regions, at, faults), faults)
    if len(faults.lines) > before:
        return {}
    return {**plain_images(own, settings.image, section, group, lambda region: _IMAGE_REMEDY, faults), **disk}


def location(name: str) -> str:
    """Return a location by its name, of that or its display name (``East US``)."""
    return name.replace(" ", "").lower()


def read_zones(values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
    """Return zones as the user wrote them (``1``, ``eastus-1``, ``none``, ``*``), if of the right form and region."""
    good: list[str] = []
    for zone in values:
        if zone != EVERY_OTHER and as_form(zone, ZONE_FORM, "1, eastus-1 or none", where, faults) is None:
            continue
        region = zone.rpartition("-")[0]
        if region and regions and region not in regions:
            faults.add(where, f"{shown(zone)} is not a zone of {', '.join(regions)}", "Name zones of these.")
        elif zone in good or (region and zone.rpartition("-")[2] in good):
            faults.add(where, f"{shown(zone)} is there twice", "Name each zone once.")
        else:
            good.append(zone)
    return tuple(good)


def read_reservations(values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
    """Return the ids of capacity reservation groups, or of reservations in them."""
    return tuple(
        one for one in values if as_id(one, _GROUP, where, faults, "Microsoft.Compute/capacityReservationGroups")
    )


def as_image(value: object, where: str, faults: Faults) -> str | None:
    """Return a URN or a resource id. Return None, and record a fault, for anything else."""
    text = as_text(value, where, faults)
    if text is None or URN_FORM.fullmatch(text) or IMAGE_ID_FORM.fullmatch(text):
        return text
    remedy = "Write it like Canonical:ubuntu-24_04-lts:server:latest, or give the id of an image or of a gallery's."
    faults.add(where, f"{shown(text)} is neither a URN nor the id of an image", remedy)
    return None


def as_images(value: object, regions: Sequence[str], where: str, faults: Faults) -> Mapping[str, str]:
    """Return images by region. A single one is for every region of the run."""
    alone, example = isinstance(value, str), f"{{eastus: '{_URN}'}}"
    read = by_region(value, as_image, regions, where, faults, alone=alone, example=example)
    return {location(region): image for region, image in read.items()}


def as_id(value: object, example: str, where: str, faults: Faults, type_: str = "") -> str | None:
    """Return a resource id of the type of ``example``, or of one that begins with ``type_``."""
    text = as_text(value, where, faults)
    if text is None:
        return None
    try:
        found, wanted = ResourceId.parse(text).type.lower(), (type_ or ResourceId.parse(example).type).lower()
    except ValueError:
        found, wanted = "", "-"
    if found == wanted or (type_ and found.startswith(f"{wanted}/")):
        return text
    faults.add(where, f"{shown(text)} does not have the right form", f"Write it like {example}.")
    return None


def _uuid(value: object, where: str, faults: Faults) -> str | None:
    text = as_form(value, UUID_FORM, "0a1b2c3d-0000-4000-8000-0123456789ab", where, faults)
    return text.lower() if text else None


def _identities(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    return tuple(one for one in as_texts(value, where, faults) if as_id(one, _IDENTITY, where, faults))


def _ids_by_region(
    values: Mapping[str, Any], key: str, example: str, section: Section, faults: Faults
) -> Mapping[str, str]:
    if key not in values:
        return {}
    where, found = f"{section.where}.{key}", {}
    for region, given in as_mapping(values[key], where, faults, f"{{eastus: {example}}}").items():
        name = location(region)
        if section.regions and name not in section.regions:
            faults.add(f"{where}.{shown(region)[1:-1]}", "is not a region of the run", "Name one of its regions.")
        elif text := as_id(given, example, f"{where}.{shown(region)[1:-1]}", faults):
            found[name] = text
    return found


def _ranges(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    good = []
    for one in as_texts(value, where, faults):
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            faults.add(where, f"{shown(one)} is not a range of addresses", "Write it like 203.0.113.0/24.")
        else:
            good.append(one)
    return tuple(good)


def _group(value: object, where: str, faults: Faults) -> str | None:
    text = as_text(value, where, faults)
    if text is None:
        return None
    if "/" in text:
        return as_id(text, _GROUP, where, faults)
    # https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftcompute
    if GROUP_NAME_FORM.fullmatch(text):
        return text
    faults.add(where, f"{shown(text)} is no name of a group", "Take up to 80 letters, digits, _, . and -.")
    return None


def _price(value: object, where: str, faults: Faults) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and (value > 0 or value == -1):
        return float(value)
    faults.add(where, f"{shown(value)} is no price", "Give USD an hour, or -1 for the on-demand price.")
    return -1.0


def _disk(value: object, where: str, faults: Faults) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_DISK_GB:
        return value
    faults.add(where, f"{shown(value)} is no size of a disk", f"Give 1 to {_MOST_DISK_GB} GB.")
    return None


def _tags(value: object, where: str, faults: Faults) -> Mapping[str, str]:
    given = as_mapping(value, where, faults, "{team: storage}")
    if len(given) > _MAX_TAGS:
        faults.add(where, f"has {len(given)} tags; Azure takes 50 and nine are ours", f"Keep at most {_MAX_TAGS}.")
    return {key: value for key, value in given.items() if _is_good_tag(key, value, where, faults)}


def _is_good_tag(key: str, value: object, where: str, faults: Faults) -> bool:
    at, before = f"{where}.{shown(key)[1:-1]}", len(faults.lines)
    if key.lower() in _OUR_TAGS or key.lower().startswith(("pytest-capacity:", "microsoft", "azure", "windows")):
        faults.add(at, "is a tag that Azure or this plugin sets itself", "Give the tag another name.")
    if not 1 <= len(key) <= _MAX_TAG_NAME or re.search(r"[<>%&\\?/]", key):
        faults.add(at, "is no name of a tag", f"Take up to {_MAX_TAG_NAME} characters, none of < > % & \\ ? /.")
    if not isinstance(value, str):
        faults.add(at, "is not a text", "Quote the value.")
    elif len(value) > _MAX_TAG_VALUE:
        faults.add(at, f"a value of {len(value)} characters", f"Keep it to {_MAX_TAG_VALUE}.")
    return len(faults.lines) == before


_READERS: Final[Mapping[str, Reader]] = {
    "subscription": _uuid,
    "tenant": _uuid,
    "cloud": chosen(*NATIONAL_CLOUDS),
    "ssh_from": _ranges,
    "public_ip": as_bool,
    "identities": _identities,
    "capacity_reservation_group": _group,
    "max_price": _price,
    "os_disk_gb": _disk,
    "os_disk_type": chosen(*DISK_TYPES),
    "console": as_bool,
    "tags": _tags,
}
