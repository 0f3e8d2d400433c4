"""Reserve, launch, fall back, release: one run, one ladder, one backend."""

from __future__ import annotations

from pytest_capacity.engine.engine import Engine

__all__ = ["Engine"]
