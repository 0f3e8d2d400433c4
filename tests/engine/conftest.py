"""One emulator for the tests of this folder, emptied before each, and engines over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import Emulator, start_emulator
from tests.engine.runs import Bench


@pytest.fixture(scope="session", name="emulator_process")
def _emulator_process() -> Iterator[Emulator]:
    with start_emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """An emulator with an empty World and fair weather."""
    emulator_process.reset()
    return emulator_process


@pytest.fixture
def bench(emulator: Emulator, tmp_path: Path) -> Iterator[Bench]:
    """Makes engines on one journal, and closes them."""
    with Bench(emulator, tmp_path / "journal.sqlite") as bench:
        yield bench
