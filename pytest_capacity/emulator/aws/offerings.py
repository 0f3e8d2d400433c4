"""DescribeInstanceTypeOfferings: what each zone sells."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

from pytest_capacity.emulator.aws.context import Context
from pytest_capacity.emulator.aws.listing import make_token, read_token
from pytest_capacity.emulator.refusal import Refusal

LOCATION_TYPES: Final = ("region", "availability-zone", "availability-zone-id")


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeInstanceTypeOfferings, by moto's table less what the weather takes away."""
    kind = ctx.params.get("LocationType", "region")
    if kind not in LOCATION_TYPES:
        raise Refusal("InvalidParameterValue", f"Value ({kind}) for parameter LocationType is invalid.")
    ctx.dry_run()
    wanted = {"location": None, "instance-type": None}
    for one in ctx.params.get("Filters", []):
        if one.get("Name") not in wanted:
            raise Refusal("InvalidParameterValue", f"The filter '{one.get('Name', 'null')}' is invalid")
        wanted[one["Name"]] = one.get("Values", [])
    found = [pair for pair in _offered(ctx, kind) if _passes(pair[0], wanted["location"])]
    found = [pair for pair in found if _passes(pair[1], wanted["instance-type"])]
    # EC2 API reference: MaxResults 5 to 1000.
    limit = ctx.params.get("MaxResults", 1000)
    if not 5 <= limit <= 1000:
        words = f"Value ( {limit} ) for parameter maxResults is invalid. Expecting a value between 5 and 1000."
        raise Refusal("InvalidParameterValue", words)
    start = read_token(ctx.params["NextToken"]) if ctx.params.get("NextToken") else 0
    chosen = found[start : start + limit]
    return {
        "InstanceTypeOfferings": [
            {"InstanceType": type_, "LocationType": kind, "Location": location} for location, type_ in chosen
        ],
        "NextToken": make_token(start + limit) if start + limit < len(found) else None,
    }


def _offered(ctx: Context, kind: str) -> list[tuple[str, str]]:
    pairs = [pair for pair in ctx.catalogue.offerings(ctx.region) if ctx.offers(*pair)]
    if kind == "region":
        return [(ctx.region, type_) for type_ in dict.fromkeys(type_ for _, type_ in pairs)]
    if kind == "availability-zone-id":
        zones = ctx.catalogue.zones_of(ctx.region)
        return [(zones[zone], type_) for zone, type_ in pairs if zone in zones]
    return pairs


def _passes(value: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(value, pattern) for pattern in patterns)
