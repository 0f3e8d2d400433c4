"""The bodies of answers, as the server of the specification sends them (docs/how-to/allocations.md). Pure.

A test compares them with that server's, field by field.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pytest_capacity.allocations.model import Allocation, Allocations

Body = dict[str, Any]


def allocation_of(found: Allocations) -> Body:
    """Return a resource with its reservations. One that has several parts of a host is there several times."""
    return {"resource_id": found.resource.id, "reservations": [_reservation(one) for one in found.allocations]}


def _reservation(one: Allocation) -> Body:
    end = one.ended if one.ended is not None else one.until if one.until is not None else one.renewable_until
    return {
        "id": one.reservation,
        "lease_id": one.lease,
        "start_date": date(one.since),
        "end_date": None if end is None else date(end),
    }


def date(at: float) -> str:
    """Return a time as that server writes it: UTC, without saying so."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def fault(code: int, message: str) -> Body:
    """Return a body in the form of that server's errors."""
    return {"error_code": code, "error_message": message, "error_name": code}


def routing_fault(code: int, message: str) -> Body:
    """Return what errors of its web framework look like: an unknown URL, a method that is not there."""
    return {"error": code, "error_message": message}


def unauthorized() -> Body:
    """Return the body with which the middleware in front of it refuses a request without a valid token."""
    message = "The request you have made requires authentication."
    return {"error": {"code": 401, "title": "Unauthorized", "message": message}}


def forbidden(rule: str) -> Body:
    """Return what a token without the role gets."""
    return fault(403, f"Policy doesn't allow {rule} to be performed")


def no_such_host(host: str) -> Body:
    """Return what an unknown host gets."""
    return fault(404, f"Object with {{'host_id': {host!r}}} not found")
