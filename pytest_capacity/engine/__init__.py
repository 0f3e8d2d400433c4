"""Reserve, launch, fall back, release: one run, one ladder, one backend."""

from pytest_capacity.engine.engine import Engine

__all__ = ["Engine"]
