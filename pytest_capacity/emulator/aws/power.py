"""Machines that are stopped, changed and started again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_capacity.emulator.aws.context import Context
from pytest_capacity.emulator.aws.instances import all_of, state_of
from pytest_capacity.emulator.aws.launch import echo, reservation_wish, wrong_architecture
from pytest_capacity.emulator.aws.things import Instance, Reservation
from pytest_capacity.emulator.refusal import Refusal


def stop(ctx: Context) -> dict[str, Any]:
    """Answer StopInstances: all of them or none. One that is stopped already stays so (EC2 API reference)."""
    ctx.require("InstanceIds")
    instances = all_of(ctx, ctx.params["InstanceIds"], seen=False)
    for one in instances:
        if one.market == "spot":
            words = f"You can't stop the Spot Instance '{one.id}' because it is associated with a one-time Spot "
            words += "Instance request. You can only stop Spot Instances associated with persistent Spot Instance "
            raise Refusal("UnsupportedOperation", f"{words}requests.")
        if one.state(ctx.now) in ("pending", "shutting-down", "terminated"):
            words = f"This instance '{one.id}' is not in a state from which it can be stopped."
            raise Refusal("IncorrectInstanceState", words)
    ctx.dry_run()
    return {"StoppingInstances": [_changed(ctx, one, ctx.world.stop) for one in instances]}


def start(ctx: Context) -> dict[str, Any]:
    """Answer StartInstances: all of them or none; each goes to the reservation that it targets."""
    ctx.require("InstanceIds")
    instances = all_of(ctx, ctx.params["InstanceIds"], seen=False)
    stopped = [one for one in instances if one.state(ctx.now) not in ("pending", "running")]
    for one in stopped:
        if one.state(ctx.now) != "stopped":
            words = f"The instance '{one.id}' is not in a state from which it can be started."
            raise Refusal("IncorrectInstanceState", words)
        ctx.check_type(one.type, one.zone)
    ctx.dry_run()
    changes = []
    for one in instances:
        if one in stopped:
            changes.append(_changed(ctx, one, lambda machine: _start(ctx, machine)))
        else:
            now = state_of(one.state(ctx.now))
            changes.append({"InstanceId": one.id, "CurrentState": now, "PreviousState": now})
    return {"StartingInstances": changes}


def _start(ctx: Context, one: Instance) -> None:
    specification = one.details["CapacityReservationSpecification"]
    preference, target = reservation_wish(ctx, one.market, specification)
    if target is not None:
        seat = next((found for found in target if _fits(ctx, found, one) and ctx.world.free_seats(found)), None)
        if seat is None:
            words = "The requested reservation does not have sufficient compatible and available capacity for this"
            raise Refusal("ReservationCapacityExceeded", f"{words} request.")
    else:
        open_ones = [] if preference == "none" else [it for it in ctx.reservations.values() if it.match == "open"]
        seat = next((it for it in open_ones if _fits(ctx, it, one) and ctx.world.free_seats(it)), None)
    ctx.world.start(one, seat)


def _fits(ctx: Context, reservation: Reservation, one: Instance) -> bool:
    arn = ctx.arn("placement-group", one.group_name) if one.group_name else ""
    return (
        reservation.state(ctx.now) == "active"
        and (reservation.zone, reservation.type) == (one.zone, one.type)
        and (reservation.platform, reservation.tenancy) == (one.platform, one.tenancy)
        and reservation.group_arn in ("", arn)
    )


def _changed(ctx: Context, one: Instance, change: Callable[[Instance], None]) -> dict[str, Any]:
    before = one.state(ctx.now)
    change(one)
    after = one.state(ctx.world.clock.now())
    # EC2 answers with the state on the way, however soon it is over.
    shown = {"stopped": "stopping", "running": "pending"}.get(after, after) if after != before else after
    return {"InstanceId": one.id, "CurrentState": state_of(shown), "PreviousState": state_of(before)}


def modify_attribute(ctx: Context) -> dict[str, Any]:
    """Answer ModifyInstanceAttribute, for the type, and for the two that matter at the end of a machine."""
    (one,) = all_of(ctx, [ctx.params["InstanceId"]], seen=False)
    if "InstanceType" in ctx.params:
        _change_type(ctx, one, ctx.params["InstanceType"])
        return {}
    changed = dict(one.details)
    protection = ctx.params.get("DisableApiTermination")
    behaviour = ctx.params.get("InstanceInitiatedShutdownBehavior")
    if protection is None and behaviour is None:
        words = "The emulator changes InstanceType, DisableApiTermination and InstanceInitiatedShutdownBehavior."
        raise Refusal("UnsupportedOperation", words)
    if protection is not None:
        changed["DisableApiTermination"] = protection["Value"]
    if behaviour is not None:
        changed["ShutdownBehavior"] = behaviour["Value"]
    ctx.dry_run()
    one.ends_by_shutdown = changed["ShutdownBehavior"] == "terminate"
    one.details = changed
    return {}


def _change_type(ctx: Context, one: Instance, value: Mapping[str, Any]) -> None:
    """Set the type for ModifyInstanceAttribute: only while it is stopped, and of its image's architecture."""
    type_ = str(value.get("Value", ""))
    _check_stopped(ctx, one)
    if not ctx.catalogue.has_type(type_):
        raise Refusal("InvalidInstanceAttributeValue", f"Invalid value '{type_}' for InstanceType.")
    if one.details["Architecture"] not in ctx.catalogue.architectures(type_):
        raise wrong_architecture(ctx.catalogue.architectures(type_)[-1], one.details["Architecture"])
    ctx.dry_run()
    ctx.world.change_type(one, type_)


def modify_reservation(ctx: Context) -> dict[str, Any]:
    """Answer ModifyInstanceCapacityReservationAttributes: where a stopped machine goes when it is started."""
    (one,) = all_of(ctx, [ctx.params["InstanceId"]], seen=False)
    _check_stopped(ctx, one)
    specification = ctx.params.get("CapacityReservationSpecification")
    if not specification:
        raise Refusal("MissingParameter", "The request must contain the parameter CapacityReservationSpecification")
    reservation_wish(ctx, one.market, specification)
    ctx.dry_run()
    one.details = {**one.details, "CapacityReservationSpecification": echo(specification)}
    return {"Return": True}


def _check_stopped(ctx: Context, one: Instance) -> None:
    """Refuse a change of a machine that is not stopped."""
    if one.state(ctx.now) != "stopped":
        raise Refusal("IncorrectInstanceState", f"The instance '{one.id}' is not in the 'stopped' state.")
