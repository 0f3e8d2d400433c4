"""GCE at the emulator."""

from __future__ import annotations

import pytest

from tests.backends.gce.lab import GceLab
from tests.emulated import Emulator


@pytest.fixture
def lab(emulator: Emulator) -> GceLab:
    """The emulator, empty."""
    return GceLab(emulator)
