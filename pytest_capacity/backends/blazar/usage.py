"""Who uses what of this cloud, for all its users: Blazar's leases and hosts, and the servers that have our stamp."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_capacity.backends.blazar import reading, stamp
from pytest_capacity.backends.blazar.hosts import HostAllocation, read_allocations
from pytest_capacity.backends.blazar.session import RESERVATION, ApiError, Region
from pytest_capacity.model import Subject, Unread
from pytest_capacity.usage import CloudResource, CloudUse, UseFilter

_FORBIDDEN: Final = 403

Lease = Mapping[str, Any]


def read_uses(region: Region, wanted: UseFilter) -> Iterator[CloudResource | Unread]:
    """Yield hosts with what is on them and what is to come, then what Blazar ties to no host.

    Blazar shows only admins which hosts serve a lease: for others that is unread, and each reservation is a resource.
    When a lease ends it drops the hosts, and keeps the lease until it is deleted. Raises `ApiError`.
    """
    leases: dict[str, Lease] = {one["id"]: one for one in region.call(RESERVATION, "GET", "/leases")["leases"]}
    now, host = time.time(), wanted.resource if wanted.resource.isdecimal() else ""
    asked = [one for one in leases.values() if _is_of(one, wanted.lease)]
    # Blazar takes one id: of several leases of a run all hosts are read, and if there is none it answers that itself.
    lease = "" if len(asked) > 1 or not wanted.lease else asked[0]["id"] if asked else wanted.lease
    found: Sequence[HostAllocation] = ()
    try:
        hosts = {str(one["id"]): one for one in region.call(RESERVATION, "GET", "/os-hosts")["hosts"]}
        if not host or host in hosts:
            found = read_allocations(region, lease=lease, reservation=wanted.reservation, host=host)
    except ApiError as error:
        if error.status != _FORBIDDEN:
            raise
        yield Unread(region.name, "host", "Blazar says to admins only which hosts serve a lease")
        hosts = {}
    for id_ in [host] if host in hosts else hosts:
        yield _host(region.name, id_, hosts[id_], [one for one in found if one.host == id_], leases, now)
    if host:
        return  # What Blazar ties to no host is on none.
    on_hosts = {each.reservation for each in found}
    for one in asked:
        yield from _without_hosts(region.name, one, wanted, on_hosts, now)


def _is_of(lease: Lease, wanted: str) -> bool:
    """Return whether it is the lease of that id, or one of that run; empty: any."""
    name = stamp.read_lease_name(lease["name"])
    return wanted in ("", lease["id"]) or bool(name and name.is_of(wanted))


def _host(
    region: str,
    id_: str,
    host: Mapping[str, Any],
    found: Sequence[HostAllocation],
    leases: Mapping[str, Lease],
    now: float,
) -> CloudResource:
    return CloudResource(
        id=id_,
        kind="host",
        region=region,
        zone=str(host.get("availability_zone") or ""),
        name=str(host.get("hypervisor_hostname") or ""),
        uses=tuple(
            _use(leases.get(one.lease), one.reservation, one.lease, one.start_date, one.end_date, now) for one in found
        ),
    )


def _without_hosts(
    region: str, lease: Lease, wanted: UseFilter, on_hosts: set[str], now: float
) -> Iterator[CloudResource]:
    for one in lease["reservations"]:
        if one["id"] not in on_hosts and wanted.reservation in ("", one["id"]):
            use = _use(lease, one["id"], lease["id"], lease["start_date"], lease["end_date"], now)
            yield CloudResource(id=one["id"], kind="reservation", region=region, uses=(use,))


def _use(lease: Lease | None, reservation: str, lease_id: str, start: str, end: str, now: float) -> CloudUse:
    since, until = reading.parse_date(start), reading.parse_date(end)
    if lease is None:  # It was made or deleted between the reads.
        return CloudUse(reservation=reservation, lease=lease_id, since=since, until=until, ends=True)
    name = stamp.read_lease_name(lease["name"])
    state = reading.lease_state(lease)
    return CloudUse(
        reservation=reservation,
        lease=lease_id,
        owner=f"{lease['name']}, project {lease.get('project_id')}, user {lease.get('user_id')}",
        run=name.run if name else "",
        project=name.project if name else "",
        topology=Subject.parse(name.subject).topology if name else "",
        state="pending" if state == "creating" and since > now else state,
        since=since,
        until=until,
        ends=True,
        ended=min(until, now) if state == "gone" else None,
    )


def node_use(server: Mapping[str, Any], region: str, reservations: set[str]) -> CloudResource:
    """Return a server that has a stamp of ours. One in a reservation of instances has it for a flavor."""
    words, held = server["metadata"], reading.server_thing(server, region)
    flavor = held.facts.get("flavor", "")
    use = CloudUse(
        reservation=held.facts.get("reservation_id") or (flavor if flavor in reservations else None),
        lease=words[stamp.RUN],
        run=words[stamp.RUN],
        project=words.get(stamp.PROJECT, ""),
        topology=Subject.parse(held.subject).topology,
        group=held.group,
        name=held.facts.get("name", ""),
        instance_type=held.facts.get("instance_type", ""),
        market=held.facts.get("market", ""),
        state=held.state,
        until=held.deadline,
    )
    return CloudResource(id=held.id, kind="node", region=region, zone=held.zone, uses=(use,))
