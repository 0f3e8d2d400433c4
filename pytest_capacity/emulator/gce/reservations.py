"""Reservations: made, listed, resized, shared and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.gce.catalogue import ACCELERATORS, PROJECT
from pytest_capacity.emulator.gce.context import CLOUD, Context
from pytest_capacity.emulator.gce.things import GceOperation, GceReservation, Instance, Policy
from pytest_capacity.emulator.gce.wire import (
    NAME,
    invalid,
    last,
    link,
    missing,
    number_id,
    read_time,
    time_text,
    whole,
)
from pytest_capacity.emulator.refusal import AlreadyExists, NoStock, OverQuota, Refusal
from pytest_capacity.emulator.things import FOREVER

#: Machines in one reservation (API reference, ReservationsResizeRequest).
_MOST = 1000

#: The least time until a reservation is deleted by itself. Seconds.
_LEAST_S = 60


def find(context: Context, zone: str, name: str) -> GceReservation:
    """Return a reservation of a zone. Raise `Refusal`."""
    for one in context.world.of(GceReservation, CLOUD):
        if (one.zone, one.name) == (zone, name):
            return one
    raise missing(f"projects/{PROJECT}/zones/{zone}/reservations/{name}")


def listed(context: Context) -> list[tuple[str, dict[str, Any]]]:
    """Return all reservations with their scopes."""
    found = context.world.of(GceReservation, CLOUD)
    return [(f"zones/{one.zone}", told(context, one)) for one in found if one.visible(context.now)]


def told(context: Context, one: GceReservation) -> dict[str, Any]:
    """Return a reservation as the API shows it."""
    path = f"zones/{one.zone}/reservations/{one.name}"
    body = one.body
    answer: dict[str, Any] = {
        "kind": "compute#reservation",
        "id": number_id(one.number),
        "creationTimestamp": time_text(one.made),
        "selfLink": link(path),
        "zone": link(f"zones/{one.zone}"),
        "name": one.name,
        "description": body.get("description", ""),
        "specificReservation": {
            "instanceProperties": body["specificReservation"]["instanceProperties"],
            "count": str(one.told_count(context.now)),
            "inUseCount": str(context.world.inside(one)),
            "assuredCount": str(one.told_count(context.now)),
        },
        "specificReservationRequired": bool(body.get("specificReservationRequired")),
        "status": one.state(context.now),
        "shareSettings": body.get("shareSettings") or {"shareType": "LOCAL"},
        "reservationSharingPolicy": {"serviceShareType": "DISALLOW_ALL"},
        "satisfiesPzs": False,
    }
    if one.end_date is not None:
        answer["deleteAtTime"] = time_text(one.end_date)
    if body.get("resourcePolicies"):
        answer["resourcePolicies"] = {
            key: link(f"regions/{one.region}/resourcePolicies/{last(value)}")
            for key, value in body["resourcePolicies"].items()
        }
    return answer


def insert(context: Context, asked: Asked) -> GceOperation:
    """Make one. What quota and stock do not allow is reported by the operation."""
    body: Mapping[str, Any] = asked.params["body"]
    name = str(body.get("name", ""))
    if not NAME.fullmatch(name):
        raise invalid("resource.name", name, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
    place = context.place(asked)
    path = f"zones/{place.zone}/reservations/{name}"
    type_, count = _wanted(context, place, body)
    for policy in (body.get("resourcePolicies") or {}).values():
        need_policy(context, place.region, last(policy))
    end = _end(context, body)
    if any((one.zone, one.name) == (place.zone, name) for one in context.world.of(GceReservation, CLOUD)):
        raise AlreadyExists("reservation", f"projects/{PROJECT}/{path}")
    late = asked.strike.late()
    try:
        context.world.room().check(place, type_, "on-demand", count)
    except (NoStock, OverQuota) as refusal:
        late = late or refusal
    if late is not None:
        return context.begin(asked, "insert", path, context.world.number(), error=late)
    active_at = context.now + context.seconds("operation_s") + context.seconds("pending_s")
    made = GceReservation(
        **context.world.born(CLOUD),
        id=f"{CLOUD}/{path}",
        kind="reservation",
        region=place.region,
        zone=place.zone,
        name=name,
        type=type_,
        count=count,
        active_at=active_at,
        end_date=end,
        token=asked.token or "",
        body=body,
    )
    context.world.add_reservation(made)
    return context.begin(asked, "insert", path, made.number)


def _wanted(context: Context, place: Place, body: Mapping[str, Any]) -> tuple[str, int]:
    specific = body.get("specificReservation")
    if not isinstance(specific, Mapping):
        raise Refusal("required", "Required field 'resource.specificReservation' not specified")
    properties = specific.get("instanceProperties") or {}
    type_ = last(properties.get("machineType"))
    check_type(context, place, type_)
    for board in properties.get("guestAccelerators") or ():
        check_accelerator(place, last(board.get("acceleratorType")))
    return type_, whole(specific.get("count", ""), "resource.specificReservation.count", 1)


def _end(context: Context, body: Mapping[str, Any]) -> float | None:
    if body.get("deleteAtTime") and body.get("deleteAfterDuration"):
        raise invalid("resource.deleteAtTime", str(body["deleteAtTime"]), "Only one of the two may be set.")
    end = read_time(body["deleteAtTime"]) if body.get("deleteAtTime") else None
    if duration := body.get("deleteAfterDuration"):
        end = context.now + whole(duration.get("seconds", ""), "resource.deleteAfterDuration.seconds", _LEAST_S)
    if end is not None and end < context.now:
        raise invalid("resource.deleteAtTime", time_text(end), "Must be in the future.")
    return end


def check_type(context: Context, place: Place, type_: str) -> None:
    """Raise `Refusal` for a machine type that the zone does not have."""
    if not context.catalogue.has_type(type_) or context.world.lacks_type(place, type_):
        raise Refusal("invalid", f"Machine type with name '{type_}' does not exist in zone '{place.zone}'.")


def check_accelerator(place: Place, name: str) -> None:
    """Raise `Refusal` for an accelerator type that the zone does not have."""
    if place.zone not in ACCELERATORS.get(name, ()):
        raise missing(f"projects/{PROJECT}/zones/{place.zone}/acceleratorTypes/{name}")


def need_policy(context: Context, region: str, name: str) -> Policy:
    """Return a resource policy of a region. Raise `Refusal`."""
    for one in context.world.of(Policy, CLOUD, region):
        if one.name == name:
            return one
    raise missing(f"projects/{PROJECT}/regions/{region}/resourcePolicies/{name}")


def delete(context: Context, asked: Asked) -> GceOperation:
    """Remove one that no machine uses."""
    one = find(context, asked.zone or "", asked.params["name"])
    path = f"zones/{one.zone}/reservations/{one.name}"
    users = [
        machine.name
        for machine in context.world.of(Instance, CLOUD)
        if machine.reservation_id == one.id and machine.occupies(context.now)
    ]
    if users and one.body.get("specificReservationRequired"):
        raise Refusal(
            "resourceInUseByAnotherResource",
            f"The reservation resource 'projects/{PROJECT}/{path}' is already being used by "
            f"'projects/{PROJECT}/zones/{one.zone}/instances/{users[0]}'",
        )
    if one.leaving_at != FOREVER:
        raise Refusal("resourceNotReady", f"The resource 'projects/{PROJECT}/{path}' is not ready")
    late = asked.strike.late()
    if late is not None:
        return context.begin(asked, "delete", path, one.number, error=late)
    one.leaving_at = context.now
    return context.begin(asked, "delete", path, one.number, then=lambda: context.world.end_reservation(one, "deleted"))


def resize(context: Context, asked: Asked) -> GceOperation:
    """Make it larger or smaller, never smaller than what is in use; while that is under way it is UPDATING.

    What quota and stock do not allow is reported by the operation, and the count stays.
    """
    one = find(context, asked.zone or "", asked.params["name"])
    path = f"zones/{one.zone}/reservations/{one.name}"
    count = whole(asked.params["body"].get("specificSkuCount", ""), "resource.specificSkuCount", 1)
    if count > _MOST:
        raise invalid("resource.specificSkuCount", str(count), f"Value must be at most {_MOST}.")
    if context.now < max(one.updating_until, one.active_at) or one.leaving_at != FOREVER:
        raise Refusal("resourceNotReady", f"The resource 'projects/{PROJECT}/{path}' is not ready")
    late = asked.strike.late()
    if count < context.world.inside(one):
        raise invalid("resource.specificSkuCount", str(count), "Must not be less than the number in use.")
    if count > one.count:
        try:
            context.world.room().check(context.place(asked), one.type, "on-demand", count - one.count)
        except (NoStock, OverQuota) as refusal:
            late = late or refusal
    one.updating_until, one.count_before = context.now + context.seconds("operation_s"), one.count
    if late is None:
        context.world.resize(one, count)
    return context.begin(asked, "resize", path, one.number, error=late)


def update(context: Context, asked: Asked) -> GceOperation:
    """Change what it is shared with."""
    one = find(context, asked.zone or "", asked.params["name"])
    body = asked.params["body"]
    if "shareSettings" in body:
        one.body = {**one.body, "shareSettings": body["shareSettings"]}
        one.version += 1
    return context.begin(asked, "update", f"zones/{one.zone}/reservations/{one.name}", one.number)
