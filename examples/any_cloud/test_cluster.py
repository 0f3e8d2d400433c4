"""What a suite asks of its machines, whichever cloud they come from."""

from __future__ import annotations

from pytest_capacity import Capacity


def test_the_cluster_stands_in_one_zone(capacity: Capacity) -> None:
    """A dry zone moves all groups on to the next one, together."""
    nodes = [*capacity.nodes("db"), *capacity.nodes("loader")]
    assert len(nodes) == 3
    assert len({node.zone for node in nodes}) == 1


def test_each_node_sits_in_a_reservation(capacity: Capacity) -> None:
    """Capacity was held before the machines were started."""
    assert all(node.reservation_id for node in capacity.nodes("db"))
