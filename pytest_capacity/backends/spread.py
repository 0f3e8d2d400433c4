"""A topology that is spread over the zones of a region, taken apart for a cloud whose calls are of one zone."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_capacity.model import Order


def places(order: Order) -> list[Order]:
    """Return the order, or, where its groups are spread, one for each zone with the nodes that it has there."""
    if not order.shares:
        return [order]
    # What is added to a group that stands begins where that ends.
    begun = {group.name: int(order.facts.get(first_fact(group.name), "0")) for group in order.topology.groups}
    found = []
    for share in order.shares:
        groups = [
            replace(group, count=share.counts[group.name])
            for group in order.topology.groups
            if share.counts.get(group.name)
        ]
        numbers = {first_fact(group.name): str(begun[group.name]) for group in groups if begun.get(group.name)}
        for group in groups:
            begun[group.name] = begun.get(group.name, 0) + group.count
        found.append(
            replace(
                order,
                topology=replace(order.topology, groups=tuple(groups)),
                placement=replace(order.placement, zone=share.zone),
                facts={**order.facts, **share.facts, **numbers},
            )
        )
    return found


def first_fact(group: str) -> str:
    """Return the fact that says with which number the names of a group's nodes begin: in a zone, or where it grows."""
    return f"first/{group}"
