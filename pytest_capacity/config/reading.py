"""A YAML file -> plain mappings, with the faults of YAML kept out.

Values are read by the YAML 1.2 core rules: ``on``, ``yes``, ``1:30`` and ``010`` stay the texts that they look like.
Refused: files over 1 MiB, duplicate keys, keys that are not texts, tags,
aliases that unfold to more than 20 000 values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from pytest_capacity.config import MAX_BYTES
from pytest_capacity.errors import ConfigError

_MAX_VALUES: Final = 20_000
_MAX_DEPTH: Final = 20
_MERGE: Final = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader`, less the guesses of YAML 1.1, and with limits."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None and not isinstance(event, yaml.AliasEvent):
            raise _fault(event, f"the tag {event.tag!r}, which has no use here")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _fault(event, f"values nested deeper than {_MAX_DEPTH}")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node if isinstance(node, yaml.Node) else None

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _weight(node, {}) > _MAX_VALUES:
            raise _fault(node, f"aliases that unfold to more than {_MAX_VALUES} values")
        return node


def _use_core_schema() -> None:
    _Loader.yaml_implicit_resolvers = {}
    for tag, form, first in (
        ("merge", r"<<", "<"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ):
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{form})$"), list(first))


_use_core_schema()


class _Fault(yaml.YAMLError):
    """A value that the limits above refuse."""


def _fault(where: Any, what: str) -> _Fault:
    mark = where.start_mark
    return _Fault(f"line {mark.line + 1}: {what}")


def _weight(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values ``node`` has with its aliases unfolded; one that holds itself counts as too many.

    Raises `_Fault` for the keys of a mapping.
    """
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MAX_VALUES + 1
    weight = 1
    if isinstance(node, yaml.SequenceNode):
        weight += sum(_weight(child, known) for child in node.value)
    elif isinstance(node, yaml.MappingNode):
        _check_keys([key for key, _ in node.value])
        weight += sum(_weight(key, known) + _weight(child, known) for key, child in node.value)
    known[id(node)] = weight
    return weight


def _check_keys(keys: Iterable[yaml.Node]) -> None:
    """Check keys before merge keys are unfolded: later a key that overrides a merged one looks like a duplicate."""
    seen: set[str] = set()
    for key in keys:
        if not isinstance(key, yaml.ScalarNode):
            raise _fault(key, "a key that is not a text")
        if key.tag == _MERGE:
            continue
        if key.tag != "tag:yaml.org,2002:str":
            raise _fault(key, f"the key {key.value!r}, which YAML takes for no text; quote it")
        if key.value in seen:
            raise _fault(key, f"the key {key.value!r} for the second time")
        seen.add(key.value)


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Return the mapping at the top of the file; an empty file is an empty mapping.

    Raises `ConfigError` naming the file and the line; the file's own lines are never quoted (they may hold secrets).
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            [f"{path}: cannot be read: {error.strerror}. Name a file that is there and may be read."]
        ) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([f"{path}: is larger than 1 MiB. Name a file like capacity.yaml."])
    try:
        loaded = yaml.load(raw, _Loader)
    except _Fault as error:
        raise ConfigError([f"{path}: {error}. Write it out, once."]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError([f"{path}: {line}not YAML: {error.problem}. Correct that line."]) from None
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise ConfigError([f"{path}: not YAML: {reason}. Save it as UTF-8 text."]) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        kind = {"list": "a list", "str": "a text"}.get(type(loaded).__name__, f"one {type(loaded).__name__}")
        raise ConfigError([f"{path}: holds {kind}, not keys and values. Begin with `backend: NAME`."])
    return loaded
