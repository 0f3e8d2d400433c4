"""An answer that holds errors, taken apart: clouds nest them, list them, and put one as JSON into another's message.

What is read is plain: the decoded body, or what an SDK made of it. The shapes are those of several clouds: ``error``
with ``details`` and ``innererror``, ``errors`` with ``code`` or ``reason`` and ``errorDetails``, one flat mapping.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_capacity.model import ErrorPart

#: Under which names a code and a message stand, the more telling one first.
_CODES: Final = ("code", "reason", "error_name", "error_code")
_MESSAGES: Final = ("message", "error_message")

#: What stands beside errors and is none.
_BESIDE: Final = ("quotaInfo", "metadatas")

#: Far more than any cloud sends; what lies beyond is not looked at.
_MAX_DEPTH: Final = 16
_MAX_PARTS: Final = 100


def read_answer(body: object, http: int | None = None) -> tuple[ErrorPart, ...]:
    """Return every error in ``body`` (mappings, lists, or a text), the outermost first."""
    found: list[ErrorPart] = []
    for part in _parts(body.decode(errors="replace") if isinstance(body, bytes) else body, http, 0):
        found.append(part)
        if len(found) == _MAX_PARTS:
            break
    return tuple(found)


def _parts(body: object, http: int | None, depth: int) -> Iterator[ErrorPart]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(body, str):
        yield from _of_text(body, http, depth)
    elif isinstance(body, list | tuple):
        for one in body:
            if isinstance(one, Mapping):
                yield from _parts(one, http, depth)
    elif isinstance(body, Mapping):
        yield from _of_mapping(body, http, depth)


def _of_text(body: str, http: int | None, depth: int) -> Iterator[ErrorPart]:
    inner, is_all = _decoded(body)
    if not is_all:
        yield ErrorPart(message=body, http=http, depth=depth)
    if inner is not None:
        yield from _parts(inner, http, depth + 1)


def _of_mapping(body: Mapping[Any, Any], http: int | None, depth: int) -> Iterator[ErrorPart]:
    code, message = _text(body, _CODES), _text(body, _MESSAGES)
    if code or message:
        yield ErrorPart(code, message, http, " ".join(_quotas(body)), depth, tuple(_zones(body)))
        inner, _ = _decoded(message)
        if inner is not None:
            yield from _parts(inner, http, depth + 1)
    for name, value in body.items():
        if name not in _BESIDE and isinstance(value, Mapping | list | tuple):
            yield from _parts(value, http, depth + 1)


def _text(body: Mapping[Any, Any], names: tuple[str, ...]) -> str:
    values = (body.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and str(value)), "")


def _quotas(error: Mapping[Any, Any]) -> Iterator[str]:
    """Yield a ``quotaInfo`` in the words of messages: ``quota METRIC in region REGION``."""
    for detail in _details(error):
        quota = detail.get("quotaInfo")
        if isinstance(quota, Mapping):
            given = quota.get("dimensions")
            at = given if isinstance(given, Mapping) else {}
            where = [f"in {key} {at[key]}" for key in ("zone", "region") if key in at]
            yield " ".join(["quota", str(quota.get("metricName", "")), *(where or ["globally"])])


def _zones(error: Mapping[Any, Any]) -> Iterator[str]:
    """Yield a ``zonesAvailable``: the zones of the region that have the resource, with commas between them."""
    for detail in _details(error):
        info = detail.get("errorInfo")
        told = info.get("metadatas") if isinstance(info, Mapping) else None
        zones = told.get("zonesAvailable") if isinstance(told, Mapping) else None
        if isinstance(zones, str):
            yield from filter(None, (zone.strip() for zone in zones.split(",")))


def _details(error: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    details = error.get("errorDetails")
    return [one for one in details if isinstance(one, Mapping)] if isinstance(details, list | tuple) else []


def _decoded(text: str) -> tuple[Mapping[str, Any] | None, bool]:
    """Return the first object of JSON in ``text``, None if it has none; and whether it is all of it."""
    begin = text.find("{")
    if begin < 0:
        return None, False
    try:
        inner, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None, False
    return inner, text[:begin].strip() == "" == text[end:].strip()
