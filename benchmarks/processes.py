"""Whole pytest processes: what the plugin costs where it is not used, and what a run costs where it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.table import Row
from tests.emulated import IMAGE, Emulator

SUITE: Final = """
import pytest

@pytest.mark.parametrize("n", range(16))
def test_nodes(capacity, n):
    assert len(capacity.nodes("db")) == 3
"""

PLAIN: Final = """
import pytest

@pytest.mark.parametrize("n", range(16))
def test_plain(n):
    pass
"""


def cpu_seconds(*arguments: str, cwd: str) -> float:
    """User and system time of one pytest, from the moment on that pytest itself is imported."""
    code = (
        "import sys, time, pytest; began = time.process_time(); pytest.main(sys.argv[1:]); "
        "print(time.process_time() - began, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "-q", *arguments]
    # Where bytecode is not kept, every run would compile the plugin anew; no user's runs do.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, env=environment)
    return float(ended.stderr.split()[-1])


def unused(times: int) -> Row:
    """The plugin installed and not used, less the same run without it: the fastest with the fastest, and so on.

    Turn about, since machines drift. One run differs from the next by more than what is asked for here.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_one.py").write_text("def test_one():\n    pass\n")
        common = ("-p", "no:cacheprovider")
        cpu_seconds(*common, cwd=folder)
        ways = {"with": common, "without": (*common, "-p", "no:capacity")}
        runs: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(16 * times):
            for way in sorted(ways, reverse=bool(number % 2)):
                runs[way].append(1000 * cpu_seconds(*ways[way], cwd=folder))
    pairs = zip(sorted(runs["with"]), sorted(runs["without"]), strict=True)
    return Row("plugin present, not used: CPU", [used - plain for used, plain in pairs], 5.0, "ms", "0")


def eight_workers(emulator: Emulator, times: int) -> Row:
    """From the start of ``pytest -n 8`` to its end, with 3 nodes; less the same run without capacity."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_nodes.py").write_text(SUITE)
        Path(folder, "capacity.yaml").write_text(
            "regions: [us-east-1]\ngroups: {db: {count: 3, instance_type: i4i.large}}\n"
            f"aws: {{image: {{us-east-1: {IMAGE}}}}}\n"
        )
        plain = Path(folder, "plain")
        plain.mkdir()
        (plain / "test_plain.py").write_text(PLAIN)
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "XDG_STATE_HOME": folder,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        differences = []
        for _ in range(times):
            emulator.reset(latency_ms=150)
            used = wall(["--capacity-backend=aws", f"--capacity-endpoint={emulator.url}"], folder, environment)
            differences.append(used - wall([], str(plain), environment))
    return Row("pytest -n 8, 3 nodes reserved, launched, given back", differences, 5.0, "s", "SDK start + 7 rounds")


def joining(emulator: Emulator, times: int) -> Row:
    """A run on the nodes that a session keeps, less the same run without capacity."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_nodes.py").write_text(
            "def test_nodes(capacity):\n    assert len(capacity.nodes('db')) == 3\n"
        )
        Path(folder, "capacity.yaml").write_text(
            "regions: [us-east-1]\ngroups: {db: {count: 3, instance_type: i4i.large}}\n"
            f"aws: {{image: {{us-east-1: {IMAGE}}}}}\n"
        )
        plain = Path(folder, "plain")
        plain.mkdir()
        (plain / "test_plain.py").write_text("def test_plain():\n    pass\n")
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "XDG_STATE_HOME": folder,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        emulator.reset(latency_ms=150)
        used = ["--capacity-backend=aws", f"--capacity-endpoint={emulator.url}", "--capacity-session=benchmark"]
        wall([*used, "--capacity-keep=10m"], folder, environment, workers=0)
        differences = [
            wall([*used, "--capacity-keep=10m"], folder, environment, workers=0)
            - wall([], str(plain), environment, workers=0)
            for _ in range(3 * times)
        ]
        wall(used, folder, environment, workers=0)
    return Row("pytest on the nodes that a session keeps, less plain pytest", differences, 0.3, "s", "1 connection")


def wall(arguments: list[str], cwd: str, environment: dict[str, str], *, workers: int = 8) -> float:
    """Seconds from start to end of one pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "-p", "no:cacheprovider", *arguments, "."]
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began
