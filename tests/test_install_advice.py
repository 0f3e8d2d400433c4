"""What is advised where an extra is missing, by how the package came into the environment."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity import install_advice
from pytest_capacity.install_advice import install_command
from tests.emulated import ROOT


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment called ``env``, whose own pip is first on the search path."""
    folder = tmp_path / "env"
    (folder / "bin").mkdir(parents=True)
    for name in ("pip", "python"):
        (folder / "bin" / name).write_text("#!/bin/sh\n")
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "bin" / "python"))
    monkeypatch.setenv("PATH", str(folder / "bin"))
    return folder


@pytest.fixture
def from_index(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package stands in the environment, as an installer puts it there."""
    monkeypatch.setattr(install_advice, "__file__", str(prefix / "lib" / "pytest_capacity" / "install_advice.py"))
    return installed(prefix, monkeypatch, None)


def installed(prefix: Path, monkeypatch: pytest.MonkeyPatch, origin: Mapping[str, Any] | None) -> Path:
    """Let the package have been installed from ``origin`` (PEP 610); None: an index."""
    folder = prefix / "pytest_capacity-0.1.0.dist-info"
    folder.mkdir(exist_ok=True)
    if origin is not None:
        (folder / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.setattr(install_advice, "distribution", lambda _name: PathDistribution(folder))
    return prefix


@pytest.mark.usefixtures("prefix")
def test_a_checkout_is_named_by_its_path() -> None:
    """The index's release would take the place of what is being worked on."""
    assert install_command("aws") == f"pip install -e '{ROOT}[aws]'"


@pytest.mark.usefixtures("from_index")
def test_what_came_from_an_index_is_named_by_its_name() -> None:
    """As the documentation says."""
    assert install_command("ssh") == "pip install 'pytest-capacity[ssh]'"


def test_a_wheel_is_named_by_its_file(from_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is still there; else only the index is left."""
    wheel = from_index / "with blank" / "pytest_capacity-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    installed(from_index, monkeypatch, {"url": wheel.as_uri(), "archive_info": {}})
    assert install_command("gce") == f"pip install '{wheel}[gce]'"
    assert shlex.split(install_command("gce"))[2] == f"{wheel}[gce]"
    wheel.unlink()
    assert install_command("gce") == "pip install 'pytest-capacity[gce]'"


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (
            {"url": "https://git.example/c", "vcs_info": {"vcs": "git", "commit_id": "beef"}},
            "pytest-capacity[oci] @ git+https://git.example/c@beef",
        ),
        (
            {"url": "https://files.example/c.whl", "archive_info": {}},
            "pytest-capacity[oci] @ https://files.example/c.whl",
        ),
        ([], "pytest-capacity[oci]"),
    ],
)
def test_what_came_from_an_address_is_named_by_it(
    from_index: Path, monkeypatch: pytest.MonkeyPatch, origin: Any, requirement: str
) -> None:
    """With the commit that is installed; a record that is none counts as an index."""
    installed(from_index, monkeypatch, origin)
    assert install_command("oci") == f"pip install '{requirement}'"


def test_another_pip_than_ours_is_not_named(from_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pip on the path may be another interpreter's, and an environment that uv made has none at all."""
    other = from_index.parent / "other"
    other.mkdir()
    (from_index / "bin" / "pip").rename(other / "pip")
    monkeypatch.setenv("PATH", str(other))
    monkeypatch.setattr(install_advice, "find_spec", lambda _name: object())
    assert install_command("aws") == f"{from_index}/bin/python -m pip install 'pytest-capacity[aws]'"
    monkeypatch.setattr(install_advice, "find_spec", lambda _name: None)
    assert install_command("aws") == f"uv pip install --python {from_index}/bin/python 'pytest-capacity[aws]'"


def test_a_tool_of_pipx_is_changed_by_pipx(from_index: Path) -> None:
    """By the name that its environment has there."""
    (from_index / "pipx_metadata.json").touch()
    assert install_command("aws") == "pipx runpip env install 'pytest-capacity[aws]'"


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("pytest-capacity", "uv tool install 'pytest-capacity[aws,ssh]' --with pytest-xdist"),
        ("pytest", "uv tool install pytest --with 'pytest-capacity[aws,ssh]' --with pytest-xdist"),
    ],
)
def test_a_tool_of_uv_keeps_what_it_has(
    from_index: Path, monkeypatch: pytest.MonkeyPatch, tool: str, command: str
) -> None:
    """uv makes the environment anew from the call: what is left out of it goes."""
    folder = from_index.parent / tool
    folder.mkdir()
    monkeypatch.setattr(sys, "prefix", str(folder))
    names = {tool: "", "pytest-xdist": "", "pytest-capacity": ", extras = ['ssh']"}
    listed = ", ".join(f"{{ name = '{name}'{more} }}" for name, more in names.items())
    (folder / "uv-receipt.toml").write_text(f"[tool]\nrequirements = [{listed}]\n")
    assert install_command("aws") == command


@pytest.mark.usefixtures("prefix")
def test_a_checkout_in_a_tool_of_uv_stays_editable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt that cannot be read says nothing of other extras."""
    folder = tmp_path / "pytest-capacity"
    folder.mkdir()
    (folder / "uv-receipt.toml").write_text("no toml")
    monkeypatch.setattr(sys, "prefix", str(folder))
    assert install_command("aws") == f"uv tool install -e '{ROOT}[aws]'"
