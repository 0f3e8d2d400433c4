"""Machines that are deallocated, changed and started again, and disks that grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.azure.catalogue import RESOURCE_DISK_MB
from pytest_capacity.emulator.azure.context import CLOUD, Context, accepted
from pytest_capacity.emulator.azure.machines import OPT_OUT_SINCE, disk_hourly, machine_body, member_for
from pytest_capacity.emulator.azure.network import plain_body
from pytest_capacity.emulator.azure.things import Resource, Vm
from pytest_capacity.emulator.azure.wire import allocation_failed, over_quota, read_id
from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import NoStock, OverQuota, Refusal
from pytest_capacity.emulator.things import FOREVER

#: What of a machine is changed while it is deallocated.
_CHANGED: Final = ("hardwareProfile", "capacityReservation")


def _machine(context: Context, asked: Asked) -> Vm:
    """Return the machine. Raise a refusal while another operation on it is in progress."""
    vm = context.need(asked.params["path"])
    assert isinstance(vm, Vm)
    if vm.state(context.now) in ("Creating", "Updating", "Deleting"):
        words = f"The operation on virtual machine '{vm.name}' conflicts with another one that is in progress."
        raise Refusal("Conflict", words, 409)
    return vm


def deallocate(context: Context, asked: Asked) -> HttpResponse:
    """Stop a machine, and give its place back; one that is deallocated already stays so."""
    vm = _machine(context, asked)
    if vm.failure is not None:
        raise Refusal("OperationNotAllowed", f"Virtual machine '{vm.name}' has failed and cannot be deallocated.", 409)
    if vm.stage(context.now) == "running":
        context.world.stop(vm)
    vm.start_failure, vm.start_failed_at = None, FOREVER
    left = max(0.0, vm.stopped_at - context.now)
    operation = context.begin(asked, vm, left, then=lambda: _let_go(context, vm))
    return accepted(None, 202, context.operation_headers(asked, operation, "al"))


def _let_go(context: Context, vm: Vm) -> None:
    if vm.stage(context.now) == "stopped":
        vm.reservation_id = None


def start(context: Context, asked: Asked) -> HttpResponse:
    """Start a deallocated machine, in a place of its group's member where one is free; a refusal is reported late."""
    vm = _machine(context, asked)
    if vm.stage(context.now) == "running":
        operation = context.begin(asked, vm, 0.0)
        return accepted(None, 202, context.operation_headers(asked, operation, "al"))
    if context.world.lacks_type(Place(CLOUD, vm.region, vm.zone), vm.type):
        words = f"The requested VM size {vm.type} is not available in the current zone for subscription."
        raise Refusal("SkuNotAvailable", words, 409)
    properties = vm.body.get("properties") or {}
    member = member_for(context, properties, vm.type, vm.market, vm.zone)
    seat = member if member is not None and context.world.free_seats(member) else None
    failure = asked.strike.late()
    if failure is None:
        try:
            context.world.start(vm, seat)
        except OverQuota as refused:
            raise over_quota(refused) from None
        except NoStock as refused:
            failure = allocation_failed(refused)
    if failure is None:
        vm.restarted, vm.start_failure, vm.start_failed_at = True, None, FOREVER
        left = max(0.0, vm.running_at - context.now)
    else:
        left = context.seconds("operation_s")
        vm.start_failure, vm.start_failed_at = failure, context.now + left
    operation = context.begin(asked, vm, left, failure)
    return accepted(None, 202, context.operation_headers(asked, operation, "al"))


def patch_machine(context: Context, asked: Asked) -> HttpResponse:
    """Change tags at any time; size and reservation of a deallocated machine only, as for those in a reservation."""
    vm = _machine(context, asked)
    body = asked.params["body"]
    if "tags" in body:
        vm.tags = dict(body["tags"] or {})
    changes = {key: value for key, value in (body.get("properties") or {}).items() if key in _CHANGED}
    if changes:
        _check_change(context, asked, vm, changes)
        _change(context, vm, changes)
    takes = context.seconds("operation_s") if changes else 0.0
    vm.changing_until = context.now + takes
    operation = context.begin(asked, vm, takes)
    return accepted(machine_body(context, vm), 200, context.operation_headers(asked, operation, "a"))


def _check_change(context: Context, asked: Asked, vm: Vm, changes: Mapping[str, Any]) -> None:
    reservation = changes.get("capacityReservation") or {}
    if vm.stage(context.now) != "stopped":
        why = "the requested size is not available in the current hardware cluster"
        if vm.group_id or reservation:
            why = "it is associated with a capacity reservation group"
        words = f"Unable to resize the VM '{vm.name}' because {why}: deallocate it first."
        raise Refusal("OperationNotAllowed", words, 409)
    if "disableCapacityReservationAssignment" in reservation and asked.params["version"] < OPT_OUT_SINCE:
        raise Refusal("BadRequest", "Could not find member 'disableCapacityReservationAssignment'.")
    size = _size_of(changes, vm)
    known = context.catalogue.type(size)
    if known is None:
        raise Refusal("InvalidParameter", f"The value '{size}' provided for the VM size is not valid.")
    before = context.catalogue.type(vm.type)
    if before is not None and before.architecture != known.architecture:
        words = f"The VM size '{size}' cannot boot the disk of '{vm.name}': its architecture is {known.architecture}."
        raise Refusal("BadRequest", words)
    if (vm.type in RESOURCE_DISK_MB) != (size in RESOURCE_DISK_MB):
        words = (
            f"Unable to resize the VM '{vm.name}' since changing from resource disk to non-resource disk VM size and "
            f"vice-versa is not allowed. Please refer to https://aka.ms/AAah4sj for more details."
        )
        raise Refusal("OperationNotAllowed", words, 409)
    properties = {**(vm.body.get("properties") or {}), **changes}
    member_for(context, properties, size, vm.market, vm.zone)


def _size_of(changes: Mapping[str, Any], vm: Vm) -> str:
    return str((changes.get("hardwareProfile") or {}).get("vmSize") or vm.type)


def _change(context: Context, vm: Vm, changes: Mapping[str, Any]) -> None:
    size = _size_of(changes, vm)
    if size != vm.type:
        context.world.change_type(vm, size)
    vm.body = {**vm.body, "properties": {**(vm.body.get("properties") or {}), **changes}}
    named = ((changes.get("capacityReservation") or {}).get("capacityReservationGroup") or {}).get("id")
    if "capacityReservation" in changes:
        vm.group_id = read_id(named).id if named else ""


def patch_disk(context: Context, asked: Asked) -> HttpResponse:
    """Make a disk larger. One that a machine starts from grows only while that is deallocated, and none shrinks."""
    disk = context.need(asked.params["path"])
    assert isinstance(disk, Resource)
    wanted = (asked.params["body"].get("properties") or {}).get("diskSizeGB")
    if isinstance(wanted, int) and wanted != disk.details["diskSizeGB"]:
        _check_growth(context, disk, wanted)
        disk.details = {**disk.details, "diskSizeGB": wanted}
        context.world.reprice(disk, disk_hourly(wanted))
    if "tags" in asked.params["body"]:
        disk.tags = dict(asked.params["body"]["tags"] or {})
    takes = context.seconds("operation_s")
    disk.ready_at = context.now + takes
    operation = context.begin(asked, disk, takes)
    return accepted(plain_body(context, disk), 202, context.operation_headers(asked, operation, "al"))


def _check_growth(context: Context, disk: Resource, wanted: int) -> None:
    """Refuse another size as Azure does, by the words of its "Troubleshoot Azure VM disk resize errors"."""
    if wanted < disk.details["diskSizeGB"]:
        words = (
            f"The disk/snapshot resource with id {disk.path} cannot be resized down. Reducing disk/snapshot size is "
            "not supported in Azure to prevent data loss. If you do need to reduce the size of the disk, please create "
            "new snapshot/disks with the appropriate size. More information is available at https://aka.ms/AzureDisksFAQ."
        )
        raise _refused("BadRequest", words, "InvalidResizeWithName", 400)
    owner = context.find(disk.attached_to)
    if isinstance(owner, Vm) and owner.stage(context.now) != "stopped":
        words = (
            f"Cannot resize disk {disk.name} while it is attached to running VM {owner.path}. Resizing a disk of an "
            "Azure Virtual Machine requires the virtual machine to be deallocated. Please stop your VM and retry the "
            "operation."
        )
        raise _refused("OperationNotAllowed", words, "ChangeDiskSizeWhileAttachedNotAllowed", 409)


def _refused(code: str, words: str, inner: str, http: int) -> Refusal:
    details = {"innererror": {"internalErrorCode": inner}, "code": code, "message": words}
    return Refusal(code, words, http, details=details)
