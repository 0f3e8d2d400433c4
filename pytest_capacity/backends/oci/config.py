"""The ``oci:`` section and a group's own keys for OCI, checked key by key."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from pytest_capacity.backends.groups import plain
from pytest_capacity.backends.oci import forms, stamp
from pytest_capacity.backends.oci.settings import GROUP_KEYS, Auth, ImageLookup, OciSettings, is_flexible
from pytest_capacity.backends.stamp import PREFIX
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
    formed,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.provider import GroupDraft, Section

ZONE_EXAMPLE: Final = "1, AD-1, Uocm:PHX-AD-1 or AD-1/FAULT-DOMAIN-2"
IMAGE_EXAMPLE: Final = "ocid1.image.oc1.iad.aaaa..., or {operating_system: Oracle Linux, version: '9'}"
_KEYS: Final = OciSettings.__struct_fields__
_LOOKUP_KEYS: Final = frozenset({"operating_system", "version"})
_SUBNET: Final = forms.ocid("subnet")
_SECURITY_GROUP: Final = forms.ocid("networksecuritygroup")
_CLUSTER: Final = forms.ocid("clusterplacementgroup")
_TENANCY: Final = forms.ocid("tenancy")
_OUR_TAGS: Final = ("TestId", "CapacityReservation", "Backend")
_MAX_KEY: Final = 100
_MOST_OWN: Final = stamp.MOST_TAGS - stamp.OUR_TAGS
#: The smallest boot volume, and the largest (OCI documentation, "Boot Volumes"). GB.
_DISK: Final = (50, 32768)
#: The largest network of a VCN, and the smallest (OCI documentation, "VCNs and Subnets").
_PREFIX: Final = (16, 30)


def read_section(section: Section, faults: Faults) -> OciSettings:
    """Return the ``oci:`` section. In an emulated run whose credentials are used is checked and left out."""
    values, where = section.values, section.where
    refuse_unknown(values, _KEYS, f"{where}.", faults)
    read = read_keys(values, {**_READERS, **_OF_GROUPS}, where, faults)
    if "image" in values:
        read["image"] = _images(values["image"], section.regions, f"{where}.image", faults)
    if "subnets" in values:
        read["subnets"] = _subnets(values["subnets"], section.regions, f"{where}.subnets", faults)
    if "network_security_groups" in values:
        given, at = values["network_security_groups"], f"{where}.network_security_groups"
        read["network_security_groups"] = _security_groups(given, section.regions, at, faults)
    if config_file := read.get("config_file"):
        # The keeper works in another folder.
        read["config_file"] = config_file if config_file.startswith("~") else str(section.base / config_file)
    if section.emulated:
        for key in ("auth", "profile", "config_file", "account"):
            read.pop(key, None)
    return OciSettings(**read)


def read_group(section: Section, group: GroupDraft, faults: Faults) -> Mapping[str, Any]:
    """Return the group's own values: its image, the size of its shapes and disks."""
    where = f"{group.where}.oci"
    refuse_unknown(group.own, GROUP_KEYS, f"{where}.", faults)
    values = dict(group.own)
    if "image" in group.values:
        if "image" in values:
            faults.add(f"{where}.image", "is there beside image", "Write one of them.")
        values["image"] = group.values["image"]
    read = read_keys(values, _OF_GROUPS, where, faults)
    if "image" in values:
        read["image"] = _images(values["image"], section.regions, f"{group.where}.image", faults)
    own = OciSettings(**read)
    sized = own.ocpus or own.memory_gb
    if sized and group.types and not any(is_flexible(shape) for shape in group.types):
        remedy = "Name a shape that ends in .Flex, or remove ocpus and memory_gb."
        faults.add(where, f"{group.types[0]} has a fixed size", remedy)
    read = dict(plain(own))
    images = set(map(str, own.image.values()))
    if len(images) == 1 and set(own.image) == set(section.regions) and isinstance(next(iter(own.image.values())), str):
        read["image"] = next(iter(own.image.values()))
    return read


def read_zones(values: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
    """Return the zones as the user wrote them, those of the right form, each once in all its spellings."""
    good: list[str] = []
    seen: set[str] = set()
    for zone in values:
        if zone != EVERY_OTHER:
            text = as_text(zone, where, faults)
            if text is None:
                continue
            if forms.zone_match(text) is None:
                faults.add(where, f"{shown(text)} does not have the right form", f"Write it like {ZONE_EXAMPLE}.")
                continue
            found = forms.zone_match(text)
            key = f"{found['place'] or ''}|{forms.zone_key(text)}" if found else text
            if key in seen:
                faults.add(where, f"{shown(text)} is there twice", "Name each zone once.")
                continue
            seen.add(key)
        good.append(zone)
    return tuple(good)


def _sized(least: float, most: float) -> Reader:
    def read(value: object, where: str, faults: Faults) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return float(value)
        faults.add(where, f"{shown(value)} is not a number from {least} to {most}", "Write it like 4.")
        return None

    return read


def _disk(value: object, where: str, faults: Faults) -> int | None:
    given = _sized(*_DISK)(value, where, faults)
    return None if given is None else int(given)


def _fault_domains(given: object, at: str, faults: Faults) -> tuple[str, ...]:
    listed = (
        [f"FAULT-DOMAIN-{one}" if isinstance(one, int) else one for one in given] if isinstance(given, list) else given
    )
    read = [as_form(one, forms.FAULT_DOMAIN, "FAULT-DOMAIN-1", at, faults) for one in as_texts(listed, at, faults)]
    if len(set(read)) < len(read):
        faults.add(at, "names a fault domain twice", "Name each once.")
    return tuple(dict.fromkeys(one for one in read if one and forms.FAULT_DOMAIN.fullmatch(one)))


def _images(value: object, regions: Sequence[str], where: str, faults: Faults) -> Mapping[str, str | ImageLookup]:
    """Return images by region: OCIDs, or lookups by operating system and version. A single one is for every region."""
    alone = isinstance(value, str) or (isinstance(value, Mapping) and bool(_LOOKUP_KEYS & value.keys()))
    example = "{us-ashburn-1: ocid1.image.oc1.iad.aaaa}"
    return by_region(value, _image, regions, where, faults, alone=alone, example=example)


def _image(value: object, where: str, faults: Faults) -> str | ImageLookup | None:
    if not isinstance(value, Mapping):
        return as_form(value, forms.IMAGE, IMAGE_EXAMPLE, where, faults)
    refuse_unknown(value, ("operating_system", "version"), f"{where}.", faults)
    parts = read_keys(value, {"operating_system": as_text, "version": as_text}, where, faults)
    missing = [key for key in ("operating_system", "version") if key not in value]
    for key in missing:
        faults.add(f"{where}.{key}", "is missing", f"Write the image like {IMAGE_EXAMPLE}.")
    return ImageLookup(**parts) if len(parts) == 2 else None


def _subnets(value: object, regions: Sequence[str], at: str, faults: Faults) -> Mapping[str, str]:
    read: dict[str, str] = {}
    given = as_mapping(value, at, faults, "{us-ashburn-1: ocid1.subnet.oc1.iad.aaaa}")
    for place, value in given.items():
        here = f"{at}.{shown(place)[1:-1]}"
        subnet = as_form(value, _SUBNET, "ocid1.subnet.oc1.iad.aaaa", here, faults)
        found = forms.zone_match(place)
        if not forms.REGION.fullmatch(place) and not (found and found["place"]):
            faults.add(
                here, "is neither a region nor an availability domain", "Write it like us-ashburn-1 or PHX-AD-1."
            )
        elif subnet:
            read[place] = subnet
    for region in regions:
        domains = [place for place in read if not forms.REGION.fullmatch(place)]
        if read and region not in read and not domains:
            faults.add(
                at, f"there is no subnet in {region}", f"Add one (`{region}: ocid1.subnet...`), or leave it out."
            )
    return read


def _security_groups(given: object, regions: Sequence[str], at: str, faults: Faults) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        given = dict.fromkeys(regions[:1], given)
        if len(regions) > 1:
            faults.add(at, "a group is of one region", f"Write lists by region: {{{regions[0]}: [OCID]}}.")
    example = "ocid1.networksecuritygroup.oc1.iad.aaaa"
    return {
        region: tuple(
            one
            for one in as_texts(groups, f"{at}.{region}", faults)
            if as_form(one, _SECURITY_GROUP, example, f"{at}.{region}", faults)
        )
        for region, groups in as_mapping(given, at, faults, f"{{us-ashburn-1: [{example}]}}").items()
    }


def _cidr(value: object, where: str, faults: Faults, prefix: tuple[int, int] | None = None) -> str:
    text = as_text(value, where, faults) or "10.0.0.0/24"
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        faults.add(where, f"{shown(text)} is no network: {error}", "Write it like 10.0.0.0/24.")
        return "10.0.0.0/24"
    if prefix and not (network.version == 4 and prefix[0] <= network.prefixlen <= prefix[1]):
        faults.add(where, f"{shown(text)} has no size that a VCN takes", f"Give /{prefix[0]} to /{prefix[1]} of IPv4.")
    return text


def _network_cidr(value: object, where: str, faults: Faults) -> str:
    return _cidr(value, where, faults, _PREFIX)


def _sources(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    return tuple(_cidr(one, where, faults) for one in as_texts(value, where, faults))


def _tags(value: object, at: str, faults: Faults) -> Mapping[str, str]:
    given = as_mapping(value, at, faults, "{team: storage}")
    if len(given) > _MOST_OWN:
        what = f"has {len(given)} tags; OCI takes {stamp.MOST_TAGS} free-form ones and {stamp.OUR_TAGS} are ours"
        faults.add(at, what, f"Keep at most {_MOST_OWN}, or use defined_tags.")
    for key in given:
        if key in _OUR_TAGS or key.startswith(PREFIX):
            faults.add(f"{at}.{key}", "is a tag that this plugin sets itself", "Give the tag another name.")
    return {key: value for key, value in given.items() if _is_good_tag(key, value, at, faults)}


def _defined_tags(value: object, at: str, faults: Faults) -> Mapping[str, Mapping[str, str]]:
    example = "{Operations: {CostCenter: '42'}}"
    return {
        space: {
            key: value
            for key, value in as_mapping(tags, f"{at}.{space}", faults, example).items()
            if _is_good_tag(key, value, f"{at}.{space}", faults)
        }
        for space, tags in as_mapping(value, at, faults, example).items()
    }


def _is_good_tag(key: str, value: object, where: str, faults: Faults) -> bool:
    before = len(faults.lines)
    at = f"{where}.{shown(key)[1:-1]}"
    if not 1 <= len(key) <= _MAX_KEY or not key.isascii() or any(char in key for char in ". "):
        faults.add(at, "is no name of a tag", f"Use up to {_MAX_KEY} ASCII characters, without spaces and full stops.")
    if not isinstance(value, str):
        faults.add(at, "is not a text", "Quote the value.")
    elif len(value) > stamp.VALUE_LIMIT:
        faults.add(at, f"a value of {len(value)} characters", f"Keep it to {stamp.VALUE_LIMIT}.")
    return len(faults.lines) == before


#: Keys that a group may set as well; `image` is read apart, by region.
_OF_GROUPS: Final[Mapping[str, Reader]] = {
    "ocpus": _sized(1, 1000),
    "memory_gb": _sized(1, 10000),
    "boot_volume_gb": _disk,
    "cluster_placement_group": formed(_CLUSTER, "ocid1.clusterplacementgroup.oc1.iad.aaaa"),
}
_READERS: Final[Mapping[str, Reader]] = {
    "compartment": formed(forms.COMPARTMENT, "ocid1.compartment.oc1..aaaa"),
    "network_cidr": _network_cidr,
    "ssh_sources": _sources,
    "public_ip": as_bool,
    "fault_domains": _fault_domains,
    "tags": _tags,
    "defined_tags": _defined_tags,
    "capacity_report": as_bool,
    "auth": chosen(*get_args(Auth)),
    "profile": as_text,
    "config_file": as_text,
    "account": formed(_TENANCY, "ocid1.tenancy.oc1..aaaa"),
}
