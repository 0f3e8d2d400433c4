"""What a test left on a node that it had borrowed is the suite's business."""

from __future__ import annotations

from pytest_capacity import Node


def pytest_capacity_node_returned(node: Node) -> None:
    """The next test that borrows the node finds nothing of this one."""
    node.run("rm -rf work db.yaml")
