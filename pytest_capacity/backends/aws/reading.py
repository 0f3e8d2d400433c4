"""EC2's answers as `Held`: what each of its states means to us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.aws.plan import FROM, KEY_PAIR, NODE, PLACEMENT_GROUP, RESERVATION
from pytest_capacity.backends.aws.stamp import read_stamp
from pytest_capacity.backends.stamp import Stamp
from pytest_capacity.model import Held, State, Subject

#: `scheduled` and the like hold or will hold capacity for us as well, though we never ask for such. What is in neither
#: map holds nothing and is never given back.
_RESERVATION_STATES: Final[Mapping[str, State]] = {
    "pending": "creating",
    "active": "ready",
    "scheduled": "creating",
    "assessing": "creating",
    "delayed": "creating",
    "cancelling": "leaving",
    "unavailable": "failed",
}

_GROUP_STATES: Final[Mapping[str, State]] = {"pending": "creating", "available": "ready", "deleting": "leaving"}

#: The reason that EC2 gives when TerminateInstances was called, by us or by another.
_ENDED_BY_CALL: Final = "Client.UserInitiatedShutdown"


#: What the status of a spot request says of a machine that is about to be taken back (EC2 user guide, "Spot request
#: status").
MARKED: Final = ("marked-for-termination", "marked-for-stop")


def node(region: str, instance: Mapping[str, Any], before: State = "ready") -> Held:
    """Return an instance. ``before`` is the state that we knew it in.

    An instance that dies before it ever ran is ``failed`` and carries EC2's reason, unless a call ended it (ours,
    a release while it was starting). It is ``failed`` once: asked again, with what was answered, it is ``leaving`` or
    ``gone`` like any other, so a release of it comes to an end. A stopped one is ``failed``: only a person stops
    our nodes, and its disks are billed.
    """
    stamp = read_stamp(instance.get("Tags", ()))
    word = instance["State"]["Name"]
    reason = instance.get("StateReason") or {}
    state = _node_state(word, reason.get("Code", ""), before)
    ended = state not in ("creating", "ready")
    return _held(
        stamp,
        _node_facts(instance, stamp),
        kind=NODE,
        id=instance["InstanceId"],
        region=region,
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        state=state,
        problem=(reason.get("Message") or instance.get("StateTransitionReason") or word) if ended else "",
        problem_code=reason.get("Code", "") if ended else "",
    )


def _held(stamp: Stamp, facts: Mapping[str, str | None], **more: Any) -> Held:
    """Return a thing with what its stamp says, and the facts that are known."""
    known = {"deadline": stamp.deadline, **more}
    said = {key: value for key, value in {**facts, "run": stamp.run}.items() if value}
    return Held(subject=stamp.piece, group=stamp.group, facts=said, **known)


def marked(node: Held, request: Mapping[str, Any]) -> Held:
    """Return a node that runs still, with what its spot request says of its end."""
    status = request.get("Status", {})
    return replace(node, problem_code=status.get("Code", ""), problem=status.get("Message") or status.get("Code", ""))


def _node_state(word: str, reason: str, before: State) -> State:
    if word == "pending":
        return "creating"
    if word == "running":
        return "ready"
    if word in ("stopping", "stopped"):
        return "failed"
    if before == "creating" and reason != _ENDED_BY_CALL:
        return "failed"
    return "leaving" if word == "shutting-down" else "gone"


def _node_facts(instance: Mapping[str, Any], stamp: Stamp) -> dict[str, str | None]:
    number = first_of(stamp.piece) + int(instance.get("AmiLaunchIndex", 0))
    return {
        "name": f"{stamp.group}-{number}" if stamp.group else "",
        "instance_type": instance.get("InstanceType", ""),
        "market": "spot" if instance.get("InstanceLifecycle") == "spot" else "on-demand",
        "private_ip": instance.get("PrivateIpAddress"),
        "public_ip": instance.get("PublicIpAddress"),
        "reservation_id": instance.get("CapacityReservationId"),
        "root_volume": _root_volume(instance),
        "power": "off" if instance["State"]["Name"] == "stopped" else None,
    }


def _root_volume(instance: Mapping[str, Any]) -> str | None:
    """Return the volume that the instance starts from; None while it is being attached, or where there is none."""
    for mapping in instance.get("BlockDeviceMappings", ()):
        if mapping.get("DeviceName") == instance.get("RootDeviceName"):
            volume: str | None = mapping.get("Ebs", {}).get("VolumeId")
            return volume
    return None


def reservation(region: str, answer: Mapping[str, Any]) -> Held:
    """Return a capacity reservation. Its deadline is the later one of its end at EC2 and of its stamp."""
    stamp = read_stamp(answer.get("Tags", ()))
    word = answer.get("State", "")
    state = _RESERVATION_STATES.get(word, "gone")
    ends = [time for time in (_seconds(answer.get("EndDate")), stamp.deadline) if time is not None]
    facts = {
        "instance_type": answer.get("InstanceType", ""),
        "available": str(answer.get("AvailableInstanceCount", "")),
    }
    over = state not in ("creating", "ready")
    return _held(
        stamp,
        facts,
        kind=RESERVATION,
        id=answer["CapacityReservationId"],
        region=region,
        zone=answer.get("AvailabilityZone", ""),
        state=state,
        count=int(answer.get("TotalInstanceCount", 1)),
        deadline=max(ends, default=None),
        problem=f"the capacity reservation is {word}" if over else "",
        problem_code=f"CapacityReservation.{word}" if over else "",
    )


def placement_group(region: str, answer: Mapping[str, Any]) -> Held:
    """Return a placement group; its id is its ARN, from which a reservation takes all and a launch the name."""
    stamp = read_stamp(answer.get("Tags", ()))
    facts = {"name": answer["GroupName"], "group_id": answer.get("GroupId", "")}
    return _held(
        stamp,
        facts,
        kind=PLACEMENT_GROUP,
        id=answer.get("GroupArn") or f":placement-group/{answer['GroupName']}",
        region=region,
        zone=Subject.parse(stamp.piece).zone,
        state=_GROUP_STATES.get(answer.get("State", "available"), "gone"),
    )


def key_pair(region: str, answer: Mapping[str, Any]) -> Held:
    """Return a key pair. EC2 has it whole or not at all."""
    stamp = read_stamp(answer.get("Tags", ()))
    zone = Subject.parse(stamp.piece).zone
    facts = {"name": answer.get("KeyName", "")}
    return _held(stamp, facts, kind=KEY_PAIR, id=answer["KeyPairId"], region=region, zone=zone, state="ready")


#: What reads one thing of a kind.
READERS: Final[Mapping[str, Callable[[str, Mapping[str, Any]], Held]]] = {
    NODE: node,
    RESERVATION: reservation,
    PLACEMENT_GROUP: placement_group,
    KEY_PAIR: key_pair,
}


def first_of(subject: str) -> int:
    """Return the number with which the names of nodes with this subject begin (``.../node/db/i4i.large/from-2``)."""
    last = subject.rpartition("/")[2]
    number = last.removeprefix(FROM)
    return int(number) if number != last and number.isdigit() else 0


def _seconds(time: Any) -> float | None:
    return time.timestamp() if isinstance(time, datetime) else None
