"""What the quotas of a subscription allow: Azure's usages have limits and use, its SKUs families and vCPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pytest_capacity.backends.azure.listing import side_by_side
from pytest_capacity.backends.azure.offers import REGIONAL, Size, read_sizes, read_usages
from pytest_capacity.backends.azure.session import Arm
from pytest_capacity.model import Market, Quota


def read_quotas(arm: Arm, region: str, types: Sequence[str]) -> list[Quota]:
    """Return the quotas of ``region`` that machines of ``types`` count against: of each family, and of the region.

    One round of reads. Raises Azure's error.
    """
    reads: list[Callable[[Arm, str], Any]] = [read_sizes, read_usages]
    answers = side_by_side(lambda read: read(arm, region), reads)
    sizes: Mapping[str, Size] = answers[0]
    usages: Mapping[str, Mapping[str, Any]] = answers[1]
    counts: dict[tuple[str, Market], dict[str, float]] = {}
    for type_ in types:
        size = sizes.get(type_.lower())
        for name, market in _names(size) if size else ():
            counts.setdefault((name, market), {})[type_] = float(size.vcpus if size else 0)
    return [
        Quota(
            region=region,
            market=market,
            name=str(found["name"]["value"]),
            unit="vCPUs",
            limit=float(found["limit"]),
            used=float(found.get("currentValue") or 0),
            counts=of_types,
        )
        for (name, market), of_types in counts.items()
        if (found := usages.get(name.lower()))
    ]


def _names(size: Size) -> Iterator[tuple[str, Market]]:
    """Yield the quotas that a machine of the size counts against in each market."""
    if size.family:
        yield size.family, "on-demand"
    yield REGIONAL["on-demand"], "on-demand"
    yield REGIONAL["spot"], "spot"
