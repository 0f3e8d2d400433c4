"""``user_data:`` of a group: a text, or ``{file: PATH}``, of a form that the machine will read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pytest_capacity.config.fields import Faults, as_text, refuse_unknown, shown

#: More of a file is not read: no cloud takes so much.
_MOST_BYTES: Final = 1 << 20

#: A MIME message, with parts of its own.
MIME: Final = "message"
#: What machines with Windows read.
WINDOWS: Final = "windows"

# The longer before what it begins with (cloud-init, "User data formats").
_FORMS: Final = (
    ("#!", "x-shellscript"),
    ("#cloud-config-archive", "cloud-config-archive"),
    ("#cloud-config-jsonp", "cloud-config-jsonp"),
    ("#cloud-config", "cloud-config"),
    ("#cloud-boothook", "cloud-boothook"),
    ("#include-once", "x-include-once-url"),
    ("#include", "x-include-url"),
    ("#part-handler", "part-handler"),
    ("## template: jinja", "jinja2"),
    ("content-type:", MIME),
    ("mime-version:", MIME),
    ("<powershell>", WINDOWS),
    ("<script>", WINDOWS),
)


def form_of(text: str) -> str | None:
    """Return the kind of a text by its first line: a subtype of ``text/``, `MIME` or `WINDOWS`; None: unknown."""
    begin = text.lstrip()[:64]
    for prefix, form in _FORMS:
        if begin.startswith(prefix) or (form in (MIME, WINDOWS) and begin.lower().startswith(prefix)):
            return form
    return None


def is_plain(text: str) -> bool:
    """Return whether the text can stand in a MIME message as it is."""
    return text.isascii() and "\r" not in text


def read_user_data(value: object, base: Path, where: str, faults: Faults) -> str | None:
    """Return the text, with what stands in a file read. None, and a fault, where there is none.

    Messages never quote it: it may hold secrets. What a cloud takes is checked by its provider.
    """
    return _file(value, base, where, faults) if isinstance(value, Mapping) else _text(value, where, faults)


def _text(value: object, where: str, faults: Faults) -> str | None:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, str):
        faults.add(where, "is empty", "Give a text or {file: PATH}, or remove the key.")
    else:
        faults.add(where, "is neither a text nor {file: PATH}", "Write it like {file: user-data.sh}.")
    return None


def _file(value: Mapping[str, object], base: Path, where: str, faults: Faults) -> str | None:
    refuse_unknown(value, ("file",), f"{where}.", faults)
    if "file" not in value:
        faults.add(where, "names no file", "Write it like {file: user-data.sh}.")
        return None
    name = as_text(value["file"], f"{where}.file", faults)
    if name is None:
        return None
    try:
        with (base / Path(name).expanduser()).open("rb") as file:
            raw = file.read(_MOST_BYTES)
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "no such path"
        faults.add(
            f"{where}.file", f"{shown(name)} cannot be read: {why}", "Name a file; a path is relative to this file."
        )
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        faults.add(f"{where}.file", f"{shown(name)} is not UTF-8 text", "Give it uncompressed.")
        return None
    return _text(text, f"{where}.file", faults)
