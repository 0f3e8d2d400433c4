"""How the API writes times and links."""

from __future__ import annotations


def last(link: object) -> str:
    """Return the name at the end of a link: ``.../zones/us-central1-a`` -> ``us-central1-a``."""
    return str(link or "").rpartition("/")[2]


def region_of(zone: str) -> str:
    """Return the region of a zone: ``us-central1-a`` -> ``us-central1``."""
    return zone.rpartition("-")[0]


def without_host(link: str) -> str:
    """Return a link without its host: ``https://.../compute/v1/projects/P/...`` -> ``projects/P/...``."""
    _, _, path = link.partition("/compute/v1/")
    return path if link.startswith(("http://", "https://")) and path else link
