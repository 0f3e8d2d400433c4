"""Times as the clouds write them, and as our stamp has them on each of them."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: object) -> float | None:
    """Return the seconds since the epoch of an ISO 8601 time (UTC if it names no zone); None if it is none."""
    try:
        time = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def format_time(seconds: float) -> str:
    """Return ``2026-01-31T12:00:00Z``: whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
