"""The models of azure-mgmt-compute and -network, as what a body is held against: names, nesting, and plain types."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any


def faults(model: Any, body: Any, where: str = "") -> Iterator[str]:
    """Yield what ``body`` has that ``model`` (a class of a vendor's package, or a plain type) does not know."""
    origin = typing.get_origin(model)
    if origin in (typing.Union, types.UnionType):
        yield from _of_union([one for one in typing.get_args(model) if one is not type(None)], body, where)
    elif origin is list:
        if not isinstance(body, list):
            yield f"{where}: {type(body).__name__} where a list is wanted"
            return
        for index, one in enumerate(body):
            yield from faults(typing.get_args(model)[0], one, f"{where}[{index}]")
    elif origin is dict:
        for key, one in body.items():
            yield from faults(typing.get_args(model)[1], one, f"{where}.{key}")
    elif isinstance(model, type) and hasattr(model, "_is_model"):
        yield from _of_model(model, body, where)
    elif model in (str, bool, int, float) and not isinstance(body, (int, float) if model is float else model):
        yield f"{where}: {body!r} where {model.__name__} is wanted"


def _of_union(choices: list[Any], body: Any, where: str) -> Iterator[str]:
    enums = [one for one in choices if isinstance(one, type) and issubclass(one, enum.Enum)]
    if enums and body not in {one.value for one in enums[0]}:
        yield f"{where}: {body!r} is none of {[one.value for one in enums[0]]}"
    others = [one for one in choices if one not in enums]
    found = [list(faults(one, body, where)) for one in others]
    yield from min(found, key=len, default=[])


def _of_model(model: Any, body: Any, where: str) -> Iterator[str]:
    if not isinstance(body, Mapping):
        yield f"{where}: {body!r} where {model.__name__} is wanted"
        return
    fields = _fields(model)
    for key, value in body.items():
        if key not in fields:
            yield f"{where}.{key}: {model.__name__} has no such field"
        elif value is not None:
            yield from faults(fields[key], value, f"{where}.{key}")


def _fields(model: Any) -> dict[str, Any]:
    """The type of each field by its name on the wire."""
    found: dict[str, Any] = {}
    for one in reversed(model.__mro__):
        hints = _hints(one)
        for name, value in vars(one).items():
            if type(value).__name__ == "_RestField":
                found[value._rest_name_input or name] = hints.get(name, Any)
    return found


def _hints(model: Any) -> dict[str, Any]:
    import importlib
    import sys

    package = sys.modules[model.__module__].__name__.partition(".models")[0]
    names = {}
    if package.startswith("azure.mgmt"):
        names = {"_models": importlib.import_module(f"{package}.models"), "datetime": importlib.import_module("datetime")}
        names["_types"] = names["_models"]
    scope = {**vars(sys.modules[model.__module__]), **names}
    hints = {}
    for name, text in vars(model).get("__annotations__", {}).items():
        try:
            hints[name] = eval(text, scope) if isinstance(text, str) else text
            if isinstance(hints[name], str):
                hints[name] = eval(hints[name], scope)
            hints[name] = _resolved(hints[name], scope)
        except (NameError, AttributeError):
            hints[name] = Any
    return hints


def _resolved(hint: Any, scope: dict[str, Any]) -> Any:
    """``hint`` with the names in quotes inside it looked up."""
    if isinstance(hint, typing.ForwardRef):
        return eval(hint.__forward_arg__, scope)
    if isinstance(hint, str):
        return eval(hint, scope)
    arguments = typing.get_args(hint)
    if not arguments:
        return hint
    resolved = tuple(_resolved(one, scope) if one is not type(None) else one for one in arguments)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[resolved]  # noqa: UP007
    return origin[resolved] if origin is not None else hint
