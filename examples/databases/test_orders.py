"""A database that grows while tests use it. Try it without a cluster: pytest --capacity-emulator=scenario.yaml"""

from __future__ import annotations

import asyncio

import pytest

from pytest_capacity.errors import KubeDBError
from pytest_capacity.plugin.handle import Capacity


def test_more_replicas(capacity: Capacity) -> None:
    """Replicas are added by a request that KubeDB carries out; the test goes on meanwhile."""
    orders = capacity.database("orders")
    change = orders.patch(replicas=5)
    assert change["ops_type"] == "HorizontalScaling"
    meanwhile = orders.status
    assert meanwhile.status == "SCALING"
    change.wait(300)
    assert orders.status.status == "RUNNING"


def test_a_failure_has_a_reason(capacity: Capacity) -> None:
    """What fails says why; asked for once more, it may succeed."""
    orders = capacity.database("orders")
    with pytest.raises(KubeDBError, match="no node has room"):
        orders.patch(size="db.t3.large").wait(300)
    assert orders.status.status == "FAILED"
    orders.patch(size="db.t3.large").wait(300)


def test_more_storage_beside_other_work(capacity: Capacity) -> None:
    """In a coroutine nothing blocks."""

    async def grow() -> str:
        change = await capacity.database("orders").patch_async(storage_gb=50)
        (request,) = await change.wait_async(300)
        return request.kind

    assert asyncio.run(grow()) == "VolumeExpansion"
