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
#: `{backend: NAME, ...}` and documents that are indented as a whole: rare, and then the real reader decides.
_MAYBE: Final = re.compile(r"""^\s*[{ ].*\b(?:cluster_)?backend\b""", re.MULTILINE)
_TOP_LEVEL: Final = re.compile(r"^[A-Za-z]", re.MULTILINE)


#: What `glance` says of a file that only a reader of YAML can tell.
UNCLEAR: Final = "?"


def glance(path: Path) -> str | None:
    """The ``backend:`` that the file at ``path`` names, None where it names none, or `UNCLEAR`.

    ``cluster_backend:`` is how scylla-cluster-tests calls it. A file that cannot be read, or is no text, counts as
    naming none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    if found := _BACKEND.search(text):
        name = found["name"]
        return None if name in ("null", "~") else name
    return UNCLEAR if _MAYBE.search(text) and not _TOP_LEVEL.search(text) else None
