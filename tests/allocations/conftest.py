"""A journal of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.allocations.runs import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Empty; closed at the end."""
    lab = Lab(tmp_path)
    yield lab
    lab.journal.close()
