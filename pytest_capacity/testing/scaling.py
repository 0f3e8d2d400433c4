"""The tests that a backend must pass whose node groups can be changed while they stand."""

from __future__ import annotations


class ScalingSuite:
    """Subclass it, and give it a fixture ``lab`` whose ``scaling`` is a `ScalingLab`. ``tmp_path`` is pytest's own."""
