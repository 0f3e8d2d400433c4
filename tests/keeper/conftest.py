"""Owners of one session, closed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import Emulator
from tests.keeper.sharing import Sharing


@pytest.fixture(name="sharing")
def _sharing(emulator: Emulator, tmp_path: Path) -> Iterator[Sharing]:
    sharing = Sharing(emulator, tmp_path)
    yield sharing
    for owner in sharing.owners:
        owner.close()
