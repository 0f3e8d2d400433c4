"""One emulator a module, and a suite on it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import Emulator, start_emulator
from tests.safety.runs import Suite, suite_in


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """The module's emulator; what it wrote to its standard error is a defect of its own."""
    with start_emulator() as emulator:
        yield emulator
        assert emulator.errors() == ""


@pytest.fixture
def suite(tmp_path: Path, emulator: Emulator) -> Iterator[Suite]:
    """A suite of this test's own, on an empty World."""
    with suite_in(tmp_path, emulator) as suite:
        yield suite
