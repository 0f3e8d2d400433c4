"""Existing reservations that the user named (``use_reservations``): which of them serves which group, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.azure.ids import GROUPS, ResourceId, canonical
from pytest_capacity.backends.azure.settings import NO_ZONE, GroupSettings, settings_of
from pytest_capacity.backends.base import by_reservation
from pytest_capacity.errors import Refused
from pytest_capacity.ladder import regions_in_use
from pytest_capacity.model import Request

#: By the id of the group; None: it could not be read.
Groups = Mapping[str, "Existing | None"]


class Existing(Struct, frozen=True):
    """A capacity reservation group that exists, its members and how full each is."""

    answer: Mapping[str, Any]
    members: Sequence[Mapping[str, Any]]
    seats: Mapping[str, str]

    @property
    def region(self) -> str:
        """Return its region."""
        return str(self.answer.get("location", "")).replace(" ", "").lower()

    @property
    def zones(self) -> list[str]:
        """Return the numbers of its zones; an empty list: its members have no zone."""
        return [str(one) for one in self.answer.get("zones") or ()]

    def member(self, size: str, zone: str) -> Mapping[str, Any] | None:
        """Return the member for a size in a zone (its number; "" for none)."""
        for member in self.members:
            zones = [str(one) for one in member.get("zones") or ()]
            if str(member.get("sku", {}).get("name", "")).lower() == size.lower() and zones == ([zone] if zone else []):
                return member
        return None

    def free(self, member: Mapping[str, Any]) -> int:
        """Return how many machines the member still has room for."""
        identity = canonical(member["id"])
        return int(member["sku"].get("capacity", 0)) - sum(1 for seat in self.seats.values() if seat == identity)


def group_of(identity: str) -> str:
    """Return the id of a group, where ``identity`` is it or a member of it."""
    found = ResourceId.parse(identity)
    return str(replace(found, type=GROUPS, name=found.parent, parent="") if found.parent else found)


def used_members(
    request: Request, groups: Sequence[GroupSettings], existing_groups: Groups, region: str, number: str
) -> dict[tuple[str, str], str]:
    """Return which member of ``use_reservations`` serves which group and size here, of those that have the room."""
    ids = [group_of(one) for one in request.use_reservations]
    left: dict[str, int] = {}
    found: dict[tuple[str, str], str] = {}
    for group in groups:
        if not group.wants_reservation or not group.may_be_on_demand:
            continue
        for type_ in group.types:
            for existing in (existing_groups.get(id_) for id_ in ids):
                if existing is None or existing.region != region:
                    continue
                member = existing.member(type_, number)
                if member is None:
                    continue
                identity = canonical(member["id"])
                free = left.setdefault(identity, existing.free(member))
                if free >= group.group.count:
                    left[identity] = free - group.group.count
                    found[group.name, type_] = identity
                    break
    return found


def serves(request: Request, used: Mapping[tuple[str, str], str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return `Offer.serves`: what is named is a group, or a member of it, and any member of the group may serve."""
    by_group = by_reservation({user: group_of(member) for user, member in used.items()})
    return {one: by_group[group_of(one)] for one in request.use_reservations if group_of(one) in by_group}


def check_usable(request: Request, existing_groups: Groups) -> None:
    """Refuse a group of ``use_reservations`` that serves no node of the run in any placement of the run.

    It would stay unused, and a second one be paid for. One that is full, or is not used in the zone where the run is
    placed in the end, is reported (`Offer.unused`). Raises `Refused`.
    """
    groups = [settings_of(request, group) for topology in request.topologies.values() for group in topology.groups]
    for one in request.use_reservations:
        existing = existing_groups.get(group_of(one))
        if existing is None:
            continue
        if existing.region not in regions_in_use(request):
            why = f"it is in {existing.region}, and the run in {', '.join(regions_in_use(request))}"
        else:
            reasons = [_misfit(group, existing) for group in groups]
            why = "; ".join(dict.fromkeys(reasons)) if all(reasons) else ""
        if why:
            raise Refused(
                f"use_reservations names {one}, which no node of this run can use: {why}. Nothing was created, since a "
                "second reservation would be paid for beside it. Correct that, or take it out of use_reservations"
            )


def _misfit(group: GroupSettings, existing: Existing) -> str:
    """Return why no member of an existing group can ever serve this one; empty where one can when it has room."""
    if not group.may_be_on_demand:
        return f"{group.name} is spot, which uses no reservation"
    if not group.wants_reservation:
        return f"{group.name} has `reserve: false`"
    sizes = {type_.lower() for type_ in group.types}
    members = [one for one in existing.members if str(one.get("sku", {}).get("name", "")).lower() in sizes]
    # An empty group may get members yet.
    if existing.members and not members:
        has = ", ".join(sorted({str(one.get("sku", {}).get("name")) for one in existing.members}))
        return f"{group.name} is {' or '.join(group.types)}, and it reserves {has}"
    return ""


def unused(
    request: Request,
    groups: Sequence[GroupSettings],
    existing_groups: Groups,
    region: str,
    number: str,
    used: Mapping[tuple[str, str], str],
) -> dict[str, str]:
    """Return `Offer.unused`: why what is named serves nothing there; nothing of what is for another topology."""
    serving = {group_of(member) for member in used.values()}
    found: dict[str, str] = {}
    for one in request.use_reservations:
        existing = existing_groups.get(group_of(one))
        if group_of(one) in serving:
            continue
        if existing is None:
            found[one] = "it could not be read"
        elif existing.region != region:
            found[one] = f"it is in {existing.region}"
        elif fitting := [group for group in groups if not _misfit(group, existing)]:
            here = [(group, existing.member(type_, number)) for group in fitting for type_ in group.types]
            full = [(group, existing.free(member)) for group, member in here if member is not None]
            said = "; ".join(f"{free} are free, and {group.name} needs {group.group.count}" for group, free in full)
            found[one] = said or f"it reserves nothing for them in zone {number or NO_ZONE}"
        elif len(request.topologies) == 1:
            found[one] = "; ".join(dict.fromkeys(_misfit(group, existing) for group in groups))
    return found
