"""GCE at the emulator. Whatever a test of this folder sends and gets is compared with Google's description of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_capacity.testing import Bench
from tests.backends.gce.lab import GceLab
from tests.emulated import Emulator
from tests.emulator.gce.wire import Exchange, recorded


@pytest.fixture(autouse=True)
def exchanges() -> Iterator[list[Exchange]]:
    """All exchanges of the test; none of them may differ from the discovery document in anything."""
    with recorded() as exchanges:
        yield exchanges
    assert not [fault for one in exchanges for fault in one.faults]


@pytest.fixture
def lab(emulator: Emulator) -> GceLab:
    """The emulator, empty."""
    return GceLab(emulator)


@pytest.fixture
def bench(lab: GceLab, tmp_path: Path) -> Iterator[Bench]:
    """Makes engines on one journal, and closes them."""
    bench = Bench(lab, tmp_path / "journal.sqlite")
    yield bench
    bench.close()
