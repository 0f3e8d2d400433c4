"""GCE: Compute Engine reservations, machines and placement policies, through its REST API and google-auth."""

from __future__ import annotations

from typing import Final

from pytest_capacity.backends.gce.provider import GceProvider

PROVIDER: Final = GceProvider()
