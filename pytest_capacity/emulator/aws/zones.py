"""DescribeAvailabilityZones: the region's zones; with its local and wavelength zones, where they are switched on.

An account sees a local or wavelength zone once it has switched its group on; all of them with AllAvailabilityZones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pytest_capacity.emulator.aws.context import Context
from pytest_capacity.emulator.aws.own import own_of
from pytest_capacity.emulator.refusal import Refusal

#: Of some regions: group, type, letter of the parent zone, zones and their ids (AWS's pages of Local Zones and
#: Wavelength).
_OTHERS: Final[Mapping[str, Sequence[tuple[str, str, str, Mapping[str, str]]]]] = {
    "us-east-1": (
        ("us-east-1-bos-1", "local-zone", "d", {"us-east-1-bos-1a": "use1-bos1-az1"}),
        ("us-east-1-mia-1", "local-zone", "d", {"us-east-1-mia-1a": "use1-mia1-az1"}),
        ("us-east-1-wl1", "wavelength-zone", "d", {"us-east-1-wl1-bos-wlz-1": "use1-wl1-bos-wlz1"}),
    ),
    "us-west-2": (
        (
            "us-west-2-lax-1",
            "local-zone",
            "a",
            {"us-west-2-lax-1a": "usw2-lax1-az1", "us-west-2-lax-1b": "usw2-lax1-az2"},
        ),
        ("us-west-2-wl1", "wavelength-zone", "a", {"us-west-2-wl1-las-wlz-1": "usw2-wl1-las-wlz1"}),
    ),
}


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeAvailabilityZones."""
    ctx.dry_run()
    params = ctx.params
    found = _zones(ctx)
    named, ids = params.get("ZoneNames", []), params.get("ZoneIds", [])
    for name, wanted, key in (("zone", named, "ZoneName"), ("zone id", ids, "ZoneId")):
        unknown = [one for one in wanted if all(zone[key] != one for zone in found)]
        if unknown:
            raise Refusal("InvalidParameterValue", f"Invalid availability {name}: [{unknown[0]}]")
    # One that is named is listed whether it is switched on or not.
    if not params.get("AllAvailabilityZones") and not named and not ids:
        found = [zone for zone in found if zone["OptInStatus"] != "not-opted-in"]
    found = [zone for zone in found if (not named or zone["ZoneName"] in named) and (not ids or zone["ZoneId"] in ids)]
    for one in params.get("Filters", []):
        read = _READINGS.get(one.get("Name", ""))
        if read is None:
            raise Refusal("InvalidParameterValue", f"The filter '{one.get('Name', 'null')}' is invalid")
        found = [zone for zone in found if read(zone) in one.get("Values", [])]
    return {"AvailabilityZones": found}


def modify_group(ctx: Context) -> dict[str, Any]:
    """Answer ModifyAvailabilityZoneGroup: EC2 switches groups on, and off only by its support."""
    name, status = ctx.params["GroupName"], ctx.params["OptInStatus"]
    if name not in [group for group, *_ in _OTHERS.get(ctx.region, ())]:
        raise Refusal("InvalidParameterValue", f"Value ({name}) for parameter GroupName is invalid.")
    if status != "opted-in":
        raise Refusal("OptInStatusUnsupported", "To opt out of a zone group, contact AWS Support.")
    ctx.dry_run()
    on = own_of(ctx.world).opted_in
    ctx.world.set_own("aws", "opted_in", [*on, *([] if name in on else [name])])
    return {"Return": True}


def _zones(ctx: Context) -> list[dict[str, Any]]:
    region = ctx.region
    common: dict[str, Any] = {"State": "available", "RegionName": region, "Messages": []}
    found = [
        {
            **common,
            "OptInStatus": "opt-in-not-required",
            "ZoneName": name,
            "ZoneId": id_,
            "GroupName": f"{region}-zg-1",
            "NetworkBorderGroup": region,
            "ZoneType": "availability-zone",
        }
        for name, id_ in ctx.catalogue.zones_of(region).items()
    ]
    on = own_of(ctx.world).opted_in
    for group, kind, parent, zones in _OTHERS.get(region, ()):
        above = f"{region}{parent}"
        found += [
            {
                **common,
                "OptInStatus": "opted-in" if group in on else "not-opted-in",
                "ZoneName": name,
                "ZoneId": id_,
                "GroupName": group,
                "NetworkBorderGroup": group,
                "ZoneType": kind,
                "ParentZoneName": above,
                "ParentZoneId": ctx.catalogue.zones_of(region).get(above),
            }
            for name, id_ in zones.items()
        ]
    return found


def _field(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda zone: zone.get(name)


_READINGS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "group-name": _field("GroupName"),
    "opt-in-status": _field("OptInStatus"),
    "parent-zone-id": _field("ParentZoneId"),
    "parent-zone-name": _field("ParentZoneName"),
    "region-name": _field("RegionName"),
    "state": _field("State"),
    "zone-id": _field("ZoneId"),
    "zone-name": _field("ZoneName"),
    "zone-type": _field("ZoneType"),
}
