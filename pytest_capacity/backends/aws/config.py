"""The ``aws:`` section, a group's images, and the forms in which AWS writes regions, zones, ids and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pytest_capacity.backends.aws.launch_options import LAUNCH_READERS, LaunchOptions
from pytest_capacity.backends.aws.settings import AwsSettings, Lookup
from pytest_capacity.backends.images import group_images, plain_images
from pytest_capacity.config.fields import (
    EVERY_OTHER,
    Faults,
    Reader,
    as_bool,
    as_choice,
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

IMAGE_FORM: Final = re.compile(r"ami-[0-9a-f]{8,17}")
OWNER_FORM: Final = re.compile(r"self|amazon|\d{12}")
INSTANCE_TYPE_FORM: Final = re.compile(r"[a-z][a-z0-9-]{0,24}\.[a-z0-9-]{1,24}")
RESERVATION_FORM: Final = re.compile(r"cr-[0-9a-f]{8,17}|arn:aws[a-z-]*:resource-groups:[^:]+:\d{12}:group/.+")
_PARAMETER_FORM: Final = re.compile(r"(?!\s)[\w./:-]{1,1011}")
_PARAMETER: Final = "/aws/service/debian/release/12/latest/amd64"
_LOOKUP: Final = "{name: 'scylla-5.4-*', owner: self}"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/placement-strategies.html#placement-groups-limitations-cluster
_CANNOT_JOIN: Final = (
    (re.compile(r"t\d[a-z]*\..*"), "burstable types (T family)"),
    (re.compile(r"mac[\d-].*"), "Mac types"),
    (re.compile(r"[a-z0-9]+-flex\..*"), "flex types"),
)
REGION_FORM: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}")
ZONE_FORM: Final = re.compile(
    r"[a-z]|[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}[a-z-][a-z0-9-]*|[a-z]{3,6}\d(?:-[a-z0-9]+)?-az\d{1,2}"
)
_ZONE_ID_FORM: Final = re.compile(r"(?P<region>[a-z]{3,6}\d)(?:-[a-z0-9]+)?-az\d{1,2}")
_SUBNET_FORM: Final = re.compile(r"subnet-[0-9a-f]{8,17}")
# A name is up to 255 ASCII characters and begins otherwise than an id (API reference, CreateSecurityGroup).
_SECURITY_GROUP_FORM: Final = re.compile(r"sg-[0-9a-f]{8,17}|(?!sg-)[ -~]{1,255}")
_ACCOUNT_FORM: Final = re.compile(r"\d{12}")

#: botocore's service model of EC2, shape CapacityReservationInstancePlatform.
PLATFORMS: Final = (
    "auto",
    "Linux/UNIX",
    "Red Hat Enterprise Linux",
    "SUSE Linux",
    "Windows",
    "Windows with SQL Server",
    "Windows with SQL Server Enterprise",
    "Windows with SQL Server Standard",
    "Windows with SQL Server Web",
    "Linux with SQL Server Standard",
    "Linux with SQL Server Web",
    "Linux with SQL Server Enterprise",
    "RHEL with SQL Server Standard",
    "RHEL with SQL Server Enterprise",
    "RHEL with SQL Server Web",
    "RHEL with HA",
    "RHEL with HA and SQL Server Standard",
    "RHEL with HA and SQL Server Enterprise",
    "Ubuntu Pro",
)
_KEYS: Final = tuple(key for key in AwsSettings.__struct_fields__ if key != "subnet_name")
#: Keys that a group may have for itself.
_OF_NODES: Final = (
    *LaunchOptions.__struct_fields__,
    "subnets",
    "security_groups",
    "tenancy",
    "public_ip",
    "tags",
)
#: What other tools call them, where the nearest of our words would be another thing.
_OTHER_WORDS: Final = {
    **dict.fromkeys(("iam_profile", "instance_profile", "iam_role", "iam_role_name"), "iam_instance_profile"),
    **dict.fromkeys(("root_disk", "root_block_device", "disk"), "root_volume"),
    "block_device_mappings": "volumes",
    "imdsv2": "metadata_options: {http_tokens: required}",
}
_OUR_TAGS: Final = ("TestId", "CapacityReservation", "Backend", "Name")
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions (50 a resource; ten are ours)
_MAX_TAGS: Final = 40
_MAX_TAG_KEY: Final = 128
_MAX_TAG_VALUE: Final = 256


def read_section(section: Section, faults: Faults) -> AwsSettings:
    """Return the ``aws:`` section. In an emulated run ``profile`` and ``account`` are checked and left out."""
    values, regions, where = section.values, section.regions, section.where
    _refuse_unknown(values, _KEYS, where, faults)
    read = read_keys(values, _READERS, where, faults) | _of_nodes(values, regions, where, faults)
    if "image" in values:
        read["image"] = as_images(values["image"], regions, f"{where}.image", faults)
    if section.emulated:
        for key in ("profile", "account"):
            read.pop(key, None)
    _check_subnets(read.get("subnets", {}), regions, f"{where}.subnets", faults)
    return AwsSettings(**read)


def _refuse_unknown(values: Mapping[str, Any], known: Sequence[str], where: str, faults: Faults) -> None:
    for key in values.keys() & _OTHER_WORDS.keys():
        faults.add(f"{where}.{key}", "is not a known key", f"Write {_OTHER_WORDS[key]}.")
    refuse_unknown({key: one for key, one in values.items() if key not in _OTHER_WORDS}, known, f"{where}.", faults)


def _of_nodes(values: Mapping[str, Any], regions: Sequence[str], where: str, faults: Faults) -> dict[str, Any]:
    """Return what the section says for all groups and a group for itself: of what is written, what is right."""
    found = read_keys(values, {**LAUNCH_READERS, **_NODE_READERS}, where, faults)
    if "subnets" in values:
        found |= _subnets(values["subnets"], regions, f"{where}.subnets", faults)
    if "security_groups" in values:
        found["security_groups"] = _security_groups(values["security_groups"], regions, where, faults)
    if found.get("host_id") and "tenancy" in values:
        faults.add(f"{where}.host_id", "is there beside `tenancy`", "Keep one: nodes on a host have its tenancy.")
    return found


def read_group(settings: AwsSettings, section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
    """Return the group's own images, where it has some; an id alone where it is the same in all regions."""
    if group.placement_group:
        _check_can_join(group, faults)
    before = len(faults.lines)
    _refuse_unknown(group.own, ("image", *_OF_NODES), f"{group.where}.aws", faults)
    nodes = _of_nodes(group.own, section.regions, f"{group.where}.aws", faults)
    if "subnets" in nodes:
        _check_subnets(nodes["subnets"], section.regions, f"{group.where}.aws.subnets", faults)
    own = group_images(group, "aws", lambda value, where: as_images(value, section.regions, where, faults), faults)
    if len(faults.lines) > before:
        return {}
    return {**plain_images(own, settings.image, section, group, _image_remedy, faults), **msgspec.to_builtins(nodes)}


def _image_remedy(region: str) -> str:
    return f"Give one for all groups (`aws: {{image: {{{region}: ami-...}}}}`) or for this one (`image: ami-...`)."


def _check_can_join(group: GroupDraft, faults: Faults) -> None:
    for type_ in group.types:
        if why := cannot_join_cluster_group(type_):
            remedy = "Take another type, or set placement_group to false."
            faults.add(f"{group.where}.placement_group", f"{shown(type_)} cannot join: {why}", remedy)


def cannot_join_cluster_group(instance_type: str) -> str | None:
    """Return why ``instance_type`` cannot be in a cluster placement group; None where nothing says so."""
    for form, what in _CANNOT_JOIN:
        if form.fullmatch(instance_type):
            return f"EC2 takes no {what} into a cluster placement group"
    return None


def read_zones(values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
    """Return the zones as the user wrote them (letters, names, zone ids, ``*``), those of the right form and region."""
    good: list[str] = []
    seen: set[str] = set()
    for zone in values:
        if zone == EVERY_OTHER:
            good.append(zone)
            continue
        if as_form(zone, ZONE_FORM, "a, us-east-1a or use1-az2", where, faults) is None:
            continue
        if regions and not any(_is_of(zone, region) for region in regions):
            faults.add(where, f"{shown(zone)} is not a zone of {', '.join(regions)}", "Name zones of these.")
            continue
        names = {f"{region}{zone}" for region in regions} if regions and len(zone) == 1 else {zone}
        if names & seen:
            faults.add(where, f"{shown(zone)} is there twice", "Name each zone once.")
            continue
        seen |= names
        good.append(zone)
    return tuple(good)


def _is_of(zone: str, region: str) -> bool:
    if len(zone) == 1:
        return True
    if found := _ZONE_ID_FORM.fullmatch(zone):
        # The isolated partitions have short forms that no document lists.
        return "-iso" in region or found["region"] == _short(region)
    return zone.startswith(region) and not zone.removeprefix(region)[:1].isdigit()


def _short(region: str) -> str:
    """Return the region as zone ids write it: ``us-east-1`` -> ``use1``, ``ap-northeast-1`` -> ``apne1``."""
    area, *parts, number = region.split("-")
    words = {"northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw"}
    return area + "".join(words.get(part, part[0]) for part in parts) + number


def _account(value: object, where: str, faults: Faults) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return as_form(text, _ACCOUNT_FORM, "'123456789012' (12 digits)", where, faults)


def as_images(value: object, regions: Sequence[str], where: str, faults: Faults) -> Mapping[str, str | Lookup]:
    """Return images by region: ids, or lookups by name and owner. One alone stands for every region of the run."""
    alone = isinstance(value, str) or (isinstance(value, Mapping) and bool({"name", "owner", "ssm"} & value.keys()))
    example = "{us-east-1: ami-0123456789abcdef0}"
    return by_region(value, _as_image, regions, where, faults, alone=alone, example=example)


def _as_image(value: object, where: str, faults: Faults) -> str | Lookup | None:
    if not isinstance(value, Mapping):
        return as_form(value, IMAGE_FORM, "ami-0123456789abcdef0", where, faults)
    values = as_mapping(value, where, faults, _LOOKUP)
    refuse_unknown(values, ("name", "owner", "architecture", "or_tag", "ssm"), f"{where}.", faults)
    if "ssm" in values:
        if more := sorted(values.keys() - {"ssm"}):
            faults.add(f"{where}.ssm", f"is there beside {', '.join(more)}", "Keep one way to name the image.")
        parameter = as_form(values["ssm"], _PARAMETER_FORM, _PARAMETER, f"{where}.ssm", faults)
        return Lookup(ssm=parameter) if parameter else None
    if "name" not in values:
        faults.add(f"{where}.name", "is missing", f"Write the image like {_LOOKUP}.")
        return None
    name = as_text(values["name"], f"{where}.name", faults)
    owner = as_owners(values.get("owner", "self"), f"{where}.owner", faults)
    if "architecture" in values:
        of = as_choice(values["architecture"], ("x86_64", "arm64"), f"{where}.architecture", faults) or ""
    else:
        of = ""
    or_tag = "or_tag" in values and bool(as_bool(values["or_tag"], f"{where}.or_tag", faults))
    return Lookup(name=name, owner=owner, architecture=of, or_tag=or_tag) if name and owner else None


def as_owners(value: object, where: str, faults: Faults) -> str | tuple[str, ...] | None:
    """Return one owner, or several where there is a list."""
    if not isinstance(value, list | tuple):
        return as_owner(value, where, faults)
    found = [as_owner(one, f"{where}[{at}]", faults) for at, one in enumerate(value)]
    if not found:
        faults.add(where, "names no owner", "Write it like [self, amazon], or leave it out.")
    return tuple(one for one in found if one is not None) or None


def as_owner(value: object, where: str, faults: Faults) -> str | None:
    """Return ``self``, ``amazon``, or the number of an account. None, and a fault, for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:012d}"
    return as_form(value, OWNER_FORM, "self, amazon or '123456789012'", where, faults)


def _subnets(given: object, regions: Sequence[str], where: str, faults: Faults) -> dict[str, Any]:
    """Return ``subnets`` by zone, and ``subnet_name``: their tag ``Name``, where they are looked up by it."""
    if isinstance(given, Mapping) and "name" in given:
        refuse_unknown(given, ("name",), f"{where}.", faults)
        return {"subnets": {}, "subnet_name": as_text(given["name"], f"{where}.name", faults)}
    subnets: dict[str, str] = {}
    for zone, one in as_mapping(given, where, faults, "{us-east-1a: subnet-0123456789abcdef0}").items():
        at = f"{where}.{shown(zone)[1:-1]}"
        subnet = as_form(one, _SUBNET_FORM, "subnet-0123456789abcdef0", at, faults)
        name = f"{regions[0]}{zone}" if len(zone) == 1 and regions else zone
        if len(name) == 1 or _ZONE_ID_FORM.fullmatch(name) or not ZONE_FORM.fullmatch(name):
            faults.add(at, "is not the name of a zone", "Write it like us-east-1a.")
        elif subnet:
            subnets[name] = subnet
    return {"subnets": subnets, "subnet_name": None}


def _check_subnets(subnets: Mapping[str, str], regions: Sequence[str], where: str, faults: Faults) -> None:
    """Refuse a region without a subnet where some are given: zones without one are not used then."""
    for region in regions:
        if subnets and not any(zone.startswith(region) for zone in subnets):
            remedy = f"Add one (`{region}a: subnet-...`), or leave the region out."
            faults.add(where, f"there is no subnet in {region}", remedy)


def _security_groups(
    given: object, regions: Sequence[str], where: str, faults: Faults
) -> tuple[str, ...] | Mapping[str, tuple[str, ...]]:
    where = f"{where}.security_groups"
    if not isinstance(given, Mapping):
        groups = _security_group_list(given, where, faults)
        if len(regions) > 1 and (ids := [one for one in groups if one.startswith("sg-")]):
            remedy = f"Write names, or lists by region: {{{regions[0]}: [{ids[0]}], {regions[1]}: [sg-...]}}."
            faults.add(where, f"{ids[0]} is of one region, and there are {len(regions)}", remedy)
        return groups
    by_region = as_mapping(given, where, faults, "{us-east-1: [sg-0123456789abcdef0]}")
    found = {region: _security_group_list(one, f"{where}.{region}", faults) for region, one in by_region.items()}
    for region in regions:
        if region not in found:
            faults.add(where, f"none is named for {region}", f"Add `{region}: [sg-...]`, or leave the region out.")
    return found


def _security_group_list(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    groups = as_texts(value, where, faults)
    for group in groups:
        as_form(group, _SECURITY_GROUP_FORM, "sg-0123456789abcdef0, or a name", where, faults)
    return groups


def _tags(value: object, where: str, faults: Faults) -> Mapping[str, str]:
    given = as_mapping(value, where, faults, "{team: storage}")
    if len(given) > _MAX_TAGS:
        faults.add(where, f"has {len(given)} tags; EC2 takes 50 and ten are ours", f"Keep at most {_MAX_TAGS}.")
    return {key: value for key, value in given.items() if _is_good_tag(key, value, where, faults)}


def _is_good_tag(key: str, value: object, where: str, faults: Faults) -> bool:
    at = f"{where}.{shown(key)[1:-1]}"
    before = len(faults.lines)
    if key in _OUR_TAGS or key.lower().startswith(("aws:", "pytest-capacity:")):
        faults.add(at, "is a tag that EC2 or this plugin sets itself", "Give the tag another name.")
    if not 1 <= len(key) <= _MAX_TAG_KEY:
        faults.add(where, f"a tag's name of {len(key)} characters", f"Keep it to {_MAX_TAG_KEY}.")
    if not isinstance(value, str):
        faults.add(at, "is not a text", "Quote the value.")
    elif len(value) > _MAX_TAG_VALUE:
        faults.add(at, f"a value of {len(value)} characters", f"Keep it to {_MAX_TAG_VALUE}.")
    return len(faults.lines) == before


_NODE_READERS: Final[Mapping[str, Reader]] = {
    "tenancy": chosen("default", "dedicated"),
    "public_ip": as_bool,
    "tags": _tags,
}
_READERS: Final[Mapping[str, Reader]] = {
    "key_name": as_text,
    "platform": chosen(*PLATFORMS),
    "self_terminate": as_bool,
    "profile": as_text,
    "account": _account,
}
