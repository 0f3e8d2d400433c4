"""The calls to the clouds, and their outcomes."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Call(Struct, frozen=True, kw_only=True):
    """One call. ``at`` is the World's time at which it took effect; ``began`` and ``ended`` are real time, so that
    calls that were under way together can be counted. ``status`` is the HTTP status that was, or would have been,
    sent; ``lost`` means that the answer was never sent."""

    at: float
    cloud: str
    operation: str
    region: str
    zone: str | None
    type: str | None
    market: str | None
    status: int
    error: str | None
    began: float
    ended: float
    lost: bool = False
    token: str | None = None
    dry_run: bool = False


def as_json(calls: list[Call]) -> list[dict[str, Any]]:
    """Return the calls as ``/_world`` lists them."""
    return [{name: getattr(call, name) for name in Call.__struct_fields__} for call in calls]
