"""Which zones of a region can take a topology: reads only, side by side, nothing decided by what could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from pytest_capacity.backends.aws.errors import diagnose_error
from pytest_capacity.backends.aws.session import PAGE, Cloud
from pytest_capacity.backends.aws.settings import GroupSettings, settings_of
from pytest_capacity.backends.diagnosis import Table
from pytest_capacity.errors import Refused
from pytest_capacity.model import Offer, Request, Topology

Answer = TypeVar("Answer")

DEFAULT_PLATFORM: Final = "Linux/UNIX"

#: Where the words of an image (PlatformDetails) are not those of a reservation (InstancePlatform).
_PLATFORMS: Final = {
    "Red Hat BYOL Linux": DEFAULT_PLATFORM,
    "Windows BYOL": "Windows",
    "Red Hat Enterprise Linux with HA": "RHEL with HA",
    "RHEL with SQL Server Standard and HA": "RHEL with HA and SQL Server Standard",
    "RHEL with SQL Server Enterprise and HA": "RHEL with HA and SQL Server Enterprise",
}

#: Diagnoses that end the round instead of leaving a question open: asking elsewhere would hear the same.
_FATAL: Final = frozenset({"auth", "account-blocked", "invalid"})


class Read(Struct, frozen=True):
    """What one region said; None where it could not be read."""

    zones: list[dict[str, Any]] | None
    offerings: dict[str, set[str]] | None
    images: dict[str, dict[str, Any]] | None
    reservations: list[dict[str, Any]] | None


def read_offers(cloud: Cloud, request: Request, region: str, topology: Topology) -> Sequence[Offer]:
    """The zones of ``region`` by name, each with what it can do for ``topology``.

    Raises the SDK's error when credentials or images are refused, or when asking again may help, and
    `Refused` when a listed reservation is nowhere.
    """
    groups = [settings_of(request, group) for group in topology.groups]
    read = _read(cloud, request, region, groups)
    _check_reservations(request, region, read)
    return [_offer(request, region, groups, read, name, zone) for name, zone in sorted(_zone_names(read).items())]


def _read(cloud: Cloud, request: Request, region: str, groups: Sequence[GroupSettings]) -> Read:
    images = sorted({image for group in groups if (image := group.image(region))})
    listed = [one for one in request.use_reservations if one.startswith("cr-")]
    types = sorted({group.group.instance_type for group in groups})
    with ThreadPoolExecutor(4, thread_name_prefix="offers") as pool:
        zones = pool.submit(_zones, cloud, region)
        offerings = pool.submit(_offerings, cloud, region, types)
        found = pool.submit(_images, cloud, region, images)
        reservations = pool.submit(_reservations, cloud, region, listed)
    table = cloud.errors
    read = Read(_open(zones, table), _open(offerings, table), _open(found, table), _open(reservations, table))
    if read.zones is None and read.offerings is None:
        zones.result()  # not one zone is known by name, so the reason is the answer
    return read


def _open(future: Future[Answer], table: Table) -> Answer | None:
    """What a read gave; None when the cloud does not let us look. Raises what may be cured by asking again."""
    try:
        return future.result()
    except (ClientError, BotoCoreError) as error:
        read = diagnose_error(error, table)
        if read.kind in _FATAL or read.step in ("back-off", "ask-again"):
            raise
        return None


def _zones(cloud: Cloud, region: str) -> list[dict[str, Any]]:
    answer = cloud.ec2(
        region, "describe_availability_zones", Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}]
    )
    zones: list[dict[str, Any]] = answer["AvailabilityZones"]
    return [zone for zone in zones if zone.get("ZoneType", "availability-zone") == "availability-zone"]


def _offerings(cloud: Cloud, region: str, types: Sequence[str]) -> dict[str, set[str]]:
    """The types among ``types`` that each zone has; every zone that EC2 names for at least one of them."""
    offered: dict[str, set[str]] = {}
    for offering in cloud.pages(
        region,
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(types)}],
        MaxResults=PAGE,
    ):
        offered.setdefault(offering["Location"], set()).add(offering["InstanceType"])
    return offered


def _images(cloud: Cloud, region: str, images: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not images:
        return {}
    answer = cloud.ec2(region, "describe_images", ImageIds=list(images))
    return {image["ImageId"]: image for image in answer["Images"]}


def _reservations(cloud: Cloud, region: str, listed: Sequence[str]) -> list[dict[str, Any]]:
    if not listed:
        return []
    # Not by CapacityReservationIds: EC2 refuses the whole read when one of them lives in another region.
    found = cloud.pages(region, "describe_capacity_reservations", "CapacityReservations", MaxResults=PAGE)
    return [reservation for reservation in found if reservation["CapacityReservationId"] in listed]


def _check_reservations(request: Request, region: str, read: Read) -> None:
    """A listed reservation that does not exist is a slip of the pen that would cost a second one, paid in full."""
    if read.reservations is None or len(request.regions) > 1:
        return
    known = {reservation["CapacityReservationId"] for reservation in read.reservations}
    missing = [one for one in request.use_reservations if one.startswith("cr-") and one not in known]
    if missing:
        raise Refused(
            f"use_reservations asks for {', '.join(missing)} in {region}; EC2 lists no such capacity reservation for "
            "this account. Nothing was created. Correct the id, or the region"
        )


def _zone_names(read: Read) -> dict[str, dict[str, Any]]:
    if read.zones is not None:
        return {zone["ZoneName"]: zone for zone in read.zones}
    return {name: {} for name in read.offerings or ()}


def _offer(
    request: Request, region: str, groups: Sequence[GroupSettings], read: Read, name: str, zone: Mapping[str, Any]
) -> Offer:
    used = _used(request, groups, read, region, name)
    facts = {"zone_id": zone.get("ZoneId", "")} | {f"use/{group}": id_ for group, id_ in used.items()}
    for group in groups:
        facts |= _group_facts(group, region, name, read)
    why = _why_not(groups, region, read, name, zone)
    return Offer(
        region=region,
        zone=name,
        zone_id=zone.get("ZoneId"),
        ok=not why,
        why=why,
        preferred=not why and any(id_.startswith("cr-") for id_ in used.values()),
        facts=facts,
    )


def _group_facts(group: GroupSettings, region: str, zone: str, read: Read) -> dict[str, str]:
    image_id = group.image(region) or ""
    image = (read.images or {}).get(image_id, {})
    facts = {
        f"image/{group.name}": image_id,
        f"platform/{group.name}": platform_of(group, region, read.images),
        f"architecture/{group.name}": image.get("Architecture", ""),
        f"root/{group.name}": image.get("RootDeviceType", ""),
        f"lasting/{group.name}": " ".join(_lasting_disks(image)),
        f"subnet/{group.name}": group.aws.subnets.get(zone, ""),
    }
    return {key: value for key, value in facts.items() if value}


def _lasting_disks(image: Mapping[str, Any]) -> list[str]:
    """The devices of the image's disks that would outlive their machine."""
    return [
        mapping["DeviceName"]
        for mapping in image.get("BlockDeviceMappings", ())
        if mapping.get("Ebs", {}).get("DeleteOnTermination") is False
    ]


def platform_of(group: GroupSettings, region: str, images: Mapping[str, Mapping[str, Any]] | None) -> str:
    """The InstancePlatform of a group's reservation: as configured, else as its image says, else Linux."""
    if group.aws.platform != "auto":
        return group.aws.platform
    details = (images or {}).get(group.image(region) or "", {}).get("PlatformDetails") or DEFAULT_PLATFORM
    return _PLATFORMS.get(details, str(details))


def _why_not(groups: Sequence[GroupSettings], region: str, read: Read, name: str, zone: Mapping[str, Any]) -> str:
    """Why the zone cannot take the groups, for the user; empty if it can as far as we could see."""
    state = zone.get("State", "available")
    if state != "available":
        return f"the zone is {state}"
    wanted = {group.group.instance_type for group in groups}
    lacking = sorted(wanted - read.offerings.get(name, set())) if read.offerings is not None else []
    if lacking:
        return f"does not offer {', '.join(lacking)}"
    for group in groups:
        if group.aws.subnets and name not in group.aws.subnets:
            return f"no subnet configured (aws.subnets has: {', '.join(sorted(group.aws.subnets))})"
        image = (read.images or {}).get(group.image(region) or "", {})
        if image.get("State", "available") != "available":
            return f"image {group.image(region)} is {image['State']}"
    return ""


def _used(request: Request, groups: Sequence[GroupSettings], read: Read, region: str, zone: str) -> dict[str, str]:
    """Which existing reservation serves which group: group name to id (or to the resource group's ARN).

    A listed reservation serves a group only whole; groups that would otherwise be reserved choose first. Our placement
    group is new, so nothing that exists lies in it: groups in one are left to a reservation of their own.
    """
    eligible = [group for group in groups if group.market == "on-demand" and not group.group.placement_group]
    free = {
        one["CapacityReservationId"]: one
        for one in read.reservations or ()
        if one.get("State") == "active" and one.get("AvailabilityZone") == zone
    }
    room = {id_: int(one.get("AvailableInstanceCount", 0)) for id_, one in free.items()}
    used: dict[str, str] = {}
    for group in sorted(eligible, key=lambda group: not group.reserve):
        for id_ in request.use_reservations:
            if id_ in free and room[id_] >= group.group.count and _fits(group, free[id_], region, read):
                room[id_] -= group.group.count
                used[group.name] = id_
                break
    pools = [one for one in request.use_reservations if not one.startswith("cr-")]
    for group in eligible:
        if pools and group.reserve and group.name not in used:
            used[group.name] = pools[0]
    return used


def _fits(group: GroupSettings, reservation: Mapping[str, Any], region: str, read: Read) -> bool:
    return (
        reservation.get("InstanceType") == group.group.instance_type
        and reservation.get("InstancePlatform") == platform_of(group, region, read.images)
        and reservation.get("Tenancy", "default") == group.aws.tenancy
        and not reservation.get("PlacementGroupArn")
    )
