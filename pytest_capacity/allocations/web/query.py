"""The query of a URL (after the ``?``), read into a `Filter`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from pytest_capacity.allocations.model import Filter

#: The filters of the specification, and the words of its cloud for paging.
REST_NAMES: Final = ("lease_id", "reservation_id", "terminated", "region", "from", "to", "limit", "marker")
PAGE_NAMES: Final = ("resource", "lease", "reservation", "state", "region", "from", "to", "marker")

MOST: Final = 1000
_YES: Final = ("true", "1", "yes")
_NO: Final = ("false", "0", "no")


class BadQuery(ValueError):
    """A parameter that cannot be used; the words are for the user."""


def read_rest(values: Mapping[str, str]) -> Filter:
    """Return the filter of a REST call. What has ended is left out unless ``terminated`` asks for it.

    Raises `BadQuery`.
    """
    _refuse_unknown(values, REST_NAMES)
    return Filter(
        lease=values.get("lease_id", ""),
        reservation=values.get("reservation_id", ""),
        terminated=_flag(values, "terminated") if "terminated" in values else False,
        region=values.get("region", ""),
        start=_moment(values, "from"),
        end=_moment(values, "to"),
        after=_number(values, "marker", 0, math.inf, default=0),
        limit=_number(values, "limit", 1, MOST, default=MOST),
        empty=True,
    )


def read_page(values: Mapping[str, str], limit: int) -> Filter:
    """Return the filter of the page for people. Raises `BadQuery`."""
    values = {name: value.strip() for name, value in values.items() if value.strip()}
    _refuse_unknown(values, PAGE_NAMES)
    state = values.get("state", "active")
    if state not in ("active", "terminated", "all"):
        raise BadQuery(f"state={state}: give active, terminated or all")
    return Filter(
        resource=values.get("resource", ""),
        lease=values.get("lease", ""),
        reservation=values.get("reservation", ""),
        terminated={"active": False, "terminated": True, "all": None}[state],
        region=values.get("region", ""),
        start=_moment(values, "from"),
        end=_moment(values, "to"),
        after=_number(values, "marker", 0, math.inf, default=0),
        limit=limit,
    )


def parse_moment(text: str) -> float:
    """Return seconds since the epoch: of ``2026-11-21 01:33`` (UTC where no zone is named), or of a number.

    Raises `ValueError`.
    """
    try:
        at = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(at):
        raise ValueError(text)
    return at


def _refuse_unknown(values: Mapping[str, str], known: Collection[str]) -> None:
    # The specified server ignores what it does not know; a filter that is misspelt would then show all there is.
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise BadQuery(f"{unknown[0]}: no such parameter. There are: {', '.join(known)}")


def _flag(values: Mapping[str, str], name: str) -> bool:
    text = values[name].lower()
    if text not in _YES + _NO:
        raise BadQuery(f"{name}={values[name]}: give true or false")
    return text in _YES


def _moment(values: Mapping[str, str], name: str) -> float | None:
    if not values.get(name):
        return None
    try:
        return parse_moment(values[name])
    except (ValueError, OverflowError):
        raise BadQuery(f"{name}={values[name]}: give a time as 2026-11-21 01:33 (UTC)") from None


def _number(values: Mapping[str, str], name: str, least: int, most: float, *, default: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    # SQLite's integers have 64 bits.
    if not text.isascii() or not text.isdecimal() or len(text) > 18 or not least <= int(text) <= most:
        raise BadQuery(f"{name}={text}: give a number from {least}{'' if math.isinf(most) else f' to {most:g}'}")
    return int(text)
