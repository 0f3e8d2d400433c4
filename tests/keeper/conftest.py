"""One emulator for the tests of this folder, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulated import Emulator, start_emulator


@pytest.fixture(scope="session", name="emulator_process")
def _emulator_process() -> Iterator[Emulator]:
    with start_emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """An emulator with an empty World and fair weather."""
    emulator_process.reset()
    return emulator_process
