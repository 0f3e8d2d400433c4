"""GCE at the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.gce.lab import GceLab, with_secret
from tests.emulated import Emulator


@pytest.fixture
def lab(emulator: Emulator, tmp_path: Path) -> Iterator[GceLab]:
    """The emulator, empty, with its secret where the backend looks for it."""
    with with_secret(emulator, tmp_path):
        yield GceLab(emulator)
