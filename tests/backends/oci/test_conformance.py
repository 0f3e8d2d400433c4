"""OCI passes the public suite of conformance tests."""

from __future__ import annotations

import pytest

from pytest_capacity.testing import ConformanceSuite
from tests.backends.oci.runs import OciLab
from tests.emulated import Emulator


class TestOci(ConformanceSuite):
    """OCI."""

    @pytest.fixture
    def lab(self, emulator: Emulator) -> OciLab:
        """The emulator, empty."""
        return OciLab(emulator)
