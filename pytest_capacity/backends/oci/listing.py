"""Reads of many things at once: by what we know of them (`look`), or by the stamp of a run (`inventory`)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, Final, TypeVar

from msgspec.structs import replace
from oci.exceptions import RequestException, ServiceError

from pytest_capacity.backends.oci import reading
from pytest_capacity.backends.oci.errors import diagnose_error, is_hidden
from pytest_capacity.backends.oci.kinds import CLUSTER, IN_NETWORK, KINDS, NETWORK, NODE, RESERVATION
from pytest_capacity.backends.oci.session import COMPUTE, IDENTITY, WIDTH, Cloud
from pytest_capacity.backends.oci.stamp import read_stamp, tag_value
from pytest_capacity.backends.stamp import owned
from pytest_capacity.model import Held, Unread

#: What may be listed of a run by itself; what lies in a network is listed once there is one.
_TOP: Final = (NODE, RESERVATION, NETWORK, CLUSTER)

#: The looks at a running node for which its reservation's count is awaited: about five seconds by the engine's pauses.
#: How far the count may lag behind the launch is not published, so that no run ends for it.
_PATIENCE: Final = 10

_log: Final = logging.getLogger("pytest_capacity.oci")

#: How a read may end that is reported and not raised.
_UNREAD: Final = (ServiceError, RequestException)

_T = TypeVar("_T")
_R = TypeVar("_R")


def side_by_side(call: Callable[[_T], _R], over: Sequence[_T]) -> list[_R]:
    """Return what ``call`` gives for each, in the same order; all at once."""
    if len(over) < 2:
        return [call(one) for one in over]
    with ThreadPoolExecutor(min(WIDTH, len(over)), thread_name_prefix="oci") as pool:
        return list(pool.map(call, over))


def list_kind(cloud: Cloud, region: str, compartment: str, kind: str, **query: str) -> Iterator[dict[str, Any]]:
    """Yield every thing of ``kind`` in a compartment, those that are over, too."""
    known = KINDS[kind]
    return cloud.pages(known.service, region, f"List{known.noun}s", known.path, compartmentId=compartment, **query)


def look(cloud: Cloud, kind: str, region: str, compartment: str, helds: Sequence[Held]) -> list[Held]:
    """Return ``helds``, all of one kind, region and compartment, as OCI has them now; ``unseen`` where it lists none.

    One list; then, of what changed only: the addresses of nodes that began to run, the work requests of what failed.
    """
    wanted = {held.id: held for held in helds}
    things = list(list_kind(cloud, region, compartment, kind))
    listed = {thing["id"]: thing for thing in things if thing["id"] in wanted}
    read = {id_: reading.held(kind, region, thing, wanted[id_]) for id_, thing in listed.items()}
    now = [reading.merged(held, read.get(held.id)) for held in helds]
    if kind == NODE:
        now = _arrived(cloud, region, compartment, now, helds, things)
    failed = [held for held in now if held.state == "failed" and not held.parts and wanted[held.id].state == "creating"]
    reasons = dict(
        zip((held.id for held in failed), side_by_side(lambda one: _reason(cloud, one), failed), strict=True)
    )
    # What went without an error of its work request went by a call: by a release of this run, for example.
    told = [
        _as_listed(held, listed) if held in failed and not reasons[held.id].parts else reasons.get(held.id, held)
        for held in now
    ]
    return side_by_side(lambda held: _updated(cloud, held), told) if kind == RESERVATION else told


def _updated(cloud: Cloud, reservation: Held) -> Held:
    """Return a reservation with the state of its update's work request, if any: being changed, changed, or failed.

    The reservation's own state has no word for an update that failed: it is ``ACTIVE`` again, with the old count.
    """
    request = reservation.facts.get(reading.UPDATE)
    if not request or reservation.state not in ("ready", "creating"):
        return reservation
    status = cloud.get(COMPUTE, reservation.region, "GetWorkRequest", f"/workRequests/{request}").data.get("status")
    if status not in ("SUCCEEDED", "FAILED", "CANCELED"):
        return replace(reservation, state="creating")
    facts = {key: value for key, value in reservation.facts.items() if key != reading.UPDATE}
    if status == "SUCCEEDED":
        return replace(reservation, facts=facts)
    path = f"/workRequests/{request}/errors"
    errors = list(cloud.pages(COMPUTE, reservation.region, "ListWorkRequestErrors", path))
    code = f"{KINDS[RESERVATION].noun}.{status}"
    failed = replace(reservation, state="failed", facts=facts, problem=f"its update is {status}", problem_code=code)
    return reading.with_errors(failed, errors)


def _as_listed(held: Held, listed: Mapping[str, dict[str, Any]]) -> Held:
    return replace(held, state=KINDS[held.kind].states.get(str(listed[held.id].get("lifecycleState")), "gone"))


def _arrived(
    cloud: Cloud,
    region: str,
    compartment: str,
    nodes: Sequence[Held],
    before: Sequence[Held],
    things: Sequence[Mapping[str, Any]],
) -> list[Held]:
    """Return running nodes with their addresses, once their reservation counts them: both are read side by side.

    A node that no count has after a while is believed by its own field, with a line in the log.
    """
    new = {
        node.id: node.facts["reservation_id"]
        for node, known in zip(nodes, before, strict=True)
        if node.state == "ready" and known.state == "creating" and node.facts.get("reservation_id")
    }
    if not new:
        return _with_addresses(cloud, region, compartment, nodes)
    with ThreadPoolExecutor(1, thread_name_prefix="oci") as pool:
        counted = pool.submit(_used, cloud, region, compartment)
        addressed = _with_addresses(cloud, region, compartment, nodes)
        used = counted.result()
    inside = Counter(one.get("capacityReservationId") for one in things if one.get("lifecycleState") == "RUNNING")
    short = {one for one in new.values() if one in used and used[one] < inside[one]}
    return [
        _uncounted(node, known, used[new[node.id]]) if new.get(node.id) in short else node
        for node, known in zip(addressed, before, strict=True)
    ]


def _used(cloud: Cloud, region: str, compartment: str) -> dict[str, int]:
    """Return how many instances each reservation of a compartment counts; of none where that may not be read."""
    try:
        listed = list(list_kind(cloud, region, compartment, RESERVATION))
    except ServiceError as error:
        if not is_hidden(error):
            raise
        return {}
    return {one["id"]: int(one["usedInstanceCount"]) for one in listed if one.get("usedInstanceCount") is not None}


def _uncounted(node: Held, before: Held, used: int) -> Held:
    looks = int(before.facts.get(reading.UNCOUNTED) or 0) + 1
    if looks < _PATIENCE:
        return replace(node, state="creating", facts={**node.facts, reading.UNCOUNTED: str(looks)})
    aimed = node.facts["reservation_id"]
    _log.warning("node %s names reservation %s, which counts %d as used: fewer than name it", node.id, aimed, used)
    return node


def _with_addresses(cloud: Cloud, region: str, compartment: str, nodes: Sequence[Held]) -> list[Held]:
    """Return running nodes with their addresses, which their VNICs have. One without an address is not ready yet."""
    bare = {node.id for node in nodes if node.state == "ready" and not node.facts.get("private_ip")}
    if not bare:
        return list(nodes)
    query = {"instanceId": next(iter(bare))} if len(bare) == 1 else {}
    try:
        attached = {
            one["instanceId"]: one["vnicId"]
            for one in cloud.pages(
                COMPUTE, region, "ListVnicAttachments", "/vnicAttachments", compartmentId=compartment, **query
            )
            if one.get("lifecycleState") == "ATTACHED" and one.get("vnicId") and one["instanceId"] in bare
        }
        ids = list(attached)
        cards = dict(zip(ids, side_by_side(lambda one: _card(cloud, region, attached[one]), ids), strict=True))
    except ServiceError as error:
        if not is_hidden(error):
            raise
        # Whose credentials may not look at networks gets nodes without addresses.
        return list(nodes)
    return [_addressed(node, cards.get(node.id)) if node.id in bare else node for node in nodes]


def _card(cloud: Cloud, region: str, identifier: str) -> dict[str, Any]:
    card: dict[str, Any] = cloud.get(COMPUTE, region, "GetVnic", f"/vnics/{identifier}").data
    return card


def _addressed(node: Held, card: dict[str, Any] | None) -> Held:
    if not card or not card.get("privateIp"):
        return replace(node, state="creating")
    addresses = {"private_ip": card["privateIp"], "public_ip": card.get("publicIp") or ""}
    return replace(node, facts={**node.facts, **{key: value for key, value in addresses.items() if value}})


def _reason(cloud: Cloud, failed: Held) -> Held:
    """Return a failed thing with the errors of its work request, if there are any; its state shows how far it came."""
    # Cluster placement groups have the work requests of another service.
    service = KINDS[failed.kind].service
    try:
        requests = [failed.facts["work_request"]] if failed.facts.get("work_request") else _work_requests(cloud, failed)
        errors = [
            error
            for one in requests
            for error in cloud.pages(service, failed.region, "ListWorkRequestErrors", f"/workRequests/{one}/errors")
        ]
    except _UNREAD:
        return failed
    return reading.with_errors(failed, errors)


def _work_requests(cloud: Cloud, failed: Held) -> list[str]:
    """Return the failed work requests of a thing of which only the id is left: after a crash, for example."""
    found = cloud.pages(
        KINDS[failed.kind].service,
        failed.region,
        "ListWorkRequests",
        "/workRequests",
        compartmentId=failed.place or cloud.compartment,
        resourceId=failed.id,
    )
    return [one["id"] for one in found if one.get("status") == "FAILED"]


def inventory(cloud: Cloud, run: str, project: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
    """Yield what has the stamp of ``run`` and is not over: compartments recursed, regions and kinds side by side.

    OCI has no filter for tags, so all is listed and the stamp read here. What bears the run without the rest of the
    stamp comes without a subject, to be reported and never released.
    """
    if not regions:
        return
    compartments, unread = compartments_below(cloud, regions[0], cloud.compartment)
    yield from unread
    with ThreadPoolExecutor(WIDTH, thread_name_prefix="inventory") as pool:

        def asked(parts: Iterable[tuple[str, str, str, str]]) -> dict[Future[list[Held]], tuple[str, str]]:
            return {
                pool.submit(_stamped, cloud, run, project, region, place, kind, vcn): (region, kind)
                for region, place, kind, vcn in parts
            }

        first = asked((region, place, kind, "") for region in regions for place in compartments for kind in _TOP)
        networks: list[Held] = []
        for found in answers(cloud, first):
            if isinstance(found, Held) and found.kind == NETWORK:
                networks.append(found)
            yield found
        inside = asked((one.region, one.place, kind, one.id) for one in networks for kind in IN_NETWORK)
        yield from answers(cloud, inside)


def answers(cloud: Cloud, asked: Mapping[Future[list[_T]], tuple[str, str]]) -> Iterator[_T | Unread]:
    """Yield what was listed, as it comes; of a region and kind that could not be read, why."""
    for answer in as_completed(asked):
        region, kind = asked[answer]
        try:
            yield from answer.result()
        except _UNREAD as error:
            read = diagnose_error(error, cloud.errors)
            yield Unread(region, kind, f"{read.code}: {read.words}")


def _stamped(cloud: Cloud, run: str, project: str, region: str, place: str, kind: str, vcn: str) -> list[Held]:
    query = {"vcnId": vcn} if vcn else {}
    ours: list[Held] = []
    try:
        for thing in list_kind(cloud, region, place, kind, **query):
            held = reading.held(kind, region, thing)
            whole = owned(held, read_stamp(thing.get("freeformTags")), run, tag_value(project))
            if held.state != "gone" and whole:
                ours.append(whole)
    except _UNREAD as error:
        if kind == CLUSTER and not cloud.makes_clusters and _is_not_ours(error):
            return []
        raise
    return ours


def _is_not_ours(error: Exception) -> bool:
    """Return whether the service of cluster placement groups is not there for these credentials, or not in the region.

    The tenancy has to be enabled for it, and few policies mention it. A run that makes none is not kept from a clean
    receipt by that; one that makes some is.
    """
    return is_hidden(error) or isinstance(error, RequestException)


def compartments_below(cloud: Cloud, region: str, root: str) -> tuple[list[str], list[Unread]]:
    """Return ``root`` and every active compartment below it, level by level, and what could not be read.

    Only the tenancy can list its whole tree by one call; below it each compartment lists its children.
    """
    found, unread, level = [root], list[Unread](), [root]
    whole = root == cloud.tenancy

    def children(parent: str) -> list[str]:
        query = {"compartmentIdInSubtree": "true", "accessLevel": "ACCESSIBLE"} if whole else {}
        listed = cloud.pages(
            IDENTITY,
            region,
            "ListCompartments",
            "/compartments",
            compartmentId=parent,
            lifecycleState="ACTIVE",
            **query,
        )
        return [one["id"] for one in listed if one["id"] != root]

    while level:
        try:
            level = [child for some in side_by_side(children, level) for child in some]
        except _UNREAD as error:
            read = diagnose_error(error, cloud.errors)
            return found, [*unread, Unread("", "compartment", f"{read.code}: {read.words}")]
        found += level
        if whole:
            break
    return found, unread
