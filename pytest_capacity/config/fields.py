"""Reading one mapping of the configuration, key by key, and collecting every fault on the way."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_MAX_SHOWN: Final = 60

_Word = TypeVar("_Word", bound=str)

#: A zone that stands for all that are not named.
EVERY_OTHER: Final = "*"


def shown(value: object) -> str:
    """Return a value as it may stand in a message: short, on one line."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(char if char.isprintable() else "?" for char in text)
    text = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
    return f"'{text}'" if isinstance(value, str) else text


class Faults:
    """The faults, in the order in which they were found."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, where: str, what: str, remedy: str) -> None:
        """Add one line: ``where: what. remedy``; ``what`` without its full stop."""
        line = f"{where}: {what}. {remedy}"
        if line not in self.lines:
            self.lines.append(line)


#: Reads one value of a key, ``where`` it stands: what it means, or None and a fault.
Reader = Callable[[object, str, Faults], Any]


def as_bool(value: object, where: str, faults: Faults) -> bool | None:
    """Return true or false; the texts yes, no, on, off, 1, 0 as well. None, and a fault, for anything else."""
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    faults.add(where, f"{shown(value)} is neither true nor false", "Write true or false.")
    return None


def as_text(value: object, where: str, faults: Faults) -> str | None:
    """Return a text that is not empty. None, and a fault, for anything else."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, str):
        faults.add(where, "is empty", "Give a value, or remove the key.")
    elif isinstance(value, int | float):
        faults.add(where, f"{shown(value)} is not a text", f'Quote it: "{value}".')
    else:
        faults.add(where, "is not a text", "Give one value.")
    return None


def as_choice(value: object, choices: Sequence[_Word], where: str, faults: Faults) -> _Word | None:
    """Return one of ``choices``. None, and a fault, for anything else."""
    text = as_text(value, where, faults)
    found = next((choice for choice in choices if choice == text), None)
    if text is not None and found is None:
        remedy = _nearest(text, choices) or "Give one of them."
        faults.add(where, f"{shown(text)} is not one of {', '.join(choices)}", remedy)
    return found


def as_form(value: object, form: re.Pattern[str], example: str, where: str, faults: Faults) -> str | None:
    """Return a text of that form. None, and a fault, for anything else."""
    text = as_text(value, where, faults)
    if text is None or form.fullmatch(text):
        return text
    faults.add(where, f"{shown(text)} does not have the right form", f"Write it like {example}.")
    return None


def as_texts(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    """Return a list of texts (one text alone will do); those that are none are left out, each with a fault."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        faults.add(where, f"{shown(value)} is not a list", "Write it like [a, b].")
        return ()
    texts = [as_text(item, f"{where}[{index}]", faults) for index, item in enumerate(value)]
    return tuple(text for text in texts if text is not None)


def as_mapping(value: object, where: str, faults: Faults, example: str) -> Mapping[str, Any]:
    """Return a mapping with keys that are texts. Empty, and a fault, for anything else."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    faults.add(where, "does not hold keys and values", f"Write it like {example}.")
    return {}


def as_forms(
    values: Sequence[object], form: re.Pattern[str], example: str, where: str, faults: Faults
) -> tuple[str, ...]:
    """Return those of ``values`` that have the form, each once; a fault for each of the others."""
    read = [as_form(value, form, example, f"{where}[{number}]", faults) for number, value in enumerate(values)]
    return tuple(dict.fromkeys(value for value in read if value is not None))


def formed(form: re.Pattern[str], example: str) -> Reader:
    """Return the reader of a text of that form."""
    return lambda value, where, faults: as_form(value, form, example, where, faults)


def named(form: re.Pattern[str], example: str) -> Reader:
    """Return the reader of a name of that form, which may be written as a whole number."""
    return lambda value, where, faults: as_form(
        str(value) if isinstance(value, int) and not isinstance(value, bool) else value, form, example, where, faults
    )


def listed(form: re.Pattern[str], example: str) -> Reader:
    """Return the reader of a list of texts of that form."""
    return lambda value, where, faults: as_forms(as_texts(value, where, faults), form, example, where, faults)


def chosen(*choices: str) -> Reader:
    """Return the reader of one of ``choices``."""
    return lambda value, where, faults: as_choice(value, choices, where, faults)


def counted(least: int, most: int, unit: str = "", *, what: str = "", or_else: str = "") -> Reader:
    """Return the reader of a whole number; ``or_else`` is the end of the advice about anything else."""
    what = what or (f"not a number of {unit}" if unit else f"no whole number from {least} to {most}")

    def read(value: object, where: str, faults: Faults) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        faults.add(where, f"{shown(value)} is {what}", f"Give a whole number from {least} to {most}{or_else}.")
        return None

    return read


#: How many nodes a group has.
as_count: Final = counted(1, 1000, "nodes", or_else=", or remove the group")


def read_keys(values: Mapping[str, Any], readers: Mapping[str, Reader], where: str, faults: Faults) -> dict[str, Any]:
    """Return, of the keys that are written and have a reader, the values that are right."""
    read = {key: reader(values[key], f"{where}.{key}", faults) for key, reader in readers.items() if key in values}
    return {key: value for key, value in read.items() if value is not None}


def by_region(
    value: object, reader: Reader, regions: Sequence[str], where: str, faults: Faults, *, alone: bool, example: str
) -> dict[str, Any]:
    """Return values by region. Where ``value`` is one ``alone``, it stands for each of ``regions``."""
    if alone:
        one = reader(value, where, faults)
        return dict.fromkeys(regions, one) if one else {}
    read = {
        region: reader(given, f"{where}.{shown(region)[1:-1]}", faults)
        for region, given in as_mapping(value, where, faults, example).items()
    }
    return {region: one for region, one in read.items() if one}


def refuse_unknown(values: Mapping[str, Any], known: Sequence[str], where: str, faults: Faults) -> None:
    """Add a fault for each key that is not ``known``, with the nearest one that is."""
    for key in map(str, values):
        if key not in known:
            remedy = _nearest(key, known) or f"Known here: {', '.join(known)}."
            faults.add(f"{where}{shown(key)[1:-1]}", "is not a known key", remedy)


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else ""
