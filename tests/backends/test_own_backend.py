"""The example of a backend that a user ships as a package: installed, found, conforming, and used by a suite."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity import backends
from pytest_capacity.backends.base import Backend
from pytest_capacity.model import NodeGroup, Request, Topology
from pytest_capacity.testing import ConformanceSuite
from tests.emulated import ROOT

EXAMPLE = ROOT / "examples" / "own_backend"
GROUPS = (
    NodeGroup(name="db", count=2, instance_type="big", reserve=True),
    NodeGroup(name="loader", count=1, instance_type="small", reserve=True),
)


def install(site: Path) -> None:
    """What an installer writes: the package, and its metadata with the entry point of its pyproject.toml."""
    (site / "rack_capacity").symlink_to(EXAMPLE / "rack_capacity")
    written = site / "rack_capacity-1.0.dist-info"
    written.mkdir()
    (written / "METADATA").write_text("Metadata-Version: 2.1\nName: rack-capacity\nVersion: 1.0\n")
    declared = (EXAMPLE / "pyproject.toml").read_text()
    assert 'rack = "rack_capacity:PROVIDER"' in declared
    (written / "entry_points.txt").write_text("[pytest_capacity.backends]\nrack = rack_capacity:PROVIDER\n")


def forget_providers() -> None:
    """What is installed is looked up anew."""
    backends.providers.cache_clear()
    backends.provider.cache_clear()
    importlib.invalidate_caches()


class RackLab:
    """The stub of the rack controller."""

    zones: Sequence[str] = ("left", "right")

    def __init__(self, rack: Any, url: str) -> None:
        self._rack = rack
        self._url = url

    def request(self, **overrides: Any) -> Request:
        wanted = {
            "backend": "rack",
            "run": "run-1",
            "project": "tests",
            "topologies": {"default": Topology(GROUPS)},
            "regions": ("lab",),
            "duration_s": 5400.0,
            "timeout_s": 60.0,
            "endpoint": self._url,
        }
        return Request(**{**wanted, **overrides})

    def backend(self, request: Request) -> Backend:
        return backends.open_backend(request)

    def weather(
        self,
        *,
        dry: Sequence[str] = (),
        late: Sequence[str] = (),
        lose_reply: bool = False,
        quota: bool = False,
        slow_s: float = 0.0,
    ) -> None:
        rack = self._rack
        rack.dry, rack.late, rack.lose_reply, rack.quota, rack.slow_s = set(dry), set(late), lose_reply, quota, slow_s

    def held(self) -> Sequence[str]:
        with self._rack.lock:
            self._rack.sweep()
            return [name for _, name in self._rack.things]

    def calls(self) -> Sequence[str]:
        return list(self._rack.calls)


class TestRack(ConformanceSuite):
    """The example."""

    @pytest.fixture
    def lab(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[RackLab]:
        """The stub, empty, and the package installed."""
        site = tmp_path_factory.mktemp("site")
        install(site)
        monkeypatch.syspath_prepend(site)
        monkeypatch.syspath_prepend(EXAMPLE)
        forget_providers()
        stub = importlib.import_module("stub")
        rack = stub.Rack()
        server = stub.serve(rack)
        yield RackLab(rack, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        server.server_close()
        monkeypatch.undo()
        forget_providers()


def test_a_suite_uses_it(tmp_path: Path) -> None:
    """In an environment that has the package, pytest finds the backend; a dry zone is left, and nothing stays."""
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=True)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "here.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    install(site)
    script = "import json,sys,stub; rack = stub.Rack(); rack.dry = {'left'}; server = stub.serve(rack)\n"
    script += "print(f'http://127.0.0.1:{server.server_port}', flush=True); sys.stdin.read()\n"
    script += "print(json.dumps([sorted(rack.things), rack.calls]))\n"
    stub = subprocess.Popen(
        [sys.executable, "-c", script], cwd=EXAMPLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert stub.stdin is not None
    assert stub.stdout is not None
    url = stub.stdout.readline().strip()
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    env |= {"RACK_URL": url, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": ""}
    run = subprocess.run(
        [environment / "bin" / "python", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--rootdir", EXAMPLE, "-c",
         os.devnull, "--capacity-config", EXAMPLE / "capacity.yaml", EXAMPLE / "test_cluster.py"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    left, calls = __import__("json").loads(stub.communicate("")[0])
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout
    assert "right" in run.stdout
    assert left == []
    assert calls.count("POST machines") == 3
