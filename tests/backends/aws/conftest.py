"""Backends over the emulator."""

from __future__ import annotations

import pytest

from tests.backends.aws.account import CLUSTERED, DB, LOADER, MONITOR, Account
from tests.backends.aws.orders import request
from tests.emulated import Emulator


@pytest.fixture(autouse=True)
def _sdk(descriptions_read_once: None) -> None:
    """Each backend makes clients of its own."""


@pytest.fixture
def account(emulator: Emulator) -> Account:
    """Three groups, two of them reserved."""
    return Account(emulator, request(DB, LOADER, MONITOR))


@pytest.fixture
def clustered(emulator: Emulator) -> Account:
    """One reserved group in a placement group."""
    return Account(emulator, request(CLUSTERED))
