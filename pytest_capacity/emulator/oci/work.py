"""Work requests: of the core services, and of cluster placement groups, each in the form of their service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci.api import CLOUD, Api, hidden, when
from pytest_capacity.emulator.oci.things import Instance
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Operation


class WorkRequests:
    """The operations of one service: ``ours`` says which requests are its, ``resource`` what one is about."""

    def __init__(
        self,
        ours: Callable[[Operation], bool],
        resource: Callable[[Operation], Mapping[str, Any]],
        page: Callable[[Sequence[Any], Asked], HttpResponse],
    ) -> None:
        self._ours = ours
        self._resource = resource
        self._page = page

    def list_(self, api: Api, asked: Asked) -> HttpResponse:
        """Return the work requests of a compartment, of one thing where it is named."""
        compartment, resource = api.compartment(asked.request.first("compartmentId")), asked.request.first("resourceId")
        listed = [
            self._shown(api, one)
            for one in api.world.operations.values()
            if one.cloud == CLOUD
            and self._ours(one)
            and one.region == asked.region
            and one.details["compartmentId"] == compartment
            and resource in ("", one.target)
        ]
        return self._page(listed, asked)

    def get(self, api: Api, asked: Asked) -> HttpResponse:
        """Return one work request."""
        return HttpResponse.of_json(self._shown(api, self._need(api, asked)))

    def list_errors(self, api: Api, asked: Asked) -> HttpResponse:
        """Return why a work request failed: a poor code, and the text."""
        operation = self._need(api, asked)
        if _status(api, operation) != "FAILED":
            return self._page([], asked)
        error = operation.error or _launch_error(api, operation)
        code, message = (error.code, error.message) if error else ("InternalError", "The request failed.")
        return self._page([{"code": code, "message": message, "timestamp": when(operation.done_at)}], asked)

    def _need(self, api: Api, asked: Asked) -> Operation:
        found = api.world.operations.get(asked.params["id"])
        if found is None or found.cloud != CLOUD or not self._ours(found):
            raise hidden(asked.params["id"])
        return found

    def _shown(self, api: Api, operation: Operation) -> dict[str, Any]:
        status = _status(api, operation)
        return {
            "id": operation.id,
            "operationType": operation.verb,
            "status": status,
            "compartmentId": operation.details["compartmentId"],
            "percentComplete": 50.0 if status == "IN_PROGRESS" else 100.0,
            "timeAccepted": when(operation.made),
            "resources": [self._resource(operation)],
        }


def _status(api: Api, operation: Operation) -> str:
    if operation.state(api.now) == "done" and operation.verb == "LaunchInstance":
        target = api.world.get(operation.target)
        if isinstance(target, Instance) and target.cause == "failed":
            return "FAILED"
    return {"running": "IN_PROGRESS", "done": "SUCCEEDED", "failed": "FAILED"}[operation.state(api.now)]


def _launch_error(api: Api, operation: Operation) -> Refusal | None:
    target = api.world.get(operation.target)
    return target.error if isinstance(target, Instance) else None


def core_resource(operation: Operation) -> dict[str, Any]:
    """Return what a work request of the core services is about."""
    return {
        "actionType": "CREATED" if "LAUNCH" in operation.verb.upper() or "CREATE" in operation.verb else "UPDATED",
        "entityType": "instance" if ".instance." in operation.target else "capacityReservation",
        "identifier": operation.target,
        "entityUri": f"/20160918/{operation.target}",
    }
