"""Detection of a file's backend, at the start of every pytest run, so without YAML and the package's structs."""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
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

#: What YAML reads as nothing, unless it is quoted.
_NULLS: Final = ("null", "Null", "NULL", "~")


def glance(path: Path) -> str | None:
    """Return the ``backend:`` that the file at ``path`` names, None where it names none, or `UNCLEAR`.

    ``cluster_backend:`` is how scylla-cluster-tests calls it. A file that cannot be read counts as naming none. One in
    another encoding is read as far as this goes, so that the real reader can say what is wrong with it.
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
    return UNCLEAR if _MAYBE.search(text) and not _TOP_LEVEL.search(text) else None
