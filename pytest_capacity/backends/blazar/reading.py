"""Blazar's leases and Nova's servers, as held things. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pytest_capacity.backends.blazar import stamp
from pytest_capacity.backends.blazar.plan import LEASE, NODE, RESERVATION
from pytest_capacity.model import ErrorPart, Held, State, Subject

#: States of a lease, and of a reservation (blazar/status.py). ``UPDATING`` is one that stands, while it is extended.
_LEASES: Final[Mapping[str, State]] = {
    "CREATING": "creating",
    "PENDING": "creating",
    "STARTING": "creating",
    "ACTIVE": "ready",
    "UPDATING": "ready",
    "TERMINATING": "leaving",
    "DELETING": "leaving",
    "TERMINATED": "gone",
    "ERROR": "failed",
}
_RESERVATIONS: Final[Mapping[str, State]] = {
    "pending": "creating",
    "active": "ready",
    "deleted": "gone",
    "error": "failed",
}
_SERVERS: Final[Mapping[str, State]] = {
    "BUILD": "creating",
    "ACTIVE": "ready",
    "ERROR": "failed",
    "DELETED": "gone",
    "SOFT_DELETED": "gone",
}

#: Reservations of a lease that stand in no order are distinguished by these.
_SIZES: Final = ("resource_type", "amount", "vcpus", "memory_mb", "disk_gb", "max", "resource_properties")

#: Where a lease of whole hosts puts them: a zone made for it.
_ZONE_PREFIX: Final = "blazar_"


def parse_date(text: str) -> float:
    """Return seconds since the epoch of a time as Blazar writes it: ``2026-11-21T00:33:00.000000``, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def lease_things(
    lease: Mapping[str, Any],
    region: str,
    subject: str,
    groups: Sequence[tuple[str, str]],
    hosts: Mapping[str, Sequence[str]],
    spec: Sequence[Mapping[str, Any]] = (),
) -> list[Held]:
    """Return a lease and its reservations.

    ``groups`` are the names and types of the groups in the order in which their reservations were requested by
    ``spec``; ``hosts`` are the ids of the hosts by reservation.
    """
    end, zone = parse_date(lease["end_date"]), Subject.parse(subject).zone
    starts = str(parse_date(lease["start_date"]))
    state = lease_state(lease)
    common: dict[str, Any] = {"region": region, "zone": zone, "subject": subject, "deadline": end}
    problem = "the lease is in state ERROR" if state == "failed" else ""
    things = [Held(kind=LEASE, id=lease["id"], state=state, problem=problem, facts={"starts": starts}, **common)]
    ordered = in_order_of(lease["reservations"], spec)
    for number, one in enumerate(ordered):
        group, type_ = groups[number] if len(groups) == len(ordered) else ("", "")
        facts = {
            "lease_id": lease["id"],
            "starts": starts,
            "instance_type": type_,
            "hosts": " ".join(hosts.get(one["id"], ())),
            "server_group": one.get("server_group_id") or "",
            "missing": "yes" if one.get("missing_resources") else "",
        }
        things.append(
            Held(
                kind=RESERVATION,
                id=one["id"],
                state=_reservation_state(state, one),
                group=group or None,
                output=group,
                count=int(one.get("amount") or one.get("max") or 1),
                facts={key: value for key, value in facts.items() if value},
                **common,
            )
        )
    return things


def lease_state(lease: Mapping[str, Any]) -> State:
    """Return the state of a lease."""
    return _LEASES.get(lease["status"], "creating")


def in_order_of(found: Sequence[Mapping[str, Any]], spec: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return ``found`` in the order of ``spec``: a database may give them in any order.

    Those that are alike in everything are interchangeable. Without ``spec``: in that in which they were made.
    """
    left = sorted(found, key=lambda one: str(one.get("created_at") or ""))
    ordered: list[Mapping[str, Any]] = []
    for wanted in spec:
        fit = next((one for one in left if _alike(one, wanted)), None)
        if fit is not None:
            left.remove(fit)
            ordered.append(fit)
    return ordered + left


def _alike(one: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(str(one.get(key)) == str(wanted[key]) for key in _SIZES if key in wanted)


def _reservation_state(lease: State, one: Mapping[str, Any]) -> State:
    state = _RESERVATIONS.get(one["status"], "creating")
    return lease if lease in ("gone", "leaving", "failed") else state


def server_thing(server: Mapping[str, Any], region: str, zone: str = "") -> Held:
    """Return a server as a node; without a subject where it does not have our whole stamp."""
    words: Mapping[str, str] = server.get("metadata") or {}
    whole = all(words.get(key) for key in (stamp.RUN, stamp.PROJECT, stamp.PIECE, stamp.DEADLINE))
    subject = words.get(stamp.PIECE, "") if whole else ""
    fault = server.get("fault") or {}
    at = server.get("OS-EXT-AZ:availability_zone") or ""
    flavor = str((server.get("flavor") or {}).get("id") or "")
    reservation = at.removeprefix(_ZONE_PREFIX) if at.startswith(_ZONE_PREFIX) else ""
    private, public = _addresses(server)
    label = Subject.parse(subject).label
    number = _number(server["name"])
    facts = {
        "name": f"{words.get(stamp.GROUP, '')}-{number}",
        "index": str(number),
        "instance_type": label.partition("/")[2],
        "market": "on-demand",
        "private_ip": private,
        "public_ip": public,
        "host": server.get("OS-EXT-SRV-ATTR:hypervisor_hostname") or "",
        "flavor": flavor,
        "reservation_id": reservation,
    }
    deadline = words.get(stamp.DEADLINE, "")
    return Held(
        kind=NODE,
        id=server["id"],
        region=region,
        zone=zone or Subject.parse(subject).zone,
        state=_server_state(server),
        subject=subject,
        group=words.get(stamp.GROUP) or None,
        deadline=float(deadline) if deadline.isdecimal() else None,
        problem=str(fault.get("message") or ""),
        problem_code=str(fault.get("code") or ""),
        parts=(ErrorPart(str(fault.get("code") or ""), str(fault["message"])),) if fault.get("message") else (),
        facts={key: value for key, value in facts.items() if value},
    )


def _server_state(server: Mapping[str, Any]) -> State:
    if server.get("OS-EXT-STS:task_state") == "deleting":
        return "leaving"
    # What is neither being built, nor runs, nor has failed (SHUTOFF, PAUSED, ...) is there, and can be given back.
    return _SERVERS.get(server["status"], "ready")


def _number(name: str) -> int:
    """Return the number: Nova counts the servers of one call from 1, and appends nothing to the name of one alone."""
    end = name.rpartition("-")[2]
    return int(end) - 1 if end.isdecimal() and len(end) < 6 else 0


def _addresses(server: Mapping[str, Any]) -> tuple[str, str]:
    """Return the first fixed and the first floating address, IPv4 before IPv6."""
    every = [one for of in (server.get("addresses") or {}).values() for one in of]
    every.sort(key=lambda one: one.get("version", 4))
    fixed = [one["addr"] for one in every if one.get("OS-EXT-IPS:type", "fixed") == "fixed"]
    floating = [one["addr"] for one in every if one.get("OS-EXT-IPS:type") == "floating"]
    return (fixed or [""])[0], (floating or [""])[0]
