"""AWS Resource Groups, as far as a pool of capacity reservations needs them: REST with JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.emulator.ec2.catalogue import ACCOUNT
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import ResourceGroup
from pytest_capacity.emulator.wire import Answer, Asked
from pytest_capacity.emulator.world import World

POOL: Final = "AWS::EC2::CapacityReservationPool"
#: HTTP statuses of the service's errors, where they are not 400.
STATUS: Final = {"NotFoundException": 404}


class ResourceGroups:
    """The service, for all regions."""

    name: Final = "aws"

    def __init__(self, world: World) -> None:
        self._world = world

    def ask(self, region: str, path: str, body: bytes) -> Asked:
        """Read a call, and see what the weather has for it."""
        operation = _OPERATIONS[path][0] if path in _OPERATIONS else path
        try:
            params = json.loads(body or b"{}")
        except ValueError:
            params = None
        if path not in _OPERATIONS or not isinstance(params, dict):
            known = ", ".join(name for name, _ in _OPERATIONS.values())
            refusal = Refusal("BadRequestException", f"The emulator knows {known}, with a JSON object; not {path}.")
            return Asked(operation=operation, region=region, path=path, refusal=refusal)
        with self._world.lock:
            strike = self._world.faults.strike(operation, region)
        return Asked(operation=operation, region=region, path=path, params=params, strike=strike)

    def do(self, asked: Asked) -> Answer:
        """Let the call happen."""
        refusal = asked.refusal or asked.strike.refusal()
        try:
            if refusal is not None:
                raise refusal
            with self._world.lock:
                answer = _OPERATIONS[asked.path][1](self._world, asked.region, asked.params)
        except Refusal as problem:
            told = json.dumps({"__type": problem.code, "Message": problem.message}).encode()
            return Answer(STATUS.get(problem.code, problem.http), told, problem.code, "application/json")
        return Answer(200, json.dumps(answer).encode(), None, "application/json")


def arn(region: str, name: str) -> str:
    """A group's ARN."""
    return f"arn:aws:resource-groups:{region}:{ACCOUNT}:group/{name}"


def _create(world: World, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
    name = params.get("Name")
    configuration = params.get("Configuration", [])
    if not name:
        raise Refusal("BadRequestException", "Name is required.")
    if all(item.get("Type") != POOL for item in configuration):
        raise Refusal("BadRequestException", f"The emulator knows only groups of the configuration type {POOL}.")
    if arn(region, name) in world.pools:
        raise Refusal("BadRequestException", f"The group '{name}' already exists.")
    world.pools[arn(region, name)] = ResourceGroup(
        id=arn(region, name),
        number=world.number(),
        region=region,
        made=world.clock.now(),
        visible_at=world.clock.now(),
        tags=dict(params.get("Tags", {})),
        name=name,
    )
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
            "ResourceArn": f"arn:aws:ec2:{region}:{ACCOUNT}:capacity-reservation/{id_}",
            "ResourceType": "AWS::EC2::CapacityReservation",
        }
        for id_ in pool.members
    ]
    return {"ResourceIdentifiers": found, "Resources": [{"Identifier": one} for one in found], "QueryErrors": []}


def _delete(world: World, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
    pool = _find(world, region, params)
    del world.pools[pool.id]
    return {"Group": {"GroupArn": pool.id, "Name": pool.name}}


def _find(world: World, region: str, params: Mapping[str, Any]) -> ResourceGroup:
    wanted = params.get("Group") or params.get("GroupName") or ""
    pool = world.pools.get(wanted) or world.pools.get(arn(region, wanted))
    if pool is None or pool.region != region:
        raise Refusal("NotFoundException", f"Cannot find group: {wanted}")
    return pool


_OPERATIONS: Final[Mapping[str, tuple[str, Callable[[World, str, Mapping[str, Any]], dict[str, Any]]]]] = {
    "/groups": ("CreateGroup", _create),
    "/group-resources": ("GroupResources", _group),
    "/ungroup-resources": ("UngroupResources", _ungroup),
    "/list-group-resources": ("ListGroupResources", _list),
    "/delete-group": ("DeleteGroup", _delete),
}
