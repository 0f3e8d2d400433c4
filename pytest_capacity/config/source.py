"""The sources of values: flags, environment and ini, over the values of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from pytest_capacity.config.durations import DURATION_HELP, format_duration, parse_duration
from pytest_capacity.config.fields import Faults, Reader, as_mapping, as_texts, shown
from pytest_capacity.config.files import Files

_LIST_SPLIT: Final = re.compile(r"[,\s]+")


class Overrides(Struct, frozen=True, kw_only=True):
    """The values of flags, environment and ini, merged by their precedence; None or empty: nothing.

    ``source`` names where each came from, by field (``{"regions": "--capacity-region"}``): it begins the message about
    it. Lists may hold several values in one text (``"a,b c"``), as the environment gives them.
    """

    backend: str | None = None
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    reserve: bool | str | None = None
    duration: str | None = None
    market: str | None = None
    timeout: str | None = None
    release_timeout: str | None = None
    endpoint: str | None = None
    #: The run goes to an emulator that is started for it.
    emulator: bool = False
    journal: str | None = None
    session: str | None = None
    #: ``never``, ``failed``, ``always``, or for how long.
    keep: str | None = None
    #: The axes to move along, these and no others: ``spot``, ``type``, ``zone``, ``region``, or ``none``.
    fallback: tuple[str, ...] = ()
    retry_until: str | None = None
    source: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, option: Callable[[str], tuple[Any, str] | None], *, emulator: bool) -> Overrides:
        """Return what options give. ``option`` returns the value given for a name, and where it was written."""
        names = {"regions": "region", "zones": "zone"}
        fields = (name for name in cls.__struct_fields__ if name not in ("emulator", "source"))
        given = {name: found for name in fields if (found := option(names.get(name, name))) is not None}
        return cls(
            **{name: value for name, (value, _) in given.items()},
            emulator=emulator,
            source={name: where for name, (_, where) in given.items()},
        )


class Source(Struct, frozen=True):
    """The mapping of the files, perhaps translated, with the overrides over it."""

    values: Mapping[str, Any]
    files: Files
    overrides: Overrides
    #: Whether there are flags and a hook to speak of.
    has_flags: bool = True

    @property
    def file(self) -> str:
        """What messages call the file."""
        return self.files.name

    def get(self, key: str) -> tuple[Any, str]:
        """Return the value that counts for ``key`` (None: given nowhere), and where it stands."""
        override = getattr(self.overrides, key, None)
        if override is not None and override != ():
            return override, self.overrides.source.get(key, f"--capacity-{key.replace('_', '-')}")
        return self.values.get(key), f"{self.file}: {key}"

    def read(self, key: str, reader: Reader, faults: Faults) -> Any:
        """Return what ``reader`` makes of the value that counts for ``key``; None where it is given nowhere."""
        value, where = self.get(key)
        return None if value is None else reader(value, where, faults)

    def section(self, key: str, example: str, faults: Faults) -> tuple[Mapping[str, Any], str]:
        """Return the keys and values under ``key``, none where it is given nowhere, and where it stands."""
        value, where = self.get(key)
        return ({} if value is None else as_mapping(value, where, faults, example)), where

    def is_overridden(self, key: str) -> bool:
        """Return whether a flag, the environment or ini gives it."""
        return getattr(self.overrides, key, None) not in (None, ())


def split(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    """Return the words of a list, or of a text that holds several, parted by commas or white space."""
    texts = as_texts(value, where, faults)
    return tuple(part for text in texts for part in _LIST_SPLIT.split(text) if part)


def seconds_of(value: object) -> float | None:
    """Return how long a value of the file is; None where it is not a duration."""
    try:
        return parse_duration(value if isinstance(value, str | int) and not isinstance(value, bool) else "")
    except ValueError:
        return None


def as_duration(value: object, where: str, most: float, limit: str, faults: Faults) -> float | None:
    """Return seconds, more than none and at most ``most``. None, and a fault, for anything else.

    ``limit`` begins the sentence that ends with ``most``: "a run lasts at most".
    """
    seconds = seconds_of(value)
    if seconds is None:
        faults.add(where, f"{shown(value)} is not a duration", DURATION_HELP)
        return None
    if seconds <= 0:
        faults.add(where, f"{shown(value)} is no time at all", DURATION_HELP)
        return None
    if seconds > most:
        faults.add(where, f"{shown(value)} is too long: {limit} {format_duration(most)}", "Give a shorter time.")
        return None
    return seconds


def lasting(most: float, limit: str) -> Reader:
    """Return the reader of a duration, as `as_duration` reads it."""
    return lambda value, where, faults: as_duration(value, where, most, limit, faults)
