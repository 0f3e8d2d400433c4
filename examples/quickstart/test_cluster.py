"""A suite that needs machines: a cluster of three database nodes, and a loader for one test at a time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_capacity import Node


def test_cluster_has_three_nodes(capacity_nodes: Mapping[str, tuple[Node, ...]]) -> None:
    """The whole group is there, under names of its own."""
    db = capacity_nodes["db"]
    assert len({node.name for node in db}) == 3
    assert {node.instance_type for node in db} == {"i4i.large"}


def test_nodes_share_a_zone(capacity_nodes: Mapping[str, tuple[Node, ...]]) -> None:
    """Fallback moves the topology as a whole: no node is alone in another zone."""
    zones = {node.zone for group in capacity_nodes.values() for node in group}
    assert len(zones) == 1


def test_nodes_run_in_reservations(capacity_nodes: Mapping[str, tuple[Node, ...]]) -> None:
    """Capacity was held before the machines were started, and each sits in it."""
    assert all(node.reservation_id for group in capacity_nodes.values() for node in group)


@pytest.mark.capacity(group="loader")
def test_load(capacity_node: Node) -> None:
    """One loader, lent to this test alone, whichever worker it runs on."""
    assert capacity_node.group == "loader"
    assert capacity_node.private_ip


@pytest.mark.capacity(group="db", count=2)
def test_a_pair_talks(capacity_node: tuple[Node, ...]) -> None:
    """Two nodes at once, none of them lent to another test."""
    one, other = capacity_node
    assert one.private_ip != other.private_ip
