"""``errors:``: the user's own rows of the table of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from pytest_capacity.config.fields import Faults, as_choice, as_mapping, as_text, as_texts, refuse_unknown, shown
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
    row = {
        "cloud": as_choice(values.get("cloud", backend or clouds[0]), clouds, f"{where}.cloud", faults),
        "kind": _needed(values, "kind", Kind, where, faults),
        "step": _needed(values, "step", Step, where, faults),
        "scope": as_choice(values.get("scope", "none"), get_args(Scope), f"{where}.scope", faults),
        "code": as_texts(values["code"], f"{where}.code", faults) if "code" in values else (),
        "prefix": as_text(values["prefix"], f"{where}.prefix", faults) if "prefix" in values else "",
        "message": _pattern(values["message"], f"{where}.message", faults) if "message" in values else "",
        "http": _statuses(values["http"], f"{where}.http", faults) if "http" in values else (),
    }
    return None if len(faults.lines) > before else msgspec.convert(row, ErrorRow)


def _needed(values: Mapping[str, Any], key: str, words: object, where: str, faults: Faults) -> str | None:
    if key in values:
        return as_choice(values[key], get_args(words), f"{where}.{key}", faults)
    faults.add(where, f"has no {key}", f"Give one of {', '.join(get_args(words))}.")
    return None


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
