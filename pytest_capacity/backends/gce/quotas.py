"""What the quotas of a project allow: the list of its regions has limits and use, that of machine types the vCPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_capacity.backends.gce.listing import together
from pytest_capacity.backends.gce.session import Session
from pytest_capacity.backends.gce.types import family
from pytest_capacity.backends.gce.zones import Once, read_types
from pytest_capacity.backends.gce.zones import types_of as types_of_request
from pytest_capacity.model import Market, Quota, Request

#: The metric of spot machines of every series. Where the project has none of it, they count like the others (Compute
#: Engine documentation, "Allocation quotas", section "Quotas for preemptible resources").
_SPOT: Final = "PREEMPTIBLE_CPUS"


def read_quotas(session: Session, once: Once, request: Request, region: str, types: Sequence[str]) -> list[Quota]:
    """Return the quotas of ``region`` that machines of ``types`` count against. One round of reads.

    Both lists are of the whole project, so they are read once; that of the types is also the one that `read_offers`
    reads. Raises `ApiError`.
    """
    wanted = types_of_request(request)
    regions, by_zone = together(
        [
            lambda: once.get("quotas", lambda: _limits(session)),
            lambda: once.get(("types", wanted), lambda: read_types(session, wanted)),
        ]
    )
    vcpus = {name: float(type_.get("guestCpus") or 0) for found in by_zone.values() for name, type_ in found.items()}
    return list(_quotas(region, regions.get(region, {}), {type_: vcpus[type_] for type_ in types if vcpus.get(type_)}))


def _quotas(region: str, limits: Mapping[str, Mapping[str, Any]], vcpus: Mapping[str, float]) -> Iterator[Quota]:
    markets: tuple[Market, ...] = ("on-demand", "spot")
    counts: dict[tuple[str, Market], dict[str, float]] = {}
    for type_, each in vcpus.items():
        for market in markets:
            is_own = market == "spot" and float((limits.get(_SPOT) or {}).get("limit") or 0) > 0
            counts.setdefault((_SPOT if is_own else family(type_), market), {})[type_] = each
    for (metric, market), of_types in counts.items():
        if found := limits.get(metric):
            yield Quota(
                region=region,
                market=market,
                name=metric,
                unit="vCPUs",
                limit=float(found["limit"]),
                used=float(found.get("usage") or 0),
                counts=of_types,
            )


def _limits(session: Session) -> dict[str, dict[str, dict[str, Any]]]:
    """By region and metric."""
    return {
        region["name"]: {one["metric"]: one for one in region.get("quotas") or ()}
        for page in session.pages("regions.list")
        for region in page.get("items") or ()
    }
