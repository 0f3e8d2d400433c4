"""The words about instance types that a zone does not have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from pytest_capacity.text import nearest


def _numbers(name: str) -> list[str]:
    return sorted(re.findall(r"\d+", name))


def not_offered(lacking: Iterable[str], known: Collection[str]) -> str:
    """Return that a zone does not offer ``lacking``, each with what was probably meant, of the types ``known``."""
    return f"does not offer {', '.join(_with_nearest(one, known) for one in sorted(lacking))}"


def _with_nearest(one: str, known: Collection[str]) -> str:
    # Another number is another type, of another generation or size, which may well have been meant.
    near = nearest(one, [name for name in known if _numbers(name) == _numbers(one)])
    return f"{one} (did you mean {near}?)" if near else one
