"""GCE passes the public suite of conformance tests."""

from __future__ import annotations

from pytest_capacity.testing import ConformanceSuite


class TestGce(ConformanceSuite):
    """Compute Engine, by the fixture ``lab`` of this folder."""
