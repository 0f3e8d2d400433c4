"""One Blazar for the whole run, empty at the beginning of each test. ``tox run -e blazar`` installs it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.blazar.lab import BlazarLab, Openstack, environment


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Blazar needs some sixty packages, which stand in an environment of their own."""
    return True if collection_path.name.startswith("test_") and find_spec("blazar") is None else None


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
