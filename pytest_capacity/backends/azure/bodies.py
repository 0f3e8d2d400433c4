"""The bodies of the calls, as pure functions. Held against the models of azure-mgmt-compute and -network by tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_capacity.backends.azure.settings import GroupSettings

#: The subnet of the run's own network.
SUBNET: Final = "nodes"
_RANGE: Final = "10.64.0.0/16"
_SUBNET_RANGE: Final = "10.64.0.0/18"

Body = dict[str, Any]
Tags = Mapping[str, str]


def resource_group(region: str, tags: Tags) -> Body:
    """Return a resource group."""
    return {"location": region, "tags": dict(tags)}


def network(region: str, tags: Tags) -> Body:
    """Return a network with one subnet."""
    subnet = {"name": SUBNET, "properties": {"addressPrefix": _SUBNET_RANGE}}
    properties = {"addressSpace": {"addressPrefixes": [_RANGE]}, "subnets": [subnet]}
    return {"location": region, "tags": dict(tags), "properties": properties}


def with_firewall(body: Mapping[str, Any], firewall: str) -> Body:
    """Return the body of a network with a firewall (network security group) on its subnet."""
    (subnet,) = body["properties"]["subnets"]
    guarded = {**subnet, "properties": {**subnet["properties"], "networkSecurityGroup": {"id": firewall}}}
    return {**body, "properties": {**body["properties"], "subnets": [guarded]}}


def firewall(region: str, ranges: Sequence[str], tags: Tags) -> Body:
    """Return a network security group that lets SSH in from ``ranges``; the rest is as Azure has it: closed."""
    rule = {
        "priority": 1000,
        "direction": "Inbound",
        "access": "Allow",
        "protocol": "Tcp",
        "sourceAddressPrefixes": list(ranges),
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "22",
    }
    rules = [{"name": "ssh", "properties": rule}]
    return {"location": region, "tags": dict(tags), "properties": {"securityRules": rules}}


def placement_group(region: str, zone: str, tags: Tags) -> Body:
    """Return a proximity placement group."""
    body: Body = {"location": region, "tags": dict(tags), "properties": {"proximityPlacementGroupType": "Standard"}}
    return {**body, "zones": [zone]} if zone else body


def capacity_group(region: str, zones: Sequence[str], tags: Tags) -> Body:
    """Return a capacity reservation group for these zones, which never change; none: for what has no zone."""
    body: Body = {"location": region, "tags": dict(tags)}
    return {**body, "zones": list(zones)} if zones else body


def member(region: str, zone: str, size: str, count: int, tags: Tags) -> Body:
    """Return a capacity reservation."""
    body: Body = {"location": region, "sku": {"name": size, "capacity": count}, "tags": dict(tags)}
    return {**body, "zones": [zone]} if zone else body


def capacity(count: int) -> Body:
    """Return the change of a capacity reservation to another count."""
    return {"sku": {"capacity": count}}


def disk_name(machine: str) -> str:
    """Return the name of the disk from which a machine starts."""
    return f"{machine}-disk"


def disk_change(size_gb: int) -> Body:
    """Return the change of a disk to another size."""
    return {"properties": {"diskSizeGB": size_gb}}


def machine_change(size: str, capacity_group: str) -> Body:
    """Return the change of a deallocated machine to another size, in a reservation of that group, or in none."""
    return {"properties": {"hardwareProfile": {"vmSize": size}, "capacityReservation": aimed_at(capacity_group)}}


def aimed_at(capacity_group: str) -> Body:
    """Return how an on-demand machine names its capacity reservation group; "": it uses none of them.

    A machine whose body does not state this may be put into any open reservation of the subscription.
    """
    if not capacity_group:
        return {"disableCapacityReservationAssignment": True}
    return {"capacityReservationGroup": {"id": capacity_group}}


def tag_change(tags: Tags) -> Body:
    """Return the change of some tags of anything, which leaves the others as they are."""
    return {"operation": "Merge", "properties": {"tags": dict(tags)}}


def machine(
    region: str, zone: str, name: str, node: str, group: GroupSettings, *, user: str, tags: Tags, custom_data: str
) -> Body:
    """Return a virtual machine, less what `with_references` puts in. Card, address and disk go with it."""
    azure = group.azure
    disk: Body = {
        "name": disk_name(name),
        "createOption": "FromImage",
        # By default Azure detaches the disk of a machine that is deleted, and bills it on.
        "deleteOption": "Delete",
    }
    if azure.os_disk_gb:
        disk["diskSizeGB"] = azure.os_disk_gb
    if azure.os_disk_type:
        disk["managedDisk"] = {"storageAccountType": azure.os_disk_type}
    login: Body = {
        "computerName": _computer_name(node),
        "adminUsername": user,
        "linuxConfiguration": {"disablePasswordAuthentication": True},
    }
    if custom_data:
        login["customData"] = custom_data
    properties: Body = {
        "hardwareProfile": {"vmSize": group.group.instance_type},
        "storageProfile": {"imageReference": image_reference(group.image(region)), "osDisk": disk},
        "osProfile": login,
        "networkProfile": {
            "networkApiVersion": "2022-11-01",
            "networkInterfaceConfigurations": [_card(name, group, region, tags)],
        },
        **_market(group),
    }
    if azure.console:
        properties["diagnosticsProfile"] = {"bootDiagnostics": {"enabled": True}}
    body: Body = {"location": region, "tags": dict(tags), "properties": properties}
    if zone:
        body["zones"] = [zone]
    if azure.identities:
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {id_: {} for id_ in azure.identities}}
    return body


def with_references(
    body: Mapping[str, Any], subnet: str, capacity_group: str, placement_group: str, public_key: str
) -> Body:
    """Return the body of a machine with its subnet, its reservation or none, its placement group and its key."""
    properties = dict(body["properties"])
    network_profile = properties["networkProfile"]
    (card,) = network_profile["networkInterfaceConfigurations"]
    (address,) = card["properties"]["ipConfigurations"]
    address = {**address, "properties": {**address["properties"], "subnet": {"id": subnet}}}
    card = {**card, "properties": {**card["properties"], "ipConfigurations": [address]}}
    properties["networkProfile"] = {**network_profile, "networkInterfaceConfigurations": [card]}
    if capacity_group or properties.get("priority") != "Spot":
        properties["capacityReservation"] = aimed_at(capacity_group)
    if placement_group:
        properties["proximityPlacementGroup"] = {"id": placement_group}
    login = properties["osProfile"]
    key = {"path": f"/home/{login['adminUsername']}/.ssh/authorized_keys", "keyData": public_key}
    linux = {**login["linuxConfiguration"], "ssh": {"publicKeys": [key]}}
    properties["osProfile"] = {**login, "linuxConfiguration": linux}
    return {**body, "properties": properties}


def image_reference(image: str) -> Body:
    """Return how a machine refers to an image: a URN, or an id (own, of a gallery, shared or of the community)."""
    if not image.startswith("/"):
        publisher, offer, sku, version = (image.split(":") + [""] * 4)[:4]
        return {"publisher": publisher, "offer": offer, "sku": sku, "version": version}
    lower = image.lower()
    if lower.startswith("/communitygalleries/"):
        return {"communityGalleryImageId": image}
    if lower.startswith("/sharedgalleries/"):
        return {"sharedGalleryImageId": image}
    return {"id": image}


def _card(name: str, group: GroupSettings, region: str, tags: Tags) -> Body:
    azure = group.azure
    address: Body = {"primary": True}
    if azure.public_ip:
        address["publicIPAddressConfiguration"] = {
            "name": f"{name}-ip",
            "sku": {"name": "Standard", "tier": "Regional"},
            "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
            "tags": dict(tags),
        }
    card: Body = {
        "primary": True,
        "deleteOption": "Delete",
        "ipConfigurations": [{"name": "ipconfig", "properties": address}],
    }
    if guard := azure.security_groups.get(region):
        card["networkSecurityGroup"] = {"id": guard}
    return {"name": f"{name}-nic", "properties": card, "tags": dict(tags)}


def _market(group: GroupSettings) -> Body:
    if group.market != "spot":
        return {}
    # With "Deallocate" the disks of an evicted machine would be billed on.
    return {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": group.azure.max_price}}


def _computer_name(node: str) -> str:
    """Return a host name: letters, digits and hyphens."""
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in node).strip("-")[:63]
