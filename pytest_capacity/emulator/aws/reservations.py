"""On-Demand Capacity Reservations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from botocore.model import StringShape
from moto.core.utils import get_service_model

from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.context import Context, check_id, once, render_tags, when
from pytest_capacity.emulator.aws.listing import Reading, choose, page
from pytest_capacity.emulator.aws.placement_groups import by_arn
from pytest_capacity.emulator.aws.things import Reservation
from pytest_capacity.emulator.refusal import Refusal

ERROR: Final = "InvalidCapacityReservationId"
#: Most machines of one request (EC2 API reference, CreateCapacityReservation: 1 to 1000).
MOST: Final = 1000


def create(ctx: Context) -> dict[str, Any]:
    """Answer CreateCapacityReservation."""
    params = ctx.params
    if params.get("AvailabilityZone") is None and params.get("AvailabilityZoneId") is None:
        words = "The request must contain the parameter AvailabilityZone or AvailabilityZoneId"
        raise Refusal("MissingParameter", words)
    zone = ctx.zone(params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    _refuse_future(ctx)
    _check_enum("InstancePlatform", "CapacityReservationInstancePlatform", params["InstancePlatform"])
    _check_enum("Tenancy", "CapacityReservationTenancy", params.get("Tenancy", "default"))
    _check_enum("InstanceMatchCriteria", "InstanceMatchCriteria", params.get("InstanceMatchCriteria", "open"))
    _check_count(params["InstanceCount"])
    ids = once(ctx, [zone], lambda: [_make(ctx, zone).id])
    return {"CapacityReservation": render(ctx, ctx.reservations[ids[0]])}


def _make(ctx: Context, zone: str) -> Reservation:
    params, world = ctx.params, ctx.world
    type_, count = params["InstanceType"], params["InstanceCount"]
    ctx.check_type(type_, zone)
    if "on-demand" not in ctx.catalogue.sold_as(type_):
        raise Refusal("Unsupported", f"The instance type {type_} does not support Capacity Reservations.")
    end = _end_date(ctx, params.get("EndDateType", "unlimited"), params.get("EndDate"))
    group_arn = params.get("PlacementGroupArn", "")
    if group_arn:
        group = by_arn(ctx, group_arn)
        if group.strategy != "cluster" or not ctx.catalogue.joins(type_, "cluster"):
            words = f"The instance type {type_} cannot be reserved in the placement group {group.name}."
            raise Refusal("InvalidParameterCombination", words)
    tags = ctx.tags_for("capacity-reservation")["capacity-reservation"]
    ctx.dry_run()
    world.room().check(ctx.place(zone), type_, "on-demand", count)
    reservation = Reservation(
        **ctx.born("cr"),
        tags=tags,
        zone=zone,
        type=type_,
        count=count,
        platform=params["InstancePlatform"],
        tenancy=params.get("Tenancy", "default"),
        match=params.get("InstanceMatchCriteria", "open"),
        end_date=end,
        group_arn=group_arn,
        active_at=ctx.now + ctx.seconds("pending_s"),
        error=ctx.late,
        ebs_optimized=params.get("EbsOptimized", False),
        ephemeral_storage=params.get("EphemeralStorage", False),
    )
    world.add_reservation(reservation)
    return reservation


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeCapacityReservations."""
    ctx.dry_run()
    found = [one for one in ctx.reservations.values() if one.visible(ctx.now)]
    ids = ctx.params.get("CapacityReservationIds", [])
    if ids:
        by_id = {one.id: one for one in found}
        for id_ in ids:
            check_id(id_, "cr", ERROR)
            if id_ not in by_id:
                raise _unknown(id_)
        found = [by_id[id_] for id_ in dict.fromkeys(ids)]
    chosen, token = page(choose(found, ctx.params.get("Filters", []), _readings(ctx)), ctx.params)
    return {"CapacityReservations": [render(ctx, one) for one in chosen], "NextToken": token}


def modify(ctx: Context) -> dict[str, Any]:
    """Answer ModifyCapacityReservation."""
    params = ctx.params
    reservation = get(ctx, params["CapacityReservationId"])
    state = reservation.state(ctx.now)
    if state != "active":
        words = f"The Capacity Reservation {reservation.id} is in the state {state} and cannot be modified."
        raise Refusal("InvalidCapacityReservationState", words)
    end = reservation.end_date
    if "EndDate" in params or "EndDateType" in params:
        kind = params.get("EndDateType", "limited" if end is not None or "EndDate" in params else "unlimited")
        # EndDateType=limited alone keeps the date that the reservation has.
        date = params.get("EndDate") or (when(end) if kind == "limited" and end is not None else None)
        end = _end_date(ctx, kind, date)
    match = params.get("InstanceMatchCriteria", reservation.match)
    _check_enum("InstanceMatchCriteria", "InstanceMatchCriteria", match)
    used = ctx.world.inside(reservation)
    if match != reservation.match and used:
        words = "The instance eligibility can be changed only while no instance runs in the Capacity Reservation."
        raise Refusal("InvalidParameterCombination", words)
    count = params.get("InstanceCount", reservation.count)
    _check_count(count)
    if count < used:
        words = f"The Capacity Reservation is used by {used} instances; it cannot be reduced to {count}."
        # Of EC2's list of codes the only one for a count; the words for this case are not published.
        raise Refusal("InvalidParameterValue", words)
    ctx.dry_run()
    if count > reservation.count:
        more = count - reservation.count
        ctx.world.room().check(ctx.place(reservation.zone), reservation.type, "on-demand", more)
    reservation.end_date, reservation.match = end, match
    if count != reservation.count:
        ctx.world.resize(reservation, count)
    return {"Return": True}


def cancel(ctx: Context) -> dict[str, Any]:
    """Answer CancelCapacityReservation. Not while pending, and not twice: the API names the states it may be in."""
    reservation = get(ctx, ctx.params["CapacityReservationId"])
    state = reservation.state(ctx.now)
    if state != "active":
        words = f"The Capacity Reservation {reservation.id} is in the state {state} and cannot be cancelled."
        raise Refusal("InvalidCapacityReservationState", words)
    ctx.dry_run()
    ctx.world.end_reservation(reservation, "cancelled", ctx.now)
    return {"Return": True}


def usage(ctx: Context) -> dict[str, Any]:
    """Answer GetCapacityReservationUsage: which account's machines sit in it. There is one account here."""
    reservation = get(ctx, ctx.params["CapacityReservationId"])
    ctx.dry_run()
    used = ctx.world.inside(reservation)
    return {
        "CapacityReservationId": reservation.id,
        "InstanceType": reservation.type,
        "TotalInstanceCount": reservation.count,
        "AvailableInstanceCount": reservation.count - used if reservation.live(ctx.now) else 0,
        "State": reservation.state(ctx.now),
        "InstanceUsages": [{"AccountId": ACCOUNT, "UsedInstanceCount": used}] if used else [],
    }


def get(ctx: Context, id_: str) -> Reservation:
    """Return a reservation of this region by its id."""
    check_id(id_, "cr", ERROR)
    found = ctx.reservations.get(id_)
    if found is None:
        raise _unknown(id_)
    return found


def render(ctx: Context, one: Reservation) -> dict[str, Any]:
    """Return a reservation as EC2 describes it."""
    live = one.live(ctx.now)
    return {
        "CapacityReservationId": one.id,
        "OwnerId": ACCOUNT,
        "CapacityReservationArn": ctx.arn("capacity-reservation", one.id),
        "AvailabilityZoneId": ctx.catalogue.zones_of(one.region)[one.zone],
        "InstanceType": one.type,
        "InstancePlatform": one.platform,
        "AvailabilityZone": one.zone,
        "Tenancy": one.tenancy,
        "TotalInstanceCount": one.count,
        "AvailableInstanceCount": one.count - ctx.world.inside(one) if live else 0,
        "EbsOptimized": one.ebs_optimized,
        "EphemeralStorage": one.ephemeral_storage,
        "State": one.state(ctx.now),
        "StartDate": when(one.active_at),
        "EndDate": when(one.end_date if one.ended is None or one.ended_as == "expired" else one.ended),
        "EndDateType": "limited" if one.end_date is not None else "unlimited",
        "InstanceMatchCriteria": one.match,
        "CreateDate": when(one.made),
        "Tags": render_tags(one) or None,
        "PlacementGroupArn": one.group_arn or None,
        "ReservationType": "default",
    }


def _readings(ctx: Context) -> Mapping[str, Reading]:
    def reading(key: str) -> Reading:
        return lambda one: [str(value)] if (value := render(ctx, one).get(key)) is not None else []

    def moment(key: str) -> Reading:
        return lambda one: [f"{value:%Y-%m-%dT%H:%M:%S}.000Z"] if (value := render(ctx, one).get(key)) else []

    return {
        "instance-type": reading("InstanceType"),
        "owner-id": reading("OwnerId"),
        "instance-platform": reading("InstancePlatform"),
        "availability-zone": reading("AvailabilityZone"),
        "availability-zone-id": reading("AvailabilityZoneId"),
        "tenancy": reading("Tenancy"),
        "outpost-arn": reading("OutpostArn"),
        "state": reading("State"),
        "start-date": moment("StartDate"),
        "end-date": moment("EndDate"),
        "end-date-type": reading("EndDateType"),
        "instance-match-criteria": reading("InstanceMatchCriteria"),
        "placement-group-arn": reading("PlacementGroupArn"),
    }


def _unknown(id_: str) -> Refusal:
    return Refusal(f"{ERROR}.NotFound", f"The capacity reservation ID '{id_}' does not exist.")


def _refuse_future(ctx: Context) -> None:
    for name in ("StartDate", "CommitmentDuration", "DeliveryPreference", "OutpostArn"):
        if name in ctx.params:
            words = f"{name}: the emulator has no future-dated reservations and no Outposts; leave it out."
            raise Refusal("UnsupportedOperation", words)


def _check_enum(name: str, shape: str, value: str) -> None:
    model = get_service_model("ec2").shape_for(shape)
    assert isinstance(model, StringShape)
    if value not in model.enum:
        words = f"Value ({value}) for parameter {name} is invalid. Valid values: {', '.join(model.enum)}."
        raise Refusal("InvalidParameterValue", words)


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST:
        words = f"{count} is an invalid value for InstanceCount. InstanceCount must be between 1 and {MOST}."
        raise Refusal("InvalidParameterValue", words)


def _end_date(ctx: Context, kind: str, date: datetime | None) -> float | None:
    _check_enum("EndDateType", "EndDateType", kind)
    if kind == "unlimited":
        if date is not None:
            words = "You cannot specify EndDate when EndDateType is unlimited."
            raise Refusal("InvalidParameterCombination", words)
        return None
    if date is None:
        raise Refusal("InvalidParameterCombination", "You must specify EndDate when EndDateType is limited.")
    end = date.timestamp()
    if end <= ctx.now:
        raise Refusal("InvalidParameterValue", f"The end date {date:%Y-%m-%dT%H:%M:%SZ} must be in the future.")
    return end
