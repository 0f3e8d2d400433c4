"""Backends over the emulator."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _sdk(descriptions_read_once: None) -> None:
    """Each backend makes clients of its own."""
