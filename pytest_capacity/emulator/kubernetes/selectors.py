"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.kubernetes import errors

_SET: Final = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<not>not)?in\s*\((?P<values>[^)]*)\)")
_EQUAL: Final = re.compile(r"(?P<key>[^\s!=,()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,()]*)")
_EXISTS: Final = re.compile(r"(?P<not>!)?\s*(?P<key>[^\s!=,()]+)")
_COMMA: Final = re.compile(r",(?![^(]*\))")


def labels_match(labels: Mapping[str, str], selector: str) -> bool:
    """Return whether the labels fit all of the requirements. Raises `StatusError` for what is no selector."""
    return all(_fits(labels, part.strip()) for part in _COMMA.split(selector) if part.strip())


def _fits(labels: Mapping[str, str], part: str) -> bool:
    match = _SET.fullmatch(part)
    if match:
        values = {value.strip() for value in match["values"].split(",")}
        inside = match["key"] in labels and labels[match["key"]] in values
        return not inside if match["not"] else inside
    match = _EQUAL.fullmatch(part)
    if match:
        same = labels.get(match["key"]) == match["value"]
        return not same if match["op"] == "!=" else same
    match = _EXISTS.fullmatch(part)
    if match:
        return (match["key"] in labels) != bool(match["not"])
    raise errors.bad_request(f"unable to parse requirement: {part!r}")


def fields_match(found: Mapping[str, Any], selector: str) -> bool:
    """Return whether the object has that name and namespace: all that custom resources can be selected by."""
    for part in filter(None, selector.split(",")):
        key, _, value = part.replace("==", "=").partition("=")
        negated = key.endswith("!")
        key = key.rstrip("!")
        if key not in ("metadata.name", "metadata.namespace"):
            raise errors.bad_request(f"field label not supported: {key}")
        if (found["metadata"].get(key.partition(".")[2]) == value) == negated:
            return False
    return True
