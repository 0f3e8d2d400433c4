"""The role in the documentation has every permission that a run uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_capacity.backends.azure.backend import AzureBackend
from pytest_capacity.backends.azure.session import Answer, Arm
from pytest_capacity.backends.base import scaling_of
from pytest_capacity.model import Change
from pytest_capacity.testing import Bench
from tests.backends.azure.runs import DB, LOADER, SETTINGS, AzureLab, request
from tests.emulated import Emulator

DOCS = Path(__file__).resolve().parents[3] / "docs" / "how-to"

#: What Azure asks for beside the call itself: of what a machine's PUT makes and uses.
IMPLIED = {
    "Microsoft.Compute/capacityReservationGroups/deploy/action",
    "Microsoft.Compute/capacityReservationGroups/capacityReservations/deploy/action",
    "Microsoft.Compute/galleries/images/versions/read",
    "Microsoft.Compute/images/read",
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
    "Microsoft.Network/networkInterfaces/join/action",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/networkSecurityGroups/join/action",
    "Microsoft.Network/publicIPAddresses/join/action",
    "Microsoft.Network/publicIPAddresses/write",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
}


def role() -> set[str]:
    """The permissions of the role."""
    return set(json.loads((DOCS / "azure-role.json").read_text(encoding="utf-8"))["Actions"])


def test_a_run_uses_what_the_role_has(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of a run with all that there is, from the first read to the last deletion."""
    used: set[str] = set()
    send = Arm._send

    def recorded(arm: Arm, operation: str, asked: object) -> Answer:
        used.add(operation)
        return send(arm, operation, asked)  # type: ignore[arg-type]

    monkeypatch.setattr(Arm, "_send", recorded)
    emulator.weather(operation_s=0.02, stock={"eastus-1": {"Standard_L8s_v3": 0}})
    bench = Bench(AzureLab(emulator), tmp_path / "journal.sqlite")
    try:
        settings = replace(SETTINGS, public_ip=True, ssh_from=("203.0.113.0/24",))
        groups = (DB, replace(LOADER, market="spot", reserve=False, placement_group=True))
        engine = bench.engine(request(emulator, *groups, settings=settings))
        engine.provision("default")
        backend = AzureBackend(engine.request)
        node = next(held for held in engine.run_state.held() if held.kind == "node")
        backend.change(node, Change(deadline=2_000_000_000.0))
        backend.console(node)
        scaling_of(backend)[0].disks([node])
        stopped = backend.refresh([backend.change(node, Change(running=False))])[0]
        backend.change(stopped, Change(disk_gb=64))
        backend.change(stopped, Change(running=True))
        backend.regions()
        bench.give_back(engine)
    finally:
        bench.close()
    assert used - role() == set()
    # The rest is of what is found only where it was left behind, of a subnet of the user's, and what a PUT implies.
    assert role() - used == IMPLIED | {
        "Microsoft.Compute/disks/delete",
        "Microsoft.Network/networkInterfaces/delete",
        "Microsoft.Network/publicIPAddresses/delete",
        "Microsoft.Network/virtualNetworks/subnets/read",
    }


def test_the_page_names_the_role_and_its_parts() -> None:
    """What the seeds of this project left out is in the role: launching into a reservation, and its members."""
    page = (DOCS / "azure.md").read_text(encoding="utf-8")
    assert "azure-role.json" in page
    for part in ("capacityReservationGroups/*", "deploy/action", "retrieveBootDiagnosticsData/action"):
        assert part in page
    assert {one for one in role() if "/capacityReservations/" in one} >= {
        f"Microsoft.Compute/capacityReservationGroups/capacityReservations/{verb}"
        for verb in ("read", "write", "delete", "deploy/action")
    }
