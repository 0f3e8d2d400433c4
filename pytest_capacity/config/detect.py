"""Does a file choose a backend? Asked at the start of every pytest run, so without YAML and without our own structs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

#: A configuration that is larger than this is not one.
MAX_BYTES: Final = 1 << 20

_BACKEND: Final = re.compile(
    r"""^["']?(?:cluster_)?backend["']?\s*:[ \t]*(?P<quote>["']?)(?P<name>[^\s"'#]+)(?P=quote)""", re.MULTILINE
)
#: `{backend: aws, ...}` and documents that are indented as a whole: rare, and then the real reader decides.
_MAYBE: Final = re.compile(r"""^\s*[{ ].*\b(?:cluster_)?backend\b""", re.MULTILINE)
_TOP_LEVEL: Final = re.compile(r"^[A-Za-z]", re.MULTILINE)


def backend_of(path: Path) -> str | None:
    """The ``backend:`` that the file at ``path`` names, or None where it names none (or there is no such file).

    ``cluster_backend:`` is how scylla-cluster-tests calls it.

    A glance, not a check: `load` reads the file properly once the plugin is switched on. A file that cannot be read, or
    is no text, counts as naming none; whoever switches the plugin on by a flag is told about it by `load`.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    if found := _BACKEND.search(text):
        name = found["name"]
        return None if name in ("null", "~") else name
    if _MAYBE.search(text) and not _TOP_LEVEL.search(text):
        return _backend_by_yaml(path)
    return None


def _backend_by_yaml(path: Path) -> str | None:
    from pytest_capacity.config.reading import read_mapping
    from pytest_capacity.errors import ConfigError

    try:
        values = read_mapping(path)
    except ConfigError:
        return None
    name = values.get("backend", values.get("cluster_backend"))
    return name if isinstance(name, str) else None
