"""Reads of many things at once: by what we know of them (`look`), or by the stamp of a run (`inventory`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import replace

from pytest_capacity.backends.aws import reading
from pytest_capacity.backends.aws.errors import diagnose_error
from pytest_capacity.backends.aws.plan import KEY_PAIR, NODE, PLACEMENT_GROUP, RESERVATION, group_name
from pytest_capacity.backends.aws.session import PAGE, Cloud
from pytest_capacity.backends.aws.stamp import read_stamp, tag_value
from pytest_capacity.backends.stamp import RUN, owned
from pytest_capacity.model import Held, Unread

#: What every run may have, and what only one may have whose nodes are reached by SSH with a key pair of its own.
KINDS: Final = (NODE, RESERVATION, PLACEMENT_GROUP)
KINDS_WITH_KEYS: Final = (*KINDS, KEY_PAIR)

#: Values that one filter of a describe call takes (EC2 user guide, "Filter your resources").
FILTER_VALUES: Final = 200

#: Threads for a listing over regions and kinds; no more than the SDK's pool of connections.
WIDTH: Final = 32

_T = TypeVar("_T")

_LISTED_STATES: Final = ("pending", "running", "shutting-down", "stopping", "stopped")


def look(cloud: Cloud, run: str, kind: str, region: str, helds: Sequence[Held]) -> list[Held]:
    """Return ``helds``, of one kind and region, as EC2 has them now, in their order; ``unseen`` where it lists none.

    By filters and never by lists of ids: EC2 refuses a whole read for one id that it does not know (yet).
    """
    found: dict[str, Held] = {}
    for start in range(0, len(helds), FILTER_VALUES):
        before = {held.id: held for held in helds[start : start + FILTER_VALUES]}
        if kind == NODE:
            for instance in list_instances(cloud, region, _filter("instance-id", *before)):
                id_ = instance["InstanceId"]
                if id_ in before:
                    found[id_] = reading.node(region, instance, before[id_].state)
            found |= _marked(cloud, region, [found.get(id_, held) for id_, held in before.items()])
        elif kind == PLACEMENT_GROUP:
            names = [held.facts.get("name") or group_name(held.id) for held in before.values()]
            for group in _groups(cloud, region, _filter("group-name", *names)):
                held = reading.placement_group(region, "", group)
                found[held.id] = held
        elif kind == KEY_PAIR:
            for pair in _key_pairs(cloud, region, _filter("key-pair-id", *before)):
                held = reading.key_pair(region, "", pair)
                found[held.id] = held
    if kind == RESERVATION:
        # The API has no filter for ids; one for tags is not documented for this call, and works.
        for owner in sorted({held.facts.get("run") or run for held in helds}):
            for answer in list_reservations(cloud, region, _filter(f"tag:{RUN}", owner)):
                held = reading.reservation(region, answer)
                found[held.id] = held
    return [_merged(held, found.get(held.id)) for held in helds]


def _marked(cloud: Cloud, region: str, nodes: Sequence[Held]) -> dict[str, Held]:
    """Return those of ``nodes`` that run and that EC2 is about to take back, with its word for that as their problem.

    Their spot requests say so before the machines do, by some two minutes. Not every account lets us look.
    """
    spot = {node.id: node for node in nodes if node.state == "ready" and node.facts.get("market") == "spot"}
    if not spot:
        return {}
    filters = _filter("instance-id", *spot) + _filter("status-code", *reading.MARKED)
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
    if not regions:
        return
    with ThreadPoolExecutor(min(WIDTH, len(regions) * len(kinds)), thread_name_prefix="inventory") as pool:
        asked = {
            pool.submit(_stamped, cloud, run, project, region, kind): (region, kind)
            for region in regions
            for kind in kinds
        }
        yield from answers(cloud, asked)


def answers(cloud: Cloud, asked: Mapping[Future[list[_T]], tuple[str, str]]) -> Iterator[_T | Unread]:
    """Yield what was listed, as it comes; of a region and kind that could not be read, why."""
    for answer in as_completed(asked):
        region, kind = asked[answer]
        try:
            yield from answer.result()
        except (ClientError, BotoCoreError) as error:
            read = diagnose_error(error, cloud.errors)
            yield Unread(region, kind, f"{read.code}: {read.words}")


def _stamped(cloud: Cloud, run: str, project: str, region: str, kind: str) -> list[Held]:
    mark = _filter(f"tag:{RUN}", run)
    things: list[tuple[Any, Held]] = []
    if kind == NODE:
        listed = mark + _existing()
        things = [(one, reading.node(region, one)) for one in list_instances(cloud, region, listed)]
    elif kind == RESERVATION:
        things = [(one, reading.reservation(region, one)) for one in list_reservations(cloud, region, mark)]
    elif kind == PLACEMENT_GROUP:
        things = [(one, reading.placement_group(region, "", one)) for one in _groups(cloud, region, mark)]
    else:
        things = [(one, reading.key_pair(region, "", one)) for one in _key_pairs(cloud, region, mark)]
    ours = (
        owned(held, read_stamp(thing.get("Tags", ())), run, tag_value(project))
        for thing, held in things
        if held.state != "gone"
    )
    return [held for held in ours if held is not None]


def any_run() -> list[dict[str, Any]]:
    """Return the filters of instances that exist and bear the stamp of any run."""
    return _filter("tag-key", RUN) + _existing()


def _existing() -> list[dict[str, Any]]:
    return _filter("instance-state-name", *_LISTED_STATES)


def _filter(name: str, *values: str) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": list(values)}]


def list_instances(cloud: Cloud, region: str, filters: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield the instances of ``region`` that pass the filters."""
    for launch in cloud.pages(region, "describe_instances", "Reservations", Filters=filters, MaxResults=PAGE):
        yield from launch["Instances"]


def list_reservations(cloud: Cloud, region: str, filters: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield the capacity reservations of ``region`` that pass the filters."""
    return cloud.pages(
        region, "describe_capacity_reservations", "CapacityReservations", Filters=filters, MaxResults=PAGE
    )


def _groups(cloud: Cloud, region: str, filters: Sequence[Any]) -> Iterator[dict[str, Any]]:
    return cloud.pages(region, "describe_placement_groups", "PlacementGroups", Filters=filters)


def _key_pairs(cloud: Cloud, region: str, filters: Sequence[Any]) -> Iterator[dict[str, Any]]:
    return cloud.pages(region, "describe_key_pairs", "KeyPairs", Filters=filters)
