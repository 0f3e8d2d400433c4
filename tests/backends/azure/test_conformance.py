"""Azure passes the public suite of conformance tests."""

from __future__ import annotations

import pytest

from pytest_capacity.testing import ConformanceSuite, ScalingSuite
from tests.backends.azure.runs import AzureLab
from tests.emulated import Emulator


class TestAzure(ConformanceSuite, ScalingSuite):
    """Azure."""

    @pytest.fixture
    def lab(self, emulator: Emulator) -> AzureLab:
        """The emulator, empty."""
        return AzureLab(emulator)
