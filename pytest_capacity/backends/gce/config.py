"""The ``gce:`` section, and the forms in which Compute Engine writes regions, zones, names and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_capacity.backends.gce import types
from pytest_capacity.backends.gce.settings import DEFAULT_IMAGE, OF_THE_RUN, GceSettings
from pytest_capacity.config.fields import (
    EVERY_OTHER,
    Faults,
    Reader,
    as_bool,
    as_form,
    as_mapping,
    as_text,
    chosen,
    counted,
    formed,
    listed,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.provider import GroupDraft, Section

REGION_FORM: Final = re.compile(r"[a-z]+-[a-z]+\d{1,2}")
ZONE_FORM: Final = re.compile(r"[a-z]|[a-z]+-[a-z]+\d{1,2}-[a-z]")
#: RFC 1035, as the API wants every name.
NAME_FORM: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
#: Project ids, those of an organization in front (``example.com:project``) too.
PROJECT_FORM: Final = re.compile(r"(?:[a-z][a-z0-9.-]*:)?[a-z][-a-z0-9]{4,28}[a-z0-9]")
_HOST: Final = r"(?:https?://[^/]+/compute/v1/)?"
_LINK: Final = rf"(?:{_HOST}projects/[^/]+/)?"
IMAGE_FORM: Final = re.compile(rf"(?:{_LINK}global/images/)?(?:family/)?[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?")
NETWORK_FORM: Final = re.compile(rf"(?:{_LINK}global/networks/)?[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?")
SUBNET_FORM: Final = re.compile(rf"(?:{_LINK}regions/[^/]+/subnetworks/)?[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?")
RESERVATION_FORM: Final = re.compile(
    rf"(?:{_HOST}projects/[^/]+/(?:zones/[^/]+/)?reservations/)?[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?"
)
ACCOUNT_FORM: Final = re.compile(r"[^@\s]+@[^@\s]+|default")
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")

#: Labels of one thing (Compute Engine documentation, "Labels": 64), less ours.
_MOST_LABELS: Final = 58
_MOST_LOCAL_SSDS: Final = 24
_MOST_DISK_GB: Final = 65536
_MOST_ACCELERATORS: Final = 16

#: Metadata that we set ourselves, or that would end what the run relies on.
_OUR_METADATA: Final = ("user-data", "startup-script", "windows-startup-script-ps1")


def read_zones(values: Sequence[str], regions: Sequence[str], where: str, faults: Faults) -> tuple[str, ...]:
    """Return the letters and names that are right; a name must be of one of the regions."""
    found: list[str] = []
    for number, value in enumerate(values):
        at = f"{where}[{number}]"
        if value == EVERY_OTHER:
            found.append(value)
        elif as_form(value, ZONE_FORM, "b or us-central1-b", at, faults) is None:
            continue
        elif len(value) > 1 and regions and value.rpartition("-")[0] not in regions:
            faults.add(at, f"{shown(value)} is not in {', '.join(regions)}", "Name its region, or another zone.")
        elif value in found:
            faults.add(at, f"{shown(value)} is there twice", "Remove one.")
        else:
            found.append(value)
    return tuple(found)


def read_section(section: Section, faults: Faults) -> GceSettings:
    """Return the section. In an emulated run the keys of project and credentials are checked and left out."""
    refuse_unknown(section.values, GceSettings.__struct_fields__, f"{section.where}.", faults)
    read = _read(section.values, section.where, section.regions, faults)
    if section.emulated:
        for key in ("project", "project_number", "impersonate"):
            read.pop(key, None)
    return GceSettings(**read)


def read_group(settings: GceSettings, section: Section, group: GroupDraft, faults: Faults) -> dict[str, Any]:
    """Return the group's own settings, checked together with those that it has from the section."""
    where = f"{group.where}.gce"
    known = [key for key in GceSettings.__struct_fields__ if key not in OF_THE_RUN]
    for key in OF_THE_RUN & set(group.own):
        faults.add(f"{where}.{key}", "concerns the whole run", "Write it into the section `gce:` at the top.")
    refuse_unknown(_less(group.own), known, f"{where}.", faults)
    own = _read(_less(group.own), where, section.regions, faults)
    if "image" in group.values:
        at = f"{group.where}.image"
        image = as_form(group.values["image"], IMAGE_FORM, DEFAULT_IMAGE, at, faults)
        if "image" in group.own:
            faults.add(f"{where}.image", "is there beside `image`", "Keep one of them.")
        elif image:
            own["image"] = image
    _check_group(GceSettings(**{**_plain(settings), **own}), group, faults)
    return own


def _less(own: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in own.items() if key not in OF_THE_RUN}


def _plain(settings: GceSettings) -> dict[str, Any]:
    return {key: getattr(settings, key) for key in GceSettings.__struct_fields__}


def _check_group(settings: GceSettings, group: GroupDraft, faults: Faults) -> None:
    """Add a fault for each contradiction that the API would refuse."""
    for type_ in group.types:
        if settings.local_ssds and not types.takes_local_ssds(type_):
            remedy = "Take a type of n1, n2, n2d, c2, c2d, or one with them built in (`-lssd`) and no local_ssds."
            faults.add(group.where, f"local_ssds is {settings.local_ssds}, and {shown(type_)} takes none", remedy)
        if settings.accelerators and not types.takes_accelerators(type_):
            remedy = "Take a type of n1, or one with accelerators built in (a2, g2) and no `accelerators`."
            faults.add(group.where, f"{shown(type_)} takes no accelerators", remedy)
        if group.placement_group and types.series(type_) in NOT_COMPACT:
            remedy = "Take another type, or set placement_group to false."
            faults.add(f"{group.where}.placement_group", f"{shown(type_)} cannot be placed compactly", remedy)
    if settings.on_host_maintenance == "MIGRATE":
        for what, is_there in (
            ("accelerators", bool(settings.accelerators)),
            ("a placement group", group.placement_group),
            ("spot", group.market == "spot"),
        ):
            if is_there:
                remedy = "Write TERMINATE, or leave it out."
                faults.add(group.where, f"on_host_maintenance is MIGRATE, and {what} cannot be migrated", remedy)


#: Shared-core series and those without compact placement (Compute Engine documentation, "Placement policies").
NOT_COMPACT: Final = frozenset({"e2", "f1", "g1", "n1", "t2a"})


def _read(values: Mapping[str, Any], where: str, regions: Sequence[str], faults: Faults) -> dict[str, Any]:
    """Return the values of the keys that are right."""
    read = read_keys(values, _READERS, where, faults)
    if "subnets" in values:
        read["subnets"] = _subnets(values["subnets"], f"{where}.subnets", regions, faults)
    return read


def _subnets(value: object, where: str, regions: Sequence[str], faults: Faults) -> str | dict[str, str]:
    example = "regions/us-central1/subnetworks/my-subnet"
    if not isinstance(value, Mapping):
        return as_form(value, SUBNET_FORM, f"my-subnet or {example}", where, faults) or ""
    found: dict[str, str] = {}
    for region, given in as_mapping(value, where, faults, "{us-central1: my-subnet}").items():
        at = f"{where}.{shown(region)[1:-1]}"
        if regions and region not in regions:
            faults.add(at, "is no region of this run", f"The run's regions: {', '.join(regions)}.")
        elif subnet := as_form(given, SUBNET_FORM, f"my-subnet or {example}", at, faults):
            found[region] = subnet
    for region in regions:
        if region not in value:
            faults.add(
                where, f"there is no subnet for {region}", f"Add `{region}: my-subnet`, or leave the region out."
            )
    return found


def _labels(value: object, where: str, faults: Faults) -> dict[str, str]:
    given = as_mapping(value, where, faults, "{team: storage}")
    if len(given) > _MOST_LABELS:
        faults.add(where, f"has {len(given)} labels; a machine takes 64 and six are ours", f"Keep {_MOST_LABELS}.")
    found: dict[str, str] = {}
    for key, text in given.items():
        at = f"{where}.{shown(key)[1:-1]}"
        if key.startswith("pytest-capacity-") or key == "testid":
            faults.add(at, "is a label that this plugin sets itself", "Give it another name.")
        elif not _LABEL_KEY.fullmatch(key) or not isinstance(text, str) or not _LABEL_VALUE.fullmatch(text):
            remedy = "Lower-case letters, digits, - and _, at most 63 of them; the key begins with a letter."
            faults.add(at, f"{shown(text)} is no label of Compute Engine", remedy)
        else:
            found[key] = text
    return found


def _metadata(value: object, where: str, faults: Faults) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, text in as_mapping(value, where, faults, "{serial-port-enable: 'TRUE'}").items():
        at = f"{where}.{shown(key)[1:-1]}"
        if key in _OUR_METADATA:
            faults.add(at, "is set by `user_data`", "Write it there.")
        elif not isinstance(text, str):
            faults.add(at, "is not a text", "Quote the value.")
        else:
            found[key] = text
    return found


def _accelerators(value: object, where: str, faults: Faults) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, count in as_mapping(value, where, faults, "{nvidia-tesla-t4: 1}").items():
        at = f"{where}.{shown(name)[1:-1]}"
        number = counted(1, _MOST_ACCELERATORS, "accelerators")(count, at, faults)
        if number is not None and as_form(name, NAME_FORM, "nvidia-tesla-t4", at, faults):
            found[name] = number
    return found


_READERS: Final[Mapping[str, Reader]] = {
    "project": formed(PROJECT_FORM, "my-project"),
    "project_number": formed(re.compile(r"\d{1,20}"), '"123456789012"'),
    "impersonate": formed(ACCOUNT_FORM, "tests@my-project.iam.gserviceaccount.com"),
    "image": formed(IMAGE_FORM, "projects/debian-cloud/global/images/family/debian-12"),
    "network": formed(NETWORK_FORM, "my-network or projects/P/global/networks/my-network"),
    "network_tags": listed(NAME_FORM, "ssh"),
    "labels": _labels,
    "metadata": _metadata,
    "public_ip": as_bool,
    "service_account": formed(ACCOUNT_FORM, "tests@my-project.iam.gserviceaccount.com"),
    "scopes": listed(re.compile(r"https://\S+"), "https://www.googleapis.com/auth/cloud-platform"),
    "disk_gb": counted(1, _MOST_DISK_GB, "GB"),
    "disk_type": formed(NAME_FORM, "pd-ssd"),
    "local_ssds": counted(0, _MOST_LOCAL_SSDS, "disks"),
    "local_ssd_interface": chosen("NVME", "SCSI"),
    "min_cpu_platform": as_text,
    "accelerators": _accelerators,
    "on_host_maintenance": chosen("MIGRATE", "TERMINATE"),
    "shielded_vm": as_bool,
    "reservation": chosen("specific", "automatic"),
    "share_with": listed(PROJECT_FORM, "other-project"),
    "self_terminate": as_bool,
}
