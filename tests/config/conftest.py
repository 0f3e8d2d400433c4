"""The loader of the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import Loader


@pytest.fixture
def loading(tmp_path: Path) -> Loader:
    """A configuration in a directory of its own."""
    return Loader(tmp_path)
