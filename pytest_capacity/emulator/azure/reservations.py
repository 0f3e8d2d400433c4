"""Capacity reservation groups, and the capacity reservations in them, which Azure calls their members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.azure.catalogue import NOT_RESERVABLE
from pytest_capacity.emulator.azure.context import CLOUD, Context, accepted
from pytest_capacity.emulator.azure.things import Member, Resource, Vm
from pytest_capacity.emulator.azure.wire import ArmPath, allocation_failed, make_id, over_quota, paged
from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import NoStock, OverQuota, Refusal

GROUPS: Final = "capacityReservationGroups"


def put_group(context: Context, asked: Asked) -> HttpResponse:
    """Make a capacity reservation group, at once. Its zones never change."""
    path, body = asked.params["path"], asked.params["body"]
    context.need_group(path, to_make=True)
    old = context.find(path.id)
    context.check_etag(asked, old)
    region = context.location(body)
    zones = [str(one) for one in body.get("zones") or ()]
    for zone in zones:
        context.zone(region, {"zones": [zone]})
    if isinstance(old, Resource):
        if old.region != region or [str(one) for one in old.body.get("zones") or ()] != zones:
            raise Refusal("PropertyChangeNotAllowed", "Changing property 'zones' is not allowed.", 409)
        old.tags, old.version = dict(body.get("tags") or {}), old.version + 1
        return HttpResponse.of_json(group_body(context, old), 200)
    made = Resource(**context.born(path, region, body, asked.request.path))
    context.world.add(made)
    return HttpResponse.of_json(group_body(context, made), 201)


def group_body(context: Context, group: Resource, view: bool = False) -> dict[str, Any]:
    """Return a group as Azure lists it."""
    members = context.members(group.id)
    properties: dict[str, Any] = {
        "capacityReservations": [{"id": one.path} for one in members],
        "virtualMachinesAssociated": [{"id": one.path} for one in _associated(context, group.id)],
    }
    if view:
        views = [{"name": one.name, "utilizationInfo": utilization(context, one), "statuses": []} for one in members]
        properties["instanceView"] = {"capacityReservations": views}
    return {
        "id": group.path,
        "name": group.name,
        "type": f"Microsoft.Compute/{GROUPS}",
        "location": group.region,
        "tags": dict(group.tags),
        "properties": properties,
        **({"zones": group.body["zones"]} if group.body.get("zones") else {}),
    }


def _associated(context: Context, group: str) -> list[Vm]:
    return [one for one in context.machines() if one.group_id == group]


def utilization(context: Context, member: Member) -> dict[str, Any]:
    """Return how many machines a member has room for, and which sit in it."""
    allocated = [{"id": one.path} for one in inside(context, member)]
    return {"currentCapacity": member.count, "virtualMachinesAllocated": allocated}


def delete_group(context: Context, asked: Asked) -> HttpResponse:
    """Remove a group that is empty, and has been so for as long as Azure takes to see it."""
    path = asked.params["path"]
    context.need_group(path)
    group = context.find(path.id)
    if not isinstance(group, Resource):
        return HttpResponse(204)
    lag = context.seconds("consistency_s")
    if (
        context.members(group.id)
        or context.now < context.emptied.get(group.id, 0.0) + lag
        or _associated(context, group.id)
    ):
        words = f"Capacity Reservation Group '{group.name}' cannot be deleted: it still has reservations or machines."
        raise Refusal("OperationNotAllowed", words, 409)
    context.world.remove(group)
    return HttpResponse(200, b"{}")


def put_member(context: Context, asked: Asked) -> HttpResponse:
    """Reserve capacity: all of it or nothing; a refusal is reported late."""
    path, body = asked.params["path"], asked.params["body"]
    group = _group_of(context, path)
    old = context.find(path.id)
    context.check_etag(asked, old)
    size, count = _sku(body)
    if isinstance(old, Member):
        # The same once more changes nothing.
        if count == old.count and old.growth_failure is None:
            return HttpResponse.of_json(member_body(context, old))
        return _resize(context, asked, old, count, 200)
    region = context.location(body)
    zone = context.zone(region, body)
    _check_member(context, group, size, region, zone, body)
    failure = asked.strike.late()
    if failure is None:
        try:
            context.world.room().check(Place(CLOUD, region, zone), size, "on-demand", count)
        except OverQuota as refused:
            raise over_quota(refused) from None
        except NoStock as refused:
            failure = allocation_failed(refused, nested=True)
    member = Member(
        **context.born(path, region, body, asked.request.path),
        zone=zone,
        type=size,
        count=count if failure is None else 0,
        active_at=context.now + context.seconds("operation_s") + context.seconds("pending_s"),
        failure=failure,
    )
    context.world.add_reservation(member)
    operation = context.begin(asked, member, member.active_at - context.now, failure)
    return accepted(member_body(context, member), 201, context.operation_headers(asked, operation, "al"))


def _group_of(context: Context, path: ArmPath) -> Resource:
    context.need_group(path, to_make=True)
    group = context.find(make_id(path.subscription, path.group, f"Microsoft.Compute/{GROUPS}", path.names[0]))
    if not isinstance(group, Resource):
        words = f"Can not perform requested operation on nested resource. Parent resource '{path.names[0]}' not found."
        raise Refusal("ParentResourceNotFound", words)
    return group


def _sku(body: Mapping[str, Any]) -> tuple[str, int]:
    sku = body.get("sku") or {}
    count = sku.get("capacity", 0)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise Refusal("InvalidParameter", "The value of parameter sku.capacity is invalid.")
    return str(sku.get("name", "")), count


def _check_member(
    context: Context, group: Resource, size: str, region: str, zone: str, body: Mapping[str, Any]
) -> None:
    if not context.catalogue.has_type(size):
        raise Refusal("InvalidParameter", f"The value '{size}' of parameter sku.name is not valid.")
    if size in NOT_RESERVABLE:
        raise Refusal("NotSupported", f"Capacity Reservation is not supported for VM size '{size}'.", 400)
    if region != group.region:
        words = f"The capacity reservation is in {region} and its group '{group.name}' in {group.region}."
        raise Refusal("InvalidParameter", words)
    allowed = [str(one) for one in group.body.get("zones") or ()]
    zones = [str(one) for one in body.get("zones") or ()]
    if (zones and zones[0] not in allowed) or (allowed and not zones):
        words = f"The zones of the capacity reservation are not among those of its group '{group.name}'."
        raise Refusal("BadRequest", words)
    if context.world.lacks_type(Place(CLOUD, region, zone), size):
        raise Refusal("SkuNotAvailable", f"{size} is not available for subscription in zone {zone}.", 409)
    for other in context.members(group.id):
        if (other.type, other.zone) == (size, zone):
            words = (
                f"The group '{group.name}' has a capacity reservation '{other.name}' for {size} in this zone already."
            )
            raise Refusal("Conflict", words, 409)


def _resize(context: Context, asked: Asked, member: Member, count: int, status: int) -> HttpResponse:
    """Hold more or less. What cannot be held leaves the member Failed: https://aka.ms/CapacityReservation, "modify"."""
    if context.now < member.changing_until:
        words = f"Another operation on capacity reservation '{member.name}' is in progress."
        raise Refusal("AnotherOperationInProgress", words, 409)
    if member.growth_failure is not None and count > member.count:
        words = (
            f"The capacity reservation '{member.name}' is in a failed state. Restore its quantity of {member.count}."
        )
        raise Refusal("OperationNotAllowed", words, 409)
    failure = asked.strike.late() if count > member.count else None
    if member.failure is None and failure is None and count > member.count:
        place = Place(CLOUD, member.region, member.zone)
        try:
            context.world.room().check(place, member.type, "on-demand", count - member.count)
        except OverQuota as refused:
            raise over_quota(refused) from None
        except NoStock as refused:
            failure = allocation_failed(refused, nested=True)
    takes = context.seconds("operation_s")
    if member.failure is None:
        member.growth_failure, member.wanted = failure, count if failure is not None else None
        member.changing_until = context.now + takes
        if failure is None:
            _hold(context, member, count)
    operation = context.begin(asked, member, takes, failure)
    headers = context.operation_headers(asked, operation, "al")
    return accepted(member_body(context, member), status, headers)


def _hold(context: Context, member: Member, count: int) -> None:
    """Hold ``count``. Machines beyond the new count keep running, without the reservation."""
    context.world.resize(member, count)
    for vm in inside(context, member)[count:]:
        vm.reservation_id = None
        context.world._bill_machine(vm, context.now)  # noqa: SLF001


def inside(context: Context, member: Member) -> list[Vm]:
    """Return the machines that sit in a member: one that is deallocated does not."""
    found = [one for one in context.machines() if one.reservation_id == member.id]
    return [one for one in found if one.stage(context.now) != "stopped"]


def patch_member(context: Context, asked: Asked) -> HttpResponse:
    """Change the count of a member, or its tags."""
    member = context.need(asked.params["path"])
    assert isinstance(member, Member)
    body = asked.params["body"]
    if "tags" in body:
        member.tags = dict(body["tags"])
    if "sku" not in body:
        return HttpResponse.of_json(member_body(context, member))
    return _resize(context, asked, member, _sku(body)[1], 202)


def member_body(context: Context, member: Member, view: bool = False) -> dict[str, Any]:
    """Return a member as Azure lists it."""
    properties: dict[str, Any] = {
        "reservationId": member.id.rpartition("/")[2],
        "provisioningState": member.state(context.now),
        "virtualMachinesAssociated": [{"id": one.path} for one in _of_member(context, member)],
    }
    if view:
        statuses = []
        failure = member.failure or member.growth_failure
        if failure is not None and member.state(context.now) == "Failed":
            code = f"ProvisioningState/failed/{failure.code}"
            statuses = [{"code": code, "level": "Error", "message": failure.message}]
        properties["instanceView"] = {"utilizationInfo": utilization(context, member), "statuses": statuses}
    return {
        "id": member.path,
        "name": member.name,
        "type": f"Microsoft.Compute/{GROUPS}/capacityReservations",
        "location": member.region,
        "tags": dict(member.tags),
        "sku": {"name": member.type, "capacity": member.count if member.wanted is None else member.wanted},
        "properties": properties,
        **({"zones": member.body["zones"]} if member.body.get("zones") else {}),
    }


def _of_member(context: Context, member: Member) -> list[Vm]:
    named = _associated(context, member.container)
    return [one for one in named if (one.type, one.zone) == (member.type, member.zone)]


def delete_member(context: Context, asked: Asked) -> HttpResponse:
    """Remove a member that no machine is associated with."""
    path = asked.params["path"]
    context.need_group(path)
    member = context.find(path.id)
    if not isinstance(member, Member):
        return HttpResponse(204)
    if users := _of_member(context, member):
        words = f"Capacity Reservation '{member.name}' cannot be deleted since it is associated with {users[0].name}."
        raise Refusal("OperationNotAllowed", words, 409)
    operation = context.begin(asked, member, context.seconds("operation_s"), then=lambda: _end_member(context, member))
    return accepted(None, 202, context.operation_headers(asked, operation, "al"))


def _end_member(context: Context, member: Member) -> None:
    context.world.end_reservation(member, "Deleted")
    context.emptied[member.container] = context.now


def get_group(context: Context, asked: Asked) -> HttpResponse:
    """Return one group, with its instance view where that is requested."""
    group = context.need(asked.params["path"])
    assert isinstance(group, Resource)
    return HttpResponse.of_json(group_body(context, group, "instanceview" in asked.request.first("$expand").lower()))


def list_groups(context: Context, asked: Asked) -> HttpResponse:
    """Return the groups of a resource group or of the subscription."""
    path = asked.params["path"]
    if path.group:
        context.need_group(path)
    found = context.resources(GROUPS, make_id(path.subscription, path.group) if path.group else "")
    return HttpResponse.of_json(paged(asked.request, [group_body(context, one) for one in found]))


def get_member(context: Context, asked: Asked) -> HttpResponse:
    """Return one member, with its instance view where that is requested."""
    member = context.need(asked.params["path"])
    assert isinstance(member, Member)
    return HttpResponse.of_json(member_body(context, member, "instanceview" in asked.request.first("$expand").lower()))


def list_members(context: Context, asked: Asked) -> HttpResponse:
    """Return the members of a group."""
    path = asked.params["path"]
    group = make_id(path.subscription, path.group, f"Microsoft.Compute/{GROUPS}", path.names[0])
    context.need(ArmPath(path.subscription, path.group, f"Microsoft.Compute/{GROUPS}", path.names[:1]))
    return HttpResponse.of_json(paged(asked.request, [member_body(context, one) for one in context.members(group)]))
