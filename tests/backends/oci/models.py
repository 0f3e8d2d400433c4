"""The SDK's own models of the API, held against JSON that we send or the emulator answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import oci.cluster_placement_groups.models
import oci.core.models
import oci.identity.models
import oci.work_requests.models

CORE: Final = (oci.core.models, oci.identity.models, oci.work_requests.models)
CLUSTERS: Final = (oci.cluster_placement_groups.models,)
_PLAIN: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "datetime": (str,),
    "object": (object,),
}
_REQUIRED: Final = re.compile(r"\*\*\[Required\]\*\*")


def strangers(name: str, value: Any, modules: tuple[ModuleType, ...] = CORE, where: str = "") -> Iterator[str]:
    """Yield what is in ``value`` and not in the SDK's type ``name``, and what the type requires and is not there.

    ``modules`` are those in which the type is looked for: two services have types of the same name.
    """
    where = where or name
    if found := re.fullmatch(r"list\[(.*)\]", name):
        if not isinstance(value, list):
            yield f"{where}: no list"
            return
        for number, one in enumerate(value):
            yield from strangers(found[1], one, modules, f"{where}[{number}]")
    elif found := re.fullmatch(r"dict\(([^,]*), (.*)\)", name):
        for key, one in value.items():
            yield from strangers(found[2], one, modules, f"{where}.{key}")
    elif name in _PLAIN:
        if not isinstance(value, _PLAIN[name]) or (isinstance(value, bool) and name in ("int", "float")):
            yield f"{where}: {value!r} is no {name}"
    else:
        yield from _of_model(name, value, modules, where)


def _of_model(name: str, value: Any, modules: tuple[ModuleType, ...], where: str) -> Iterator[str]:
    class_ = next(getattr(module, name) for module in modules if hasattr(module, name))
    if hasattr(class_, "get_subtype"):
        class_ = next(
            getattr(module, class_.get_subtype(value))
            for module in modules
            if hasattr(module, class_.get_subtype(value))
        )
    model = class_()
    names = {json: python for python, json in model.attribute_map.items()}
    for key, one in value.items():
        if key not in names:
            yield f"{where}: unknown key {key}"
        elif one is not None:
            yield from strangers(model.swagger_types[names[key]], one, modules, f"{where}.{key}")
    for json, python in names.items():
        about = getattr(class_, python).__doc__ or ""
        if _REQUIRED.search(about) and value.get(json) is None:
            yield f"{where}: {json} is required"
    for key, one in value.items():
        allowed = _allowed(class_, names.get(key, ""))
        if allowed and isinstance(one, str) and one not in allowed:
            yield f"{where}.{key}: {one!r} is none of {allowed}"


def _allowed(class_: type, python: str) -> list[str]:
    """The values of an enumeration, which the SDK keeps as constants: ``LIFECYCLE_STATE_RUNNING``."""
    if python not in ("lifecycle_state", "status", "availability_status"):
        return []
    return [getattr(class_, name) for name in dir(class_) if name.startswith(f"{python.upper()}_")]
