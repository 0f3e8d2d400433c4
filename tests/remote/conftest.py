"""A node to use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_capacity.remote.connection import close_all
from pytest_capacity.remote.keys import make_key_pair
from pytest_capacity.remote.machine import Machine
from tests.remote.server import Server


@pytest.fixture(name="public_key")
def _public_key(tmp_path: Path) -> str:
    """Of the key pair in the test's folder."""
    return make_key_pair(tmp_path / "key")


@pytest.fixture
def server(tmp_path: Path, public_key: str) -> Iterator[Server]:
    """An SSH server whose directory is empty."""
    home = tmp_path / "home"
    home.mkdir()
    with Server(home, public_key) as server:
        yield server
        close_all()


@pytest.fixture
def machine(server: Server, tmp_path: Path) -> Machine:
    """The node behind it."""
    return Machine.of(server.node(tmp_path))
