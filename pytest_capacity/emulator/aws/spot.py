"""Spot requests (those that RunInstances makes) and spot prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.aws.context import Context, check_id, render_tags, when
from pytest_capacity.emulator.aws.listing import Reading, choose, page
from pytest_capacity.emulator.aws.things import SpotRequest
from pytest_capacity.emulator.refusal import Refusal

ERROR: Final = "InvalidSpotInstanceRequestID"


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeSpotInstanceRequests."""
    ctx.dry_run()
    found = [one for one in ctx.spot_requests.values() if one.visible(ctx.now)]
    ids = ctx.params.get("SpotInstanceRequestIds", [])
    if ids:
        _get(ctx, ids)
        found = [one for one in found if one.id in ids]
    chosen, token = page(choose(found, ctx.params.get("Filters", []), _readings(ctx)), ctx.params)
    return {"SpotInstanceRequests": [_render(ctx, one) for one in chosen], "NextToken": token}


def cancel(ctx: Context) -> dict[str, Any]:
    """Answer CancelSpotInstanceRequests. The machine continues to run."""
    found = _get(ctx, ctx.params["SpotInstanceRequestIds"])
    ctx.dry_run()
    for one in found:
        one.cancelled = True
    states = [{"SpotInstanceRequestId": one.id, "State": "cancelled"} for one in found]
    return {"CancelledSpotInstanceRequests": states}


def prices(ctx: Context) -> dict[str, Any]:
    """Answer DescribeSpotPriceHistory: one price for each zone and type, now."""
    ctx.dry_run()
    zones = ctx.catalogue.zones_of(ctx.region)
    zone = ctx.params.get("AvailabilityZone")
    if zone is not None and zone not in zones:
        raise Refusal("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    found = [
        {
            "AvailabilityZone": name,
            "InstanceType": type_,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": f"{ctx.catalogue.price(type_, 'spot'):.6f}",
            "Timestamp": when(ctx.now),
        }
        for type_ in ctx.params.get("InstanceTypes", [])
        for name in ([zone] if zone else zones)
        if ctx.catalogue.has_type(type_) and ctx.offers(name, type_)
    ]
    return {"SpotPriceHistory": found, "NextToken": ""}


def _get(ctx: Context, ids: list[str]) -> list[SpotRequest]:
    for id_ in ids:
        check_id(id_, "sir", ERROR)
        if id_ not in ctx.spot_requests:
            raise Refusal(f"{ERROR}.NotFound", f"The spot instance request ID '{id_}' does not exist")
    return [ctx.spot_requests[id_] for id_ in ids]


def _condition(ctx: Context, one: SpotRequest) -> tuple[str, str]:
    """Return state and status code (EC2 user guide, "Spot request status")."""
    instance = ctx.instances.get(one.instance_id)
    if instance is None or instance.leaving_at <= ctx.now:
        reclaimed = instance is not None and instance.cause == "preempted"
        status = "instance-terminated-no-capacity" if reclaimed else "instance-terminated-by-user"
        return ("cancelled" if one.cancelled else "closed"), status
    if instance.taken_at is not None:
        return ("cancelled" if one.cancelled else "active"), "marked-for-termination"
    return ("cancelled", "request-canceled-and-instance-running") if one.cancelled else ("active", "fulfilled")


def _render(ctx: Context, one: SpotRequest) -> dict[str, Any]:
    state, status = _condition(ctx, one)
    return {
        "SpotInstanceRequestId": one.id,
        "InstanceId": one.instance_id,
        "CreateTime": when(one.made),
        "LaunchedAvailabilityZone": one.zone,
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": one.details.get("MaxPrice") or f"{ctx.catalogue.price(one.type, 'on-demand'):.6f}",
        "State": state,
        "Status": {"Code": status, "Message": status, "UpdateTime": when(ctx.now)},
        "Type": "one-time",
        "InstanceInterruptionBehavior": one.details.get("InstanceInterruptionBehavior", "terminate"),
        "Tags": render_tags(one) or None,
    }


def _readings(ctx: Context) -> Mapping[str, Reading]:
    return {
        "spot-instance-request-id": lambda one: [one.id],
        "instance-id": lambda one: [one.instance_id],
        "state": lambda one: [_condition(ctx, one)[0]],
        "status-code": lambda one: [_condition(ctx, one)[1]],
        "launched-availability-zone": lambda one: [one.zone],
        "type": lambda one: ["one-time"],
    }
