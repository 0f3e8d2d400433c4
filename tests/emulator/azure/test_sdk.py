"""The vendor's own Python clients, with their serializers and pollers, against the emulated Azure."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.emulated import Emulator
from tests.emulator.azure.conftest import cards

SIZE: Final = "Standard_L8s_v3"
KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPLV7aFaGeQ5JFz1yAWSB80CsSwJFrojWjpKC5j7Zn5o"


def value(info: Any) -> Any:
    """The exception that was raised: the vendor types less of it than there is."""
    return info.value


def machine(zone: str, subnet: str, group: str = "", **more: Any) -> dict[str, Any]:
    """A machine as a user of the vendor's client writes it."""
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": SIZE},
        "storageProfile": {
            "imageReference": {
                "publisher": "Canonical",
                "offer": "ubuntu-24_04-lts",
                "sku": "server",
                "version": "latest",
            },
            "osDisk": {"createOption": "FromImage", "deleteOption": "Delete", "name": "disk"},
        },
        "osProfile": {
            "computerName": "m",
            "adminUsername": "me",
            "linuxConfiguration": {
                "disablePasswordAuthentication": True,
                "ssh": {"publicKeys": [{"path": "/home/me/.ssh/authorized_keys", "keyData": KEY}]},
            },
        },
        "networkProfile": {
            "networkApiVersion": "2022-11-01",
            "networkInterfaceConfigurations": [
                {
                    "name": "nic",
                    "properties": {
                        "primary": True,
                        "deleteOption": "Delete",
                        "ipConfigurations": [{"name": "ip", "properties": {"subnet": {"id": subnet}}}],
                    },
                }
            ],
        },
        **more,
    }
    if group:
        properties["capacityReservation"] = {"capacityReservationGroup": {"id": group}}
    return {"location": "eastus", "zones": [zone], "properties": properties}


def test_group_member_and_machine_live_and_go(compute: Any, resource: Any, subnet: str) -> None:
    """A reservation is made, a machine sits in it, and each goes in the order that Azure asks for."""
    from azure.core.exceptions import HttpResponseError

    group = compute.capacity_reservation_groups.create_or_update("Mine", "G", {"location": "eastus", "zones": ["1"]})
    body = {"location": "eastus", "zones": ["1"], "sku": {"name": SIZE, "capacity": 1}}
    member = compute.capacity_reservations.begin_create_or_update("Mine", "G", "R", body).result()
    assert (member.sku.name, member.sku.capacity, member.provisioning_state) == (SIZE, 1, "Succeeded")
    made = compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet, group.id)).result()
    assert made.provisioning_state == "Succeeded"
    seen = compute.capacity_reservations.get("Mine", "g", "r", expand="instanceView")
    inside = seen.instance_view.utilization_info
    assert [one.id.lower() for one in inside.virtual_machines_allocated] == [made.id.lower()]
    assert inside.current_capacity == 1
    with pytest.raises(HttpResponseError) as refused:
        compute.capacity_reservations.begin_delete("Mine", "G", "R").result()
    assert value(refused).status_code == 409
    updated = compute.capacity_reservations.begin_update("Mine", "G", "R", {"sku": {"capacity": 0}}).result()
    assert updated.sku.capacity == 0
    compute.virtual_machines.begin_delete("Mine", "m", force_deletion=True).result()
    compute.capacity_reservations.begin_delete("Mine", "G", "R").result()
    compute.capacity_reservation_groups.begin_delete("Mine", "G").result()
    assert [one.type for one in resource.resources.list_by_resource_group("Mine")] == [
        "Microsoft.Network/virtualNetworks"
    ]
    resource.resource_groups.begin_delete("Mine").result()
    assert not list(resource.resource_groups.list())


def test_a_failure_comes_within_a_successful_poll(emulator: Emulator, compute: Any, subnet: str) -> None:
    """A machine that cannot be allocated is told of by HTTP 200, and stays with its card until it is deleted."""
    from azure.core.exceptions import HttpResponseError

    emulator.weather(stock={"eastus-1": {SIZE: 0}}, operation_s=0.1)
    with pytest.raises(HttpResponseError) as failed:
        compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet)).result()
    assert value(failed).status_code == 200
    assert value(failed).error.code == "ZonalAllocationFailed"
    left = compute.virtual_machines.get("Mine", "m", expand="instanceView")
    assert left.provisioning_state == "Failed"
    assert left.instance_view.statuses[0].code == "ProvisioningState/failed/ZonalAllocationFailed"
    assert cards(emulator) == [left.id]
    compute.virtual_machines.begin_delete("Mine", "m").result()
    assert not cards(emulator)
    assert not list(compute.disks.list())


def test_a_machine_whose_allocation_is_refused_at_once_stays(emulator: Emulator, compute: Any, subnet: str) -> None:
    """The PUT itself is refused, and the machine is there in state Failed, with its card, until it is deleted."""
    from azure.core.exceptions import ResourceExistsError

    fault = {"operation": "VirtualMachines_CreateOrUpdate", "error": "ZonalAllocationFailed", "http": 409}
    emulator.weather(faults=[fault])
    with pytest.raises(ResourceExistsError) as refused:
        compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet))
    assert value(refused).error.code == "ZonalAllocationFailed"
    (left,) = compute.virtual_machines.list("Mine")
    assert left.provisioning_state == "Failed"
    view = compute.virtual_machines.get("Mine", "m", expand="instanceView").instance_view
    assert view.statuses[0].code == "ProvisioningState/failed/ZonalAllocationFailed"
    assert [one.lower() for one in cards(emulator)] == [left.id.lower()]
    compute.virtual_machines.begin_delete("Mine", "m").result()
    assert not cards(emulator)
    assert not list(compute.virtual_machines.list("Mine"))


def test_a_machine_that_will_fail_is_being_made_until_then(emulator: Emulator, compute: Any, subnet: str) -> None:
    """Its state is Creating for as long as the operation runs, and Failed from its end on."""
    emulator.weather(stock={"eastus-1": {SIZE: 0}}, operation_s=300)
    compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet), polling=False)
    assert compute.virtual_machines.get("Mine", "m").provisioning_state == "Creating"
    emulator.weather(clock={"advance_s": 301})
    assert compute.virtual_machines.get("Mine", "m").provisioning_state == "Failed"


def test_the_same_request_again_changes_nothing(compute: Any, subnet: str) -> None:
    """The machine is the one that is there; with another login or another zone the request is refused."""
    from azure.core.exceptions import ResourceExistsError

    body = machine("1", subnet)
    made = compute.virtual_machines.begin_create_or_update("Mine", "m", body).result()
    again = compute.virtual_machines.begin_create_or_update("Mine", "m", body).result()
    assert again.vm_id == made.vm_id
    other = machine("1", subnet)
    other["properties"]["osProfile"]["adminUsername"] = "another"
    for changed in (other, machine("2", subnet)):
        with pytest.raises(ResourceExistsError) as refused:
            compute.virtual_machines.begin_create_or_update("Mine", "m", changed)
        assert value(refused).error.code == "PropertyChangeNotAllowed"
    assert [one.vm_id for one in compute.virtual_machines.list("Mine")] == [made.vm_id]


def test_a_size_that_does_not_exist_is_refused(compute: Any, subnet: str) -> None:
    """Nothing is kept of the request."""
    from azure.core.exceptions import HttpResponseError

    body = machine("1", subnet)
    body["properties"]["hardwareProfile"]["vmSize"] = "Standard_Made_Up"
    with pytest.raises(HttpResponseError) as refused:
        compute.virtual_machines.begin_create_or_update("Mine", "m", body)
    assert (value(refused).status_code, value(refused).error.code) == (400, "InvalidParameter")
    assert not list(compute.virtual_machines.list("Mine"))


def test_a_member_fails_with_the_reason_inside(emulator: Emulator, compute: Any, subnet: str) -> None:
    """The outer error of a reservation says only that there is one."""
    from azure.core.exceptions import HttpResponseError

    emulator.weather(stock={"eastus-1": {SIZE: 1}})
    compute.capacity_reservation_groups.create_or_update("Mine", "G", {"location": "eastus", "zones": ["1"]})
    body = {"location": "eastus", "zones": ["1"], "sku": {"name": SIZE, "capacity": 2}}
    with pytest.raises(HttpResponseError) as failed:
        compute.capacity_reservations.begin_create_or_update("Mine", "G", "R", body).result()
    error = value(failed).error
    assert error.code == "ResourceOperationFailure"
    assert [one.code for one in error.details] == ["ZonalAllocationFailed"]


def test_spot_is_refused_at_once(emulator: Emulator, compute: Any, subnet: str) -> None:
    """Azure tells of missing spot capacity by a refusal of the call."""
    from azure.core.exceptions import ResourceExistsError

    emulator.weather(stock={"eastus-1": {"spot": {"*": 0}}})
    spot: dict[str, Any] = {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": -1}}
    with pytest.raises(ResourceExistsError) as refused:
        compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet, **spot))
    assert value(refused).error.code == "SkuNotAvailable"
    assert not list(compute.virtual_machines.list("Mine"))


def test_an_evicted_machine_is_deleted_with_its_card(emulator: Emulator, compute: Any, subnet: str) -> None:
    """With eviction policy Delete nothing is left of it."""
    from azure.core.exceptions import ResourceNotFoundError

    spot: dict[str, Any] = {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": -1}}
    compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet, **spot)).result()
    emulator.weather(reclaim=[{"cloud": "azure"}])
    with pytest.raises(ResourceNotFoundError):
        compute.virtual_machines.get("Mine", "m")
    assert not cards(emulator)


def test_a_quota_is_named_in_the_text(emulator: Emulator, compute: Any, subnet: str) -> None:
    """The family, the location and the numbers of a quota stand in the message alone."""
    from azure.core.exceptions import HttpResponseError

    emulator.weather(quota={"eastus": {"standardLSv3Family": 4}})
    with pytest.raises(HttpResponseError) as refused:
        compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet))
    assert value(refused).error.code == "OperationNotAllowed"
    assert "exceeding approved standardLSv3Family Cores quota" in value(refused).error.message
    assert (
        "Location: eastus, Current Limit: 4, Current Usage: 0, Additional Required: 8" in value(refused).error.message
    )
    usages = {one.name.value: (one.current_value, one.limit) for one in compute.usage.list("eastus")}
    assert usages["standardLSv3Family"] == (0, 4)


def test_a_resource_group_takes_all_along(compute: Any, resource: Any, network: Any, subnet: str) -> None:
    """Its deletion removes machines, reservations, cards and networks, in an order of its own."""
    (net,) = network.virtual_networks.list("Mine")
    assert [one.id for one in net.subnets] == [subnet]
    group = compute.capacity_reservation_groups.create_or_update("Mine", "G", {"location": "eastus", "zones": ["1"]})
    body = {"location": "eastus", "zones": ["1"], "sku": {"name": SIZE, "capacity": 1}}
    compute.capacity_reservations.begin_create_or_update("Mine", "G", "R", body).result()
    made = compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet, group.id)).result()
    assert [one.virtual_machine.id for one in network.network_interfaces.list("Mine")] == [made.id]
    resource.resource_groups.begin_delete("mine").result()
    assert not list(resource.resources.list())
    assert not list(compute.virtual_machines.list_all())
    assert not list(network.network_interfaces.list_all())


def test_nothing_is_made_in_a_group_that_is_going(emulator: Emulator, compute: Any, resource: Any, subnet: str) -> None:
    """A resource group that is being deleted refuses everything new."""
    from azure.core.exceptions import HttpResponseError

    emulator.weather(operation_s=30)
    resource.resource_groups.begin_delete("Mine", polling=False)
    with pytest.raises(HttpResponseError) as refused:
        compute.capacity_reservation_groups.create_or_update("Mine", "G", {"location": "eastus"})
    assert value(refused).error.code == "ResourceGroupBeingDeleted"


def test_lists_come_in_pages(emulator: Emulator, compute: Any, resource: Any) -> None:
    """A list of more than a page has a link to the next one, which the client follows, filter and all."""
    for number in range(45):
        resource.resource_groups.create_or_update(f"g{number}", {"location": "eastus", "tags": {"k": str(number % 2)}})
    assert len(list(resource.resource_groups.list())) == 45
    assert len(list(resource.resource_groups.list(filter="tagName eq 'k' and tagValue eq '0'"))) == 23
    pages = [call for call in emulator.calls() if call["operation"] == "ResourceGroups_List"]
    assert len(pages) == 5
    skus = {sku.name: sku for sku in compute.resource_skus.list(filter="location eq 'eastus'")}
    assert sorted(skus[SIZE].location_info[0].zones) == ["1", "2", "3"]
    assert {one.name: one.value for one in skus[SIZE].capabilities}["vCPUs"] == "8"


def test_a_second_member_of_one_size_and_zone_is_refused(compute: Any, resource: Any) -> None:
    """A group takes one reservation for each size and zone."""
    from azure.core.exceptions import HttpResponseError

    resource.resource_groups.create_or_update("Mine", {"location": "eastus"})
    compute.capacity_reservation_groups.create_or_update("Mine", "G", {"location": "eastus", "zones": ["1", "2"]})
    body = {"location": "eastus", "zones": ["1"], "sku": {"name": SIZE, "capacity": 1}}
    compute.capacity_reservations.begin_create_or_update("Mine", "G", "R", body).result()
    with pytest.raises(HttpResponseError) as refused:
        compute.capacity_reservations.begin_create_or_update("Mine", "G", "R2", body)
    assert value(refused).status_code == 409
    with pytest.raises(HttpResponseError) as fixed:
        compute.capacity_reservation_groups.create_or_update("Mine", "G", {"location": "eastus", "zones": ["3"]})
    assert value(fixed).error.code == "PropertyChangeNotAllowed"


def test_too_many_calls_are_refused_with_the_limits_in_the_headers(emulator: Emulator, resource: Any) -> None:
    """A throttled call says when to come back; others say how many calls are left."""
    from azure.core.exceptions import HttpResponseError

    seen: dict[str, Any] = {}
    resource.resource_groups.create_or_update(
        "Mine", {"location": "eastus"}, raw_response_hook=lambda r: seen.update(r.http_response.headers)
    )
    assert seen["x-ms-ratelimit-remaining-subscription-writes"].isdecimal()
    emulator.weather(throttle={"azure/eastus": {"write": {"burst": 0, "per_second": 0}}})
    with pytest.raises(HttpResponseError) as refused:
        resource.resource_groups.create_or_update("Other", {"location": "eastus"})
    assert value(refused).status_code == 429
    assert value(refused).response.headers["Retry-After"] == "1"


def test_a_member_that_cannot_grow_is_failed_until_its_quantity_is_restored(
    emulator: Emulator, compute: Any, subnet: str
) -> None:
    """The failure is told late; meanwhile the member takes no machine, and holds what it held."""
    from azure.core.exceptions import HttpResponseError

    emulator.weather(stock={"eastus-1": {SIZE: 2}})
    group = compute.capacity_reservation_groups.create_or_update("Mine", "G", {"location": "eastus", "zones": ["1"]})
    body = {"location": "eastus", "zones": ["1"], "sku": {"name": SIZE, "capacity": 1}}
    compute.capacity_reservations.begin_create_or_update("Mine", "G", "R", body).result()
    with pytest.raises(HttpResponseError) as failed:
        compute.capacity_reservations.begin_update("Mine", "G", "R", {"sku": {"capacity": 3}}).result()
    assert [one.code for one in value(failed).error.details] == ["ZonalAllocationFailed"]
    member = compute.capacity_reservations.get("Mine", "G", "R", expand="instanceView")
    assert (member.provisioning_state, member.instance_view.utilization_info.current_capacity) == ("Failed", 1)
    with pytest.raises(HttpResponseError):
        compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet, group.id)).result()
    restored = compute.capacity_reservations.begin_update("Mine", "G", "R", {"sku": {"capacity": 1}}).result()
    assert (restored.provisioning_state, restored.sku.capacity) == ("Succeeded", 1)
    compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet, group.id)).result()


def test_a_machine_is_changed_only_while_it_is_deallocated(emulator: Emulator, compute: Any, subnet: str) -> None:
    """Size and disk; between sizes with a temporary disk and without there is no way. Its view has the power state."""
    from azure.core.exceptions import HttpResponseError

    compute.virtual_machines.begin_create_or_update("Mine", "m", machine("1", subnet)).result()

    def resized(size: str) -> Any:
        body = {"properties": {"hardwareProfile": {"vmSize": size}}}
        return compute.virtual_machines.begin_update("Mine", "m", body).result()

    def power() -> str:
        view = compute.virtual_machines.instance_view("Mine", "m")
        return str(view.statuses[-1].code)

    with pytest.raises(HttpResponseError) as running:
        resized("Standard_L16s_v3")
    assert value(running).error.code == "OperationNotAllowed"
    (disk,) = compute.disks.list()
    with pytest.raises(HttpResponseError, match="requires the virtual machine to be deallocated") as attached:
        compute.disks.begin_update("Mine", disk.name, {"properties": {"diskSizeGB": 64}}).result()
    assert value(attached).error.code == "OperationNotAllowed"
    compute.virtual_machines.begin_deallocate("Mine", "m").result()
    assert power() == "PowerState/deallocated"
    with pytest.raises(HttpResponseError, match="resource disk to non-resource disk"):
        resized("Standard_L8s_v4")
    assert resized("Standard_L16s_v3").hardware_profile.vm_size == "Standard_L16s_v3"
    assert compute.disks.begin_update("Mine", disk.name, {"properties": {"diskSizeGB": 64}}).result().disk_size_gb == 64
    with pytest.raises(HttpResponseError, match="cannot be resized down"):
        compute.disks.begin_update("Mine", disk.name, {"properties": {"diskSizeGB": 32}}).result()
    compute.virtual_machines.begin_start("Mine", "m").result()
    assert power() == "PowerState/running"
