"""Existing reservations that the user named (``use_reservations``): which of them serves which group."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_capacity.backends.aws.images import platform_of
from pytest_capacity.backends.aws.reads import Read
from pytest_capacity.backends.aws.settings import GroupSettings
from pytest_capacity.errors import Refused
from pytest_capacity.model import Request


class Listed:
    """Whether the listed reservations exist, judged once every region of the run has been read.

    One that does not is a slip of the pen that would cost a second one, paid in full. Regions are read side by side,
    and a reservation lives in one of them: so whichever is read last says what none of them has. A region whose
    reservations may not be listed is in favour of all.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._regions = request.regions if request.fallback.regions else request.regions[:1]
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


def used_reservations(
    request: Request, groups: Sequence[GroupSettings], read: Read, region: str, zone: str
) -> dict[tuple[str, str], str]:
    """Return which existing reservation serves which group as which type: its id (or the resource group's ARN).

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
        and reservation.get("InstancePlatform") == platform_of(group, region, read)
        and reservation.get("Tenancy", "default") == group.aws.tenancy
        and not reservation.get("PlacementGroupArn")
    )
