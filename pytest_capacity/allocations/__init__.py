"""The allocations: resources (nodes, hosts), the reservations on them, and the runs and tests that hold them.

A view of the journal (`AllocationView`), folded from its events into a separate index, and of what others have read
of a cloud (`pytest_capacity.engine.usage`): it makes no cloud call and loads no SDK itself.
`pytest_capacity.allocations.web` serves it over HTTP.
"""

from __future__ import annotations

from pytest_capacity.allocations.model import Allocation, Allocations, Filter, Page, Resource
from pytest_capacity.allocations.view import AllocationView, open_cloud_view, open_view

__all__ = [
    "Allocation",
    "AllocationView",
    "Allocations",
    "Filter",
    "Page",
    "Resource",
    "open_cloud_view",
    "open_view",
]
