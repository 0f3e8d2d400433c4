"""Who uses what: resources (nodes, hosts), the reservations on them, and the runs and tests that hold them.

A view of the journal (`AllocationView`), folded from its events into an index of its own. It makes no cloud call and
loads no SDK. `pytest_capacity.allocations.web` serves it over HTTP.
"""

from __future__ import annotations

from pytest_capacity.allocations.model import Allocation, Allocations, Filter, Page, Resource
from pytest_capacity.allocations.view import AllocationView, open_view

__all__ = ["Allocation", "AllocationView", "Allocations", "Filter", "Page", "Resource", "open_view"]
