"""OCI's answers as `Held`: what each of its lifecycle states means to us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.oci.forms import join_zone
from pytest_capacity.backends.oci.kinds import KINDS, NODE, RESERVATION
from pytest_capacity.backends.oci.stamp import read_stamp
from pytest_capacity.model import ErrorPart, Held, State, Subject

#: The fact of a reservation that names the work request of an update that is under way.
UPDATE: Final = "update"
#: The fact of a running node whose reservation does not count it yet: how often it was looked at.
UNCOUNTED: Final = "uncounted"
#: Facts of a node that are not kept when the cloud does not report them again.
_PASSING: Final = ("power", "reservation_id", UNCOUNTED)

#: Our own code: a preemptible instance went without a delete or a stop of ours.
PREEMPTED: Final = "PreemptibleInstanceTerminated"


def held(kind: str, region: str, thing: Mapping[str, Any], before: Held | None = None) -> Held:
    """Return a thing as the API gives it; ``before`` is as we knew it.

    What goes before it was ever ready has failed: the reason stands in its work request, which `with_errors` puts in.
    It is ``failed`` once: read again, with what was returned, it is ``leaving`` or ``gone`` like any other.
    """
    stamp = read_stamp(thing.get("freeformTags"))
    word = str(thing.get("lifecycleState", ""))
    state: State = KINDS[kind].states.get(word, "gone")
    if before is not None and before.state == "creating" and state in ("leaving", "gone"):
        state = "failed"
    problem, code = _problem(kind, word, state, thing, before)
    return Held(
        kind=kind,
        id=thing["id"],
        region=region,
        zone=_zone(thing, stamp.piece),
        state=state,
        subject=stamp.piece,
        group=stamp.group,
        count=int(thing.get("reservedInstanceCount") or 1) if kind == RESERVATION else 1,
        deadline=stamp.deadline,
        problem=problem,
        problem_code=code,
        facts={key: value for key, value in _facts(kind, thing, stamp.run, stamp.piece).items() if value},
        place=str(thing.get("compartmentId", "")),
    )


def _problem(kind: str, word: str, state: State, thing: Mapping[str, Any], before: Held | None) -> tuple[str, str]:
    if state in ("creating", "ready"):
        return "", ""
    was_running = kind == NODE and before is not None and before.state == "ready"
    if was_running and state in ("leaving", "gone") and thing.get("preemptibleInstanceConfig"):
        return "the preemptible instance was terminated, and not by this run", PREEMPTED
    why = f": {thing['lifecycleDetails']}" if thing.get("lifecycleDetails") else ""
    return f"the {KINDS[kind].noun} is {word}{why}", f"{KINDS[kind].noun}.{word}"


def _zone(thing: Mapping[str, Any], subject: str) -> str:
    """Return the availability domain, with its fault domain if the run names one; a network has that of its subject."""
    asked = Subject.parse(subject).zone
    domain = str(thing.get("availabilityDomain") or "")
    if not domain or asked.startswith(join_zone(domain, "FAULT")):
        return asked
    return domain


def _facts(kind: str, thing: Mapping[str, Any], run: str, subject: str) -> dict[str, str]:
    facts = {"run": run, "name": str(thing.get("displayName") or "")}
    if kind == NODE:
        label = Subject.parse(subject).label.split("/")
        facts |= {
            "name": f"{label[0]}-{label[-1]}" if len(label) > 1 else "",
            "instance_type": str(thing.get("shape", "")),
            "market": "spot" if thing.get("preemptibleInstanceConfig") else "on-demand",
            "reservation_id": str(thing.get("capacityReservationId") or ""),
            "fault_domain": str(thing.get("faultDomain") or ""),
            "image": _image(thing),
            "power": "off" if thing.get("lifecycleState") == "STOPPED" else "",
        }
    if kind == RESERVATION:
        configs = thing.get("instanceReservationConfigs") or ()
        reserved, used = int(thing.get("reservedInstanceCount") or 0), int(thing.get("usedInstanceCount") or 0)
        facts |= {
            "instance_type": ",".join(dict.fromkeys(str(one["instanceShape"]) for one in configs)),
            "available": str(reserved - used),
        }
    return facts


def _image(thing: Mapping[str, Any]) -> str:
    source = thing.get("sourceDetails") or {}
    return str(source.get("imageId") or thing.get("imageId") or "")


def resizing(before: Held, count: int, work_request: str) -> Held:
    """Return a reservation whose update was accepted: its work request shows when it is done, or that it failed."""
    facts = {**before.facts, UPDATE: work_request} if work_request else before.facts
    return replace(before, count=count, state="creating", facts=facts, parts=(), problem="", problem_code="")


def with_errors(failed: Held, errors: Sequence[Mapping[str, Any]]) -> Held:
    """Return a failed thing with the errors of its work request: code and message, without a status."""
    parts = tuple(
        ErrorPart(code=str(one.get("code") or ""), message=str(one.get("message") or ""))
        for one in errors
        if one.get("code") or one.get("message")
    )
    if not parts:
        return failed
    return replace(failed, parts=parts, problem=parts[0].message, problem_code=parts[0].code)


def as_piece(found: Held, subject: str, group: str | None, zone: str, work_request: str) -> Held:
    """Return a thing that was made just now, under our name for it."""
    facts = {**found.facts, "work_request": work_request} if work_request else found.facts
    return replace(found, subject=subject, group=group, zone=zone or found.zone, facts=facts)


def merged(before: Held, now: Held | None) -> Held:
    """Return what OCI reports now, under our name for it; ``unseen`` where it lists no such thing.

    Facts that only other calls give (addresses, the work request) stay.
    """
    if now is None:
        return replace(before, state="unseen")
    kept = before.facts
    if now.state not in ("leaving", "gone"):
        kept = {key: value for key, value in kept.items() if key not in _PASSING}
    return replace(
        now,
        subject=before.subject or now.subject,
        group=before.group if before.group is not None else now.group,
        zone=before.zone or now.zone,
        count=now.count if now.kind == RESERVATION else before.count,
        problem=now.problem or before.problem,
        problem_code=now.problem_code or before.problem_code,
        parts=now.parts or before.parts,
        facts={**kept, **now.facts},
        output=before.output,
    )
