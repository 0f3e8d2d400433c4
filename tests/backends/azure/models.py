"""The models of azure-mgmt-compute and -network, as what a body is held against: names, nesting, and plain types."""

from __future__ import annotations

import datetime as dt
import enum
import importlib
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

#: An enum that the vendor keeps no more: its documentation says to ask the API for the sizes.
_OPEN = "VirtualMachineSizeTypes"


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
    if enums and enums[0].__name__ != _OPEN and body not in {one.value for one in enums[0]}:
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
    """The types of a class's fields, written as texts in its module, where ``_models`` is the package of models."""
    package, found, _ = model.__module__.partition(".models")
    scope = dict(vars(sys.modules[model.__module__]))
    if found:
        scope |= {"_models": importlib.import_module(f"{package}.models"), "datetime": dt}
    return {name: _resolved(text, scope) for name, text in vars(model).get("__annotations__", {}).items() if found}


def _resolved(hint: Any, scope: dict[str, Any]) -> Any:
    """``hint`` with the names in quotes inside it looked up."""
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        return _resolved(eval(hint, scope), scope)
    arguments = typing.get_args(hint)
    if not arguments:
        return hint
    resolved = tuple(one if one is type(None) else _resolved(one, scope) for one in arguments)
    origin: Any = typing.get_origin(hint)
    return typing.Union[resolved] if origin in (typing.Union, types.UnionType) else origin[resolved]  # noqa: UP007
