"""Until when what is still there stays without a release."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pytest_capacity.backends.base import Backend
from pytest_capacity.model import Held, Piece


class Expiry(NamedTuple):
    """``until``: when the last of those that end by themselves is gone; ``endless``: the ids of the others."""

    until: float | None
    endless: tuple[str, ...]


def expiry_of(backend: Backend, things: Iterable[Held | Piece], hard_end: float) -> Expiry:
    """Return when these are gone at the latest, without a release. A piece may or may not have become a thing."""
    ends = [(thing, backend.ends(thing, hard_end)) for thing in things]
    return Expiry(
        until=max((end for _, end in ends if end is not None), default=None),
        endless=tuple(thing.id for thing, end in ends if end is None and isinstance(thing, Held)),
    )
