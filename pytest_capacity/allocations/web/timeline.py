"""The positions of the bars in the timeline. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from pytest_capacity.allocations.model import Allocation, Allocations

#: The picture's width, in its own units.
WIDTH = 1000.0

_MARKS = 6


class Bar(Struct, frozen=True, kw_only=True):
    """One allocation: ``x`` to ``x + width``, and from there to ``x + width + more`` what may be renewed."""

    allocation: Allocation
    x: float
    width: float
    more: float


class Mark(Struct, frozen=True):
    """A time on the axis."""

    x: float
    text: str


class Timeline(Struct, frozen=True, kw_only=True):
    """The bars of each resource, in the order of the resources; marks of the axis; where now is."""

    bars: tuple[tuple[Bar, ...], ...]
    marks: tuple[Mark, ...]
    now: float | None


def timeline(
    found: Sequence[Allocations], now: float, start: float | None = None, end: float | None = None
) -> Timeline:
    """Return the timeline of these resources, from ``start`` to ``end``; None: as far as they reach."""
    every = [one for resource in found for one in resource.allocations]
    first = start if start is not None else min((one.since for one in every), default=now)
    last = end if end is not None else max([now, *(one.latest_end or now for one in every)])
    span = max(last - first, 60.0)

    def x(at: float) -> float:
        return round(min(max((at - first) / span, 0.0), 1.0) * WIDTH, 2)

    def bar(one: Allocation) -> Bar:
        latest = one.latest_end if one.latest_end is not None else max(now, one.since)
        sure = one.ended if one.ended is not None else one.until if one.until is not None else latest
        left, right = x(one.since), x(sure)
        return Bar(allocation=one, x=left, width=max(right - left, 1.5), more=max(x(latest) - right, 0.0))

    marks = tuple(
        Mark(x(at), datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M"))
        for at in (first + span * number / _MARKS for number in range(_MARKS + 1))
    )
    bars = tuple(tuple(bar(one) for one in resource.allocations) for resource in found)
    return Timeline(bars=bars, marks=marks, now=x(now) if first <= now <= first + span else None)
