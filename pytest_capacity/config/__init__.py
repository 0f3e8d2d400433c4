"""``capacity.yaml``, flags, environment -> a checked `Request`. Pure but for reading the one file.

`backend_of` runs at the start of every pytest with the plugin installed, and must cost nothing where the plugin is not
used: so neither YAML nor the package's structs are imported here, and the request is read by `loading.load`.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Final

#: A configuration that is larger than this is not one.
MAX_BYTES: Final = 1 << 20

#: ``cluster_backend:`` is how scylla-cluster-tests calls it.
_BACKEND: Final = re.compile(
    r"""^["']?(?:cluster_)?backend["']?\s*:[ \t]*(?P<quote>["']?)(?P<name>[^\s"'#]+)(?P=quote)""", re.MULTILINE
)
#: `{backend: NAME, ...}` and documents that are indented as a whole: rare, and then the real reader decides.
_MAYBE: Final = re.compile(r"""^\s*[{ ].*\b(?:cluster_)?backend\b""", re.MULTILINE)
_TOP_LEVEL: Final = re.compile(r"^[A-Za-z]", re.MULTILINE)

#: What YAML reads as nothing, unless it is quoted.
_NULLS: Final = ("null", "Null", "NULL", "~")


def backend_of(path: Path) -> str | None:
    """Return the ``backend:`` that the file at ``path`` names, or None where it names none (or is not readable).

    It checks nothing: `load` reads the file in full once the plugin is switched on. `why_no_backend` returns why it
    is None. A file in another encoding is read as far as this goes, so that `load` can say what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES)
    except OSError:
        return None
    # YAML knows UTF-16 by its mark.
    text = raw.decode("utf-16" if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig", errors="replace")
    if found := _BACKEND.search(text):
        return None if found["name"] in _NULLS and not found["quote"] else found["name"]
    return _backend_by_yaml(path) if _MAYBE.search(text) and not _TOP_LEVEL.search(text) else None


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
