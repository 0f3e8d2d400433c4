"""One suite on every emulated cloud: what it shows is the same but for names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.emulated import ROOT

EXAMPLE: Final = ROOT / "examples" / "any_cloud"

CLOUDS: Final = tuple(sorted(path.name.split(".")[1] for path in EXAMPLE.glob("capacity.*.yaml")))


def summary(cloud: str, folder: Path) -> list[tuple[str, ...]]:
    """Run the suite on ``cloud`` and return its summary: attempts, nodes and receipt without names and times."""
    suite = folder / cloud
    shutil.copytree(EXAMPLE, suite)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--capacity-emulator"]
    command += [f"--capacity-scenario=scenario.{cloud}.yaml", f"--capacity-config=capacity.{cloud}.yaml"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    path = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")]))
    environment |= {"PYTHONPATH": path, "XDG_STATE_HOME": str(folder / "state")}
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "2 passed" in done.stdout
    told = done.stdout.partition("= capacity =")[2].splitlines()
    return [_without_names(line) for line in told if line and not line.startswith("=")]


def _without_names(line: str) -> tuple[str, ...]:
    """Return a row's number, market, reservation and outcome; of other lines the words without names and numbers."""
    if re.match(r"\d+  ", line):
        number, _, market, reserved, _, outcome, *_ = re.split(r"  +", line)
        return number, market, reserved, outcome
    if line.startswith(("db: ", "loader: ")):
        return (line.partition(":")[0], *re.findall(r"on-demand|spot|in (?=\S+$)", line))
    return tuple(re.sub(r"run \S+|\(\S+ read\)", "", line).split())


def test_there_are_four_clouds() -> None:
    """The table below would pass with none."""
    assert CLOUDS == ("aws", "azure", "gce", "oci")


def test_the_summaries_are_the_same_but_for_names(tmp_path: Path) -> None:
    """As many attempts, of the same market and outcome, as many nodes in reservations, and nothing left."""
    told = {cloud: summary(cloud, tmp_path) for cloud in CLOUDS}
    assert ("1", "on-demand", "yes", "capacity-zone") in told["aws"]
    assert ("2", "on-demand", "yes", "placed") in told["aws"]
    assert all(summary == told["aws"] for summary in told.values()), told
