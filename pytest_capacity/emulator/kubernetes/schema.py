"""Structural schemas, as CustomResourceDefinitions have them: pruning, defaults, validation.

A schema is a mapping in the words of OpenAPI v3 (``type``, ``properties``, ``required``, ``enum``, ``pattern``,
``default``, ``items``, ``additionalProperties``, ``x-kubernetes-*``). The order is that of an API server: prune what
the schema does not have, fill in defaults, validate.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_capacity.emulator.kubernetes.errors import Cause

Schema = Mapping[str, Any]

#: The pattern that KubeDB's definitions give for quantities.
QUANTITY: Final = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def prune(value: Any, schema: Schema) -> Any:
    """Return ``value`` without the fields that the schema does not specify. No warning is given about them."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            rest = {"x-kubernetes-preserve-unknown-fields": True}
        inner = {key: known.get(key, rest) for key in value}
        return {key: prune(one, inner[key]) for key, one in value.items() if isinstance(inner[key], Mapping)}
    if isinstance(value, list):
        kept = {key: True for key in schema if key == "x-kubernetes-preserve-unknown-fields"}
        return [prune(one, schema.get("items", kept)) for one in value]
    return value


def fill_defaults(value: Any, schema: Schema) -> Any:
    """Return ``value`` with the defaults of what is missing in it."""
    if isinstance(value, dict):
        filled = dict(value)
        for key, inner in schema.get("properties", {}).items():
            if key not in filled and "default" in inner:
                filled[key] = copy.deepcopy(inner["default"])
            if key in filled:
                filled[key] = fill_defaults(filled[key], inner)
        return filled
    if isinstance(value, list):
        return [fill_defaults(one, schema.get("items", {})) for one in value]
    return value


def faults(value: Any, schema: Schema, path: str = "") -> Iterator[Cause]:
    """Yield every fault, in an API server's words."""
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        yield from _int_or_string(value, schema, path)
        return
    wanted = schema.get("type")
    if wanted and (not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean")):
        words = f'Invalid value: "{_json_type(value)}": {path} in body must be of type {wanted}: "{_json_type(value)}"'
        yield Cause("FieldValueTypeInvalid", words, path)
        return
    if isinstance(value, dict):
        yield from _object(value, schema, path)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from faults(one, schema.get("items", {}), f"{path}[{number}]")
    else:
        yield from _scalar(value, schema, path)


def _object(value: Mapping[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    for key in schema.get("required", ()):
        if key not in value:
            yield Cause("FieldValueRequired", "Required value", _under(path, key))
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for key, one in value.items():
        inner = known.get(key, rest if isinstance(rest, Mapping) else None)
        if inner is not None:
            yield from faults(one, inner, _under(path, key))


def _scalar(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        listed = ", ".join(f'"{one}"' for one in allowed)
        yield Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {listed}', path)
    pattern = schema.get("pattern")
    if pattern and isinstance(value, str) and not re.search(pattern, value):
        yield Cause("FieldValueInvalid", _mismatch(value, pattern, path), path)
    least = schema.get("minimum")
    if least is not None and isinstance(value, int | float) and value < least:
        words = f"Invalid value: {value}: {path} in body should be greater than or equal to {least}"
        yield Cause("FieldValueInvalid", words, path)


def _int_or_string(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if isinstance(value, bool) or not isinstance(value, int | str):
        words = f'Invalid value: "{_json_type(value)}": {path} in body must be of type integer or string'
        yield Cause("FieldValueTypeInvalid", words, path)
    elif isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield Cause("FieldValueInvalid", _mismatch(value, schema["pattern"], path), path)


def _mismatch(value: str, pattern: str, path: str) -> str:
    return f"Invalid value: \"{value}\": {path} in body should match '{pattern}'"


def _json_type(value: Any) -> str:
    for name, types in (("boolean", bool), ("integer", int), ("number", float), ("string", str), ("array", list)):
        if isinstance(value, types):
            return name
    return "null" if value is None else "object"


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
