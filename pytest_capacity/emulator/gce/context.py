"""What the parts of the API share: the World, the place of a call, and how an operation begins and is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.gce.catalogue import PROJECT, GceCatalogue
from pytest_capacity.emulator.gce.things import GceOperation, Instance
from pytest_capacity.emulator.gce.wire import STATUS, last, link, number_id, time_text
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import NoStock, OverQuota, Refusal, ReservationFull
from pytest_capacity.emulator.things import Thing
from pytest_capacity.emulator.world import World

CLOUD: Final = "gce"
USER: Final = f"tests@{PROJECT}.iam.gserviceaccount.com"

_WORDS: Final = {
    400: "BAD REQUEST",
    403: "FORBIDDEN",
    404: "NOT FOUND",
    409: "CONFLICT",
    412: "PRECONDITION FAILED",
    500: "INTERNAL SERVER ERROR",
    503: "SERVICE UNAVAILABLE",
}


class Context:
    """The World, with Compute Engine's operations on it."""

    def __init__(self, world: World, catalogue: GceCatalogue) -> None:
        self.world = world
        self.catalogue = catalogue

    @property
    def now(self) -> float:
        """Return the World's time."""
        return self.world.clock.now()

    def seconds(self, name: str) -> float:
        """Return a time of the weather."""
        return self.world.seconds(name, CLOUD)

    def place(self, asked: Asked) -> Place:
        """Return the zone that a call names."""
        return Place(CLOUD, asked.region, asked.zone or "")

    def scope(self, asked: Asked) -> str:
        """Return the scope that a call names: ``zones/Z``, ``regions/R`` or ``global``."""
        if asked.zone:
            return f"zones/{asked.zone}"
        return f"regions/{asked.region}" if asked.region else "global"

    def begin(
        self,
        asked: Asked,
        verb: str,
        target: str,
        target_number: int | None = None,
        *,
        error: Refusal | None = None,
        errors: Sequence[Refusal] = (),
        then: Callable[[], None] | None = None,
        counts: tuple[int, int, int] | None = None,
        group: str = "",
        warning: tuple[str, str] | None = None,
    ) -> GceOperation:
        """Begin an operation on ``target`` (a path below the project), for the time that the weather sets."""
        world = self.world
        stamp = f"{int(self.now * 1000)}-{world.hex(13)}-{world.hex(8)}-{world.hex(8)}"
        name = f"operation-{stamp}"
        operation = GceOperation(
            **world.born(CLOUD),
            id=f"{CLOUD}/{name}",
            name=name,
            kind="operation",
            region=asked.region,
            zone=asked.zone or "",
            verb=verb,
            target=target,
            done_at=self.now + self.seconds("operation_s"),
            error=error,
            errors=tuple(errors),
            then=None if then is None else (lambda _: then()),
            scope=self.scope(asked),
            target_id="" if target_number is None else number_id(target_number),
            request_id=asked.token or "",
            group=group,
            counts=counts,
            warning=warning,
        )
        world.begin(operation)
        return operation

    def accepted(self, operation: GceOperation) -> HttpResponse:
        """Return the answer to a call that began an operation: it runs, however short it is."""
        return HttpResponse.of_json(self.operation(operation, operation.made))

    def operation(self, operation: GceOperation, at: float | None = None) -> dict[str, Any]:
        """Return an operation as the API shows it."""
        done = operation.ended and at is None
        told: dict[str, Any] = {
            "kind": "compute#operation",
            "id": number_id(operation.number),
            "name": operation.name,
            "operationType": operation.verb,
            "targetLink": link(operation.target),
            "status": "DONE" if done else "RUNNING",
            "user": USER,
            "progress": 100 if done else 0,
            "insertTime": time_text(operation.made),
            "startTime": time_text(operation.made),
            "selfLink": link(f"{operation.scope}/operations/{operation.name}"),
        }
        if operation.zone:
            told["zone"] = link(f"zones/{operation.zone}")
        elif operation.region:
            told["region"] = link(f"regions/{operation.region}")
        if operation.target_id:
            told["targetId"] = operation.target_id
        if operation.request_id:
            told["clientOperationId"] = operation.request_id
        if operation.group:
            told["operationGroupId"] = operation.group
        if operation.counts is not None:
            wanted, made, deleted = operation.counts if done else (operation.counts[0], 0, 0)
            status = {
                "targetVmCount": wanted,
                "createdVmCount": made,
                "deletedVmCount": deleted,
                "failedToCreateVmCount": wanted - made if done else 0,
                "status": "DONE" if done else "CREATING",
            }
            told["instancesBulkInsertOperationMetadata"] = {"perLocationStatus": {operation.scope: status}}
        if done:
            told["endTime"] = time_text(operation.done_at)
            told |= self._failure(operation)
        return told

    def _failure(self, operation: GceOperation) -> dict[str, Any]:
        if operation.error is None:
            if operation.warning is None:
                return {}
            code, words = operation.warning
            return {"warnings": [{"code": code, "message": words}]}
        told = [late_error(one) for one in (*operation.errors, operation.error)]
        error = operation.error
        status = error.http or STATUS.get(told[-1]["code"], 503)
        return {
            "error": {"errors": told},
            "httpErrorStatusCode": status,
            "httpErrorMessage": _WORDS.get(status, "SERVICE UNAVAILABLE"),
        }

    def operations(self) -> list[tuple[str, dict[str, Any]]]:
        """Return all operations with their scopes, those among them that took spot machines back."""
        found = [
            (one.scope, self.operation(one)) for one in self.world.operations.values() if isinstance(one, GceOperation)
        ]
        taken = [
            (f"zones/{one.zone}", self._preemption(one))
            for one in self.world.machines.values()
            if isinstance(one, Instance) and (one.taken_at is not None or one.cause == "preempted")
        ]
        return found + taken

    def _preemption(self, machine: Instance) -> dict[str, Any]:
        """Return the operation by which a machine is taken back; it begins with the notice."""
        over = machine.cause == "preempted"
        ended = min(machine.leaving_at, machine.stopping_at)
        began = (ended if over else machine.taken_at or 0.0) - self.seconds("reclaim_notice_s")
        name = f"systemevent-{int(began * 1000)}-{machine.number:013x}-{machine.number:08x}"
        return {
            "kind": "compute#operation",
            "id": number_id(10**6 + machine.number),
            "name": name,
            "operationType": "compute.instances.preempted",
            "zone": link(f"zones/{machine.zone}"),
            "targetLink": link(f"zones/{machine.zone}/instances/{machine.name}"),
            "targetId": number_id(machine.number),
            "status": "DONE" if over else "RUNNING",
            "statusMessage": "Instance was preempted.",
            "user": "system",
            "progress": 100 if over else 0,
            "insertTime": time_text(began),
            "startTime": time_text(began),
            **({"endTime": time_text(ended)} if over else {}),
            "selfLink": link(f"zones/{machine.zone}/operations/{name}"),
        }


def late_error(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as one of an operation's errors."""
    if isinstance(refusal, NoStock):
        return _no_stock(refusal)
    if isinstance(refusal, OverQuota):
        return _over_quota(refusal)
    if isinstance(refusal, ReservationFull):
        name = last(refusal.reservation)
        words = f"Specified reservation '{name}' does not have available resources for the request."
        return {"code": "CONDITION_NOT_MET", "message": words}
    return {"code": refusal.code, "message": refusal.message}


def _no_stock(refusal: NoStock) -> dict[str, Any]:
    words = (
        f"The zone 'projects/{PROJECT}/zones/{refusal.zone}' does not have enough resources available to fulfill the "
        "request.  '(resource type:compute)'."
    )
    if not refusal.elsewhere:
        return {"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": words}
    about = {
        "vmType": refusal.type,
        "attachment": "",
        "zone": refusal.zone,
        "zonesAvailable": ",".join(refusal.elsewhere),
    }
    info = {"domain": "compute.googleapis.com", "reason": "resource_availability", "metadatas": about}
    return {
        "code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "message": words,
        "errorDetails": [{"errorInfo": info}],
    }


def quota_metric(refusal: OverQuota, catalogue: Mapping[str, str] | None = None) -> str:
    """Return the API's name of the metric; the emulator's own are put into it."""
    if refusal.metric == "spot_vcpus":
        return "PREEMPTIBLE_CPUS"
    if refusal.metric == "vcpus":
        return "CPUS" if refusal.region else "CPUS_ALL_REGIONS"
    return refusal.metric


def quota_words(refusal: OverQuota) -> str:
    """Return the API's entry of a quota."""
    where = f"in region {refusal.region}" if refusal.region else "globally"
    return f"Quota '{quota_metric(refusal)}' exceeded.  Limit: {refusal.limit:.1f} {where}."


def _over_quota(refusal: OverQuota) -> dict[str, Any]:
    metric = quota_metric(refusal)
    place = "region" if refusal.region else "project"
    info = {
        "metricName": f"compute.googleapis.com/{metric.lower()}",
        "limitName": f"{metric.replace('_', '-')}-per-project-{place}",
        "dimensions": {"region": refusal.region or "global"},
        "limit": refusal.limit,
    }
    return {
        "code": "QUOTA_EXCEEDED",
        "message": quota_words(refusal),
        "errorDetails": [{"quotaInfo": info}],
    }


def thing_path(thing: Thing, collection: str) -> str:
    """Return the path below the project of a thing of a zone."""
    return f"zones/{thing.zone}/{collection}/{thing.name}"
