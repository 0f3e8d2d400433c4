"""Several configuration files read as one: a later one goes before, and a fault names the file in which it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field

from pytest_capacity.config.reading import read_mapping

_TOP_KEY: Final = re.compile(r"[^.:\[,]+")


class Files(Struct, frozen=True, kw_only=True):
    """Their keys and values as one mapping, and what messages call it."""

    values: Mapping[str, Any]
    #: The one file, or all of them with ``+`` between.
    name: str
    #: The last file in which each top-level key stands.
    origins: Mapping[str, Path] = field(default_factory=dict)
    last: Path = Path("capacity.yaml")

    def folder_of(self, key: str) -> Path:
        """Return what relative paths under a top-level key are relative to."""
        return self.origins.get(key, self.last).parent.absolute()

    def attributed(self, lines: Sequence[str]) -> list[str]:
        """Return the faults with the name of the one file in which the key stands; of what is in none, of the last."""
        if not self.origins or self.name == str(self.last):
            return list(lines)
        return [self._attributed(line) for line in lines]

    def _attributed(self, line: str) -> str:
        rest = line.removeprefix(f"{self.name}: ")
        if rest == line:
            return line
        found = _TOP_KEY.match(rest)
        return f"{self.origins.get(found[0] if found else '', self.last)}: {rest}"


def read_files(paths: Sequence[Path]) -> Files:
    """Return what the files say; mappings are laid over each other key by key, all else is replaced.

    Raises `ConfigError` for the first that cannot be read.
    """
    values: Mapping[str, Any] = {}
    origins: dict[str, Path] = {}
    for path in paths:
        own = read_mapping(path)
        values = _over(values, own)
        origins |= dict.fromkeys(own, path)
    return Files(values=values, name=" + ".join(map(str, paths)), origins=origins, last=paths[-1])


def _over(one: Mapping[str, Any], later: Mapping[str, Any]) -> Mapping[str, Any]:
    both = dict(one)
    for key, value in later.items():
        before = both.get(key)
        both[key] = _over(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return both
