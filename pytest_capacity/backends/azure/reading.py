"""Azure's answers as `Held`: what each of its states means to us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.answers import read_answer
from pytest_capacity.backends.azure.ids import ADDRESSES, CARDS, DISKS, ResourceId, canonical, tags_of
from pytest_capacity.backends.azure.plan import NODE, RESERVATION, TYPE_OF
from pytest_capacity.backends.azure.settings import zone_name
from pytest_capacity.backends.azure.stamp import CHANGED as CHANGED_TAG
from pytest_capacity.backends.azure.stamp import read_stamp
from pytest_capacity.backends.stamp import Stamp
from pytest_capacity.model import ErrorPart, Held, State, Subject

CARD: Final = "network-card"
ADDRESS: Final = "address"
DISK: Final = "disk"

#: Every kind by the type of the resource. What goes with its machine is listed only where it has been left behind.
KIND_OF: Final = {type_: kind for kind, type_ in TYPE_OF.items()} | {CARDS: CARD, ADDRESSES: ADDRESS, DISKS: DISK}

#: Why a spot machine is gone without a call to delete it. Our own code: Azure reports none.
EVICTED: Final = "SpotEvicted"

#: The facts of a machine that was deallocated once, and of whether it is so now (``off``) or runs (``on``).
CHANGED: Final = "changed"
POWER: Final = "power"

#: What may be another after a machine was deallocated.
_OF_ITS_PLACE: Final = frozenset({POWER, "private_ip", "public_ip", "reservation_id"})

_STATES: Final[Mapping[str, State]] = {
    "succeeded": "ready",
    "failed": "failed",
    "canceled": "failed",
    "deleting": "leaving",
    "deleted": "gone",
}


def held_of(kind: str, answer: Mapping[str, Any], region: str = "", before: State = "creating") -> Held:
    """Return a resource as Resource Manager gives it. ``before`` is the state in which it was known.

    A thing that is ready and is changed (its tags) stays ready meanwhile, but a reservation, of which the count is
    the requested one, and not what it holds.
    """
    properties = answer.get("properties") or {}
    word = str(properties.get("provisioningState") or "Succeeded")
    state = _STATES.get(word.lower(), "ready" if before == "ready" and kind != RESERVATION else "creating")
    stamp = read_stamp(tags_of(answer))
    where = region or str(answer.get("location", "")).replace(" ", "").lower()
    identity = canonical(str(answer["id"]))
    return Held(
        kind=kind,
        id=identity,
        region=where,
        zone=_zone(where, answer, stamp),
        state=state,
        subject=stamp.piece,
        group=stamp.group,
        count=int((answer.get("sku") or {}).get("capacity") or 0) if kind == RESERVATION else 1,
        deadline=stamp.deadline,
        problem=f"Azure calls it {word}" if state == "failed" else "",
        problem_code=word if state == "failed" else "",
        facts={key: value for key, value in _facts(kind, answer, properties, stamp).items() if value},
        place=ResourceId.parse(identity).group,
    )


def _zone(region: str, answer: Mapping[str, Any], stamp: Stamp) -> str:
    zones = list(answer.get("zones") or [])
    if len(zones) == 1:
        return zone_name(region, str(zones[0]))
    return Subject.parse(stamp.piece).zone


def _facts(kind: str, answer: Mapping[str, Any], properties: Mapping[str, Any], stamp: Stamp) -> dict[str, str]:
    facts = {"run": stamp.run}
    if kind == NODE:
        reservation = (properties.get("capacityReservation") or {}).get("capacityReservationGroup") or {}
        facts |= {
            "name": stamp.node or str(answer.get("name", "")),
            "instance_type": str((properties.get("hardwareProfile") or {}).get("vmSize", "")),
            "market": "spot" if properties.get("priority") == "Spot" else "on-demand",
            "incarnation": str(properties.get("vmId", "")),
            CHANGED: {key.lower(): value for key, value in tags_of(answer).items()}.get(CHANGED_TAG, ""),
            "capacity_group": canonical(reservation["id"]) if reservation.get("id") else "",
        }
    elif kind == RESERVATION:
        sku = answer.get("sku") or {}
        facts |= {"instance_type": str(sku.get("name", "")), "capacity": str(sku.get("capacity", ""))}
    return facts


def merged(before: Held, now: Held) -> Held:
    """Return what Azure reports now, under our name for it, with the facts that it does not repeat."""
    return replace(
        now,
        subject=before.subject or now.subject,
        group=before.group if before.group is not None else now.group,
        zone=now.zone or before.zone,
        facts={**before.facts, **now.facts},
        output=before.output,
    )


def powered(held: Held, answer: Mapping[str, Any]) -> Held:
    """Return a machine that was deallocated once, by its instance view: whether it runs, and nothing of before.

    Its addresses and its reservation are looked up again when it runs.
    """
    properties = answer.get("properties") or {}
    statuses = (properties.get("instanceView") or {}).get("statuses") or ()
    codes = [str(one.get("code", "")).lower() for one in statuses]
    power = next((code.partition("/")[2] for code in codes if code.startswith("powerstate/")), "")
    state = _STATES.get(str(properties.get("provisioningState", "")).lower(), "creating")
    if state in ("ready", "failed") and power == "deallocated":
        power = "off"
    elif state in ("ready", "failed") and power == "running":
        power = "on"
    facts = {key: value for key, value in held.facts.items() if key not in _OF_ITS_PLACE}
    return replace(
        held, state="creating" if state == "ready" and power != "on" else state, facts={**facts, POWER: power}
    )


def view_parts(answer: Mapping[str, Any]) -> tuple[ErrorPart, ...]:
    """Return why a thing failed, by its instance view: ``ProvisioningState/failed/AllocationFailed`` and a message."""
    view = (answer.get("properties") or {}).get("instanceView") or {}
    parts: list[ErrorPart] = []
    for status in view.get("statuses") or ():
        words = str(status.get("code", "")).split("/")
        if len(words) > 2 and words[1].lower() == "failed":
            parts += read_answer({"error": {"code": words[2], "message": str(status.get("message", ""))}})
    return tuple(parts)
