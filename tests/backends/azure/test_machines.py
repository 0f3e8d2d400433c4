"""What a run's machines are made of at Azure, and how much of it is ours by its tags."""

from __future__ import annotations

import base64
from typing import Any

from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.model import Ssh
from pytest_capacity.testing import Bench
from tests.backends.azure.runs import DB, LOADER, REGION, SETTINGS, request
from tests.backends.azure.test_bodies import pieces
from tests.backends.azure.test_runs import operations
from tests.emulated import Emulator, rounds

HOME = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/theirs"
IDENTITY = f"{HOME}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"


def arm_of(emulator: Emulator) -> Any:
    """Calls of Resource Manager."""
    backend: Any = open_backend(request(emulator))
    return backend._arm


def everything(emulator: Emulator) -> list[dict[str, Any]]:
    """All resources of the subscription, resource groups too, as Azure lists them."""
    arm = arm_of(emulator)
    groups = arm.pages("test", arm.path("/resourcegroups"), "2025-04-01")
    return [*groups, *arm.pages("test", arm.path("/resources"), "2025-04-01")]


def machines(emulator: Emulator) -> list[dict[str, Any]]:
    """The machines, whole."""
    arm = arm_of(emulator)
    path = arm.path("/providers/Microsoft.Compute/virtualMachines")
    return list(arm.pages("test", path, "2026-04-01"))


def test_all_bears_our_stamp_and_the_tags_of_older_tools(emulator: Emulator, bench: Bench) -> None:
    """Resource group, capacity group, members, network, firewall, machines, cards, addresses: but disks, which are
    made for their machine, and found by it.
    """
    settings = replace(SETTINGS, public_ip=True, ssh_from=("203.0.113.0/24",), tags={"team": "storage"})
    engine = bench.engine(request(emulator, settings=settings))
    engine.provision("default")
    found = everything(emulator)
    tagged = [one for one in found if not one["type"].endswith("/disks")]
    assert {one["type"].rpartition("/")[2] for one in tagged} == {
        "capacityReservationGroups",
        "capacityReservations",
        "networkInterfaces",
        "networkSecurityGroups",
        "publicIPAddresses",
        "resourceGroups",
        "virtualMachines",
        "virtualNetworks",
    }
    for one in tagged:
        tags = one["tags"]
        assert (tags["TestId"], tags["CapacityReservation"], tags["Backend"]) == ("run-1", "true", "azure"), one
        assert (tags["pytest-capacity:run"], tags["pytest-capacity:project"], tags["team"]) == (
            "run-1",
            "tests",
            "storage",
        )
        assert tags["pytest-capacity:piece"].startswith("default/1/eastus-1/")
        assert tags["pytest-capacity:deadline"].endswith("Z")
    disks = [one for one in found if one not in tagged]
    assert {one["managedBy"].lower() for one in disks} == {one["id"].lower() for one in machines(emulator)}
    bench.give_back(engine)


def test_a_machine_is_made_as_the_section_says(emulator: Emulator, bench: Bench) -> None:
    """Custom data, user, price, disk, identity; a subnet and a firewall of the user's instead of ours."""
    arm = arm_of(emulator)
    arm.call("test", "PUT", HOME, "2025-04-01", {"location": REGION})
    guard = f"{HOME}/providers/Microsoft.Network/networkSecurityGroups/guard"
    arm.call("test", "PUT", guard, "2026-03-01", {"location": REGION})
    network = f"{HOME}/providers/Microsoft.Network/virtualNetworks/net"
    body = {"location": REGION, "properties": {"subnets": [{"name": "s", "properties": {}}]}}
    arm.call("test", "PUT", network, "2026-03-01", body)
    settings = replace(
        SETTINGS,
        subnets={REGION: f"{network}/subnets/s"},
        security_groups={REGION: guard},
        identities=(IDENTITY,),
        max_price=0.25,
        os_disk_gb=64,
        os_disk_type="StandardSSD_LRS",
    )
    spot = replace(DB, count=1, market="spot", reserve=False, user_data="#!/bin/sh\necho hi\n")
    before = len(emulator.calls())
    engine = bench.engine(request(emulator, spot, settings=settings, ssh=Ssh(user="me")))
    engine.provision("default")
    made = operations(emulator)
    assert made[-2:] == ["ResourceGroups_CreateOrUpdate", "VirtualMachines_CreateOrUpdate"]
    assert len([call for call in emulator.calls()[before:] if call["operation"].startswith("VirtualNetworks")]) == 0
    (machine,) = machines(emulator)
    properties = machine["properties"]
    assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Delete")
    assert properties["billingProfile"] == {"maxPrice": 0.25}
    assert properties["osProfile"]["adminUsername"] == "me"
    assert properties["storageProfile"]["osDisk"]["diskSizeGB"] == 64
    assert machine["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    assert machine["zones"] == ["1"]
    (card,) = arm.pages("test", arm.path("/providers/Microsoft.Network/networkInterfaces"), "2026-03-01")
    assert card["properties"]["networkSecurityGroup"] == {"id": guard}
    (address,) = card["properties"]["ipConfigurations"]
    assert address["properties"]["subnet"] == {"id": f"{network}/subnets/s"}
    (disk,) = arm.pages("test", arm.path("/providers/Microsoft.Compute/disks"), "2025-01-02")
    assert disk["sku"] == {"name": "StandardSSD_LRS"}
    node = next(held for held in engine.run_state.held() if held.kind == "node")
    (piece,) = (one for one in pieces(engine.request) if one.kind == "node")
    sent = base64.b64decode(piece.spec["body"]["properties"]["osProfile"]["customData"])
    assert sent == b"#!/bin/sh\necho hi\n"
    assert node.facts["market"] == "spot"
    engine.release(lambda: False)
    assert {one["type"].rpartition("/")[2] for one in everything(emulator)} == {
        "networkSecurityGroups",
        "resourceGroups",
        "virtualNetworks",
    }


def test_the_console_is_read_by_a_signed_url(emulator: Emulator, bench: Bench) -> None:
    """A call for the URL, and one of the URL."""
    engine = bench.engine(request(emulator, replace(DB, count=1)))
    engine.provision("default")
    backend = open_backend(engine.request)
    node = next(held for held in engine.run_state.held() if held.kind == "node")
    assert "BEGIN SSH HOST KEY FINGERPRINTS" in backend.console(node)
    asked = [call["operation"] for call in emulator.calls()][-2:]
    assert asked == ["VirtualMachines_RetrieveBootDiagnosticsData", "Blobs_Get"]
    bench.give_back(engine)


def test_release_takes_four_rounds(emulator: Emulator, bench: Bench) -> None:
    """Machines beside counts of 0; members; group and network; resource group: no more than the order asks for."""
    engine = bench.engine()
    engine.provision("default")
    emulator.weather(latency_ms=1000)
    before = len(emulator.calls())
    bench.give_back(engine)
    changes = [call for call in emulator.calls()[before:] if call["operation"].endswith(("_Update", "_Delete"))]
    assert len(changes) == 3 + 2 + 2 + 2 + 1
    assert rounds(changes) == 4


def test_a_launch_takes_four_rounds_and_many_nodes_one(emulator: Emulator, bench: Bench) -> None:
    """However many nodes there are, all are asked for side by side."""
    emulator.weather(latency_ms=1000, quota={REGION: {}})
    engine = bench.engine(request(emulator, replace(DB, count=8), replace(LOADER, reserve=False)))
    before = len(emulator.calls())
    engine.provision("default")
    made = [call for call in emulator.calls()[before:] if call["operation"].endswith("_CreateOrUpdate")]
    assert len([call for call in made if call["operation"].startswith("VirtualMachines")]) == 9
    assert rounds(made) == 4
    emulator.weather(latency_ms=0)
    bench.give_back(engine)
