"""A topology in one placement, as rounds of calls. Pure: reads the order and the configuration, nothing else.

Rounds: one lease with a reservation for each group that is reserved; then the servers, one call a group.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any, Final

from pytest_capacity.backends.blazar import stamp
from pytest_capacity.backends.blazar.settings import GroupSettings, settings_of
from pytest_capacity.backends.pieces import PUBLIC_KEY, make_piece, token_of
from pytest_capacity.model import Need, Order, Piece, Request, Subject

NODE: Final = "node"
RESERVATION: Final = "reservation"
LEASE: Final = stamp.LEASE

_ID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")

#: How Blazar reads and writes times: whole minutes, UTC.
MINUTE: Final = 60.0
DATE: Final = "%Y-%m-%d %H:%M"


def flavor_fact(name: str) -> str:
    """Return the fact of an offer that describes a flavor: ``id vcpus memory_mb disk_gb``."""
    return f"flavor/{name}"


def is_id(text: str) -> bool:
    """Return whether ``text`` has the form of an id of Blazar's: a flavor of one's own may be called anything."""
    return _ID.fullmatch(text) is not None


def plan_rounds(request: Request, order: Order) -> list[list[Piece]]:
    """Return the rounds of ``order``; empty ones are left out."""
    groups = [settings_of(request, group) for group in order.topology.groups]
    reserved = [group for group in groups if group.reserve]
    lease = _lease(order, reserved) if reserved else None
    nodes = [_nodes(request, order, group, lease) for group in groups] if order.launch else []
    return [pieces for pieces in ([lease] if lease else [], nodes) if pieces]


def whole_minute(at: float) -> float:
    """Return the last whole minute before ``at``: nothing of ours ends later than it is allowed to."""
    return math.floor(at / MINUTE) * MINUTE


def date(at: float) -> str:
    """Return a time as Blazar reads it."""
    return datetime.fromtimestamp(at, UTC).strftime(DATE)


def lease_end(order: Order, reserved: Sequence[GroupSettings]) -> float:
    """Return the end that the lease gets.

    A lease with ``flavor:instance`` is not extended, so it has the hard end from the start: the plugin is young, and
    only since 18.0.0 does its ``update_reservation`` move an end. Which release answers is not to be seen.
    """
    fixed = any(group.blazar.reservation == "flavor:instance" for group in reserved)
    return whole_minute(order.hard_end if fixed else order.lease_end)


def _subject(order: Order, kind: str, label: str = "") -> Subject:
    return Subject(order.topology.name, order.series or order.attempt, order.placement.zone, kind, label)


def _lease(order: Order, reserved: Sequence[GroupSettings]) -> Piece:
    subject = _subject(order, LEASE)
    seed = token_of(order, str(subject))
    spec = {
        "name": stamp.lease_name(order, subject, seed),
        "start_date": "now",
        "end_date": date(lease_end(order, reserved)),
        "reservations": [_reservation(order, group) for group in reserved],
        "events": [],
    }
    names = tuple(group.name for group in reserved)
    types = {group.group.instance_type for group in reserved}
    return make_piece(
        order,
        subject.kind,
        str(subject),
        spec,
        count=1,
        groups=names,
        group=names[0] if len(names) == 1 else None,
        instance_type=types.pop() if len(types) == 1 else "",
        market="on-demand",
    )


def _reservation(order: Order, group: GroupSettings) -> dict[str, Any]:
    own, count = group.blazar, group.group.count
    if own.reservation == "physical:host":
        return {
            "resource_type": own.reservation,
            "min": own.min_hosts or count,
            "max": count,
            "hypervisor_properties": own.hypervisor_properties,
            "resource_properties": _in_zone(order.placement.zone, own.resource_properties),
        }
    identifier, vcpus, memory, disk = _flavor(order, group.group.instance_type)
    if own.reservation == "flavor:instance":
        return {"resource_type": own.reservation, "flavor_id": identifier, "amount": count, "affinity": None}
    return {
        "resource_type": own.reservation,
        "amount": count,
        "vcpus": int(vcpus),
        "memory_mb": int(memory),
        "disk_gb": int(disk),
        "affinity": own.affinity,
        "resource_properties": _in_zone(order.placement.zone, own.resource_properties),
    }


def _in_zone(zone: str, properties: str) -> str:
    """Return the user's filter, and the zone: Blazar has zones only as a property of its hosts."""
    ours = ["==", "$availability_zone", zone]
    return json.dumps(["and", ours, json.loads(properties)] if properties else ours)


def _flavor(order: Order, name: str) -> tuple[str, str, str, str]:
    """Return id, vCPUs, MB and GB of a flavor; one that no offer has read is requested by its name, and is refused."""
    found = order.facts.get(flavor_fact(name), f"{name} 1 1 1").rsplit(" ", 3)
    return found[0], found[1], found[2], found[3]


def _nodes(request: Request, order: Order, group: GroupSettings, lease: Piece | None) -> Piece:
    subject = _subject(order, NODE, f"{group.name}/{group.group.instance_type}")
    seed = token_of(order, str(subject))
    own = group.blazar
    server: dict[str, Any] = {
        "name": stamp.server_name(order.run, group.name, seed),
        "imageRef": group.image,
        "flavorRef": _flavor(order, group.group.instance_type)[0],
        "min_count": group.group.count,
        "max_count": group.group.count,
        "networks": [{"uuid": network} for network in own.networks] or "auto",
        "metadata": stamp.metadata(order, str(subject), group.name, own.metadata),
    }
    if own.security_groups:
        server["security_groups"] = [{"name": name} for name in own.security_groups]
    if own.key_name:
        server["key_name"] = own.key_name
    if data := user_data(group.group.user_data or "", order.facts.get(PUBLIC_KEY, "")):
        server["user_data"] = base64.b64encode(data.encode()).decode()
    needs: tuple[Need, ...] = ()
    if group.reserve and lease is not None:
        needs = (Need(RESERVATION, lease.subject, group.name), Need(LEASE, lease.subject))
    else:
        server["availability_zone"] = order.placement.zone
    spec = {"server": server, "reservation": own.reservation, "affinity": own.affinity}
    return make_piece(
        order,
        subject.kind,
        str(subject),
        spec,
        count=group.group.count,
        group=group.name,
        needs=needs,
        instance_type=group.group.instance_type,
        market="on-demand",
    )


def user_data(own: str, public_key: str) -> str:
    """Return the user's user data, and beside it what puts the run's key on the machine, for cloud-init."""
    if not public_key:
        return own
    ours = "#cloud-config\n" + json.dumps({"ssh_authorized_keys": [public_key.strip()]}) + "\n"
    if not own:
        return ours
    # Of two cloud-configs the lists are joined, not replaced (cloud-init's documentation, "Merging user-data").
    parts = MIMEMultipart(boundary="pytest-capacity-boundary")
    for text, name in ((own, "own"), (ours, "key")):
        kind = "cloud-config" if text.startswith("#cloud-config") else "x-shellscript"
        part = MIMEText(text, kind, "utf-8")
        part.add_header("Content-Disposition", "attachment", filename=name)
        part.add_header("Merge-Type", "list(append)+dict(recurse_array)+str()")
        parts.attach(part)
    return parts.as_string()


def server_body(piece: Piece, server_group: str) -> dict[str, Any]:
    """Return the body of the call that makes ``piece``, with what it needs put in."""
    server = dict(piece.spec["server"])
    reservation = piece.inputs.get(Need(RESERVATION, "", piece.group or "").key, "")
    hints: dict[str, str] = {}
    if reservation and piece.spec["reservation"] == "physical:host":
        hints["reservation"] = reservation
    elif reservation:
        server["flavorRef"] = reservation
        if server_group:
            hints["group"] = server_group
    return {"server": server, **({"os:scheduler_hints": hints} if hints else {})}
