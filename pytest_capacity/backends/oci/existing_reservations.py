"""Existing reservations that the user named (``use_reservations``): which of them serves which group, and why not."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from oci.exceptions import ServiceError

from pytest_capacity.backends.oci.errors import is_hidden
from pytest_capacity.backends.oci.forms import split_zone
from pytest_capacity.backends.oci.listing import side_by_side
from pytest_capacity.backends.oci.plan import OWN_CLUSTER, cluster_of
from pytest_capacity.backends.oci.session import COMPUTE, Cloud
from pytest_capacity.backends.oci.settings import GroupSettings, settings_of
from pytest_capacity.errors import Refused
from pytest_capacity.ladder import regions_in_use
from pytest_capacity.model import Request

#: States from which a reservation does not come back.
_OVER: Final = ("DELETING", "DELETED")
#: The reasons that a refusal gives of one reservation; more groups have the same few.
_SHOWN: Final = 4


class Existing:
    """The reservations that the user named (``use_reservations``), each looked up once in the regions of the run."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._regions = regions_in_use(request)
        self._lock = threading.Lock()
        self._found: dict[str, list[Mapping[str, Any]]] = {}

    def read(self, cloud: Cloud, region: str) -> list[Mapping[str, Any]]:
        """Return those that are in ``region``. Raise `Refused` once it is sure that one of them is in no region."""
        here = [
            one for one in side_by_side(lambda id_: _get(cloud, region, id_), self._request.use_reservations) if one
        ]
        with self._lock:
            self._found[region] = here
            seen = {one["id"] for found in self._found.values() for one in found}
            complete = all(one in self._found for one in self._regions)
        missing = [one for one in self._request.use_reservations if one not in seen]
        if missing and complete:
            raise Refused(
                f"use_reservations names {', '.join(missing)}; OCI has no such capacity reservation for these "
                f"credentials in {', '.join(self._regions)}. Nothing was created. Correct the OCID, or the region"
            )
        return here


def _get(cloud: Cloud, region: str, identifier: str) -> Mapping[str, Any] | None:
    try:
        path = f"/computeCapacityReservations/{identifier}"
        found: Mapping[str, Any] = cloud.get(COMPUTE, region, "GetComputeCapacityReservation", path).data
    except ServiceError as error:
        if is_hidden(error):
            return None
        raise
    return found


class Use(Struct, frozen=True):
    """What existing reservations do for the groups of a topology in one zone."""

    #: The OCID of what serves a group as a shape.
    used: Mapping[tuple[str, str], str]
    #: Why the others serve nothing there, by OCID.
    unused: Mapping[str, str]


def check_usable(
    cloud: Cloud,
    request: Request,
    region: str,
    existing: Sequence[Mapping[str, Any]],
    zones: Mapping[str, tuple[str, ...]],
) -> None:
    """Refuse a reservation of ``region`` that serves no group of the run in any placement of the run.

    It would stay unused, and a second one be paid for. What has no room now, or is in a domain where the run is not
    placed in the end, may serve another time: that is reported (`Offer.unused`). ``zones`` are the region's, with
    their other spellings. Raises `Refused`.
    """
    groups = [settings_of(request, group) for topology in request.topologies.values() for group in topology.groups]
    for one in existing:
        never = _never(request, one, zones, cloud.compartment)
        reasons = [never] if never else list(_misfits(groups, one).values())
        if all(reasons):
            shown = list(dict.fromkeys(reasons))
            more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
            raise Refused(
                f"use_reservations names {one['id']} (for {_words(one)}), which no node of this run in {region} can "
                f"use: {'; '.join(shown[:_SHOWN])}{more}. Nothing was created, since a second reservation would be "
                "paid for beside it. Correct that, or take it out of use_reservations"
            )


def _never(request: Request, one: Mapping[str, Any], zones: Mapping[str, tuple[str, ...]], compartment: str) -> str:
    """Return why it serves no group at all, whatever the groups are; empty where nothing is known against it."""
    if one.get("lifecycleState") in _OVER:
        return f"it is {one['lifecycleState']}"
    if one.get("compartmentId") != compartment:
        # Oracle launches into reservations of the same compartment only.
        return f"it is in compartment {one.get('compartmentId')}, and the nodes are in {compartment} (oci.compartment)"
    here = [names for zone, names in zones.items() if split_zone(zone)[0] == one.get("availabilityDomain")]
    spellings = {str(one.get("availabilityDomain")), *(name for names in here for name in names)}
    if request.zones and not {"*", *spellings}.intersection(request.zones) and not _beside(request.zones, zones):
        return f"it is in {one.get('availabilityDomain')}, and `zones` are {', '.join(request.zones)}"
    return ""


def _beside(wanted: Iterable[str], zones: Mapping[str, tuple[str, ...]]) -> bool:
    """Return whether ``wanted`` are all of other regions, where another reservation may be meant."""
    known = {name for zone, names in zones.items() for name in (zone, *names)}
    return not known.intersection(wanted)


def use_in_zone(
    request: Request, groups: Sequence[GroupSettings], existing: Sequence[Mapping[str, Any]], region: str, zone: str
) -> Use:
    """Return which existing reservation serves which group as which shape, and why others serve none.

    It serves a group only whole. First choose those that will be requested first: groups that are not spot, which
    cannot use one until they have fallen back, by their first shapes.
    """
    domain, fault = split_zone(zone)
    configs = [
        (one["id"], config)
        for one in existing
        if one.get("lifecycleState") == "ACTIVE" and one.get("availabilityDomain") == domain
        for config in one.get("instanceReservationConfigs") or ()
        if (config.get("faultDomain") or "") == fault
    ]
    free = [_free(config) for _, config in configs]
    used: dict[tuple[str, str], str] = {}
    wishes = [(group, place, shape) for group in groups for place, shape in enumerate(group.types)]
    for group, _, shape in sorted(wishes, key=lambda wish: (wish[0].market == "spot", wish[1])):
        for place, (id_, config) in enumerate(configs):
            if free[place] >= group.group.count and not _misfit(group, shape, config):
                free[place] -= group.group.count
                used[group.name, shape] = id_
                break
    serving = set(used.values())
    unused = {
        id_: why
        for id_ in request.use_reservations
        if id_ not in serving and (why := _why_unused(request, groups, existing, region, zone, id_))
    }
    return Use(used, unused)


def _free(config: Mapping[str, Any]) -> int:
    return int(config.get("reservedCount") or 0) - int(config.get("usedCount") or 0)


def _why_unused(
    request: Request,
    groups: Sequence[GroupSettings],
    existing: Sequence[Mapping[str, Any]],
    region: str,
    zone: str,
    id_: str,
) -> str:
    """Return why a reservation serves no group in ``zone``; empty where it is for another topology."""
    one = next((found for found in existing if found["id"] == id_), None)
    if one is None:
        return f"it is not in {region}"
    misfits = _misfits(groups, one)
    fitting = [group for group in groups if not misfits[group.name]]
    if not fitting:
        return "" if len(request.topologies) > 1 else "; ".join(list(dict.fromkeys(misfits.values()))[:_SHOWN])
    domain, fault = split_zone(zone)
    if one.get("availabilityDomain") != domain:
        return f"it is in {one.get('availabilityDomain')}"
    if one.get("lifecycleState") != "ACTIVE":
        return f"it is {one.get('lifecycleState')}"
    configs = [config for config in one.get("instanceReservationConfigs") or () if not _misfits_all(fitting, config)]
    here = [config for config in configs if (config.get("faultDomain") or "") == fault]
    if not here:
        names = sorted({config.get("faultDomain") or "no fault domain" for config in configs})
        return f"it is for {', '.join(names)}, and the nodes are in {fault or 'any fault domain'}"
    needs = " and ".join(f"{group.name} needs {group.group.count}" for group in fitting)
    total = sum(int(config.get("reservedCount") or 0) for config in here)
    return f"{sum(map(_free, here))} of {total} are free, and {needs}"


def _misfits(groups: Sequence[GroupSettings], one: Mapping[str, Any]) -> dict[str, str]:
    """Return by group why no configuration of a reservation would do for it; empty where one would."""
    configs = one.get("instanceReservationConfigs") or ()
    found: dict[str, str] = {}
    for group in groups:
        reasons = [_misfit(group, shape, config) for config in configs for shape in group.types]
        # What is nearest to a fit explains the most.
        nearest = sorted(reasons, key=lambda reason: reason.startswith(f"{group.name} is "))
        found[group.name] = "" if "" in reasons else next(iter(nearest), "it has no configuration")
    return found


def _misfits_all(groups: Sequence[GroupSettings], config: Mapping[str, Any]) -> bool:
    return all(_misfit(group, shape, config) for group in groups for shape in group.types)


def _misfit(group: GroupSettings, shape: str, config: Mapping[str, Any]) -> str:
    """Return why Oracle would refuse to launch the group as ``shape`` in a configuration; empty where it would not."""
    name = group.name
    if group.group.reserve is False:
        return f"{name} has `reserve: false`"
    if not group.may_be_on_demand:
        return f"{name} is spot, which uses no reservation"
    if config.get("instanceShape") != shape:
        return f"{name} is {' or '.join(group.types)}"
    size, given = group.shape_config(shape), config.get("instanceShapeConfig") or {}
    if any(float(given.get(key, value)) != value for key, value in size.items()):
        return f"{name} has {_size(size)}, and it is for {_size(given)}"
    wanted, there = cluster_of(group), config.get("clusterPlacementGroupId") or ""
    if wanted == OWN_CLUSTER:
        return f"{name} has a cluster placement group of its own (name one: oci.cluster_placement_group)"
    if wanted != there:
        return f"it is in {there or 'no cluster placement group'}, and {name} in {wanted or 'none'}"
    return ""


def _size(config: Mapping[str, Any]) -> str:
    return f"{float(config.get('ocpus') or 0):g} OCPUs and {float(config.get('memoryInGBs') or 0):g} GB"


def _words(one: Mapping[str, Any]) -> str:
    configs = one.get("instanceReservationConfigs") or ()
    counts = ", ".join(f"{config.get('reservedCount')} x {config.get('instanceShape')}" for config in configs)
    return f"{counts or 'nothing'} in {one.get('availabilityDomain')}"
