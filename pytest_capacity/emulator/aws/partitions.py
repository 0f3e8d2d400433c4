"""AWS's partitions: parts of the cloud with separate names and accounts."""

from __future__ import annotations

from typing import Final

#: By the beginning of a region's name (AWS general reference, "ARNs").
_PARTITIONS: Final = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-isob-": "aws-iso-b",
    "us-iso-": "aws-iso",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
}


def partition(region: str) -> str:
    """Return the partition of a region, as ARNs name it."""
    return next((name for prefix, name in _PARTITIONS.items() if region.startswith(prefix)), "aws")
