"""Every request of ours and every answer of the emulator's is one that the vendor's own models know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure import bodies
from pytest_capacity.backends.azure.ids import ResourceId, canonical, make_name
from pytest_capacity.backends.azure.plan import create_body, plan_rounds
from pytest_capacity.backends.azure.settings import AzureSettings
from pytest_capacity.model import Order, Piece, Placement, Request
from pytest_capacity.testing import Bench
from tests.backends.azure.models import faults
from tests.backends.azure.runs import DB, LOADER, REGION, SETTINGS, AzureLab, request
from tests.emulated import Emulator

compute = pytest.importorskip("azure.mgmt.compute")

#: The vendor's class for each kind of piece: its package, and its name.
MODELS = {
    "resource-group": ("azure.mgmt.resource.resources", "ResourceGroup"),
    "network": ("azure.mgmt.network", "VirtualNetwork"),
    "firewall": ("azure.mgmt.network", "NetworkSecurityGroup"),
    "placement-group": ("azure.mgmt.compute", "ProximityPlacementGroup"),
    "capacity-group": ("azure.mgmt.compute", "CapacityReservationGroup"),
    "reservation": ("azure.mgmt.compute", "CapacityReservation"),
    "node": ("azure.mgmt.compute", "VirtualMachine"),
}
RICH = AzureSettings(
    image=SETTINGS.image,
    public_ip=True,
    ssh_from=("203.0.113.0/24",),
    identities=(f"/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{1}",),
    security_groups={REGION: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n"},
    os_disk_gb=64,
    os_disk_type="Premium_LRS",
    tags={"team": "a"},
)


def model_of(kind: str) -> Any:
    """The vendor's class."""
    package, name = MODELS[kind]
    models = pytest.importorskip(f"{package}.models", reason=f"{package} is not installed")
    model = getattr(models, name)
    if not hasattr(model, "_is_model"):
        pytest.skip(f"this version of {package} describes its models in another way")
    return model


def pieces(request: Request, **changes: Any) -> Iterator[Piece]:
    """All pieces of the request in the first zone."""
    order = Order(
        run=request.run,
        project=request.project,
        topology=request.topologies["default"],
        placement=Placement(REGION, "eastus-1"),
        attempt=1,
        lease_end=1e9,
        hard_end=2e9,
        facts={"ssh-key": "ssh-ed25519 AAAA"},
        **changes,
    )
    for round_ in plan_rounds(request, order):
        yield from round_


@pytest.mark.parametrize("kind", MODELS)
def test_our_bodies_are_of_the_vendors_models(emulator: Emulator, kind: str) -> None:
    """No field is misspelt, in the wrong place, or of the wrong type."""
    groups = (DB, replace(LOADER, market="spot", reserve=False, placement_group=True, user_data="#!/bin/sh\n"))
    found = [piece for piece in pieces(request(emulator, *groups, settings=RICH)) if piece.kind == kind]
    assert found
    for piece in found:
        body = create_body(replace(piece, inputs=_inputs()), "s", "ssh-ed25519 AAAA")
        assert list(faults(model_of(kind), body, kind)) == []


def _inputs() -> dict[str, str]:
    home = "/subscriptions/s/resourceGroups/g/providers"
    group = f"{home}/Microsoft.Compute/capacityReservationGroups/c"
    return {
        "network": f"{home}/Microsoft.Network/virtualNetworks/n",
        "firewall": f"{home}/Microsoft.Network/networkSecurityGroups/n",
        "reservation": f"{group}/capacityReservations/r",
        "placement-group": f"{home}/Microsoft.Compute/proximityPlacementGroups/p",
    }


def test_a_misspelt_field_is_found() -> None:
    """The comparison with the models sees what it is there for."""
    body = bodies.member("eastus", "1", "Standard_L8s_v3", 2, {})
    wrong = {**body, "sku": {"name": "x", "count": "2"}}
    assert list(faults(model_of("reservation"), wrong)) == [".sku.count: Sku has no such field"]
    assert list(faults(model_of("reservation"), {**body, "zones": "1"})) == [".zones: str where a list is wanted"]
    assert list(faults(model_of("reservation"), {**body, "sku": {"capacity": "2"}})) == [
        ".sku.capacity: '2' where int is wanted"
    ]


def test_the_emulators_answers_are_of_the_vendors_models(emulator: Emulator, tmp_path: Path) -> None:
    """What the emulator says of everything that a run makes, the vendor's models know."""
    bench = Bench(AzureLab(emulator), tmp_path / "journal.sqlite")
    try:
        engine = bench.engine(request(emulator, DB, settings=replace(RICH, identities=(), security_groups={})))
        engine.provision("default")
        backend: Any = open_backend(engine.request)
        for held in engine.run_state.held():
            version = "2025-04-01" if held.kind == "resource-group" else "2026-04-01"
            query = {"$expand": "instanceView"} if held.kind in ("node", "reservation", "capacity-group") else {}
            answer = backend._arm.get("test", held.id, version, **query)
            assert list(faults(model_of(held.kind), answer, held.kind)) == [], held.kind
        bench.give_back(engine)
    finally:
        bench.close()


def test_names_fit_and_differ(emulator: Emulator) -> None:
    """Names are as long as Azure takes them at most, and two runs of one id have not one in common."""
    long = request(emulator, run="r" * 80)
    names = [piece.spec.get("name", "") for piece in pieces(long)]
    assert max(map(len, names)) <= 64
    assert max(len(piece.spec["resource_group"]) for piece in pieces(long)) <= 90
    others = [piece.spec.get("name", "") for piece in pieces(long, nonce="2")]
    assert not set(names) & set(others)
    assert make_name(20, "Ümläut group", seed="s").isascii()


def test_ids_are_compared_in_one_form() -> None:
    """Resource Manager gives an id back in another case than it took it in."""
    path = "/subscriptions/S/resourcegroups/MINE/providers/microsoft.compute/VIRTUALMACHINES/Vm"
    assert canonical(path) == "/subscriptions/s/resourceGroups/mine/providers/Microsoft.Compute/virtualMachines/vm"
    group = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/c"
    member = ResourceId.parse(f"{group}/capacityReservations/R")
    assert (member.parent, member.name, str(member)) == ("c", "r", f"{group}/capacityReservations/r")
    with pytest.raises(ValueError, match="is not a resource id"):
        canonical("/tenants/x")


def test_a_machine_takes_its_disk_card_and_address_along(emulator: Emulator) -> None:
    """Azure detaches a disk by default, and bills it on."""
    node = next(piece for piece in pieces(request(emulator, settings=RICH)) if piece.kind == "node")
    properties = node.spec["body"]["properties"]
    (card,) = properties["networkProfile"]["networkInterfaceConfigurations"]
    (address,) = card["properties"]["ipConfigurations"]
    assert properties["storageProfile"]["osDisk"]["deleteOption"] == "Delete"
    assert card["properties"]["deleteOption"] == "Delete"
    assert address["properties"]["publicIPAddressConfiguration"]["properties"]["deleteOption"] == "Delete"
    assert card["tags"]["pytest-capacity:run"] == "run-1"


def test_who_is_not_reserved_keeps_off_every_reservation(emulator: Emulator) -> None:
    """A machine that says nothing may sit down in another team's open reservation; spot can use none anyway."""
    on_demand, spot = replace(DB, count=1, reserve=False), replace(LOADER, market="spot", reserve=False)
    nodes = [one for one in pieces(request(emulator, on_demand, spot)) if one.kind == "node"]
    made = [create_body(replace(one, inputs=_inputs() | {"reservation": ""}), "s", "k") for one in nodes]
    assert made[0]["properties"]["capacityReservation"] == {"disableCapacityReservationAssignment": True}
    assert "capacityReservation" not in made[1]["properties"]
    assert made[1]["properties"]["evictionPolicy"] == "Delete"


def test_a_machine_names_its_placement_group(emulator: Emulator) -> None:
    """With ``placement_group: true``, and then only."""
    groups = (replace(DB, count=1, reserve=False, placement_group=True), replace(LOADER, reserve=False))
    nodes = [one for one in pieces(request(emulator, *groups)) if one.kind == "node"]
    assert [{need.kind for need in one.needs} & {"placement-group"} for one in nodes] == [{"placement-group"}, set()]
    inputs = {**_inputs(), "reservation": ""}
    made = create_body(replace(nodes[0], inputs=inputs), "s", "k")["properties"]
    assert made["proximityPlacementGroup"] == {"id": inputs["placement-group"]}
    other = create_body(replace(nodes[1], inputs={**inputs, "placement-group": ""}), "s", "k")["properties"]
    assert "proximityPlacementGroup" not in other


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("P:o:s:latest", {"publisher": "P", "offer": "o", "sku": "s", "version": "latest"}),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i", None),
        ("/CommunityGalleries/g/Images/i", {"communityGalleryImageId": "/CommunityGalleries/g/Images/i"}),
        ("/SharedGalleries/g/Images/i", {"sharedGalleryImageId": "/SharedGalleries/g/Images/i"}),
    ],
)
def test_an_image_is_named_in_four_ways(image: str, reference: dict[str, str] | None) -> None:
    """By URN, by id, in a shared gallery, in one of the community."""
    assert bodies.image_reference(image) == (reference or {"id": image})
