"""Virtual machines: made and deleted, listed, and what the API shows of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.azure import network
from pytest_capacity.emulator.azure.catalogue import IMAGES, NO_SPOT
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

#: Codes of an allocation that failed. Where a PUT is answered with one of them the machine is kept, in state Failed.
_ALLOCATION: Final = frozenset(
    {
        "AllocationFailed",
        "ZonalAllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
    }
)
#: The first API version in which a machine can be kept out of every reservation.
OPT_OUT_SINCE: Final = "2026-04-01"


def put_machine(context: Context, asked: Asked) -> HttpResponse:
    """Make a machine, its card, address and disk; or return the existing one."""
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
    member = member_for(context, properties, size, market, zone)
    vm, failure = _allocated(context, asked, path, body, region, zone, size, market, member)
    operation = context.begin(asked, vm, (vm.failed_at if failure else vm.running_at) - context.now, failure)
    network.make_cards(context, vm, properties)
    _make_disk(context, vm, properties)
    return accepted(machine_body(context, vm), 201, context.operation_headers(asked, operation, "a"))


def keep_failed(context: Context, asked: Asked, failure: Refusal) -> None:
    """Keep the machine of a PUT whose answer says that its allocation failed: Azure lists it, with its card."""
    path, body = asked.params["path"], asked.params.get("body") or {}
    if (
        failure.code not in _ALLOCATION
        or context.find(path.id)
        or not context.find(make_id(path.subscription, path.group))
    ):
        return
    region = context.location(body)
    properties = dict(body["properties"])
    size = str(properties["hardwareProfile"]["vmSize"])
    market = "spot" if properties.get("priority") == "Spot" else "on-demand"
    vm = _new(context, asked, path, body, region, context.zone(region, body), size, market, None, None)
    network.give_addresses(vm, properties)
    _fail(context, vm, failure, context.now)
    network.make_cards(context, vm, properties)


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


def member_for(context: Context, properties: Mapping[str, Any], size: str, market: str, zone: str) -> Member | None:
    """Return the member that a machine is to be in. A group without one of its size and zone refuses it."""
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
        if (member.type, member.zone) == (size, zone) and member.usable(context.now):
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
    """Return the machine, in a place of its member, beside it if that is full, or failed: Azure reports that late."""
    world, now = context.world, context.now
    failure = asked.strike.late()
    seat: Any = None
    reserved = world.free_seats(member) if member is not None else ()
    if failure is None:
        try:
            seat = world.room().seats(Place(CLOUD, region, zone), size, market, 1, 1, reserved)[0]
        except OverQuota as refused:
            raise over_quota(refused) from None
        except NoStock as refused:
            failure = allocation_failed(refused)
            if market == "spot":
                raise failure from None
    vm = _new(context, asked, path, body, region, zone, size, market, member, seat)
    network.give_addresses(vm, body["properties"])
    if failure is not None:
        _fail(context, vm, failure, now + context.seconds("operation_s"))
        return vm, failure
    world.add_machine(vm)
    if vm.error is not None:
        # A fault of the weather at boot: what other clouds end, Azure keeps.
        failure, vm.error = vm.error, None
        _fail(context, vm, failure, vm.running_at)
    return vm, failure


def _new(
    context: Context,
    asked: Asked,
    path: ArmPath,
    body: Mapping[str, Any],
    region: str,
    zone: str,
    size: str,
    market: str,
    member: Member | None,
    seat: Any,
) -> Vm:
    properties = body["properties"]
    login = properties["osProfile"]
    keys = ((login.get("linuxConfiguration") or {}).get("ssh") or {}).get("publicKeys") or ()
    return Vm(
        **context.born(path, region, body, asked.request.path),
        zone=zone,
        type=size,
        market="spot" if market == "spot" else "on-demand",
        running_at=context.now + context.seconds("operation_s") + context.seconds("boot_s"),
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
            hourly=disk_hourly(size),
            attached_to=vm.id,
            details={"diskSizeGB": size},
            goes_with=vm if disk.get("deleteOption") == "Delete" else None,
        )
    )


def disk_hourly(size_gb: int) -> float:
    """Return what a disk costs an hour, USD."""
    return size_gb * 0.0001


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
        statuses = [_failed(vm.failure)]
    if state == "Failed" and vm.start_failure is not None:
        statuses = [_failed(vm.start_failure)]
    stages = {"starting": "starting", "running": "running", "stopping": "deallocating", "stopped": "deallocated"}
    power = stages.get(vm.stage(context.now))
    if power and vm.failure is None:
        statuses.append({"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"})
    return {"statuses": statuses}


def _failed(failure: Refusal) -> dict[str, Any]:
    return {
        "code": f"ProvisioningState/failed/{failure.code}",
        "level": "Error",
        "displayStatus": "Provisioning failed",
        "message": failure.message,
    }


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
