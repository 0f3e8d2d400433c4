"""Existing reservations that the user named (``use_reservations``): which of them serves which group, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.gce.listing import any_of, read_list
from pytest_capacity.backends.gce.plan import Shape, shape_of
from pytest_capacity.backends.gce.session import Session
from pytest_capacity.backends.gce.settings import GroupSettings, settings_of
from pytest_capacity.backends.gce.values import last, without_host
from pytest_capacity.errors import Refused
from pytest_capacity.model import Request


class Listed(Struct, frozen=True, kw_only=True):
    """A reservation that the user named, as the API lists it."""

    #: The user's own words for it: a name, a link, or both.
    asked: tuple[str, ...]
    name: str
    #: How a machine names it: by its name, and by its project too where that is another one.
    affinity: str
    zone: str
    is_ready: bool
    #: Whether it is consumed by name only.
    is_specific: bool
    count: int
    free: int
    shape: Shape

    @property
    def words(self) -> str:
        """Return its shape and how it is consumed, for messages."""
        kind = "" if self.is_specific else ", consumed automatically"
        return f"{self.shape.label}{kind}"

    def fits(self, group: GroupSettings, type_: str) -> bool:
        """Return whether the group's machines, as ``type_``, can use it."""
        return self.is_specific and self.shape == shape_of(group, type_)


def read_reservations(session: Session, names: Sequence[str]) -> list[Listed]:
    """Return what there is of ``names`` (names, or links), in their order, by one list a project.

    A name without a zone stands for the reservations of that name in all zones.
    """
    by_project: dict[str, dict[str, tuple[str, str]]] = {}
    for asked in names:
        project, zone, name = _place_of(asked)
        by_project.setdefault(project or session.project, {})[asked] = (zone, name)
    found: list[Listed] = []
    for project, some in by_project.items():
        listing = read_list(
            session,
            "reservations.aggregatedList",
            "reservations",
            any_of(f'name="{name}"' for name in sorted({name for _, name in some.values()})),
            {"project": project},
        )
        other = "" if project == session.project else project
        for answer in listing.items:
            places = ((last(answer.get("zone")), answer["name"]), ("", answer["name"]))
            if words := tuple(one for one, place in some.items() if place in places):
                found.append(_listed(answer, other, words))
    order = list(names)
    return sorted(found, key=lambda one: order.index(one.asked[0]))


def _place_of(asked: str) -> tuple[str, str, str]:
    """Return project, zone and name of a name or a link; empty where it does not say the first two."""
    parts = without_host(asked).split("/")
    where = dict(zip(parts[:-2:2], parts[1:-2:2], strict=True))
    return where.get("projects", ""), where.get("zones", ""), parts[-1]


def affinity_of(request: Request, own_project: str, name: str) -> str:
    """Return how a machine names the existing reservation ``name``; empty where the user named none of that name."""
    for asked in request.use_reservations:
        project, _, its_name = _place_of(asked)
        if its_name == name:
            return name if project in ("", own_project) else f"projects/{project}/reservations/{name}"
    return ""


def check_reservations(request: Request, listed: Sequence[Listed]) -> None:
    """Raise `Refused` for what ``use_reservations`` names that does not exist, or that fits no machine of the run."""
    for name in request.use_reservations:
        found = [one for one in listed if name in one.asked]
        if not found:
            raise Refused(
                f"use_reservations asks for {name}; Compute Engine lists no such reservation for this project. "
                "Nothing was created. Correct the name, or gce.project"
            )
        groups = [settings_of(request, group) for topology in request.topologies.values() for group in topology.groups]
        if not any(one.fits(group, type_) for one in found for group in groups for type_ in group.types):
            raise Refused(
                f"use_reservations asks for {name}, which is for {found[0].words}: no group asks for such machines. "
                "Nothing was created. Type, local SSDs, minimum CPU platform and accelerators must all be equal, and "
                "the reservation must be one that is consumed by name"
            )


class Use(Struct, frozen=True, kw_only=True):
    """What existing reservations do for the groups of a topology in one zone."""

    #: What serves a group as a type: the reservation, as a machine names it.
    affinities: Mapping[tuple[str, str], str]
    #: The same by the user's own words for the reservation.
    served: Mapping[tuple[str, str], str]
    #: Why the others serve nothing here, by the user's own words.
    unused: Mapping[str, str]


def use_in_zone(request: Request, groups: Sequence[GroupSettings], listed: Sequence[Listed] | None, zone: str) -> Use:
    """Return which existing reservation serves which group as which type, and why others serve none.

    A listed reservation serves a group only whole. First choose those that will be asked for first: groups that are not
    spot, which cannot use one until they have fallen back, by their first types, and of them those that would otherwise
    be reserved. Our placement policy is new, so nothing that exists lies in it. ``listed`` is None where they could not
    be read.
    """
    eligible = [group for group in groups if group.may_be_on_demand and not group.group.placement_group]
    wishes = [(group, place, type_) for group in eligible for place, type_ in enumerate(group.types)]
    here = [one for one in listed or () if one.zone == zone and one.is_ready]
    used: dict[tuple[str, str], Listed] = {}
    for group, _, type_ in sorted(wishes, key=lambda wish: (wish[0].market == "spot", wish[1], not wish[0].reserve)):
        for place, one in enumerate(here):
            if one.free >= group.group.count and one.fits(group, type_):
                here[place] = replace(one, free=one.free - group.group.count)
                used[group.name, type_] = one
                break
    serving = {words for one in used.values() for words in one.asked}
    return Use(
        affinities={user: one.affinity for user, one in used.items()},
        served={user: one.asked[0] for user, one in used.items()},
        unused={
            name: why
            for name in request.use_reservations
            if name not in serving and (why := _why_unused(request, eligible, listed, zone, name))
        },
    )


def _why_unused(
    request: Request, groups: Sequence[GroupSettings], listed: Sequence[Listed] | None, zone: str, name: str
) -> str:
    """Return why a named reservation serves no group in ``zone``; empty where it is for another topology."""
    if listed is None:
        return "it could not be read"
    found = [one for one in listed if name in one.asked]
    fitting = [group for group in groups if any(one.fits(group, type_) for one in found for type_ in group.types)]
    if not fitting:
        return "" if len(request.topologies) > 1 else f"it is for {found[0].words}, which no group can use"
    here = [one for one in found if one.zone == zone]
    if not here:
        return f"it is in {', '.join(sorted(one.zone for one in found))}"
    if not here[0].is_ready:
        return "it is not READY"
    needs = " and ".join(f"{group.name} needs {group.group.count}" for group in fitting)
    return f"{here[0].free} of {here[0].count} are free, and {needs}"


def _listed(answer: Mapping[str, Any], project: str, asked: tuple[str, ...]) -> Listed:
    specific = answer.get("specificReservation") or {}
    properties = specific.get("instanceProperties") or {}
    disks = properties.get("localSsds") or ()
    boards = properties.get("guestAccelerators") or ()
    return Listed(
        asked=asked,
        name=answer["name"],
        affinity=f"projects/{project}/reservations/{answer['name']}" if project else answer["name"],
        zone=last(answer.get("zone")),
        is_ready=answer.get("status") == "READY",
        is_specific=bool(answer.get("specificReservationRequired")),
        count=int(specific.get("count") or 0),
        free=int(specific.get("count") or 0) - int(specific.get("inUseCount") or 0),
        shape=Shape(
            instance_type=last(properties.get("machineType")),
            min_cpu_platform=properties.get("minCpuPlatform") or "",
            local_ssds=len(disks),
            local_ssd_interface=(disks[0].get("interface") or "SCSI") if disks else "",
            accelerators=tuple(
                sorted((last(one.get("acceleratorType")), int(one.get("acceleratorCount") or 0)) for one in boards)
            ),
            placement_group=bool(answer.get("resourcePolicies")),
        ),
    )
