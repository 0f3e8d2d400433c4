"""Whole pytest processes: what the plugin costs where it is not used, and what a run costs where it is."""

from __future__ import annotations

import os
import re
import shutil
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


def unused(times: int) -> Row:
    """The plugin installed and not used, less the same run without it.

    By instructions, where valgrind can count them: they are some thousandths of a run's, and one run differs from the
    next by far more time than that. They count as the time that as many of the plain run's take.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_one.py").write_text("def test_one():\n    pass\n")
        used = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        plain = (*used, "-p", "no:capacity")
        cpu_ms(*used, cwd=folder)
        if shutil.which("valgrind"):
            counted = [instructions(*command, cwd=folder) for command in (used, plain)]
            share = (counted[0] - counted[1]) / counted[1]
            figures = [share * cpu_ms(*plain, cwd=folder) for _ in range(3 * times)]
            return Row("plugin present, not used: CPU, by instructions", figures, 5.0, "ms", "0")
        # In pairs, since machines drift; and many.
        figures = [cpu_ms(*used, cwd=folder) - cpu_ms(*plain, cwd=folder) for _ in range(30 * times)]
    return Row("plugin present, not used: CPU, by time", figures, 5.0, "ms", "0")


def cpu_ms(*command: str, cwd: str) -> float:
    """User and system time of a process."""
    before = os.times()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, env=environment())
    after = os.times()
    return 1000 * (after.children_user - before.children_user + after.children_system - before.children_system)


def instructions(*command: str, cwd: str) -> int:
    """How many instructions a process runs, of its own (the system's are not seen)."""
    counting = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
    ended = subprocess.run(
        (*counting, *command),
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONHASHSEED": "0"},
    )
    found = re.search(r"Collected : (\d+)", ended.stderr)
    assert found, ended.stderr
    return int(found[1])


def environment() -> dict[str, str]:
    """Where bytecode is not kept, every run would compile the plugin anew; no user's runs do."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


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
            "AWS_SECRET_ACCESS_KEY": emulator.secret,
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
            "AWS_SECRET_ACCESS_KEY": emulator.secret,
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
