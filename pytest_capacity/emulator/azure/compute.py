"""Machines, capacity reservation groups and their members, proximity placement groups, sizes and quotas."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.azure import network
from pytest_capacity.emulator.azure.catalogue import IMAGES, LOCATIONS, NO_SPOT, NOT_RESERVABLE, zone_name
from pytest_capacity.emulator.azure.context import CLOUD, Context, accepted, etag
from pytest_capacity.emulator.azure.things import Member, Resource, Vm
from pytest_capacity.emulator.azure.wire import (
    ArmPath,
    allocation_failed,
    base_url,
    make_id,
    over_quota,
    paged,
    read_id,
)
from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import NoStock, OverQuota, Refusal
from pytest_capacity.emulator.things import FOREVER

#: The first API version in which a machine can be kept out of every reservation.
OPT_OUT_SINCE: Final = "2026-04-01"

GROUPS: Final = "capacityReservationGroups"


# -- machines ---------------------------------------------------------------------------------------------------------


def put_machine(context: Context, asked: Asked) -> HttpResponse:
    """Make a machine, its card, address and disk; or say what there is."""
    path, body = asked.params["path"], asked.params["body"]
    context.need_group(path, to_make=True)
    old = context.find(path.id)
    context.check_etag(asked, old)
    if isinstance(old, Vm):
        return _put_again(context, asked, old, body)
    region = context.location(body)
    zone = context.zone(region, body)
    properties = dict(body.get("properties") or {})
    size = str((properties.get("hardwareProfile") or {}).get("vmSize", ""))
    market = "spot" if properties.get("priority") == "Spot" else "on-demand"
    _check_machine(context, asked, properties, size, market, region, zone)
    member = _member_for(context, properties, size, market, zone)
    vm, failure = _allocated(context, asked, path, body, region, zone, size, market, member)
    operation = context.begin(asked, vm, (vm.failed_at if failure else vm.running_at) - context.now, failure)
    network.make_cards(context, vm, properties)
    _make_disk(context, vm, properties)
    return accepted(machine_body(context, vm), 201, context.operation_headers(asked, operation, "a"))


def _put_again(context: Context, asked: Asked, vm: Vm, body: Mapping[str, Any]) -> HttpResponse:
    if vm.state(context.now) == "Deleting":
        raise Refusal("Conflict", f"Virtual machine '{vm.name}' is being deleted.", 409)
    fixed = ("osProfile", "storageProfile", "priority")
    before, now = vm.body.get("properties") or {}, body.get("properties") or {}
    changed = next((key for key in fixed if before.get(key) != now.get(key)), None)
    if changed or list(body.get("zones") or ()) != list(vm.body.get("zones") or ()):
        words = f"Changing property '{changed or 'zones'}' is not allowed."
        raise Refusal("PropertyChangeNotAllowed", words, 409)
    vm.tags = dict(body.get("tags") or {})
    return HttpResponse.of_json(machine_body(context, vm), 200)


def _check_machine(
    context: Context, asked: Asked, properties: Mapping[str, Any], size: str, market: str, region: str, zone: str
) -> None:
    known = context.catalogue.type(size)
    if known is None:
        raise Refusal("InvalidParameter", f"The value '{size}' provided for the VM size is not valid.")
    if context.world.lacks_type(Place(CLOUD, region, zone), size):
        words = f"The requested VM size {size} is not available in the current zone."
        raise Refusal("SkuNotAvailable", f"{words} (not available for subscription in zone)", 409)
    if market == "spot" and size in NO_SPOT:
        raise Refusal("AzureSpotIsNotSupportedForThisVMSize", f"Azure Spot is not supported for size {size}.", 409)
    reservation = properties.get("capacityReservation") or {}
    if "disableCapacityReservationAssignment" in reservation and asked.params["version"] < OPT_OUT_SINCE:
        member = "disableCapacityReservationAssignment"
        words = f"Could not find member '{member}' on object of type 'CapacityReservationProfile'."
        raise Refusal("BadRequest", words)
    login = properties.get("osProfile") or {}
    keys = ((login.get("linuxConfiguration") or {}).get("ssh") or {}).get("publicKeys") or ()
    if not login.get("adminUsername") or not (keys or login.get("adminPassword")):
        raise Refusal(
            "InvalidParameter",
            "Authentication by SSH or by password must be enabled in the Linux profile.",
        )
    for key in keys:
        _check_key(str(key.get("keyData", "")))
    _check_image(
        context, (properties.get("storageProfile") or {}).get("imageReference") or {}, known.architecture, region
    )
    network.check_cards(context, properties, region)


def _check_key(line: str) -> None:
    from asyncssh import KeyImportError, import_public_key

    try:
        import_public_key(line)
    except KeyImportError:
        words = "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid."
        raise Refusal("InvalidParameter", words) from None


def _check_image(context: Context, image: Mapping[str, Any], architecture: str, region: str) -> None:
    if any(key in image for key in ("id", "communityGalleryImageId", "sharedGalleryImageId")):
        return
    urn = tuple(str(image.get(key, "")).lower() for key in ("publisher", "offer", "sku"))
    named = ":".join(str(image.get(key, "")) for key in ("publisher", "offer", "sku", "version"))
    if urn not in IMAGES or context.world.lacks_image(Place(CLOUD, region), named):
        words = (
            f"The platform image '{named}' is not available. Verify that all fields in the storage profile are correct."
        )
        raise Refusal("PlatformImageNotFound", words)
    if urn[2].endswith("arm64") != (architecture == "arm64"):
        words = f"The VM size cannot boot the image '{named}': its architecture is not {architecture}."
        raise Refusal("BadRequest", words)


def _member_for(context: Context, properties: Mapping[str, Any], size: str, market: str, zone: str) -> Member | None:
    """The member that a machine is to sit in. A group without one of its size and zone refuses it."""
    named = ((properties.get("capacityReservation") or {}).get("capacityReservationGroup") or {}).get("id")
    if not named:
        return None
    if market == "spot":
        raise Refusal("BadRequest", "Capacity Reservation is not supported for Spot virtual machines.")
    for key in ("availabilitySet", "proximityPlacementGroup"):
        if properties.get(key):
            raise Refusal("BadRequest", f"Capacity Reservation is not supported together with '{key}'.")
    group = context.need(read_id(named))
    for member in context.members(group.id):
        if (member.type, member.zone) == (size, zone) and member.failure is None:
            return member
    words = (
        f"The capacity reservation group '{group.name}' does not contain a capacity reservation for {size} in {zone}."
    )
    raise Refusal("OperationNotAllowed", words, 409)


def _allocated(
    context: Context,
    asked: Asked,
    path: ArmPath,
    body: Mapping[str, Any],
    region: str,
    zone: str,
    size: str,
    market: str,
    member: Member | None,
) -> tuple[Vm, Refusal | None]:
    """The machine, in a seat of its member, beside it where that is full, or failed: Azure says so late."""
    world, now = context.world, context.now
    failure = asked.strike.late()
    seat: Any = None
    reserved = world.free_seats(member) if member is not None else ()
    if failure is None:
        try:
            seat = world.seats(Place(CLOUD, region, zone), size, market, 1, 1, reserved)[0]
        except OverQuota as refused:
            raise over_quota(refused) from None
        except NoStock as refused:
            failure = allocation_failed(refused)
            if market == "spot":
                raise failure from None
    properties = body["properties"]
    login = properties["osProfile"]
    takes = context.seconds("operation_s")
    keys = ((login.get("linuxConfiguration") or {}).get("ssh") or {}).get("publicKeys") or ()
    vm = Vm(
        **context.born(path, region, body, asked.request.path),
        zone=zone,
        type=size,
        market="spot" if market == "spot" else "on-demand",
        running_at=now + takes + context.seconds("boot_s"),
        reservation_id=seat.id if seat is not None else None,
        ends_when_taken=properties.get("evictionPolicy") == "Delete",
        hostname=str(login.get("computerName", "")),
        domain="internal.cloudapp.net",
        public_keys=tuple(str(key.get("keyData", "")) for key in keys),
        user=str(login.get("adminUsername", "")),
        ssh_delay_s=context.seconds("ssh_delay_s"),
        cloud_init_s=context.seconds("cloud_init_s"),
        user_data=_decoded(str(login.get("customData", ""))),
        vm_id=context.world.hex(32),
        group_id=member.container if member is not None else "",
    )
    network.give_addresses(vm, properties)
    if failure is not None:
        _fail(context, vm, failure, now + takes)
        return vm, failure
    world.add_machine(vm)
    if vm.error is not None:
        # A fault of the weather at boot: what other clouds end, Azure keeps.
        failure, vm.error = vm.error, None
        _fail(context, vm, failure, vm.running_at)
    return vm, failure


def _fail(context: Context, vm: Vm, failure: Refusal, at: float) -> None:
    vm.failure, vm.failed_at, vm.running_at = failure, at, FOREVER
    vm.leaving_at = vm.gone_at = FOREVER
    vm.cause = "failed"
    vm.reservation_id = None
    context.world.machines[vm.id] = vm


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("InvalidParameter", "Custom data in OSProfile must be in Base64 encoding.") from None


def _make_disk(context: Context, vm: Vm, properties: Mapping[str, Any]) -> None:
    disk = (properties.get("storageProfile") or {}).get("osDisk") or {}
    name = str(disk.get("name") or f"{vm.name}_OsDisk_1_{context.world.hex(8)}")
    subscription, group = vm.container.split("/")[2], vm.container.split("/")[4]
    path = ArmPath(subscription, group, "Microsoft.Compute/disks", (name,))
    size = int(disk.get("diskSizeGB") or 30)
    body = {
        "location": vm.region,
        "sku": {"name": (disk.get("managedDisk") or {}).get("storageAccountType", "Premium_LRS")},
    }
    context.world.add(
        Resource(
            **context.born(path, vm.region, body, path.id),
            hourly=size * 0.0001,
            attached_to=vm.id,
            details={"diskSizeGB": size},
            goes_with=vm if disk.get("deleteOption") == "Delete" else None,
        )
    )


def machine_body(context: Context, vm: Vm, view: bool = False) -> dict[str, Any]:
    """Return a machine as Azure lists it."""
    properties = dict(vm.body.get("properties") or {})
    login = {
        key: value
        for key, value in (properties.get("osProfile") or {}).items()
        if key not in ("customData", "adminPassword")
    }
    profile = {
        key: value
        for key, value in (properties.get("networkProfile") or {}).items()
        if not key.startswith("networkInterfaceConf") and key != "networkApiVersion"
    }
    cards = [one for one in context.resources("networkInterfaces") if one.attached_to == vm.id]
    profile["networkInterfaces"] = [
        {"id": one.path, "properties": {"deleteOption": "Delete", "primary": True}} for one in cards
    ]
    properties |= {
        "osProfile": login,
        "networkProfile": profile,
        "provisioningState": vm.state(context.now),
        "vmId": vm.vm_id,
    }
    if view:
        properties["instanceView"] = instance_view(context, vm)
    body = {
        "id": vm.path,
        "name": vm.name,
        "type": "Microsoft.Compute/virtualMachines",
        "location": vm.region,
        "tags": dict(vm.tags),
        "etag": etag(vm),
        "properties": properties,
    }
    return body | {key: vm.body[key] for key in ("zones", "identity") if key in vm.body}


def instance_view(context: Context, vm: Vm) -> dict[str, Any]:
    """Return how a machine does: its provisioning with the reason of a failure, and its power state."""
    state = vm.state(context.now)
    statuses: list[dict[str, Any]] = [
        {
            "code": f"ProvisioningState/{state.lower()}",
            "level": "Info",
            "displayStatus": f"Provisioning {state.lower()}",
        }
    ]
    if state == "Failed" and vm.failure is not None:
        statuses = [
            {
                "code": f"ProvisioningState/failed/{vm.failure.code}",
                "level": "Error",
                "displayStatus": "Provisioning failed",
                "message": vm.failure.message,
            }
        ]
    power = {"running": "running", "stopping": "deallocating", "stopped": "deallocated"}.get(vm.stage(context.now))
    if power and vm.failure is None:
        statuses.append({"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"})
    return {"statuses": statuses}


def get_machine(context: Context, asked: Asked) -> HttpResponse:
    """Return one machine."""
    vm = context.need(asked.params["path"])
    assert isinstance(vm, Vm)
    view = "instanceview" in asked.request.first("$expand").lower()
    return HttpResponse.of_json(machine_body(context, vm, view), 200, {"ETag": etag(vm)})


def list_machines(context: Context, asked: Asked) -> HttpResponse:
    """Return the machines of a resource group or of the subscription, with the group in capitals, as Azure does."""
    path = asked.params["path"]
    if path.group:
        context.need_group(path)
    group = make_id(path.subscription, path.group) if path.group else ""
    machines = [one for one in context.machines(group) if one.visible(context.now)]
    return HttpResponse.of_json(paged(asked.request, [_in_capitals(machine_body(context, one)) for one in machines]))


def _in_capitals(body: dict[str, Any]) -> dict[str, Any]:
    words = str(body["id"]).split("/")
    return {**body, "id": "/".join([*words[:4], words[4].upper(), *words[5:]])}


def delete_machine(context: Context, asked: Asked) -> HttpResponse:
    """Send a machine away, and with it what is marked to go with it."""
    path = asked.params["path"]
    context.need_group(path)
    vm = context.find(path.id)
    if not isinstance(vm, Vm):
        return HttpResponse(204)
    context.check_etag(asked, vm)
    context.world.leave(vm)
    operation = context.begin(asked, vm, max(0.0, vm.gone_at - context.now))
    return accepted(None, 202, context.operation_headers(asked, operation, "al"))


def machine_action(context: Context, asked: Asked) -> HttpResponse:
    """Return the instance view, or the signed URLs of the boot diagnostics."""
    vm = context.need(asked.params["path"])
    assert isinstance(vm, Vm)
    action = asked.params["path"].more[0].lower()
    if action == "instanceview":
        return HttpResponse.of_json(instance_view(context, vm))
    if action == "retrievebootdiagnosticsdata":
        diagnostics = ((vm.body.get("properties") or {}).get("diagnosticsProfile") or {}).get("bootDiagnostics") or {}
        if not diagnostics.get("enabled"):
            raise Refusal("OperationNotAllowed", "Boot diagnostics is not enabled for this VM.", 409)
        url = f"{base_url(asked.request)}/azure-blobs/{vm.vm_id}/serialconsole.log?sig={context.signature(vm.vm_id)}"
        return HttpResponse.of_json({"serialConsoleLogBlobUri": url, "consoleScreenshotBlobUri": url})
    raise Refusal("NotFound", f"the emulator has no action {action!r} of a machine", 404)


# -- capacity reservations --------------------------------------------------------------------------------------------


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
    inside = [one for one in context.machines() if one.reservation_id == member.id]
    return {"currentCapacity": member.count, "virtualMachinesAllocated": [{"id": one.path} for one in inside]}


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
    """Reserve capacity: all of it or nothing; a refusal comes late."""
    path, body = asked.params["path"], asked.params["body"]
    group = _group_of(context, path)
    old = context.find(path.id)
    context.check_etag(asked, old)
    size, count = _sku(body)
    if isinstance(old, Member):
        return _resize(context, asked, old, count, 200)
    region = context.location(body)
    zone = context.zone(region, body)
    _check_member(context, group, size, region, zone, body)
    failure = asked.strike.late()
    if failure is None:
        try:
            context.world.check_room(Place(CLOUD, region, zone), size, "on-demand", count)
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
    if member.failure is None and count > member.count:
        place = Place(CLOUD, member.region, member.zone)
        try:
            context.world.check_room(place, member.type, "on-demand", count - member.count)
        except OverQuota as refused:
            raise over_quota(refused) from None
        except NoStock as refused:
            raise allocation_failed(refused) from None
    if member.failure is None:
        context.world.resize(member, count)
        # Those beyond the new count keep their machines, without the reservation.
        inside = [one for one in context.machines() if one.reservation_id == member.id]
        for vm in inside[count:]:
            vm.reservation_id = None
            context.world._bill_machine(vm, context.now)  # noqa: SLF001
    operation = context.begin(asked, member, context.seconds("operation_s"))
    headers = context.operation_headers(asked, operation, "al")
    return accepted(member_body(context, member), status, headers)


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
        if member.failure is not None:
            code = f"ProvisioningState/failed/{member.failure.code}"
            statuses = [{"code": code, "level": "Error", "message": member.failure.message}]
        properties["instanceView"] = {"utilizationInfo": utilization(context, member), "statuses": statuses}
    return {
        "id": member.path,
        "name": member.name,
        "type": f"Microsoft.Compute/{GROUPS}/capacityReservations",
        "location": member.region,
        "tags": dict(member.tags),
        "sku": {"name": member.type, "capacity": member.count},
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
    """Return one group, with its instance view where that is asked for."""
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
    """Return one member, with its instance view where that is asked for."""
    member = context.need(asked.params["path"])
    assert isinstance(member, Member)
    return HttpResponse.of_json(member_body(context, member, "instanceview" in asked.request.first("$expand").lower()))


def list_members(context: Context, asked: Asked) -> HttpResponse:
    """Return the members of a group."""
    path = asked.params["path"]
    group = make_id(path.subscription, path.group, f"Microsoft.Compute/{GROUPS}", path.names[0])
    context.need(ArmPath(path.subscription, path.group, f"Microsoft.Compute/{GROUPS}", path.names[:1]))
    return HttpResponse.of_json(paged(asked.request, [member_body(context, one) for one in context.members(group)]))


# -- sizes and quotas -------------------------------------------------------------------------------------------------


def list_skus(context: Context, asked: Asked) -> HttpResponse:
    """Return the sizes of a location, and in which of its zones they are to be had."""
    wanted = asked.request.first("$filter").partition("eq")[2].strip().strip("'").replace(" ", "").lower()
    found = [
        _sku_body(context, region, name)
        for region in sorted(LOCATIONS)
        if wanted in ("", region)
        for name in sorted(context.catalogue.types())
    ]
    return HttpResponse.of_json(paged(asked.request, found))


def _sku_body(context: Context, region: str, name: str) -> dict[str, Any]:
    size = context.catalogue.types()[name]
    zones = list(LOCATIONS[region][1])
    lacking = [one for one in zones if context.world.lacks_type(Place(CLOUD, region, zone_name(region, one)), name)]
    capabilities = {
        "vCPUs": str(size.vcpus),
        "MemoryGB": f"{size.memory_gb:g}",
        "CpuArchitectureType": "Arm64" if size.architecture == "arm64" else "x64",
        "LowPriorityCapable": str(name not in NO_SPOT),
        "CapacityReservationSupported": str(name not in NOT_RESERVABLE),
    }
    restrictions = [
        {
            "type": "Zone",
            "values": [region],
            "restrictionInfo": {"locations": [region], "zones": lacking},
            "reasonCode": "NotAvailableForSubscription",
        }
    ]
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "tier": "Standard",
        "size": name.partition("_")[2],
        "family": size.family,
        "locations": [region],
        "locationInfo": [{"location": region, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": key, "value": value} for key, value in capabilities.items()],
        "restrictions": restrictions if lacking else [],
    }


def list_usages(context: Context, asked: Asked) -> HttpResponse:
    """Return the quotas of a location and what is in use of each; where the weather sets none, much."""
    region = asked.params["region"]
    limits = context.world.limits(Place(CLOUD, region))
    room = context.world.room()
    names = sorted(context.catalogue.metrics() - {"vcpus", "spot_vcpus"})
    neutral = {"cores": "vcpus", "lowPriorityCores": "spot_vcpus"}
    usages = []
    for name in names:
        limit = limits.get(name)
        limit = limits.get(neutral.get(name, "")) if limit is None else limit
        usages.append(
            {
                "unit": "Count",
                "currentValue": int(room.used(CLOUD, region, name)),
                "limit": 100_000 if limit is None else int(limit),
                "name": {"value": name, "localizedValue": name},
            }
        )
    return HttpResponse.of_json(paged(asked.request, usages))
