"""Cluster placement groups: a service with a separate API version and separate work requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci.api import (
    CLOUD,
    Api,
    accepted,
    answer,
    conflict,
    invalid,
    paged,
    required,
    when,
)
from pytest_capacity.emulator.oci.things import CLUSTER, Cluster, Config, Instance
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Operation

_CREATED: Final = "CREATE_CLUSTER_PLACEMENT_GROUP"
_UPDATED: Final = "UPDATE_CLUSTER_PLACEMENT_GROUP"
_DELETED: Final = "DELETE_CLUSTER_PLACEMENT_GROUP"


def create(api: Api, asked: Asked) -> HttpResponse:
    """Make one; it can be used once it is active."""
    body = asked.params["body"]
    required(body, "name", "description", "compartmentId", "availabilityDomain", "clusterPlacementGroupType")
    made = api.once(asked, body, lambda: _make(api, asked, body))
    cluster = api.need(made, {CLUSTER: Cluster}, asked.region)
    return answer(cluster, shown(api, cluster), str(cluster.details["work"]))


def _make(api: Api, asked: Asked, body: Mapping[str, Any]) -> str:
    compartment, domain = api.compartment(body["compartmentId"]), api.domain(asked, body["availabilityDomain"])
    if body["clusterPlacementGroupType"] != "STANDARD":
        raise invalid("clusterPlacementGroupType must be STANDARD.")
    late = asked.strike.late()
    id_ = api.ocid("clusterplacementgroup", asked.region)
    pending = api.world.seconds("pending_s", CLOUD)
    cluster = Cluster(
        **api.world.born(CLOUD),
        id=id_,
        kind=CLUSTER,
        region=asked.region,
        zone=domain,
        name=str(body["name"]),
        tags=api.tags(body),
        token=asked.token or "",
        compartment=compartment,
        active_at=api.now + pending,
        error=late,
    )
    work = api.work(asked, _CREATED, id_, compartment, pending, late)
    kept = {name: body[name] for name in ("description", "capabilities", "placementInstruction") if name in body}
    cluster.details = {**kept, "definedTags": body.get("definedTags") or {}, "work": work}
    api.world.add(cluster)
    return id_


def get(api: Api, asked: Asked) -> HttpResponse:
    """Return one; a deleted one for a while, too."""
    cluster = api.need(asked.params["id"], {CLUSTER: Cluster}, asked.region)
    return answer(cluster, shown(api, cluster))


def list_(api: Api, asked: Asked) -> HttpResponse:
    """Return those of a compartment, without what only a read of one has; deleted ones stay listed."""
    listed = [
        {key: value for key, value in shown(api, one).items() if key not in ("description", "capabilities")}
        for one in api.in_domains(Cluster, asked, "ad")
    ]
    return collection(listed, asked)


def collection(listed: Sequence[Any], asked: Asked) -> HttpResponse:
    """Return a page of a list in the form of this service."""
    page = paged(listed, asked)
    return HttpResponse(page.status, b'{"items": ' + page.body + b"}", page.headers)


def update(api: Api, asked: Asked) -> HttpResponse:
    """Change tags and description."""
    cluster, body = _live(api, asked), asked.params["body"]
    if "freeformTags" in body:
        cluster.tags = api.tags(body)
    if body.get("description"):
        cluster.details = {**cluster.details, "description": body["description"]}
    cluster.version += 1
    return accepted(api.work(asked, _UPDATED, cluster.id, cluster.compartment, 0.0))


def switch(inactive: bool) -> Callable[[Api, Asked], HttpResponse]:
    """Return the operation that deactivates one, or activates it again."""

    def operation(api: Api, asked: Asked) -> HttpResponse:
        cluster = _live(api, asked)
        cluster.inactive = inactive
        cluster.version += 1
        work = api.work(asked, _UPDATED, cluster.id, cluster.compartment, 0.0)
        return answer(cluster, shown(api, cluster), work)

    return operation


def delete(api: Api, asked: Asked) -> HttpResponse:
    """Remove one, once nothing is in it."""
    cluster = _live(api, asked)
    users = [one.id for one in api.world.of(Instance, CLOUD, asked.region) if one.cluster == cluster.id]
    users += [one.container for one in api.world.of(Config, CLOUD, asked.region) if one.cluster == cluster.id]
    if users:
        raise conflict(f"The cluster placement group {cluster.id} has resources in it: {', '.join(users[:3])}.")
    stop = api.world.seconds("stop_s", CLOUD)
    cluster.leaving_at, cluster.removed = api.now, api.now + stop
    cluster.version += 1
    return accepted(api.work(asked, _DELETED, cluster.id, cluster.compartment, stop))


def _live(api: Api, asked: Asked) -> Cluster:
    cluster = api.changeable({CLUSTER: Cluster}, asked)
    if cluster.state(api.now) in ("CREATING", "DELETING"):
        raise Refusal("IncorrectState", f"{cluster.id} is {cluster.state(api.now)}.", 409)
    return cluster


def usable(api: Api, given: Any, region: str, domain: str) -> str:
    """Return the OCID of a cluster placement group for instances of a domain; raise OCI's refusal of another."""
    if not given:
        return ""
    cluster = api.need(str(given), {CLUSTER: Cluster}, region)
    if cluster.zone != domain:
        raise invalid(f"The cluster placement group {cluster.id} is in {cluster.zone}, not in {domain}.")
    if cluster.state(api.now) != "ACTIVE":
        raise Refusal("IncorrectState", f"The cluster placement group {cluster.id} is {cluster.state(api.now)}.", 409)
    return cluster.id


def shown(api: Api, cluster: Cluster) -> dict[str, Any]:
    """Return one as the API has it."""
    body = {
        "id": cluster.id,
        "name": cluster.name,
        "compartmentId": cluster.compartment,
        "availabilityDomain": cluster.zone,
        "clusterPlacementGroupType": "STANDARD",
        "lifecycleState": cluster.state(api.now),
        "timeCreated": when(cluster.made),
        "freeformTags": dict(cluster.tags),
        **{key: value for key, value in cluster.details.items() if key != "work"},
    }
    return body if cluster.error is None else {**body, "lifecycleDetails": cluster.error.message}


def is_ours(operation: Operation) -> bool:
    """Return whether a work request is of this service."""
    return operation.cloud == CLOUD and operation.verb in (_CREATED, _UPDATED, _DELETED)


def work_resource(operation: Operation) -> dict[str, Any]:
    """Return what a work request of this service is about."""
    action = {_CREATED: "CREATED", _DELETED: "DELETED"}.get(operation.verb, "UPDATED")
    return {"actionType": action, "entityType": "clusterplacementgroup", "identifier": operation.target}
