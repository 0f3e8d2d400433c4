"""What may differ between the processes of one session, and what may not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.keeper.joining import continued, differences, drift
from pytest_capacity.model import AXES, Fallback, NodeGroup, Request, Topology

DB = NodeGroup(name="db", count=3, instance_type="i4i.large")
STANDS = Request(
    backend="aws",
    run="run-1",
    project="tests",
    topologies={"default": Topology((DB,))},
    regions=("us-east-1",),
    duration_s=5400.0,
    timeout_s=900.0,
)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"colocate": "region"}, "colocate: zone; asked: region"),
        ({"on_preempt": "replace"}, "on_preempt: fail; asked: replace"),
        ({"fallback": Fallback(zones=False)}, "fallback.zones: true; asked: false"),
        ({"fallback": Fallback(order=AXES[::-1])}, "fallback.order: "),
        ({"topologies": {"default": Topology((replace(DB, alternatives=("i3.large",)),))}}, "default/db.alternatives"),
    ],
)
def test_where_nodes_may_be_is_a_difference(changes: dict[str, Any], told: str) -> None:
    """Who asks for another ladder might have got other nodes; both values are told."""
    (found,) = differences(STANDS, replace(STANDS, **changes))
    assert found.startswith(told)


def test_patience_is_no_difference() -> None:
    """How long one goes on asking says nothing about nodes that stand; a keeper that adopts takes that of who asks."""
    asked = replace(STANDS, retry_until_s=1200.0, timeout_s=2100.0)
    assert (differences(STANDS, asked), drift(STANDS, asked)) == ([], [])
    assert (continued(STANDS, asked).retry_until_s, continued(STANDS, asked).timeout_s) == (1200.0, 2100.0)
