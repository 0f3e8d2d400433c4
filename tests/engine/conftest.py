"""Engines over the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import Emulator
from tests.engine.runs import Bench


@pytest.fixture(autouse=True)
def _sdk(descriptions_read_once: None) -> None:
    """Each engine makes clients of its own."""


@pytest.fixture
def bench(emulator: Emulator, tmp_path: Path) -> Iterator[Bench]:
    """Makes engines on one journal, and closes them."""
    with Bench(emulator, tmp_path / "journal.sqlite") as bench:
        yield bench
