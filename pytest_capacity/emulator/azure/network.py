"""Networks, network cards, public addresses and network security groups; and every plain resource, disks among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.azure.context import Context, accepted, etag
from pytest_capacity.emulator.azure.things import Resource, Vm
from pytest_capacity.emulator.azure.wire import TYPES, ArmPath, make_id, paged, read_id
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import Refusal

#: An address in use costs, used or not.
ADDRESS_HOURLY: Final = 0.005


def put_plain(context: Context, asked: Asked) -> HttpResponse:
    """Make or change a resource of a type that has no further rules."""
    path, body = asked.params["path"], asked.params["body"]
    context.need_group(path, to_make=True)
    old = context.find(path.id)
    context.check_etag(asked, old)
    region = context.location(body)
    if isinstance(old, Resource):
        old.body, old.tags, old.version = dict(body), dict(body.get("tags") or {}), old.version + 1
        return HttpResponse.of_json(plain_body(context, old), 200, {"ETag": etag(old)})
    _check_references(context, body)
    takes = context.seconds("operation_s")
    made = Resource(
        **context.born(path, region, body, asked.request.path),
        ready_at=context.now + takes,
        hourly=ADDRESS_HOURLY if path.type.endswith("/publicIPAddresses") else 0.0,
    )
    context.world.add(made)
    operation = context.begin(asked, made, takes)
    headers = context.operation_headers(asked, operation, "a") | {"ETag": etag(made)}
    return accepted(plain_body(context, made), 201, headers)


def _check_references(context: Context, body: Mapping[str, Any]) -> None:
    """Check that every ``networkSecurityGroup`` that a network names is there."""
    for subnet in (body.get("properties") or {}).get("subnets") or ():
        guard = ((subnet.get("properties") or {}).get("networkSecurityGroup") or {}).get("id")
        if guard:
            context.need(read_id(guard))


def plain_body(context: Context, thing: Resource) -> dict[str, Any]:
    """Return a plain resource as Azure lists it."""
    type_ = type_of(thing)
    properties = {
        **(thing.body.get("properties") or {}),
        **thing.details,
        "provisioningState": thing.state(context.now),
    }
    if thing.kind == "virtualNetworks":
        properties["subnets"] = [
            {**one, "id": f"{thing.path}/subnets/{one['name']}", "type": f"{type_}/subnets"}
            for one in properties.get("subnets") or ()
        ]
    if thing.kind == "networkInterfaces" and thing.attached_to:
        vm = context.world.get(thing.attached_to)
        properties["virtualMachine"] = {"id": vm.path if isinstance(vm, Vm) else thing.attached_to}
    body = {
        "id": thing.path,
        "name": thing.name,
        "type": type_,
        "location": thing.region,
        "tags": dict(thing.tags),
        "etag": etag(thing),
        "properties": properties,
    }
    if thing.kind == "disks" and thing.attached_to:
        body["managedBy"] = thing.attached_to
    return body | {key: thing.body[key] for key in ("zones", "sku") if thing.body.get(key)}


def type_of(thing: Resource) -> str:
    """Return the full type of a resource."""
    return next(type_ for type_, _ in TYPES.values() if type_.rpartition("/")[2] == thing.kind)


def get_plain(context: Context, asked: Asked) -> HttpResponse:
    """Return one resource."""
    thing = context.need(asked.params["path"])
    assert isinstance(thing, Resource)
    return HttpResponse.of_json(plain_body(context, thing), 200, {"ETag": etag(thing)})


def get_subnet(context: Context, asked: Asked) -> HttpResponse:
    """Return a subnet of a network."""
    path = asked.params["path"]
    network, subnet = find_subnet(context, path)
    return HttpResponse.of_json({**subnet, "id": f"{network.path}/subnets/{subnet['name']}"})


def find_subnet(context: Context, path: ArmPath) -> tuple[Resource, Mapping[str, Any]]:
    """Return the network and the subnet that a path names. Raise `Refusal` where they are not there."""
    network = context.need(ArmPath(path.subscription, path.group, "Microsoft.Network/virtualNetworks", path.names[:1]))
    assert isinstance(network, Resource)
    for subnet in (network.body.get("properties") or {}).get("subnets") or ():
        if str(subnet.get("name", "")).lower() == path.names[1].lower():
            return network, subnet
    raise Refusal("NotFound", f"Subnet {path.names[1]} of {network.path} not found.", 404)


def list_plain(context: Context, asked: Asked) -> HttpResponse:
    """Return the resources of a type, of a resource group or of the subscription."""
    path = asked.params["path"]
    if path.group:
        context.need_group(path)
    group = make_id(path.subscription, path.group) if path.group else ""
    found = [one for one in context.resources(path.type.rpartition("/")[2], group) if one.visible(context.now)]
    return HttpResponse.of_json(paged(asked.request, [plain_body(context, one) for one in found]))


def delete_plain(context: Context, asked: Asked) -> HttpResponse:
    """Remove a resource that nothing uses."""
    path = asked.params["path"]
    context.need_group(path)
    thing = context.find(path.id)
    if not isinstance(thing, Resource):
        return HttpResponse(204)
    context.check_etag(asked, thing)
    _check_unused(context, thing)
    takes = context.seconds("operation_s")
    thing.leaving_at = context.now
    operation = context.begin(asked, thing, takes, then=lambda: context.world.remove(thing))
    return accepted(None, 202, context.operation_headers(asked, operation, "al"))


def _check_unused(context: Context, thing: Resource) -> None:
    if thing.kind == "virtualNetworks":
        for card in context.resources("networkInterfaces"):
            if any(id_.startswith(f"{thing.id}/subnets/") for id_ in _subnets(card)):
                words = f"Subnet of {thing.name} is in use by {card.path} and cannot be deleted."
                raise Refusal("InUseSubnetCannotBeDeleted", words)
    if thing.kind == "networkInterfaces" and context.find(thing.attached_to):
        raise Refusal("NicInUse", f"Network Interface {thing.path} is used by existing resource {thing.attached_to}.")
    if thing.kind == "publicIPAddresses" and context.find(thing.attached_to):
        raise Refusal(
            "PublicIPAddressCannotBeDeleted",
            f"Public IP address {thing.path} is still allocated to resource {thing.attached_to}.",
        )
    if thing.kind == "disks" and context.find(thing.attached_to):
        words = f"Disk {thing.name} is attached to VM {thing.attached_to}."
        raise Refusal("OperationNotAllowed", words, 409)
    if thing.kind == "networkSecurityGroups" and _guarded(context, thing):
        words = f"Network security group {thing.path} cannot be deleted because it is in use by subnets or cards."
        raise Refusal("InUseNetworkSecurityGroupCannotBeDeleted", words)
    if thing.kind == "proximityPlacementGroups":
        for vm in context.machines():
            named = ((vm.body.get("properties") or {}).get("proximityPlacementGroup") or {}).get("id", "")
            if named and read_id(named).id == thing.id:
                words = (
                    f"Proximity placement group {thing.name} cannot be deleted: {vm.name} is still associated with it."
                )
                raise Refusal("OperationNotAllowed", words, 409)


def _guarded(context: Context, guard: Resource) -> bool:
    for network in context.resources("virtualNetworks"):
        for subnet in (network.body.get("properties") or {}).get("subnets") or ():
            named = ((subnet.get("properties") or {}).get("networkSecurityGroup") or {}).get("id")
            if named and read_id(named).id == guard.id:
                return True
    return False


def _subnets(card: Resource) -> list[str]:
    configurations = (card.body.get("properties") or {}).get("ipConfigurations") or ()
    named = [((one.get("properties") or {}).get("subnet") or {}).get("id", "") for one in configurations]
    return [read_id(one).id for one in named if one]


def check_cards(context: Context, properties: Mapping[str, Any], region: str) -> None:
    """Raise `Refusal` for cards in subnets that are not there, or are in another region."""
    profile = properties.get("networkProfile") or {}
    cards = profile.get("networkInterfaceConfigurations") or ()
    if not cards and not profile.get("networkInterfaces"):
        raise Refusal("InvalidParameter", "The value of parameter networkProfile is invalid: no network interface.")
    if cards and not profile.get("networkApiVersion"):
        words = "networkApiVersion must be specified when networkInterfaceConfigurations is."
        raise Refusal("InvalidParameter", words)
    for card in cards:
        for address in (card.get("properties") or {}).get("ipConfigurations") or ():
            subnet = ((address.get("properties") or {}).get("subnet") or {}).get("id")
            if not subnet:
                raise Refusal("InvalidParameter", "The value of parameter subnet is invalid.")
            network, _ = find_subnet(context, read_id(subnet))
            if network.region != region:
                words = f"Resource {subnet} is in {network.region}, and the machine in {region}."
                raise Refusal("InvalidResourceReference", words)


def give_addresses(vm: Vm, properties: Mapping[str, Any]) -> None:
    """Give a machine its addresses, the public one where its card is configured for one."""
    vm.private_ip = f"10.64.{vm.number // 250 % 64}.{vm.number % 250 + 4}"
    for card in (properties.get("networkProfile") or {}).get("networkInterfaceConfigurations") or ():
        for address in (card.get("properties") or {}).get("ipConfigurations") or ():
            if (address.get("properties") or {}).get("publicIPAddressConfiguration"):
                vm.public_ip = f"203.0.113.{vm.number % 250 + 4}"


def make_cards(context: Context, vm: Vm, properties: Mapping[str, Any]) -> None:
    """Make the cards and public addresses in a machine's configurations; they stay when it fails."""
    subscription, group = vm.container.split("/")[2], vm.container.split("/")[4]
    for card in (properties.get("networkProfile") or {}).get("networkInterfaceConfigurations") or ():
        inside = card.get("properties") or {}
        name = f"{card['name']}-{context.world.hex(8)}"
        path = ArmPath(subscription, group, "Microsoft.Network/networkInterfaces", (name,))
        goes = vm if inside.get("deleteOption") == "Delete" else None
        configurations = []
        for address in inside.get("ipConfigurations") or ():
            own = dict(address.get("properties") or {})
            wanted = own.pop("publicIPAddressConfiguration", None)
            own["privateIPAddress"] = vm.private_ip
            if wanted:
                public = ArmPath(
                    subscription,
                    group,
                    "Microsoft.Network/publicIPAddresses",
                    (f"{wanted['name']}-{context.world.hex(8)}",),
                )
                body = {"location": vm.region, "tags": wanted.get("tags"), "sku": wanted.get("sku")}
                gone = (wanted.get("properties") or {}).get("deleteOption") == "Delete"
                context.world.add(
                    Resource(
                        **context.born(public, vm.region, body, public.id),
                        hourly=ADDRESS_HOURLY,
                        details={"ipAddress": vm.public_ip},
                        attached_to=path.id,
                        goes_with=vm if gone else None,
                    )
                )
                own["publicIPAddress"] = {"id": public.id}
            configurations.append({**address, "properties": own})
        body = {
            "location": vm.region,
            "tags": card.get("tags"),
            "properties": {**inside, "ipConfigurations": configurations},
        }
        made = Resource(**context.born(path, vm.region, body, path.id), attached_to=vm.id, goes_with=goes)
        context.world.add(made)
