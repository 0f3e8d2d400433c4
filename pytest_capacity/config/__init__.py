"""``capacity.yaml``, flags, environment -> a checked `Request`. Pure but for reading the one file.

Everything is imported on first use: `backend_of` runs at the start of every pytest with the plugin installed, and must
cost nothing where the plugin is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_capacity.config.detect import UNCLEAR, glance

if TYPE_CHECKING:
    from pytest_capacity.config.durations import parse_duration
    from pytest_capacity.config.loading import load
    from pytest_capacity.config.source import Overrides

__all__ = ["Overrides", "backend_of", "load", "parse_duration"]


def backend_of(path: Path) -> str | None:
    """The ``backend:`` that the file at ``path`` names, or None where it names none (or there is no such file).

    A glance, not a check: `load` reads the file properly once the plugin is switched on. A file that cannot be read, or
    is no text, counts as naming none; where a flag switches the plugin on, `load` complains of it.
    """
    name = glance(path)
    return _backend_by_yaml(path) if name == UNCLEAR else name


def _backend_by_yaml(path: Path) -> str | None:
    from pytest_capacity.config.reading import read_mapping
    from pytest_capacity.errors import ConfigError

    try:
        values = read_mapping(path)
    except ConfigError:
        return None
    name = values.get("backend", values.get("cluster_backend"))
    return name if isinstance(name, str) else None


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
