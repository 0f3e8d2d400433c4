"""Which zones of a region can take a topology: sizes, quotas and existing reservations, read in one round."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from azure.core.exceptions import AzureError
from msgspec import Struct

from pytest_capacity.backends.azure.errors import diagnose_error
from pytest_capacity.backends.azure.existing_reservations import (
    Existing,
    check_usable,
    group_of,
    serves,
    unused,
    used_members,
)
from pytest_capacity.backends.azure.ids import (
    COMPUTE,
    COMPUTE_VERSION,
    GROUPS,
    NETWORK_VERSION,
    SKUS_VERSION,
    canonical,
    tags_of,
)
from pytest_capacity.backends.azure.listing import allocated, members_of, side_by_side
from pytest_capacity.backends.azure.plan import GIVEN_GROUP
from pytest_capacity.backends.azure.session import Arm, ArmError
from pytest_capacity.backends.azure.settings import (
    NO_ZONE,
    GroupSettings,
    section_of,
    settings_of,
    zone_name,
    zone_number,
)
from pytest_capacity.backends.azure.stamp import read_stamp
from pytest_capacity.backends.groups import use_fact
from pytest_capacity.backends.not_offered import not_offered
from pytest_capacity.errors import Refused
from pytest_capacity.ladder import chosen
from pytest_capacity.model import Offer, Request, Topology

#: Diagnoses that end the round instead of leaving a question open: asking elsewhere would give the same.
_FATAL: Final = frozenset({"auth", "account-blocked", "invalid"})
#: The quotas that count for all sizes of a market.
REGIONAL: Final = {"on-demand": "cores", "spot": "lowPriorityCores"}


class Size(Struct, frozen=True):
    """The entry of one size in one region in the list of SKUs."""

    zones: frozenset[str]
    family: str
    vcpus: int
    reservable: bool
    spot: bool
    #: Zones, or all of the region, that this subscription may not use for it.
    barred: frozenset[str]
    barred_region: bool
    architecture: str = "x64"
    #: Whether it has a temporary disk, and NVMe disks: both are lost when a machine is deallocated.
    resource_disk: bool = False
    nvme: bool = False


class Read(Struct, frozen=True):
    """What was read of one region. None: it could not be read."""

    sizes: Mapping[str, Size] | None
    limits: Mapping[str, int] | None
    #: The groups of ``use_reservations``, and the one in which our members go, by id.
    groups: Mapping[str, Existing | None]
    given: str


def read_offers(arm: Arm, request: Request, region: str, topology: Topology) -> Sequence[Offer]:
    """Return the zones of ``region``, and the placement without a zone, with whether each can take ``topology``.

    Raises Azure's error for refused credentials and when a retry may help, and `Refused` for a reservation group
    that is not there, is of another region, or already has a member of what is to be reserved.
    """
    groups = [settings_of(request, group) for group in topology.groups]
    read = _read(arm, request, region)
    _check_given(request, region, read)
    numbers = sorted({zone for size in (read.sizes or {}).values() for zone in size.zones}) or _wanted(request, region)
    offers = [_offer(request, region, groups, read, number) for number in [*numbers, ""]]
    _check_members(request, groups, read, offers)
    check_usable(request, read.groups)
    return offers


def _wanted(request: Request, region: str) -> list[str]:
    """Return the zones to consider; all possible ones where Azure does not let us read its own."""
    return ["1", "2", "3"]


def _read(arm: Arm, request: Request, region: str) -> Read:
    wanted = section_of(request).capacity_reservation_group or ""
    listed = [wanted] if "/" in wanted else []
    ids = {group_of(one): "use_reservations" for one in request.use_reservations}
    ids |= {canonical(one): "azure.capacity_reservation_group" for one in listed}
    reads: dict[str, Callable[[], Any]] = {
        "sizes": lambda: read_sizes(arm, region),
        "limits": lambda: _limits(arm, region),
        **{f"group {one}": partial(_existing, arm, one, setting) for one, setting in ids.items()},
    }
    if wanted and not listed:
        reads["named"] = lambda: _named(arm, wanted)
    subnet = section_of(request).subnets.get(region)
    if subnet:
        operation = "Microsoft.Network/virtualNetworks/subnets/read"
        reads["subnet"] = partial(
            _named_by, "azure.subnets", "subnet", subnet, lambda: arm.get(operation, subnet, NETWORK_VERSION)
        )
    answers = dict(zip(reads, side_by_side(lambda read: _open(arm, read), list(reads.values())), strict=True))
    existing = {one: answers[f"group {one}"] for one in ids}
    given = canonical(wanted) if listed else ""
    for answer in answers.get("named") or ():
        if str(answer.get("location", "")).replace(" ", "").lower() == region:
            given = canonical(answer["id"])
            existing[given] = _open(arm, partial(_existing, arm, given, "azure.capacity_reservation_group"))
    return Read(sizes=answers["sizes"], limits=answers["limits"], groups=existing, given=given)


def _open(arm: Arm, read: Callable[[], Any]) -> Any:
    """Return what a read gives; None where Azure denies access. Raise errors that a retry may resolve."""
    try:
        return read()
    except (ArmError, AzureError) as error:
        found = diagnose_error(error, arm.errors)
        if found.kind in _FATAL or found.step in ("back-off", "ask-again", "gone"):
            raise
        return None


def read_sizes(arm: Arm, region: str) -> dict[str, Size]:
    """Return the sizes of machines in a region, by their names in small letters."""
    path = arm.path(f"/providers/{COMPUTE}/skus")
    query = {"$filter": f"location eq '{region}'"}
    skus = arm.pages(f"{COMPUTE}/skus/read", path, SKUS_VERSION, **query)
    return {str(sku["name"]).lower(): _size(sku) for sku in skus if sku.get("resourceType") == "virtualMachines"}


def _size(sku: Mapping[str, Any]) -> Size:
    capabilities = {one.get("name"): str(one.get("value", "")) for one in sku.get("capabilities") or ()}
    zones = {str(zone) for info in sku.get("locationInfo") or () for zone in info.get("zones") or ()}
    restrictions = sku.get("restrictions") or ()
    barred = {
        str(zone)
        for one in restrictions
        if one.get("type") == "Zone"
        for zone in (one.get("restrictionInfo") or {}).get("zones") or ()
    }
    vcpus = capabilities.get("vCPUsAvailable") or capabilities.get("vCPUs") or "0"
    return Size(
        zones=frozenset(zones),
        family=str(sku.get("family", "")),
        vcpus=int(vcpus) if vcpus.isdecimal() else 0,
        reservable=capabilities.get("CapacityReservationSupported", "True") != "False",
        spot=capabilities.get("LowPriorityCapable", "True") != "False",
        barred=frozenset(barred),
        barred_region=any(one.get("type") == "Location" for one in restrictions),
        architecture=capabilities.get("CpuArchitectureType", "x64"),
        resource_disk=capabilities.get("MaxResourceVolumeMB", "0") not in ("", "0"),
        nvme=capabilities.get("NvmeDiskSizeInMiB", "0") not in ("", "0"),
    )


def _limits(arm: Arm, region: str) -> dict[str, int]:
    return {name: int(one["limit"]) for name, one in read_usages(arm, region).items()}


def read_usages(arm: Arm, region: str) -> dict[str, dict[str, Any]]:
    """Return the quotas of a region, each with what is in use of it, by their names in small letters."""
    path = arm.path(f"/providers/{COMPUTE}/locations/{region}/usages")
    usages = arm.pages(f"{COMPUTE}/locations/usages/read", path, COMPUTE_VERSION)
    return {str(one["name"]["value"]).lower(): one for one in usages}


def _named(arm: Arm, name: str) -> list[dict[str, Any]]:
    listed = arm.pages(f"{GROUPS}/read", arm.path(f"/providers/{GROUPS}"), COMPUTE_VERSION)
    return [one for one in listed if str(one["name"]).lower() == name.lower() and not _is_ours(one)]


def _is_ours(answer: Mapping[str, Any]) -> bool:
    """Return whether a run of this plugin made the group: it is not to be shared, and is deleted with that run."""
    return any(str(key).lower().startswith("pytest-capacity:") for key in answer.get("tags") or ())


def _named_by(setting: str, what: str, identity: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is read of a thing that ``setting`` names. Raise `Refused` where it is not there."""
    try:
        return read()
    except ArmError as error:
        if error.http != 404:
            raise
        raise Refused(f"{setting}: there is no {what} {identity}. Correct the id") from None


def _existing(arm: Arm, group: str, setting: str) -> Existing:
    """Return the group that ``setting`` names."""
    answer = _named_by(
        setting, "capacity reservation group", group, lambda: arm.get(f"{GROUPS}/read", group, COMPUTE_VERSION)
    )
    reads: list[Callable[[], Any]] = [lambda: members_of(arm, group), lambda: allocated(arm, group)]
    members, seats = side_by_side(lambda read: read(), reads)
    return Existing(answer, members, seats)


def _check_given(request: Request, region: str, read: Read) -> None:
    if not read.given:
        return
    group = read.groups.get(read.given)
    if group is not None and group.region != region:
        raise Refused(
            f"azure.capacity_reservation_group: {read.given} is in {group.region or 'another region'}, and {region} is "
            f"asked for. A group serves its own region only: name one there, or only a name, then the run makes its own"
        )


def _check_members(request: Request, groups: Sequence[GroupSettings], read: Read, offers: Sequence[Offer]) -> None:
    """Check members: a group takes one for each size and zone, and one that is not ours is never changed.

    What it has in zones that the run does not use is ignored.
    """
    group = read.groups.get(read.given) if read.given else None
    if group is None:
        return
    for offer in chosen(request.zones, offers):
        # What has moved to another size is in a group of ours.
        for size in {one.group.instance_type for one in groups if one.reserve}:
            member = group.member(size, zone_number(offer.zone))
            # One of this run is what an attempt has left, and is on its way out.
            if offer.ok and member is not None and read_stamp(tags_of(member)).run != request.run:
                raise Refused(
                    f"azure.capacity_reservation_group: {read.given} already reserves {size} in {offer.zone} "
                    f"({member['name']}), and Azure takes one reservation for each size and zone. Use that one "
                    f"(use_reservations), or name another group"
                )


def _offer(request: Request, region: str, groups: Sequence[GroupSettings], read: Read, number: str) -> Offer:
    used = used_members(request, groups, read.groups, region, number)
    facts = {use_fact(*user): id_ for user, id_ in used.items()}
    if read.given:
        facts[GIVEN_GROUP] = read.given
    lacks = _lacks(groups, read, number, used)
    why = _why_not(groups, read, number, lacks, used) or _outside(groups, read, number, used)
    first = {(group.name, group.group.instance_type) for group in groups if group.market == "on-demand"}
    return Offer(
        region=region,
        zone=zone_name(region, number),
        ok=not why,
        aliases=(number or NO_ZONE,),
        why=why,
        kind="quota" if why and why == _over_quota(groups, read) else "",
        lacks=tuple(sorted(lacks)),
        preferred=not why and bool(first & used.keys()),
        serves=serves(request, used),
        unused=unused(request, groups, read.groups, region, number, used),
        facts=facts,
    )


def _outside(groups: Sequence[GroupSettings], read: Read, number: str, used: Mapping[tuple[str, str], str]) -> str:
    """Return why the existing group takes no member of ours in the zone (its own zones never change), or ""."""
    group = read.groups.get(read.given) if read.given else None
    reserved = [one for one in groups if one.reserve and (one.name, one.group.instance_type) not in used]
    if group is None or not reserved or number in (group.zones or [""]):
        return ""
    has = f"zones {', '.join(group.zones)}" if group.zones else "no zones"
    return f"is none of the zones of azure.capacity_reservation_group, which has {has}"


def _lacks(groups: Sequence[GroupSettings], read: Read, number: str, used: Mapping[tuple[str, str], str]) -> set[str]:
    """Return the sizes that cannot be had there; none where that could not be read."""
    if read.sizes is None:
        return set()
    found = set()
    for group in groups:
        for type_ in group.types:
            size = read.sizes.get(type_.lower())
            if size is None or _bars(size, group, number, (group.name, type_) in used):
                found.add(type_)
    return found


def _bars(size: Size, group: GroupSettings, number: str, is_used: bool) -> bool:
    if size.barred_region or number in size.barred or (number and number not in size.zones):
        return True
    if group.reserve and not is_used and not size.reservable:
        return True
    return group.market == "spot" and not group.may_be_on_demand and not size.spot


def _why_not(
    groups: Sequence[GroupSettings],
    read: Read,
    number: str,
    lacks: Collection[str],
    used: Mapping[tuple[str, str], str],
) -> str:
    """Return why the zone cannot take the groups, for the user; empty if it can, as far as could be read."""
    lacking = {type_ for group in groups if set(group.types) <= set(lacks) for type_ in group.types}
    if lacking:
        sizes = read.sizes or {}
        unreservable = [one for one in lacking if (size := sizes.get(one.lower())) and not size.reservable]
        more = (
            f" ({', '.join(sorted(unreservable))} cannot be reserved: write `reserve: false`)" if unreservable else ""
        )
        return f"{not_offered(lacking, sizes)}{more}"
    return _over_quota(groups, read)


def _over_quota(groups: Sequence[GroupSettings], read: Read) -> str:
    """Return which quota the topology alone exceeds, or "". What is in use of it now may be on its way out."""
    if read.sizes is None or read.limits is None:
        return ""
    wanted: dict[str, int] = {}
    for group in groups:
        size = read.sizes.get(group.group.instance_type.lower())
        if size is None or len(group.types) > 1 or (group.market == "spot" and group.may_be_on_demand):
            continue  # It may become something else.
        names = [REGIONAL[group.market]] + ([size.family] if group.market == "on-demand" else [])
        for name in filter(None, names):
            wanted[name.lower()] = wanted.get(name.lower(), 0) + size.vcpus * group.group.count
    for name, vcpus in sorted(wanted.items()):
        limit = read.limits.get(name)
        if limit is not None and vcpus > limit:
            return f"has a quota of {limit} vCPUs for {name}, and {vcpus} are asked for"
    return ""
