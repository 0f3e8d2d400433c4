"""From an order to pieces: what the plan of every cloud does alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.tokens import token
from pytest_capacity.model import Order, Piece, Subject

#: The fact of an order that holds the public key, as OpenSSH writes it, of the run's key pair.
PUBLIC_KEY: Final = "ssh-key"


def subject_of(order: Order, kind: str, label: str) -> str:
    """Return the subject of a piece: two orders of one series name alike what is alike in them."""
    return str(Subject(order.topology.name, order.series or order.attempt, order.placement.zone, kind, label))


def token_of(order: Order, subject: str) -> str:
    """Return the token of the logical create of ``subject`` in this order."""
    return token(order.unique_run, subject, order.placement.region, order.placement.zone, order.attempt)


def make_piece(order: Order, kind: str, subject: str, spec: Mapping[str, Any], **more: Any) -> Piece:
    """Return a piece in the order's placement; ``more`` are further fields of `Piece`."""
    return Piece(
        kind=kind,
        subject=subject,
        region=order.placement.region,
        zone=order.placement.zone,
        token=token_of(order, subject),
        spec=spec,
        **more,
    )


def in_first_zone(order: Order) -> Order:
    """Return the order in the first of its zones: what serves the whole region is named by it."""
    # Not of its shares: nodes that are added to a spread group may all be in another one.
    zones = order.placement.zones or tuple(share.zone for share in order.shares) or (order.placement.zone,)
    return replace(order, placement=replace(order.placement, zone=zones[0]))


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
