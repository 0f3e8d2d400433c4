"""Compute Engine's face: which call it is, what it does, and the form of a refusal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.emulator.face import Answer, Asked
from pytest_capacity.emulator.gce import fixed, instances, launch, others, reservations
from pytest_capacity.emulator.gce.catalogue import PROJECT, PROJECT_NUMBER, ZONES, GceCatalogue
from pytest_capacity.emulator.gce.context import CLOUD, Context, quota_words
from pytest_capacity.emulator.gce.routes import METHODS, find
from pytest_capacity.emulator.gce.things import Disk, GceOperation, Policy
from pytest_capacity.emulator.gce.wire import aggregated_answer, error_answer, last, list_answer, missing
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import (
    AlreadyExists,
    BadCredentials,
    InUse,
    NotFound,
    OverQuota,
    Refusal,
    StaleVersion,
    Throttled,
    WrongState,
)
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.world import World

#: How long a call that waits for an operation waits at most, and how often it looks. Seconds.
_WAIT_S: Final = 120.0
_LOOK_S: Final = 0.02

_WRITES: Final[Mapping[str, Callable[[Context, Asked], GceOperation]]] = {
    "instances.insert": launch.insert,
    "instances.bulkInsert": launch.bulk_insert,
    "instances.delete": instances.delete,
    "instances.stop": instances.stop,
    "instances.start": instances.start,
    "instances.setLabels": instances.set_labels,
    "instances.setMetadata": instances.set_metadata,
    "instances.setMachineType": instances.set_machine_type,
    "instances.update": instances.update,
    "reservations.insert": reservations.insert,
    "reservations.delete": reservations.delete,
    "reservations.resize": reservations.resize,
    "reservations.update": reservations.update,
    "disks.insert": others.insert_disk,
    "disks.delete": others.delete_disk,
    "disks.resize": others.resize_disk,
    "resourcePolicies.insert": others.insert_policy,
    "resourcePolicies.delete": others.delete_policy,
}

#: By collection, the kind of its lists: with "List" and "AggregatedList" behind it.
_KINDS: Final[Mapping[str, str]] = {
    "instances": "instance",
    "reservations": "reservation",
    "disks": "disk",
    "resourcePolicies": "resourcePolicy",
    "machineTypes": "machineType",
    "acceleratorTypes": "acceleratorType",
    "diskTypes": "diskType",
    "subnetworks": "subnetwork",
    "networks": "network",
    "images": "image",
    "zones": "zone",
    "regions": "region",
    "operations": "operation",
}


def make(world: World, secret: Secret) -> GceFace:
    """Return the face."""
    return GceFace(world, secret)


class GceFace:
    """`pytest_capacity.emulator.face.Face` for Compute Engine."""

    name: Final = CLOUD

    def __init__(self, world: World, secret: Secret) -> None:
        self.catalogue = GceCatalogue(method for method, _, _ in METHODS)
        self._world = world
        self._secret = secret
        self._context = Context(world, self.catalogue)

    def claims(self, request: HttpRequest) -> bool:
        """Return whether a path is one of the API's."""
        return request.path.startswith("/compute/")

    def read(self, request: HttpRequest) -> Asked:
        """Return method, place and body of a request."""
        found = find(request.method, request.path)
        if found is None:
            asked = Asked(operation=f"{request.method} {request.path}", request=request)
            asked.refusal = Refusal("notFound", f"The emulator has no {request.method} {request.path}", 404)
            return asked
        method, params = found
        zone = params.get("zone")
        asked = Asked(
            operation=method,
            request=request,
            region=params.get("region") or (zone.rpartition("-")[0] if zone else ""),
            zone=zone,
            token=request.first("requestId") or None,
            writes=method in _WRITES,
            params=params,
        )
        asked.replay = self._key(asked) in self._world.tokens
        try:
            body = request.json() if request.body else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            asked.refusal = Refusal("badRequest", "Invalid JSON payload received.")
            body = {}
        asked.params = {**params, "body": body}
        if asked.writes:
            self._read_machine(asked, body)
        return asked

    def _read_machine(self, asked: Asked, body: Mapping[str, Any]) -> None:
        """Set what faults are chosen by: the type and the market in a body."""
        specific = body.get("specificReservation")
        machine = body.get("instanceProperties") or (specific or {}).get("instanceProperties") or body
        if not isinstance(machine, Mapping):
            return
        asked.type = last(machine.get("machineType")) or None
        scheduling = machine.get("scheduling") or {}
        spot = scheduling.get("provisioningModel") == "SPOT" or bool(scheduling.get("preemptible"))
        if asked.type:
            asked.market = "spot" if spot else "on-demand"

    def check(self, asked: Asked) -> Refusal | None:
        """Return a refusal of a request that does not have the secret as its access token."""
        return None if self._secret.is_borne(asked.request.headers) else BadCredentials()

    def do(self, asked: Asked) -> Answer:
        """Do the call."""
        fixed.check_project(asked)
        if asked.operation == "imageFamilyViews.get":
            path = f"projects/{asked.params['project']}/global/images/family/{asked.params['name']}"
            return HttpResponse.of_json({"image": fixed.image(fixed.find_image(path))})
        if asked.zone is not None and asked.zone not in self.catalogue.zones():
            raise missing(f"projects/{PROJECT}/zones/{asked.zone}")
        if asked.region and asked.region not in ZONES:
            raise missing(f"projects/{PROJECT}/regions/{asked.region}")
        if write := _WRITES.get(asked.operation):
            return self._write(asked, write)
        return self._look(asked)

    def _key(self, asked: Asked) -> tuple[str, ...]:
        return (CLOUD, asked.operation, asked.zone or asked.region, asked.token or "")

    def _write(self, asked: Asked, write: Callable[[Context, Asked], GceOperation]) -> HttpResponse:
        """Begin an operation; one that began with this requestId is returned as it is now."""
        key = self._key(asked)
        if asked.token and key in self._world.tokens:
            known = self._world.operations.get(self._world.tokens[key][1][0])
            if isinstance(known, GceOperation):
                return HttpResponse.of_json(self._context.operation(known))
        begun = write(self._context, asked)
        if asked.token:
            self._world.once(key, None, lambda: [begun.id])
        return self._context.accepted(begun)

    def _look(self, asked: Asked) -> Answer:
        collection, verb = asked.operation.split(".")
        if collection.endswith("Operations"):
            return self._operations(asked, verb)
        if verb == "aggregatedList":
            return self._aggregated(asked, collection, self._scoped(collection))
        at = self._context.scope(asked)
        if verb == "list":
            if collection in ("zones", "regions"):
                items = self._zones() if collection == "zones" else self._regions()
                return list_answer(asked.request, f"compute#{_KINDS[collection]}List", items, collection)
            items = self._items(asked, collection, at)
            return list_answer(asked.request, f"compute#{_KINDS[collection]}List", items, f"{at}/{collection}")
        return HttpResponse.of_json(self._one(asked, collection, verb, at))

    def _zones(self) -> list[dict[str, Any]]:
        return [fixed.zone(zone) for zones in ZONES.values() for zone in zones]

    def _regions(self) -> list[dict[str, Any]]:
        return [fixed.region(self._context, name) for name in ZONES]

    def _one(self, asked: Asked, collection: str, verb: str, at: str) -> dict[str, Any]:
        name = asked.params.get("name", "")
        if verb == "getSerialPortOutput":
            return instances.serial_port(self._context, asked)
        if collection == "projects":
            return fixed.project()
        if collection == "zones":
            return fixed.zone(asked.zone or "")
        if collection == "regions":
            return fixed.region(self._context, asked.region)
        if collection == "images":
            family = "family/" if verb == "getFromFamily" else ""
            return fixed.image(fixed.find_image(f"projects/{asked.params['project']}/global/images/{family}{name}"))
        for item in self._items(asked, collection, at):
            # The numeric id will do as well.
            if name in (item["name"], item["id"]):
                return item
        raise missing(f"projects/{PROJECT}/{at}/{collection}/{name}")

    def _items(self, asked: Asked, collection: str, at: str) -> list[dict[str, Any]]:
        if collection == "images":
            return [fixed.image(one) for one in fixed.images(asked.params["project"])]
        if collection == "networks":
            return [fixed.network()]
        return self._scoped(collection).get(at, [])

    def _scoped(self, collection: str) -> dict[str, list[dict[str, Any]]]:
        """Return all things of a collection by their scopes, each of which is there."""
        context = self._context
        if collection == "subnetworks":
            return {f"regions/{region}": [fixed.subnetwork(region)] for region in ZONES}
        if collection in fixed.ZONAL:
            of_zone = fixed.ZONAL[collection]
            return {f"zones/{zone}": of_zone(context, zone) for zone in sorted(self.catalogue.zones())}
        found: list[tuple[str, dict[str, Any]]]
        scopes = {f"zones/{zone}": [] for zone in self.catalogue.zones()}  # type: dict[str, list[dict[str, Any]]]
        if collection == "instances":
            found = instances.listed(context)
        elif collection == "reservations":
            found = reservations.listed(context)
        elif collection == "disks":
            found = [(f"zones/{one.zone}", others.disk_told(context, one)) for one in self._world.of(Disk, CLOUD)]
        elif collection == "operations":
            found = context.operations()
            scopes |= {f"regions/{region}": [] for region in ZONES} | {"global": []}
        else:
            found = [(f"regions/{one.region}", others.policy_told(one)) for one in self._world.of(Policy, CLOUD)]
            scopes = {f"regions/{region}": [] for region in ZONES}
        for scope, item in found:
            scopes[scope].append(item)
        return scopes

    def _aggregated(self, asked: Asked, collection: str, items: Mapping[str, list[dict[str, Any]]]) -> HttpResponse:
        kind = f"compute#{_KINDS[collection]}AggregatedList"
        return aggregated_answer(asked.request, kind, collection, items, f"aggregated/{collection}")

    def _operations(self, asked: Asked, verb: str) -> Answer:
        scoped = self._scoped("operations")
        if verb == "aggregatedList":
            return self._aggregated(asked, "operations", scoped)
        at = self._context.scope(asked)
        if verb == "list":
            return list_answer(asked.request, "compute#operationList", scoped[at], f"{at}/operations")
        name = asked.params["name"]
        for told in scoped[at]:
            if name in (told["name"], told["id"]):
                known = self._world.operations.get(f"{CLOUD}/{told['name']}")
                if verb == "wait" and isinstance(known, GceOperation):
                    return lambda: self._wait(known)
                return HttpResponse.of_json(told)
        raise missing(f"projects/{PROJECT}/{at}/operations/{name}")

    def _wait(self, operation: GceOperation) -> HttpResponse:
        """Return the operation when it is over, or after two minutes; called without the World's lock."""
        end = time.monotonic() + _WAIT_S
        while True:
            with self._world.lock:
                self._world.settle()
                if operation.ended or time.monotonic() > end:
                    return HttpResponse.of_json(self._context.operation(operation))
            time.sleep(_LOOK_S)

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in the API's form."""
        code, message, http = _in_words(refusal)
        return error_answer(code, message, http)

    def ready(self, url: str) -> Mapping[str, Any]:
        """Return the project, and the values for gcloud and other clients."""
        return {"project": PROJECT, "project_number": PROJECT_NUMBER, "endpoint": f"{url}/compute/v1/"}

    def warm(self) -> None:
        """Do nothing: everything is loaded already."""


def _in_words(refusal: Refusal) -> tuple[str, str, int | None]:
    if isinstance(refusal, BadCredentials):
        words = "Request had invalid authentication credentials. Expected OAuth 2 access token: the emulator's secret."
        return "authError", words, 401
    if isinstance(refusal, Throttled):
        return "rateLimitExceeded", "Rate Limit Exceeded", 403
    if isinstance(refusal, AlreadyExists):
        return "alreadyExists", f"The resource '{refusal.name}' already exists", None
    if isinstance(refusal, NotFound):
        return "notFound", f"The resource '{refusal.name}' was not found", None
    if isinstance(refusal, InUse):
        return "resourceInUseByAnotherResource", f"The resource '{refusal.name}' is already being used", None
    if isinstance(refusal, WrongState):
        return "resourceNotReady", f"The resource '{refusal.name}' is not ready", None
    if isinstance(refusal, StaleVersion):
        return "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint.", None
    if isinstance(refusal, OverQuota):
        return "quotaExceeded", quota_words(refusal), None
    return refusal.code, refusal.message, refusal.http
