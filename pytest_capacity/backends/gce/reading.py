"""The API's answers as `Held`: what each of its states means to us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.gce.plan import DISK, NODE, POLICY, RESERVATION, create_call, names_of
from pytest_capacity.backends.gce.stamp import read_stamp
from pytest_capacity.backends.gce.values import last, region_of
from pytest_capacity.backends.stamp import Stamp
from pytest_capacity.backends.times import parse_time
from pytest_capacity.model import ErrorPart, Held, Piece, State, Subject

#: The facts of a thing whose making is not over: its operation, by name, and where that lies (a zone or a region).
OPERATION: Final = "operation"
OPERATION_AT: Final = "operation_at"
#: The API's own id of a thing, which it has from the moment when a list had it.
NUMBER: Final = "number"
#: When Compute Engine ends a machine by its own clock, fixed when it was made.
ENDS: Final = "ends"

#: The fact of a machine that is stopped, so that it can be changed and started.
POWER: Final = "power"
OFF: Final = "off"
_OFF: Final = ("TERMINATED", "STOPPED")

#: A machine that stopped has ended for us: nothing but a person stops one of ours, and its disks are billed.
_INSTANCE_STATES: Final[Mapping[str, State]] = {
    "PENDING": "creating",
    "PROVISIONING": "creating",
    "STAGING": "creating",
    "RUNNING": "ready",
    "REPAIRING": "ready",
    "PENDING_STOP": "leaving",
    "STOPPING": "leaving",
    "DEPROVISIONING": "leaving",
    "SUSPENDING": "failed",
    "SUSPENDED": "failed",
    "STOPPED": "failed",
    "TERMINATED": "failed",
}

_RESERVATION_STATES: Final[Mapping[str, State]] = {
    "CREATING": "creating",
    "READY": "ready",
    "UPDATING": "ready",
    "DELETING": "leaving",
    "INVALID": "failed",
}

_POLICY_STATES: Final[Mapping[str, State]] = {
    "CREATING": "creating",
    "READY": "ready",
    "DELETING": "leaving",
    "EXPIRED": "failed",
    "INVALID": "failed",
}


def node(instance: Mapping[str, Any]) -> Held:
    """Return a machine. ``reservation_id`` is the reservation that it consumes, as Compute Engine says."""
    stamp = read_stamp(instance)
    zone = last(instance.get("zone"))
    word = instance.get("status", "")
    scheduling = instance.get("scheduling") or {}
    address = (instance.get("networkInterfaces") or [{}])[0]
    external = (address.get("accessConfigs") or [{}])[0]
    consumed = ((instance.get("resourceStatus") or {}).get("reservationConsumptionInfo") or {}).get(
        "consumedReservation"
    )
    state = _INSTANCE_STATES.get(word, "failed")
    facts = {
        "name": _node_name(instance["name"], stamp),
        "instance_type": last(instance.get("machineType")),
        "market": "spot" if scheduling.get("provisioningModel") == "SPOT" else "on-demand",
        "private_ip": address.get("networkIP"),
        "public_ip": external.get("natIP"),
        "reservation_id": last(consumed),
        POWER: OFF if word in _OFF else None,
        "incarnation": str(instance.get("id", "")),
        ENDS: scheduling.get("terminationTime"),
    }
    said = instance.get("statusMessage") or f"the instance is {word}"
    return _held(NODE, instance, zone, state, stamp, facts, said, f"Instance.{word}")


def reservation(answer: Mapping[str, Any]) -> Held:
    """Return a reservation. Its deadline is the later one of its ``deleteAtTime`` and of its stamp."""
    stamp = read_stamp(answer)
    word = answer.get("status", "")
    specific = answer.get("specificReservation") or {}
    count, used = int(specific.get("count") or 0), int(specific.get("inUseCount") or 0)
    facts = {
        "instance_type": last((specific.get("instanceProperties") or {}).get("machineType")),
        "available": str(count - used),
    }
    held = _held(
        RESERVATION,
        answer,
        last(answer.get("zone")),
        _RESERVATION_STATES.get(word, "failed"),
        stamp,
        facts,
        f"the reservation is {word}",
        f"Reservation.{word}",
    )
    ends = [time for time in (parse_time(answer.get("deleteAtTime")), stamp.deadline) if time is not None]
    return replace(held, count=count or 1, deadline=max(ends, default=None))


def policy(answer: Mapping[str, Any]) -> Held:
    """Return a placement policy. It belongs to a region; its zone is the one that its subject names."""
    word = answer.get("status", "READY")
    held = _held(
        POLICY,
        answer,
        "",
        _POLICY_STATES.get(word, "failed"),
        read_stamp(answer),
        {},
        f"the resource policy is {word}",
        f"ResourcePolicy.{word}",
    )
    return replace(held, region=last(answer.get("region")), zone=zone_of(held.subject))


def disk(answer: Mapping[str, Any]) -> Held:
    """Return a disk that its machine has left behind, as an inventory finds it."""
    zone = last(answer.get("zone"))
    state: State = "leaving" if answer.get("status") == "DELETING" else "ready"
    facts = {"size_gb": str(answer.get("sizeGb", ""))}
    return _held(DISK, answer, zone, state, read_stamp(answer), facts, "", "")


READERS: Final = {NODE: node, RESERVATION: reservation, POLICY: policy, DISK: disk}


def accepted(piece: Piece, operation: Mapping[str, Any]) -> list[Held]:
    """Return what a create call will make, as ``creating`` until its operation is DONE and it is listed."""
    at = piece.region if piece.kind == POLICY else piece.zone
    facts = {OPERATION: str(operation.get("name", "")), OPERATION_AT: at}
    if piece.kind in (NODE, RESERVATION):
        facts["instance_type"] = piece.instance_type
    if piece.kind == NODE:
        facts["market"] = str(piece.market)
        facts[ENDS] = str((_described(piece).get("scheduling") or {}).get("terminationTime", ""))
    return [
        Held(
            kind=piece.kind,
            id=name,
            region=piece.region,
            zone=piece.zone,
            state="creating",
            subject=piece.subject,
            group=piece.group,
            count=piece.count if piece.kind == RESERVATION else 1,
            deadline=read_stamp(_described(piece)).deadline,
            facts={**facts, "name": _node_name(name, Stamp(group=piece.group))} if piece.kind == NODE else facts,
        )
        for name in names_of(piece)
    ]


def failed(held: Held, parts: tuple[ErrorPart, ...]) -> Held:
    """Return ``held`` as failed, with the errors of its operation."""
    first = parts[0]
    return replace(held, state="failed", problem=first.message, problem_code=first.code, parts=parts)


def zone_of(subject: str) -> str:
    """Return the zone that a subject names; empty for a text that is no subject."""
    try:
        return Subject.parse(subject).zone
    except ValueError:
        return ""


def _described(piece: Piece) -> Mapping[str, Any]:
    _, _, body = create_call(piece)
    return body.get("instanceProperties") or body


def _node_name(name: str, stamp: Stamp) -> str:
    """Return a name such as ``db-0``: the group, and the number at the end of the machine's own name."""
    number = name.rpartition("-")[2]
    return f"{stamp.group}-{number}" if stamp.group and number.isdigit() else name


def _held(
    kind: str,
    thing: Mapping[str, Any],
    zone: str,
    state: State,
    stamp: Stamp,
    facts: Mapping[str, str | None],
    said: str,
    code: str,
) -> Held:
    over = state not in ("creating", "ready")
    known = {**facts, NUMBER: str(thing.get("id", "")), "run": stamp.run}
    return Held(
        kind=kind,
        id=thing["name"],
        region=region_of(zone),
        zone=zone,
        state=state,
        subject=stamp.piece,
        group=stamp.group,
        deadline=stamp.deadline,
        problem=said if over else "",
        problem_code=code if over else "",
        place=_project_of(thing),
        facts={key: value for key, value in known.items() if value},
    )


def _project_of(thing: Mapping[str, Any]) -> str:
    _, found, rest = str(thing.get("selfLink", "")).partition("/projects/")
    return rest.partition("/")[0] if found else ""
