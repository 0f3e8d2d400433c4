"""Reads of many things at once: by what we know of them, by the stamp of a run, or by that of any run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import replace

from pytest_capacity.backends.aws import reading
from pytest_capacity.backends.aws.errors import diagnose_error
from pytest_capacity.backends.aws.plan import KEY_PAIR, NODE, PLACEMENT_GROUP, RESERVATION, group_name
from pytest_capacity.backends.aws.session import PAGE, Cloud
from pytest_capacity.backends.aws.stamp import read_stamp, tag_value
from pytest_capacity.backends.stamp import RUN, Stamp, owned
from pytest_capacity.backends.uses import stamped_use
from pytest_capacity.model import Held, Unread
from pytest_capacity.usage import CloudResource

#: What every run may have, and what only one may have whose nodes are reached by SSH with a key pair of its own.
KINDS: Final = (NODE, RESERVATION, PLACEMENT_GROUP)
KINDS_WITH_KEYS: Final = (*KINDS, KEY_PAIR)

#: Values that one filter of a describe call takes (EC2 user guide, "Filter your resources").
FILTER_VALUES: Final = 200

#: Threads for a listing over regions and kinds; no more than the SDK's pool of connections.
WIDTH: Final = 32

_T = TypeVar("_T")

#: By kind, the operation that lists it, and the key of what is listed.
_READS: Final = {
    NODE: ("describe_instances", "Reservations"),
    RESERVATION: ("describe_capacity_reservations", "CapacityReservations"),
    PLACEMENT_GROUP: ("describe_placement_groups", "PlacementGroups"),
    KEY_PAIR: ("describe_key_pairs", "KeyPairs"),
}

#: The filters by which what we know is looked for.
_KNOWN_BY: Final = {NODE: "instance-id", PLACEMENT_GROUP: "group-name", KEY_PAIR: "key-pair-id"}


def look(cloud: Cloud, run: str, kind: str, region: str, helds: Sequence[Held]) -> list[Held]:
    """Return ``helds``, of one kind and region, as EC2 has them now, in their order; ``unseen`` where it lists none.

    By filters and never by lists of ids: EC2 refuses a whole read for one id that it does not know (yet).
    """
    found: dict[str, Held] = {}
    if kind == RESERVATION:
        # The API has no filter for ids; one for tags is not documented for this call, and works.
        for owner in sorted({held.facts.get("run") or run for held in helds}):
            for answer in things(cloud, region, kind, where(f"tag:{RUN}", owner)):
                held = reading.reservation(region, answer)
                found[held.id] = held
        return [_merged(held, found.get(held.id)) for held in helds]
    for start in range(0, len(helds), FILTER_VALUES):
        before = {held.id: held for held in helds[start : start + FILTER_VALUES]}
        values = map(name_of, before.values()) if kind == PLACEMENT_GROUP else before
        for answer in things(cloud, region, kind, where(_KNOWN_BY[kind], *values)):
            held = reading.READERS[kind](region, answer)
            if kind == NODE and held.id in before:
                held = reading.node(region, answer, before[held.id].state)
            found[held.id] = held
        if kind == NODE:
            found |= _marked(cloud, region, [found.get(id_, held) for id_, held in before.items()])
    return [_merged(held, found.get(held.id)) for held in helds]


def _marked(cloud: Cloud, region: str, nodes: Sequence[Held]) -> dict[str, Held]:
    """Return those of ``nodes`` that run and that EC2 is about to take back, with its word for that as their problem.

    Their spot requests say so before the machines do, by some two minutes. Not every account lets us look.
    """
    spot = {node.id: node for node in nodes if node.state == "ready" and node.facts.get("market") == "spot"}
    if not spot:
        return {}
    filters = where("instance-id", *spot) + where("status-code", *reading.MARKED)
    try:
        requests = list(cloud.pages(region, "describe_spot_instance_requests", "SpotInstanceRequests", Filters=filters))
    except ClientError as error:
        if diagnose_error(error, cloud.errors).kind != "denied":
            raise
        return {}
    by_node = {request.get("InstanceId", ""): request for request in requests}
    return {id_: reading.marked(node, by_node[id_]) for id_, node in spot.items() if id_ in by_node}


def _merged(before: Held, now: Held | None) -> Held:
    """Return what EC2 says now, under the name by which we know it."""
    if now is None:
        return replace(before, state="unseen")
    return replace(
        now,
        subject=before.subject or now.subject,
        group=before.group if before.group is not None else now.group,
        zone=now.zone or before.zone,
        problem=now.problem or before.problem,
        problem_code=now.problem_code or before.problem_code,
    )


def inventory(
    cloud: Cloud, run: str, project: str, regions: Sequence[str], kinds: Sequence[str] = KINDS_WITH_KEYS
) -> Iterator[Held | Unread]:
    """Yield what bears the stamp of ``run`` and is not over, all regions and ``kinds`` at once, as answers come.

    The stamp is read again here: what does not bear this run is not ours, whatever the filter let through; what bears
    the run without the rest of the stamp comes without a subject, to be reported and never released.
    """
    yield from _side_by_side(partial(_stamped, cloud, run, project), cloud, regions, kinds)


def _stamped(cloud: Cloud, run: str, project: str, region: str, kind: str) -> list[Held]:
    found = things(cloud, region, kind, where(f"tag:{RUN}", run) + (_EXISTING if kind == NODE else []))
    ours = (owned(held, stamp, run, tag_value(project)) for held, stamp in _read(region, kind, found))
    return [held for held in ours if held is not None and held.state != "gone"]


def read_uses(cloud: Cloud, regions: Sequence[str]) -> Iterator[CloudResource | Unread]:
    """Yield who uses what of ``regions``, by our stamp: the instances and reservations of every run, all at once."""
    yield from _side_by_side(partial(_uses, cloud), cloud, regions, (NODE, RESERVATION))


def _uses(cloud: Cloud, region: str, kind: str) -> list[CloudResource]:
    # The filters for reservations are few, and by a tag's key is none of the documented ones: their stamp is read here.
    found = things(cloud, region, kind, where("tag-key", RUN) + _EXISTING if kind == NODE else [])
    uses = (stamped_use(held, stamp, (region,)) for held, stamp in _read(region, kind, found))
    return [use for use in uses if use is not None]


def _side_by_side(
    read: Callable[[str, str], list[_T]], cloud: Cloud, regions: Sequence[str], kinds: Sequence[str]
) -> Iterator[_T | Unread]:
    """Yield what ``read`` gives for each region and kind, as it comes; of what could not be read, why."""
    if not regions:
        return
    with ThreadPoolExecutor(min(WIDTH, len(regions) * len(kinds)), thread_name_prefix="list") as pool:
        asked = {pool.submit(read, region, kind): (region, kind) for region in regions for kind in kinds}
        for answer in as_completed(asked):
            region, kind = asked[answer]
            try:
                yield from answer.result()
            except (ClientError, BotoCoreError) as error:
                said = diagnose_error(error, cloud.errors)
                yield Unread(region, kind, f"{said.code}: {said.words}")


def _read(region: str, kind: str, found: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Held, Stamp]]:
    return ((reading.READERS[kind](region, thing), read_stamp(thing.get("Tags", ()))) for thing in found)


def things(cloud: Cloud, region: str, kind: str, filters: Sequence[Mapping[str, Any]] = ()) -> Iterator[dict[str, Any]]:
    """Yield what there is of ``kind`` in ``region`` that passes the filters, as EC2 describes it."""
    operation, key = _READS[kind]
    page: dict[str, Any] = {"MaxResults": PAGE} if kind in (NODE, RESERVATION) else {}
    for answer in cloud.pages(region, operation, key, Filters=filters, **page):
        yield from answer["Instances"] if kind == NODE else (answer,)


def where(name: str, *values: str) -> list[dict[str, Any]]:
    """Return the filter ``name``, in the form of the API."""
    return [{"Name": name, "Values": list(values)}]


def name_of(held: Held) -> str:
    """Return the name of a placement group."""
    return held.facts.get("name") or group_name(held.id)


_EXISTING: Final = where("instance-state-name", "pending", "running", "shutting-down", "stopping", "stopped")
