"""How the API writes times and links."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None if it is none."""
    try:
        time = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def format_time(seconds: float) -> str:
    """``2026-01-31T12:00:00Z``: whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def last(link: object) -> str:
    """The name at the end of a link: ``.../zones/us-central1-a`` -> ``us-central1-a``."""
    return str(link or "").rpartition("/")[2]


def region_of(zone: str) -> str:
    """``us-central1-a`` -> ``us-central1``."""
    return zone.rpartition("-")[0]


def without_host(link: str) -> str:
    """``https://www.googleapis.com/compute/v1/projects/P/...`` -> ``projects/P/...``."""
    _, _, path = link.partition("/compute/v1/")
    return path if link.startswith(("http://", "https://")) and path else link
