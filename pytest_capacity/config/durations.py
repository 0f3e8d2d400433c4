"""``90m`` -> 5400.0."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,6})?"
_FORM: Final = re.compile(rf"(?:(?P<d>{_NUMBER})d)?(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m)?(?:(?P<s>{_NUMBER})s)?")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")

#: The remedy for a text that is no duration.
DURATION_HELP: Final = "Write it like 90m, 1h30m, 45s or 2d; a whole number alone counts seconds."


def parse_duration(text: str | int) -> float:
    """Return the seconds in ``text``: ``90m``, ``1h30m``, ``1.5h``, ``45s``, ``2d``; a whole number alone is seconds.

    Units stand once each, the largest first. Raises `ValueError` with a sentence for the user.
    """
    written = str(text).strip()
    if _SECONDS.fullmatch(written):
        return float(written)
    form = _FORM.fullmatch(written)
    if not written or form is None:
        raise ValueError(f"{written[:60]!r} is not a duration")
    return sum(float(amount) * _UNITS[unit] for unit, amount in form.groupdict().items() if amount is not None)


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads back as ``seconds``, to the second: 5400 -> ``1h30m``."""
    left = round(seconds)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        amount, left = divmod(left, int(size))
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
