"""Suites of tests that every backend must pass, for the authors of backends.

Subclass `ConformanceSuite` in a test module, with a fixture ``lab`` that gives a `Lab` over a stub or an emulator of
the cloud, empty at the beginning of each test::

    class TestRack(ConformanceSuite):
        @pytest.fixture
        def lab(self, rack: RackStub) -> RackLab:
            return RackLab(rack)

The tests drive the real engine in this process: journal, fallback, waiting and release are those of a run. No test of
the suite depends on the cloud; all that it compares is what the lab lists as held, and what was called. `ScalingSuite`
is for a backend whose node groups can be changed while they stand.
"""

from __future__ import annotations

from pytest_capacity.testing.bench import PATIENCE, Bench, Dying, Killed, Lab, ScalingLab
from pytest_capacity.testing.scaling import ScalingSuite
from pytest_capacity.testing.suite import ConformanceSuite

__all__ = ["PATIENCE", "Bench", "ConformanceSuite", "Dying", "Killed", "Lab", "ScalingLab", "ScalingSuite"]
