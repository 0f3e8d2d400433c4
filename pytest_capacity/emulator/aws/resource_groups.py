"""AWS Resource Groups, as far as a pool of capacity reservations needs them: REST with JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.context import CLOUD
from pytest_capacity.emulator.aws.partitions import partition
from pytest_capacity.emulator.aws.things import ResourceGroup
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.world import World

POOL: Final = "AWS::EC2::CapacityReservationPool"


class ResourceGroups:
    """The service, for all regions."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, request: HttpRequest, region: str) -> Asked:
        """Return the call's parts."""
        path = request.path
        operation = _OPERATIONS[path][0] if path in _OPERATIONS else path
        asked = Asked(operation=operation, request=request, region=region, writes=not operation.startswith("List"))
        try:
            params = request.json()
        except ValueError:
            params = None
        if path in _OPERATIONS and isinstance(params, dict):
            asked.params = params
        else:
            known = ", ".join(name for name, _ in _OPERATIONS.values())
            words = f"The emulator knows {known}, with a JSON object; not {path}."
            asked.refusal = Refusal("BadRequestException", words)
        return asked

    def do(self, asked: Asked) -> HttpResponse:
        """Carry out the call."""
        handle = _OPERATIONS[asked.request.path][1]
        return HttpResponse.of_json(handle(self._world, asked.region, asked.params))

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in the service's form."""
        told = {"__type": refusal.code, "Message": refusal.message}
        return HttpResponse.of_json(told, refusal.http or 400, error=refusal.code)


def arn(region: str, name: str) -> str:
    """Return a group's ARN."""
    return f"arn:{partition(region)}:resource-groups:{region}:{ACCOUNT}:group/{name}"


def _create(world: World, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
    name = params.get("Name")
    configuration = params.get("Configuration", [])
    if not name:
        raise Refusal("BadRequestException", "Name is required.")
    if all(item.get("Type") != POOL for item in configuration):
        raise Refusal("BadRequestException", f"The emulator knows only groups of the configuration type {POOL}.")
    if arn(region, name) in world.others:
        raise Refusal("BadRequestException", f"The group '{name}' already exists.")
    pool = ResourceGroup(
        **world.born(CLOUD),
        id=arn(region, name),
        region=region,
        tags=dict(params.get("Tags", {})),
        name=name,
    )
    world.add(pool)
    return {
        "Group": {"GroupArn": arn(region, name), "Name": name},
        "Tags": params.get("Tags", {}),
        "GroupConfiguration": {"Configuration": configuration, "Status": "UPDATE_COMPLETE"},
    }


def _group(world: World, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
    pool = _find(world, region, params)
    succeeded, failed = [], []
    for one in params.get("ResourceArns", []):
        id_ = one.rpartition("/")[2]
        found = world.reservations.get(id_)
        if found is None or found.region != region or not found.live(world.clock.now()):
            words = f"No live capacity reservation {id_} in {region}"
            failed.append({"ResourceArn": one, "ErrorCode": "RESOURCE_NOT_FOUND", "ErrorMessage": words})
            continue
        pool.members = [*dict.fromkeys([*pool.members, id_])]
        succeeded.append(one)
    return {"Succeeded": succeeded, "Failed": failed, "Pending": []}


def _ungroup(world: World, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
    pool = _find(world, region, params)
    arns = params.get("ResourceArns", [])
    ids = {one.rpartition("/")[2] for one in arns}
    pool.members = [id_ for id_ in pool.members if id_ not in ids]
    return {"Succeeded": arns, "Failed": [], "Pending": []}


def _list(world: World, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
    pool = _find(world, region, params)
    found = [
        {
            "ResourceArn": f"arn:{partition(region)}:ec2:{region}:{ACCOUNT}:capacity-reservation/{id_}",
            "ResourceType": "AWS::EC2::CapacityReservation",
        }
        for id_ in pool.members
    ]
    return {"ResourceIdentifiers": found, "Resources": [{"Identifier": one} for one in found], "QueryErrors": []}


def _delete(world: World, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
    pool = _find(world, region, params)
    world.remove(pool)
    return {"Group": {"GroupArn": pool.id, "Name": pool.name}}


def _find(world: World, region: str, params: Mapping[str, Any]) -> ResourceGroup:
    wanted = params.get("Group") or params.get("GroupName") or ""
    pool = world.others.get(wanted) or world.others.get(arn(region, wanted))
    if not isinstance(pool, ResourceGroup) or pool.region != region:
        raise Refusal("NotFoundException", f"Cannot find group: {wanted}")
    return pool


_OPERATIONS: Final[Mapping[str, tuple[str, Callable[[World, str, Mapping[str, Any]], dict[str, Any]]]]] = {
    "/groups": ("CreateGroup", _create),
    "/group-resources": ("GroupResources", _group),
    "/ungroup-resources": ("UngroupResources", _ungroup),
    "/list-group-resources": ("ListGroupResources", _list),
    "/delete-group": ("DeleteGroup", _delete),
}
