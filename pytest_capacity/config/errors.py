"""``errors:``: the user's own rows of the table of errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, get_args

from pytest_capacity.config.fields import (
    Faults,
    as_mapping,
    as_text,
    as_texts,
    chosen,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.source import Source
from pytest_capacity.model import ErrorRow, Kind, Scope, Step

_KEYS: Final = ErrorRow.__struct_fields__
#: What a row matches by: one of them at least.
_MATCHING: Final = ("code", "prefix", "message", "http")
_EXAMPLE: Final = "{code: NewCode, kind: capacity-zone, step: move-on, scope: type+zone}"
_STATUS_FORM: Final = re.compile(r"[1-5](?:xx|\d\d)")


def read_errors(source: Source, backend: str, clouds: Sequence[str], faults: Faults) -> tuple[ErrorRow, ...]:
    """Return the rows as the file has them. ``backend`` is the cloud of those that name none, ``clouds`` are all."""
    value, where = source.get("errors")
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        faults.add(where, f"{shown(value)} is not a list", f"Write one row after another, like - {_EXAMPLE}.")
        return ()
    rows = [_row(item, backend, clouds, f"{where}[{index}]", faults) for index, item in enumerate(value)]
    return tuple(row for row in rows if row is not None)


def _row(value: object, backend: str, clouds: Sequence[str], where: str, faults: Faults) -> ErrorRow | None:
    before = len(faults.lines)
    values = as_mapping(value, where, faults, _EXAMPLE)
    if len(faults.lines) > before:
        return None
    refuse_unknown(values, _KEYS, f"{where}.", faults)
    if not any(key in values for key in _MATCHING):
        faults.add(where, "matches nothing", f"Give at least one of {', '.join(_MATCHING)}.")
    for key in ("code", "http"):
        if values.get(key) in ([], ()):
            faults.add(f"{where}.{key}", "names nothing", "Give a value, or remove the key.")
    read = read_keys(values, {"cloud": chosen(*clouds), **_READERS}, where, faults)
    for key, words in (("kind", Kind), ("step", Step)):
        if key not in values:
            faults.add(where, f"has no {key}", f"Give one of {', '.join(get_args(words))}.")
    return None if len(faults.lines) > before else ErrorRow(**{"cloud": backend or clouds[0], **read})


def _pattern(value: object, where: str, faults: Faults) -> str:
    text = as_text(value, where, faults)
    try:
        re.compile(text or "")
    except re.error as error:
        faults.add(where, f"{shown(value)} is not a pattern: {error}", "Put a backslash before ( ) [ ] . * + ? | \\.")
    return text or ""


def _statuses(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    """Return ``503``, ``"5xx"``, or a list of them."""
    given = value if isinstance(value, list | tuple) else [value]
    texts = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in given]
    for one in texts:
        if not isinstance(one, str) or not _STATUS_FORM.fullmatch(one):
            faults.add(where, f"{shown(one)} is not an HTTP status", "Write it like 503, or 5xx for all of them.")
    return tuple(one for one in texts if isinstance(one, str))


_READERS: Final = {
    "kind": chosen(*get_args(Kind)),
    "step": chosen(*get_args(Step)),
    "scope": chosen(*get_args(Scope)),
    "code": as_texts,
    "prefix": as_text,
    "message": _pattern,
    "http": _statuses,
}
