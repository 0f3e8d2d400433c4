"""Work requests of the core services."""

from __future__ import annotations

from typing import Any

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci import clusters
from pytest_capacity.emulator.oci.api import CLOUD, Api, hidden, paged, when
from pytest_capacity.emulator.oci.things import Instance
from pytest_capacity.emulator.things import Operation


def _status(api: Api, operation: Operation) -> str:
    state = operation.state(api.now)
    if state == "done":
        target = api.world.get(operation.target)
        if isinstance(target, Instance) and operation.verb == "LaunchInstance" and target.cause == "failed":
            return "FAILED"
    return {"running": "IN_PROGRESS", "done": "SUCCEEDED", "failed": "FAILED"}[state]


def _shown_work(api: Api, operation: Operation) -> dict[str, Any]:
    status = _status(api, operation)
    return {
        "id": operation.id,
        "operationType": operation.verb,
        "status": status,
        "compartmentId": operation.details["compartmentId"],
        "percentComplete": 50.0 if status == "IN_PROGRESS" else 100.0,
        "timeAccepted": when(operation.made),
        "resources": [
            {
                "actionType": "CREATED"
                if "LAUNCH" in operation.verb.upper() or "CREATE" in operation.verb
                else "UPDATED",
                "entityType": "instance" if ".instance." in operation.target else "capacityReservation",
                "identifier": operation.target,
                "entityUri": f"/20160918/{operation.target}",
            }
        ],
    }


def _work(api: Api, asked: Asked) -> Operation:
    found = api.world.operations.get(asked.params["id"])
    if found is None or found.cloud != CLOUD or clusters.is_ours(found):
        raise hidden(asked.params["id"])
    return found


def list_work_requests(api: Api, asked: Asked) -> HttpResponse:
    """Return the work requests of a compartment, of one thing where it is named."""
    compartment, resource = api.compartment(asked.request.first("compartmentId")), asked.request.first("resourceId")
    listed = [
        _shown_work(api, one)
        for one in api.world.operations.values()
        if one.cloud == CLOUD
        and not clusters.is_ours(one)
        and one.region == asked.region
        and one.details["compartmentId"] == compartment
        and resource in ("", one.target)
    ]
    return paged(listed, asked)


def get_work_request(api: Api, asked: Asked) -> HttpResponse:
    """Return one work request."""
    return HttpResponse.of_json(_shown_work(api, _work(api, asked)))


def list_work_request_errors(api: Api, asked: Asked) -> HttpResponse:
    """Return why a work request failed: a poor code, and the text."""
    operation = _work(api, asked)
    if _status(api, operation) != "FAILED":
        return paged([], asked)
    target = api.world.get(operation.target)
    error = operation.error or (target.error if isinstance(target, Instance) else None)
    code, message = (error.code, error.message) if error else ("InternalError", "The request failed.")
    return paged([{"code": code, "message": message, "timestamp": when(operation.done_at)}], asked)
