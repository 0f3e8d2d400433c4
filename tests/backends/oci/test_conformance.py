"""OCI passes the public suites: that of every cloud, and that of node groups that change."""

from __future__ import annotations

import pytest

from pytest_capacity.testing import ConformanceSuite, ScalingSuite
from tests.backends.oci.runs import OciLab, OciScalingLab
from tests.emulated import Emulator


class TestOci(ConformanceSuite):
    """OCI."""

    @pytest.fixture
    def lab(self, emulator: Emulator) -> OciLab:
        """The emulator, empty."""
        return OciLab(emulator)


class TestNodeGroups(ScalingSuite):
    """Node groups on OCI."""

    @pytest.fixture
    def lab(self, emulator: Emulator) -> OciLab:
        """The emulator, empty."""
        return OciScalingLab(emulator)
