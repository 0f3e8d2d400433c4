"""A suite that uses machines of the rack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_capacity import Node


def test_all_nodes_are_there(capacity_nodes: Mapping[str, Sequence[Node]]) -> None:
    """Two for the database, and one that loads it."""
    assert {group: len(nodes) for group, nodes in capacity_nodes.items()} == {"db": 2, "loader": 1}


def test_they_sit_in_one_zone(capacity_nodes: Mapping[str, Sequence[Node]]) -> None:
    """And each in its hold."""
    nodes = [node for members in capacity_nodes.values() for node in members]
    assert len({node.zone for node in nodes}) == 1
    assert all(node.reservation_id for node in nodes)
