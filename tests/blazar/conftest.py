"""One Blazar for the whole run, empty at the beginning of each test. ``tox run -e blazar`` installs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.blazar.lab import BlazarLab, Openstack, environment
from tests.blazar.runs import Suite


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Blazar needs some sixty packages, which stand in an environment of their own."""
    return True if collection_path.name.startswith("test_") and find_spec("blazar") is None else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A crash at each of some fourteen boundaries takes minutes: it is for the nightly run (`CAPACITY_MATRIX=full`).

    Whole processes are killed in test_runs.py, always.
    """
    if os.environ.get("CAPACITY_MATRIX", "full") != "full":
        long = [item for item in items if item.name == "test_crash_at_every_boundary" and "blazar" in item.nodeid]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def _openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Openstack]:
    with Openstack(tmp_path_factory.mktemp("blazar")) as openstack:
        yield openstack


@pytest.fixture
def openstack(_openstack: Openstack, monkeypatch: pytest.MonkeyPatch) -> Openstack:
    """Blazar and its stand-ins, empty; the environment has an admin's credentials."""
    _openstack.clear()
    for name, value in environment(_openstack).items():
        monkeypatch.setenv(name, value)
    return _openstack


@pytest.fixture
def lab(openstack: Openstack) -> BlazarLab:
    """It, for the engine."""
    return BlazarLab(openstack)


@pytest.fixture
def suite(tmp_path: Path, lab: BlazarLab) -> Iterator[Suite]:
    """A suite of a user's, on an empty Blazar."""
    suite = Suite(tmp_path, lab)
    yield suite
    suite.close()
