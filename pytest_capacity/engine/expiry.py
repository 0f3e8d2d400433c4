"""Messages on what is still there: in which state, and until when without a release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine.run_state import RunState
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


def standing(run_state: RunState) -> Sequence[Held]:
    """Return what is held; what the cloud has accepted to remove is leaving, though it was not looked at since."""
    return [
        replace(held, state="leaving") if run_state.accepted(held) and held.state in ("creating", "ready") else held
        for held in run_state.held()
    ]
