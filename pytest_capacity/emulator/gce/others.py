"""Disks and resource policies."""

from __future__ import annotations

from typing import Any

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.gce.catalogue import PROJECT
from pytest_capacity.emulator.gce.context import CLOUD, Context
from pytest_capacity.emulator.gce.reservations import need_policy
from pytest_capacity.emulator.gce.things import Disk, GceOperation, GceReservation, Instance, Policy
from pytest_capacity.emulator.gce.wire import (
    NAME,
    fingerprint,
    invalid,
    last,
    link,
    missing,
    number_id,
    time_text,
    whole,
)
from pytest_capacity.emulator.refusal import AlreadyExists, Refusal

#: USD an hour of one GB of a disk that its machine does not take along.
GB_HOURLY = 0.1 / 730


def find_disk(context: Context, zone: str, name: str) -> Disk:
    """Return a disk of a zone. Raise `Refusal`."""
    for one in context.world.of(Disk, CLOUD):
        if (one.zone, one.name) == (zone, name):
            return one
    raise missing(f"projects/{PROJECT}/zones/{zone}/disks/{name}")


def make_disk(
    context: Context, region: str, zone: str, name: str, body: dict[str, Any], machine: Instance | None, auto: bool
) -> Disk:
    """Make a disk."""
    size = int(body.get("sizeGb") or 10)
    path = f"zones/{zone}/disks/{name}"
    made = Disk(
        **context.world.born(CLOUD),
        id=f"{CLOUD}/{path}/{context.world.hex(8)}",
        kind="disk",
        region=region,
        zone=zone,
        name=name,
        tags=dict(body.get("labels") or {}),
        hourly=0.0 if auto else size * GB_HOURLY,
        shown=not auto,
        machine=machine,
        auto_delete=auto,
        body=body,
    )
    context.world.add(made)
    return made


def disk_told(context: Context, one: Disk) -> dict[str, Any]:
    """Return a disk as the API shows it."""
    told: dict[str, Any] = {
        "kind": "compute#disk",
        "id": number_id(one.number),
        "creationTimestamp": time_text(one.made),
        "name": one.name,
        "description": one.body.get("description", ""),
        "sizeGb": str(one.body.get("sizeGb") or 10),
        "zone": link(f"zones/{one.zone}"),
        "status": "READY",
        "selfLink": link(f"zones/{one.zone}/disks/{one.name}"),
        "type": link(f"zones/{one.zone}/diskTypes/{last(one.body.get('type')) or 'pd-standard'}"),
        "labels": dict(one.tags),
        "labelFingerprint": fingerprint(sorted(one.tags.items())),
        "physicalBlockSizeBytes": "4096",
        "users": [],
    }
    if one.body.get("sourceImage"):
        told["sourceImage"] = one.body["sourceImage"]
    if one.machine is not None and one.users(context.now):
        told["users"] = [link(f"zones/{one.zone}/instances/{one.machine.name}")]
    return told


def insert_disk(context: Context, asked: Asked) -> GceOperation:
    """Make a disk alone."""
    body = dict(asked.params["body"])
    name = str(body.get("name", ""))
    if not NAME.fullmatch(name):
        raise invalid("resource.name", name, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
    zone = asked.zone or ""
    whole(body.get("sizeGb", "10"), "resource.sizeGb", 1)
    path = f"zones/{zone}/disks/{name}"
    if any((one.zone, one.name) == (zone, name) for one in context.world.of(Disk, CLOUD)):
        raise AlreadyExists("disk", f"projects/{PROJECT}/{path}")
    made = make_disk(context, asked.region, zone, name, body, None, False)
    return context.begin(asked, "insert", path, made.number)


def delete_disk(context: Context, asked: Asked) -> GceOperation:
    """Remove a disk that no machine has."""
    one = find_disk(context, asked.zone or "", asked.params["name"])
    path = f"zones/{one.zone}/disks/{one.name}"
    if one.users(context.now) and one.machine is not None:
        raise Refusal(
            "resourceInUseByAnotherResource",
            f"The disk resource 'projects/{PROJECT}/{path}' is already being used by "
            f"'projects/{PROJECT}/zones/{one.zone}/instances/{one.machine.name}'",
        )
    return context.begin(asked, "delete", path, one.number, then=lambda: context.world.remove(one))


def resize_disk(context: Context, asked: Asked) -> GceOperation:
    """Make a disk larger, whether or not a machine uses it; no disk can become smaller."""
    one = find_disk(context, asked.zone or "", asked.params["name"])
    size = whole(asked.params["body"].get("sizeGb", ""), "sizeGb", 1)
    now = int(one.body.get("sizeGb") or 10)
    if size < now:
        raise invalid("sizeGb", str(size), f"Disk size cannot be decreased: it is {now} GB.")
    late = asked.strike.late()

    def grow() -> None:
        one.body = {**one.body, "sizeGb": str(size)}
        if not one.auto_delete:
            context.world.reprice(one, size * GB_HOURLY)

    path, then = f"zones/{one.zone}/disks/{one.name}", grow if late is None else None
    return context.begin(asked, "resizeDisk", path, one.number, error=late, then=then)


def policy_told(one: Policy) -> dict[str, Any]:
    """Return a resource policy as the API shows it."""
    return {
        "kind": "compute#resourcePolicy",
        "id": number_id(one.number),
        "creationTimestamp": time_text(one.made),
        "selfLink": link(f"regions/{one.region}/resourcePolicies/{one.name}"),
        "region": link(f"regions/{one.region}"),
        "description": one.body.get("description", ""),
        "name": one.name,
        "groupPlacementPolicy": one.body.get("groupPlacementPolicy", {}),
        "status": "READY",
    }


def insert_policy(context: Context, asked: Asked) -> GceOperation:
    """Make a placement policy."""
    body = asked.params["body"]
    name = str(body.get("name", ""))
    if not NAME.fullmatch(name):
        raise invalid("resource.name", name, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
    if "groupPlacementPolicy" not in body:
        raise Refusal("required", "Required field 'resource.groupPlacementPolicy' not specified")
    path = f"regions/{asked.region}/resourcePolicies/{name}"
    if any(one.name == name for one in context.world.of(Policy, CLOUD, asked.region)):
        raise AlreadyExists("resourcePolicy", f"projects/{PROJECT}/{path}")
    if late := asked.strike.late():
        return context.begin(asked, "insert", path, context.world.number(), error=late)
    made = Policy(
        **context.world.born(CLOUD),
        id=f"{CLOUD}/{path}",
        kind="resource-policy",
        region=asked.region,
        name=name,
        token=asked.token or "",
        body=body,
    )
    context.world.add(made)
    return context.begin(asked, "insert", path, made.number)


def delete_policy(context: Context, asked: Asked) -> GceOperation:
    """Remove a policy that neither a machine nor a reservation uses."""
    one = need_policy(context, asked.region, asked.params["name"])
    path = f"regions/{one.region}/resourcePolicies/{one.name}"
    users = [
        f"zones/{thing.zone}/{kind}/{thing.name}"
        for thing, kind in _users(context, one.region)
        if one.name in _policies_of(thing)
    ]
    if users:
        raise Refusal(
            "resourceInUseByAnotherResource",
            f"The resource_policy resource 'projects/{PROJECT}/{path}' is already being used by "
            f"'projects/{PROJECT}/{users[0]}'",
        )
    return context.begin(asked, "delete", path, one.number, then=lambda: context.world.remove(one))


def _users(context: Context, region: str) -> list[tuple[Instance | GceReservation, str]]:
    machines = [(one, "instances") for one in context.world.of(Instance, CLOUD, region)]
    return [*machines, *((one, "reservations") for one in context.world.of(GceReservation, CLOUD, region))]


def _policies_of(thing: Instance | GceReservation) -> set[str]:
    given = thing.body.get("resourcePolicies") or ()
    return {last(one) for one in (given.values() if isinstance(given, dict) else given)}
