"""Blazar's own allocations: which hosts serve which reservation. For admins, where the policy is Blazar's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pytest_capacity.backends.blazar.session import RESERVATION, ApiError, Region

_FORBIDDEN = 403


class HostAllocation(Struct, frozen=True, kw_only=True):
    """One reservation on one host, as Blazar has it. Times as it writes them: UTC."""

    host: str
    reservation: str
    lease: str
    start_date: str
    end_date: str


def read_allocations(region: Region, *, lease: str = "", reservation: str = "", host: str = "") -> list[HostAllocation]:
    """Return what stands and what is to come; one that has several parts of a host is there several times.

    Blazar ignores a filter ``terminated``: it deletes the rows when a lease ends, which then only the journal has.
    Raises `ApiError`; 403 for who is no admin.
    """
    query = {key: value for key, value in (("lease_id", lease), ("reservation_id", reservation)) if value}
    if host:
        found = [region.call(RESERVATION, "GET", f"/os-hosts/{host}/allocation", query=query)["allocation"]]
    else:
        found = region.call(RESERVATION, "GET", "/os-hosts/allocations", query=query)["allocations"]
    return [_allocation(one["resource_id"], each) for one in found for each in one["reservations"]]


def _allocation(host: str, one: Mapping[str, Any]) -> HostAllocation:
    return HostAllocation(
        host=host,
        reservation=one["id"],
        lease=one["lease_id"],
        start_date=str(one.get("start_date") or ""),
        end_date=str(one.get("end_date") or ""),
    )


def hosts_of(region: Region, lease: str = "") -> dict[str, list[str]]:
    """Return the ids of the hosts by reservation, of one lease or of all; empty where we may not look."""
    try:
        found = read_allocations(region, lease=lease)
    except ApiError as error:
        if error.status != _FORBIDDEN:
            raise
        return {}
    by_reservation: dict[str, list[str]] = {}
    for one in found:
        by_reservation.setdefault(one.reservation, []).append(one.host)
    return by_reservation
