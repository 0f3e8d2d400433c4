"""GCE passes the public suite of conformance tests."""

from __future__ import annotations

from pytest_capacity.testing import ConformanceSuite, ScalingSuite


class TestGce(ConformanceSuite, ScalingSuite):
    """Compute Engine, by the fixture ``lab`` of this folder."""
