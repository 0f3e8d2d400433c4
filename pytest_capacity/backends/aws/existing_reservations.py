"""Existing reservations that the user named (``use_reservations``): which of them serves which group, and why not."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field

from pytest_capacity.backends.aws.images import platform_of
from pytest_capacity.backends.aws.reads import Read
from pytest_capacity.backends.aws.settings import GroupSettings, settings_of
from pytest_capacity.errors import Refused
from pytest_capacity.ladder import regions_in_use
from pytest_capacity.model import Offer, Request, Topology

#: States in which a reservation holds capacity, or is about to.
_ALIVE: Final = ("active", "pending")

#: The reasons that a refusal gives of one reservation; more groups have the same few.
_SHOWN: Final = 4


class Listed:
    """Whether the listed reservations exist, judged once every region of the run has been read.

    One that does not is a slip of the pen that would cost a second one, paid in full. Regions are read side by side,
    and a reservation lives in one of them: so whichever is read last says what none of them has. A region whose
    reservations may not be listed is in favour of all.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._regions = regions_in_use(request)
        self._lock = threading.Lock()
        self._known: dict[str, set[str] | None] = {}

    def check(self, region: str, read: Read) -> None:
        """Take note of what ``region`` has. Raises `Refused` for what is in no region."""
        wanted = [one for one in self._request.use_reservations if one.startswith("cr-")]
        known = None if read.reservations is None else {one["CapacityReservationId"] for one in read.reservations}
        with self._lock:
            self._known[region] = known
            seen = [self._known.get(one) for one in self._regions]
        found = [ids for ids in seen if ids is not None]
        missing = [one for one in wanted if not any(one in ids for ids in found)]
        if missing and len(found) == len(seen):
            raise Refused(
                f"use_reservations asks for {', '.join(missing)} in {', '.join(self._regions)}; EC2 lists no such "
                "capacity reservation for this account. Nothing was created. Correct the id, or the region"
            )


class Use(Struct, frozen=True, kw_only=True):
    """What existing reservations do for the groups of a topology in one zone."""

    #: What serves a group as a type: its id, or a resource group's ARN.
    used: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: Why the others serve nothing there, by id.
    unused: Mapping[str, str] = field(default_factory=dict)
    #: The ARN of the cluster placement group in which those lie that serve groups with ``placement_group``.
    cluster: str = ""


def check_usable(request: Request, topology: Topology, region: str, read: Read, offers: Sequence[Offer]) -> None:
    """Refuse a listed reservation of ``region`` that serves no group of the run however the run is placed.

    It would stay unused, and a second one be paid for. What has no room now, or is in a zone where the run is not
    placed in the end, may serve another time: that is told (`Offer.unused`). Raises `Refused`.
    """
    groups: list[tuple[GroupSettings, str]] = []
    for one in request.topologies.values():
        for group in one.groups:
            settings = settings_of(request, group)
            # The images of other topologies are not read here: of their groups' platform only the file speaks.
            known = one.name == topology.name or settings.aws.platform != "auto"
            groups.append((settings, platform_of(settings, region, read) if known else ""))
    whole = request.colocate != "region"
    for answer in read.reservations or ():
        never = _never(request, answer, offers)
        reasons = [never] if never else [_misfit_of(group, platform, answer, whole) for group, platform in groups]
        if all(reasons):
            raise Refused(_unusable(answer, region, list(dict.fromkeys(reasons))))


def _unusable(answer: Mapping[str, Any], region: str, reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return (
        f"use_reservations names {answer['CapacityReservationId']} ({_words(answer, region)}), which no node of this "
        f"run can use: {'; '.join(reasons[:_SHOWN])}{more}. Nothing was created, since a second reservation would be "
        "paid for beside it. Correct that, or take it out of use_reservations"
    )


def _words(answer: Mapping[str, Any], region: str) -> str:
    return f"{answer.get('TotalInstanceCount', 0)} x {answer.get('InstanceType')} in {_zone(answer) or region}"


def _zone(answer: Mapping[str, Any]) -> str:
    return str(answer.get("AvailabilityZone") or "")


def _never(request: Request, answer: Mapping[str, Any], offers: Sequence[Offer]) -> str:
    """Return why it serves no group at all, whatever the groups are; empty where nothing is known against it."""
    if (state := answer.get("State", "active")) not in _ALIVE:
        return f"it is {state}"
    zone = next((offer for offer in offers if offer.zone == _zone(answer)), None)
    if zone and request.zones and not {"*", zone.zone, *zone.aliases}.intersection(request.zones):
        return f"`zones` are {', '.join(request.zones)}"
    return ""


def _misfit_of(group: GroupSettings, platform: str, answer: Mapping[str, Any], whole: bool) -> str:
    """Return why the reservation would not do for the group as any of its types; empty where it does for one."""
    misfits = {type_: _misfit(group, type_, platform, answer, whole) for type_ in group.types}
    return misfits.get(answer.get("InstanceType", "")) or next(iter(misfits.values())) if all(misfits.values()) else ""


def _misfit(group: GroupSettings, type_: str, platform: str, answer: Mapping[str, Any], whole: bool) -> str:
    """Return why EC2 would refuse to launch the group as ``type_`` into the reservation; empty where it would not.

    ``whole``: all nodes of the group are in one zone, so the reservation must have one for each.
    """
    name = group.name
    if not group.may_be_on_demand:
        return f"{name} is spot, which uses no reservation"
    if group.aws.host_id:
        return f"{name} is on a dedicated host (aws.host_id), which uses no reservation"
    if answer.get("InstanceType") != type_:
        return f"{name} is {' or '.join(group.types)}"
    if platform and answer.get("InstancePlatform") != platform:
        return f"{name} is of platform {platform}, and it of {answer.get('InstancePlatform')}"
    if (tenancy := answer.get("Tenancy", "default")) != group.aws.tenancy:
        return f"{name} has tenancy {group.aws.tenancy}, and it {tenancy}"
    cluster = answer.get("PlacementGroupArn")
    if cluster and not group.group.placement_group:
        return f"it is in placement group {_name(cluster)}, and {name} has no `placement_group: true`"
    if group.group.placement_group and not cluster:
        return f"{name} has `placement_group: true`, and it is in no placement group"
    if whole and int(answer.get("TotalInstanceCount", group.group.count)) < group.group.count:
        return f"{name} needs {group.group.count}, and it has {answer['TotalInstanceCount']}"
    return ""


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]


def use_in_zone(request: Request, groups: Sequence[GroupSettings], read: Read, region: str, zone: str) -> Use:
    """Return which existing reservation serves which group as which type in ``zone``, and why others serve none.

    A listed reservation serves a group only whole. First choose those that will be asked for first: groups that are not
    spot, which cannot use one until they have fallen back, by their first types, and of them those that would otherwise
    be reserved. All groups with ``placement_group`` are in one cluster group: that of the first reservation that serves
    one of them.
    """
    wishes = [(group, place, type_) for group in groups for place, type_ in enumerate(group.types)]
    listed = {one["CapacityReservationId"]: one for one in read.reservations or ()}
    room = {id_: int(one.get("AvailableInstanceCount", 0)) for id_, one in listed.items()}
    here = [id_ for id_ in request.use_reservations if id_ in listed and _zone(listed[id_]) == zone]
    used: dict[tuple[str, str], str] = {}
    cluster = ""
    for group, _, type_ in sorted(wishes, key=lambda wish: (wish[0].market == "spot", wish[1], not wish[0].reserve)):
        platform = platform_of(group, region, read)
        for id_ in here:
            of = listed[id_].get("PlacementGroupArn") or ""
            fits = not _misfit(group, type_, platform, listed[id_], False) and (not of or cluster in ("", of))
            if fits and listed[id_].get("State") == "active" and room[id_] >= group.group.count:
                room[id_] -= group.group.count
                used[group.name, type_] = id_
                cluster = of or cluster
                break
    pools = [one for one in request.use_reservations if not one.startswith("cr-")]
    for group, _, type_ in wishes:
        if pools and group.wants_reservation and _takes_pool(group) and (group.name, type_) not in used:
            used[group.name, type_] = pools[0]
    served = set(used.values())
    unused = {
        id_: why
        for id_ in request.use_reservations
        if id_ not in served and (why := _why_unused(request, groups, read, region, zone, id_, cluster))
    }
    return Use(used=used, unused=unused, cluster=cluster)


def _takes_pool(group: GroupSettings) -> bool:
    return group.may_be_on_demand and not group.group.placement_group and not group.aws.host_id


def _why_unused(
    request: Request, groups: Sequence[GroupSettings], read: Read, region: str, zone: str, id_: str, cluster: str
) -> str:
    """Return why a listed reservation serves no group in ``zone``; empty where it is for another topology."""
    several = len(request.topologies) > 1
    if not id_.startswith("cr-"):
        words = "no group can use a resource group of reservations: spot, on a host, or with `placement_group: true`"
        return "" if several else words
    answer = next((one for one in read.reservations or () if one["CapacityReservationId"] == id_), None)
    if answer is None:
        unread = read.unread.get("reservations")
        return f"it could not be read ({unread})" if unread else f"it is not in {region}"
    misfits = {group.name: _misfit_of(group, platform_of(group, region, read), answer, False) for group in groups}
    fitting = [group for group in groups if not misfits[group.name]]
    if not fitting:
        return "" if several else "; ".join(list(dict.fromkeys(misfits.values()))[:_SHOWN])
    if _zone(answer) != zone:
        return f"it is in {_zone(answer)}"
    if answer.get("State") != "active":
        return f"it is {answer.get('State')}"
    if cluster and (of := answer.get("PlacementGroupArn")) and of != cluster:
        return f"it is in placement group {_name(of)}, and the nodes are in {_name(cluster)}"
    free, total = answer.get("AvailableInstanceCount", 0), answer.get("TotalInstanceCount")
    needs = " and ".join(f"{group.name} needs {group.group.count}" for group in fitting)
    return f"{free} of {total} are free, and {needs}"
