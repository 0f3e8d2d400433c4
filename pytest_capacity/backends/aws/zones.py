"""Which zones of a region can take a topology: reads only, side by side, nothing decided by what could not be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from pytest_capacity.backends.aws.errors import diagnose_error
from pytest_capacity.backends.aws.session import PAGE, Cloud
from pytest_capacity.backends.aws.settings import GroupSettings, settings_of, use_fact
from pytest_capacity.backends.aws.types import is_arm
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
    _check_architectures(groups, region, read)
    return [_offer(request, region, groups, read, name, zone) for name, zone in sorted(_zone_names(read).items())]


def _read(cloud: Cloud, request: Request, region: str, groups: Sequence[GroupSettings]) -> Read:
    images = sorted({image for group in groups if (image := group.image(region))})
    listed = [one for one in request.use_reservations if one.startswith("cr-")]
    types = sorted({type_ for group in groups for type_ in group.types})
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


def _check_architectures(groups: Sequence[GroupSettings], region: str, read: Read) -> None:
    """No zone and no market cures an image that its machine cannot boot; EC2 says so only when all else was made."""
    faults = []
    for group in groups:
        image = (read.images or {}).get(group.image(region) or "", {})
        architecture = image.get("Architecture", "")
        for type_ in group.types:
            arm = is_arm(type_)
            if architecture and arm is not None and arm != architecture.startswith("arm64"):
                faults.append(
                    f"group {group.name!r} asks for {type_} ({'arm64' if arm else 'x86_64'}) with the image "
                    f"{image['ImageId']} ({architecture})"
                )
    if faults:
        raise Refused(
            f"{'; '.join(faults)}: in {region} these do not go together. Nothing was created. "
            "Give each group an image of its types' architecture (image:), or types of its image's"
        )


def _zone_names(read: Read) -> dict[str, dict[str, Any]]:
    if read.zones is not None:
        return {zone["ZoneName"]: zone for zone in read.zones}
    return {name: {} for name in read.offerings or ()}


def _offer(
    request: Request, region: str, groups: Sequence[GroupSettings], read: Read, name: str, zone: Mapping[str, Any]
) -> Offer:
    used = _used(request, groups, read, region, name)
    facts = {"zone_id": zone.get("ZoneId", "")} | {use_fact(*user): id_ for user, id_ in used.items()}
    for group in groups:
        facts |= _group_facts(group, region, name, read)
    lacks = _lacks(groups, read, name)
    why = _why_not(groups, region, read, name, zone, lacks)
    first = {(group.name, group.group.instance_type) for group in groups if group.market == "on-demand"}
    return Offer(
        region=region,
        zone=name,
        zone_id=zone.get("ZoneId"),
        ok=not why,
        why=why,
        lacks=tuple(sorted(lacks)),
        preferred=not why and any(id_.startswith("cr-") for user, id_ in used.items() if user in first),
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


def _lacks(groups: Sequence[GroupSettings], read: Read, name: str) -> set[str]:
    """The types that the zone does not have; none where that could not be read."""
    if read.offerings is None:
        return set()
    return {type_ for group in groups for type_ in group.types} - read.offerings.get(name, set())


def _why_not(
    groups: Sequence[GroupSettings], region: str, read: Read, name: str, zone: Mapping[str, Any], lacks: Collection[str]
) -> str:
    """Why the zone cannot take the groups, for the user; empty if it can as far as we could see."""
    state = zone.get("State", "available")
    if state != "available":
        return f"the zone is {state}"
    lacking = {type_ for group in groups if set(group.types) <= set(lacks) for type_ in group.types}
    if lacking:
        return f"does not offer {', '.join(sorted(lacking))}"
    for group in groups:
        if group.aws.subnets and name not in group.aws.subnets:
            return f"no subnet configured (aws.subnets has: {', '.join(sorted(group.aws.subnets))})"
        image = (read.images or {}).get(group.image(region) or "", {})
        if image.get("State", "available") != "available":
            return f"image {group.image(region)} is {image['State']}"
    return ""


def _used(
    request: Request, groups: Sequence[GroupSettings], read: Read, region: str, zone: str
) -> dict[tuple[str, str], str]:
    """Which existing reservation serves which group as which type: its id (or the resource group's ARN).

    A listed reservation serves a group only whole. First choose those that will be asked for first: groups that are not
    spot, which cannot use one until they have fallen back, by their first types, and of them those that would otherwise
    be reserved. Our placement group is new, so nothing that exists lies in it: groups in one are left to a reservation
    of their own.
    """
    eligible = [group for group in groups if group.may_be_on_demand and not group.group.placement_group]
    wishes = [(group, place, type_) for group in eligible for place, type_ in enumerate(group.types)]
    free = {
        one["CapacityReservationId"]: one
        for one in read.reservations or ()
        if one.get("State") == "active" and one.get("AvailabilityZone") == zone
    }
    room = {id_: int(one.get("AvailableInstanceCount", 0)) for id_, one in free.items()}
    used: dict[tuple[str, str], str] = {}
    for group, _, type_ in sorted(wishes, key=lambda wish: (wish[0].market == "spot", wish[1], not wish[0].reserve)):
        for id_ in request.use_reservations:
            if id_ in free and room[id_] >= group.group.count and _fits(group, type_, free[id_], region, read):
                room[id_] -= group.group.count
                used[group.name, type_] = id_
                break
    pools = [one for one in request.use_reservations if not one.startswith("cr-")]
    for group, _, type_ in wishes:
        if pools and group.wants_reservation and (group.name, type_) not in used:
            used[group.name, type_] = pools[0]
    return used


def _fits(group: GroupSettings, type_: str, reservation: Mapping[str, Any], region: str, read: Read) -> bool:
    return (
        reservation.get("InstanceType") == type_
        and reservation.get("InstancePlatform") == platform_of(group, region, read.images)
        and reservation.get("Tenancy", "default") == group.aws.tenancy
        and not reservation.get("PlacementGroupArn")
    )
