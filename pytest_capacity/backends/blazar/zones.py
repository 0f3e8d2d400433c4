"""Which zones of a region can take a topology. What may not be read decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pytest_capacity.backends.blazar.plan import flavor_fact
from pytest_capacity.backends.blazar.session import COMPUTE, RESERVATION, ApiError, Region
from pytest_capacity.backends.blazar.settings import GroupSettings
from pytest_capacity.model import Offer

#: Zones that a lease of whole hosts makes for itself.
_LEASED: Final = "blazar_"

#: A lease's name has room for a zone of so many characters (`stamp`).
_ZONE_LIMIT: Final = 14

#: 403, and 404 where a cloud has no such service.
_NOT_FOR_US: Final = (403, 404)


def read_offers(region: Region, groups: Sequence[GroupSettings]) -> list[Offer]:
    """Return the zones of ``region`` by name, with what each can do for these groups."""
    flavors = _flavors(region)
    zones = _zones(region)
    hosts = _if_allowed(lambda: region.call(RESERVATION, "GET", "/os-hosts")["hosts"])
    facts = {
        flavor_fact(name): f"{one['id']} {one['vcpus']} {one['ram']} {one['disk']}" for name, one in flavors.items()
    }
    wanted = {name for group in groups for name in group.types}
    lacks = tuple(sorted(wanted - set(flavors)))
    reserved = any(group.reserve for group in groups)
    return [_offer(region.name, zone, facts, lacks, groups, hosts if reserved else None) for zone in zones]


def _offer(
    region: str,
    zone: str,
    facts: Mapping[str, str],
    lacks: tuple[str, ...],
    groups: Sequence[GroupSettings],
    hosts: Sequence[Mapping[str, Any]] | None,
) -> Offer:
    why = ""
    missing = next((group.name for group in groups if set(group.types) <= set(lacks)), "")
    if missing:
        why = f"has no flavor {', '.join(lacks)}, for group {missing}"
    elif len(zone) > _ZONE_LIMIT:
        why = f"its name is longer than {_ZONE_LIMIT} characters, for which a lease's name has no room"
    elif hosts is not None and not any(
        host.get("reservable") and host.get("availability_zone") == zone for host in hosts
    ):
        why = "Blazar has no reservable host there"
    return Offer(region=region, zone=zone, ok=not why, why=why, lacks=lacks, facts=facts)


def _flavors(region: Region) -> dict[str, dict[str, Any]]:
    """Return flavors by name and by id; those of reservations, which are named after them, are left out."""
    found = region.call(COMPUTE, "GET", "/flavors/detail")["flavors"]
    own = [one for one in found if not str(one["name"]).startswith("reservation:")]
    return {**{str(one["id"]): one for one in own}, **{str(one["name"]): one for one in own}}


def _zones(region: Region) -> list[str]:
    answer = region.call(COMPUTE, "GET", "/os-availability-zone")
    return sorted(
        one["zoneName"]
        for one in answer["availabilityZoneInfo"]
        if one["zoneState"]["available"] and not one["zoneName"].startswith(_LEASED)
    )


def _if_allowed(read: Callable[[], Any]) -> Any:
    """Return what ``read`` returns; None where these credentials may not: Blazar's hosts are for admins."""
    try:
        return read()
    except ApiError as error:
        if error.status not in _NOT_FOR_US:
            raise
        return None
