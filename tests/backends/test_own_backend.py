"""The example of a backend that a user ships as a package: installed, found, conforming, and used by a suite."""

from __future__ import annotations

import ensurepip
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity import backends
from pytest_capacity.backends.base import Backend
from pytest_capacity.model import Held, NodeGroup, Request, Topology
from pytest_capacity.testing import ConformanceSuite
from tests.emulated import ROOT

EXAMPLE = ROOT / "examples" / "own_backend"
GROUPS = (
    NodeGroup(name="db", count=2, instance_type="big", reserve=True),
    NodeGroup(name="loader", count=1, instance_type="small", reserve=True),
)


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory into which pip has installed the example; without a network, by the pip that Python brings."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")) / "pip"
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-cache-dir")
    command = [sys.executable, str(pip), "install", *options, "--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_its_metadata_names_the_backend(site: Path) -> None:
    """An installer finds the entry point, the requirement, and the table of errors, which is no Python module."""
    (found,) = distributions(name="rack-capacity", path=[str(site)])
    assert [(point.group, point.name) for point in found.entry_points] == [(backends.GROUP, "rack")]
    assert found.requires == ["pytest-capacity"]
    assert (site / "rack_capacity" / "errors.yaml").is_file()


def test_the_page_shows_the_example() -> None:
    """Every piece of code and every file of the how-to stands so in the example, but for the suite's own frame."""
    page = (ROOT / "docs/how-to/backend.md").read_text()
    shown = [
        block
        for block in re.findall(r"```(?:toml|python|yaml)\n(.*?)\n```", page, re.S)
        if "class TestRack" not in block
    ]
    files = [path.read_text() for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml", ".yaml")]
    assert len(shown) == 6
    assert [block for block in shown if not any(block in text for text in files)] == []


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


@pytest.fixture(name="lab")
def _lab(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RackLab]:
    """The stub, empty, and the package installed."""
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


class TestRack(ConformanceSuite):
    """The example."""

    @pytest.fixture(name="lab")
    def _lab(self, lab: RackLab) -> RackLab:
        return lab


#: A field of another type than it is to have.
NUMBERED: Final = Held(kind="node", id=7, region="lab", zone="left", state="ready")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        *(
            (verb, None)
            for verb in ("whoami", "offers", "family", "plan", "create", "refresh", "releasable", "release")
        ),
        *((verb, None) for verb in ("inventory", "console", "by_hand", "diagnose", "regions")),
        ("ends", "tomorrow"),
        ("offers", "text"),
        ("create", [{"kind": "node", "id": "1", "region": "lab", "zone": "left", "state": "ready"}]),
        ("create", [NUMBERED]),
        ("refresh", []),
        ("inventory", [NUMBERED]),
    ],
)
def test_the_suite_names_the_verb_that_returns_another_thing(
    lab: RackLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, answer: object
) -> None:
    """Whatever the engine makes of it: nothing, a text, plain data, and a thing with a field of another type."""
    monkeypatch.setattr(type(lab.backend(lab.request())), verb, lambda *_: answer)
    with pytest.raises(AssertionError, match=f"`{verb}` returned "):
        ConformanceSuite().test_each_verb_returns_what_it_should(lab, tmp_path)


def test_a_suite_uses_it(tmp_path: Path, site: Path) -> None:
    """In an environment that has the package, pytest finds the backend; a dry zone is left, and nothing stays."""
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "here.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n{site}\n")
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
    left, calls = json.loads(stub.communicate("")[0])
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout
    assert "right" in run.stdout
    assert left == []
    assert calls.count("POST machines") == 3
