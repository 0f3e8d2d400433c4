"""``capacity.yaml``, flags, environment -> a checked `Request`. Pure but for reading the one file.

Everything is imported on first use: `backend_of` runs at the start of every pytest with the plugin installed, and must
cost nothing where the plugin is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_capacity.config.detect import backend_of

if TYPE_CHECKING:
    from pytest_capacity.config.durations import parse_duration
    from pytest_capacity.config.loading import load
    from pytest_capacity.config.source import Overrides

__all__ = ["Overrides", "backend_of", "load", "parse_duration"]


def __getattr__(name: str) -> Any:
    if name == "parse_duration":
        from pytest_capacity.config.durations import parse_duration

        return parse_duration
    if name == "load":
        from pytest_capacity.config.loading import load

        return load
    if name == "Overrides":
        from pytest_capacity.config.source import Overrides

        return Overrides
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
