"""A suite that needs machines: a cluster of three database nodes, and a loader for one test at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_capacity import Node


def test_cluster_has_three_nodes(capacity_nodes: Mapping[str, tuple[Node, ...]]) -> None:
    """The whole group is there, each member a machine of its own that runs what it is told."""
    db = capacity_nodes["db"]
    assert len({node.name for node in db}) == 3
    assert len({node.instance_type for node in db}) == 1
    assert len({node.run("hostname").stdout for node in db}) == 3


def test_nodes_share_a_zone(capacity_nodes: Mapping[str, tuple[Node, ...]]) -> None:
    """Fallback moves the topology as a whole: no node is alone in another zone."""
    zones = {node.zone for group in capacity_nodes.values() for node in group}
    assert len(zones) == 1


def test_nodes_run_in_reservations(capacity_nodes: Mapping[str, tuple[Node, ...]]) -> None:
    """Capacity was held before the machines were started, and each sits in it."""
    assert all(node.reservation_id for group in capacity_nodes.values() for node in group)


@pytest.mark.capacity(group="loader")
def test_load(capacity_node: Node, tmp_path: Path) -> None:
    """One loader, lent to this test alone, whichever worker it runs on: a script goes there, a result comes back."""
    script = tmp_path / "load.sh"
    script.write_text("seq 1000 | wc -l > result.txt\n")
    capacity_node.put(script, "work/load.sh")
    capacity_node.run("cd work && sh load.sh 2> load.log")
    assert capacity_node.get("work/result.txt", tmp_path).read_text().strip() == "1000"


@pytest.mark.capacity(group="db", count=2)
def test_a_pair_is_configured(capacity_node: tuple[Node, ...]) -> None:
    """Two nodes at once, none of them lent to another test, looked at through testinfra."""
    one, other = capacity_node
    one.run(f"echo 'peer: {other.private_ip}' > db.yaml")
    assert one.host.file("db.yaml").contains(f"peer: {other.private_ip}")
    assert not other.host.file("db.yaml").exists
