"""Microsoft's JavaScript clients against the emulated Azure: another serializer, another poller, another pager."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.emulated import Emulator
from tests.emulator.azure.test_sdk import KEY, SIZE

#: The program, and the list of what it needs: ``npm ci --ignore-scripts`` in this folder installs that (CI does).
FOLDER: Final = Path(__file__).with_name("javascript")

#: Another folder with ``node_modules``.
MODULES: Final = "CAPACITY_AZURE_JS"


@pytest.fixture
def modules() -> Path:
    """The folder with the packages."""
    folder = Path(os.environ.get(MODULES, FOLDER))
    if shutil.which("node") is None or not (folder / "node_modules" / "@azure" / "arm-compute").is_dir():
        pytest.skip(f"node, or @azure/arm-compute and @azure/arm-resources in {folder} ({MODULES}), are not installed")
    return folder


def test_group_member_and_machine_by_the_javascript_clients(emulator: Emulator, modules: Path) -> None:
    """They create, list, get and delete, follow pages and operations, and read a failure within a poll."""
    emulator.weather(stock={"eastus-2": {SIZE: 0}}, operation_s=0.05)
    done = subprocess.run(
        ["node", str(FOLDER / "client.mjs"), emulator.url, emulator.secret, KEY],
        env={**os.environ, "AZURE_JS_MODULES": str(modules), "NODE_NO_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert "ZonalAllocationFailed" in told.pop("late")
    assert told == {
        "groups": 26,
        "group": {"zones": ["1"], "location": "eastus"},
        "member": {"state": "Succeeded", "sku": {"name": SIZE, "capacity": 1}},
        "machine": {"state": "Succeeded", "size": SIZE, "zones": ["1"]},
        "machines": ["vm"],
        "inside": 1,
        "early": 409,
        "left": 0,
        "gone": "ResourceGroupNotFound",
    }
