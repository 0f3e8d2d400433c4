"""The words about instance types that a zone does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pytest_capacity.text import nearest


def not_offered(lacking: Iterable[str], known: Collection[str]) -> str:
    """Return that a zone does not offer ``lacking``, each with what was probably meant, of the types ``known``."""
    return f"does not offer {', '.join(_with_nearest(one, known) for one in sorted(lacking))}"


def _with_nearest(one: str, known: Collection[str]) -> str:
    near = nearest(one, known)
    return f"{one} (did you mean {near}?)" if near else one
