"""The credentials of the emulator, as a keeper gives them to the backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_capacity.backends.oci.credentials import EMULATED_CONFIG_FILE
from tests.emulated import Emulator
from tests.engine.runs import Bench

pytest.importorskip("oci", reason="the extra [oci] is not installed")


@pytest.fixture(autouse=True)
def config_file(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The config file that the emulator has written; the backend finds it by its variable."""
    file: str = emulator.ready["clouds"]["oci"]["config_file"]
    monkeypatch.setenv(EMULATED_CONFIG_FILE, file)
    return file


@pytest.fixture
def bench(emulator: Emulator, tmp_path: Path) -> Iterator[Bench]:
    """Makes engines on one journal, and closes them."""
    with Bench(emulator, tmp_path / "journal.sqlite") as bench:
        yield bench
