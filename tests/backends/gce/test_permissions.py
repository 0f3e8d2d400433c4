"""The custom role of the manual has what is called, and nothing else; what is called is what the table has."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from msgspec.structs import replace

from pytest_capacity.backends.base import scaling_of
from pytest_capacity.backends.gce.routes import ROUTES
from pytest_capacity.model import Change
from pytest_capacity.testing import Bench
from tests.backends.gce.lab import DB, LOADER, REGION, GceLab
from tests.emulated import ROOT
from tests.emulator.gce.wire import Exchange

FOLDER = ROOT / "docs" / "how-to"
NEEDED = {permission for route in ROUTES.values() for permission in route.permissions}


def test_the_role_has_what_is_called() -> None:
    """Each permission of each method, each once."""
    role = yaml.safe_load((FOLDER / "gce-role.yaml").read_text(encoding="utf-8"))
    assert sorted(role["includedPermissions"]) == sorted(NEEDED)


def test_the_table_of_the_manual_has_what_is_called() -> None:
    """By the names that it shortens."""
    page = (FOLDER / "gce.md").read_text(encoding="utf-8")
    section = page.partition("## Permissions")[2].partition("\n## ")[0]
    named = {word if word.startswith("iam.") else f"compute.{word}" for word in re.findall(r"`([a-zA-Z.]+)`", section)}
    assert named >= NEEDED


def test_a_run_calls_nothing_else(lab: GceLab, exchanges: list[Exchange], tmp_path: Path) -> None:
    """With all that a run can do: every method is one of the table, and every method of the table is called."""
    settings = {"accelerators": {"nvidia-tesla-t4": 1}, "subnets": "default"}
    boards = replace(LOADER, instance_type="n1-standard-4", cloud=settings)
    groups = (replace(DB, placement_group=True), boards, replace(DB, name="spot", market="spot"))
    bench = Bench(lab, tmp_path / "journal.sqlite")
    engine = bench.engine(lab.request(*groups))
    engine.provision("default")
    backend = lab.backend(engine.request)
    backend.regions()
    kinds = {held.kind: held for held in engine.run_state.held()}
    backend.console(kinds["node"])
    backend.change(kinds["node"], Change(deadline=2e9))
    backend.change(kinds["reservation"], Change(count=5))
    backend.change(kinds["node"], Change(disk_gb=scaling_of(backend)[0].disks([kinds["node"]])[0] + 1))
    backend.change(kinds["node"], Change(running=False))
    backend.change(kinds["node"], Change(instance_type="c2-standard-4", reservation_id="another"))
    backend.change(kinds["node"], Change(running=True))
    list(backend.inventory("run-1", (REGION,)))
    bench.give_back(engine)
    bench.close()
    called = {one.method for one in exchanges}
    assert called <= ROUTES.keys()
    # Those that only a lost answer, a disk that stayed, or an image by name lead to.
    rare = {"disks.delete", "images.get", "zoneOperations.get"}
    assert ROUTES.keys() - called <= rare
