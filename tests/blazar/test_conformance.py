"""The real Blazar passes the public suite of conformance tests."""

from __future__ import annotations

from pytest_capacity.testing import ConformanceSuite


class TestBlazar(ConformanceSuite):
    """Blazar 18.0.0, by the fixture ``lab`` of this folder."""
