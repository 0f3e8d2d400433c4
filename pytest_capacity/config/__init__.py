"""``capacity.yaml``, flags, environment -> a checked `Request`. Pure but for reading the one file.

Everything is imported on first use: `backend_of` runs at the start of every pytest with the plugin installed, and must
cost nothing where the plugin is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_capacity.config.detect import UNCLEAR, glance

if TYPE_CHECKING:
    from pytest_capacity.config.durations import parse_duration
    from pytest_capacity.config.loading import load
    from pytest_capacity.config.source import Overrides

_HOMES: Final = {"Overrides": "source", "load": "loading", "parse_duration": "durations"}

__all__ = ["Overrides", "backend_of", "load", "parse_duration", "why_no_backend"]


def backend_of(path: Path) -> str | None:
    """Return the ``backend:`` that the file at ``path`` names, or None where it names none (or is not readable).

    It checks nothing: `load` reads the file in full once the plugin is switched on. `why_no_backend` returns why it
    is None.
    """
    name = glance(path)
    return _backend_by_yaml(path) if name == UNCLEAR else name


def why_no_backend(*paths: Path) -> str:
    """Return why `backend_of` found none: a file that is wrong, or no such key in any of them, with a near one."""
    from difflib import get_close_matches

    from pytest_capacity.config.files import read_files
    from pytest_capacity.config.sct import KEYS
    from pytest_capacity.errors import ConfigError

    try:
        values, path = read_files(paths).values, " + ".join(map(str, paths))
    except ConfigError as error:
        return str(error)
    key = next((key for key in ("backend", "cluster_backend") if key in values), None)
    if key:
        return f"{path}: its `{key}:` is empty"
    # One of scylla-cluster-tests calls it otherwise, and takes no key of ours.
    wanted = "cluster_backend" if any(one in values for one in KEYS) else "backend"
    near = get_close_matches(wanted, values, n=1, cutoff=0.7)
    return f"{path}: it has no `{wanted}:`" + (f". Did you mean that by `{near[0]}:`?" if near else "")


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
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
