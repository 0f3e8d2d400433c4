"""What is changed of machines and reservations that stand: count, size, power, disks.

A machine in a reservation is changed only while it is deallocated (https://aka.ms/CapacityReservation), and so is the
disk that it starts from: growing without downtime "is supported only for data disks"
(https://learn.microsoft.com/azure/virtual-machines/linux/expand-disks). Lists of machines do not say which of them is
deallocated, so a machine that has been so once has a tag, and is read by itself from then on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.azure import bodies, listing
from pytest_capacity.backends.azure.ids import (
    COMPUTE_VERSION,
    DISKS,
    DISKS_VERSION,
    GROUPS,
    MACHINES,
    MEMBERS,
    RESOURCES_VERSION,
    ResourceId,
    canonical,
)
from pytest_capacity.backends.azure.offers import Size, read_sizes
from pytest_capacity.backends.azure.plan import NODE, RESERVATION
from pytest_capacity.backends.azure.reading import CHANGED, POWER
from pytest_capacity.backends.azure.session import Arm
from pytest_capacity.backends.azure.stamp import CHANGED as CHANGED_TAG
from pytest_capacity.backends.base import ScalingStep
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup, Obstacle

CAN: Final[frozenset[ScalingStep]] = frozenset({"count", "replace", "in-place", "storage"})

#: The largest disk that a machine starts from, GB.
MOST_DISK_GB: Final = 4095


def change(arm: Arm, pace: listing.Pace, held: Held, to: Change) -> Held:
    """Set ``to``, less a deadline. ``ValueError`` for what cannot be set, before any call."""
    count, type_, aim = to.count, to.instance_type, to.reservation_id
    if held.kind == RESERVATION and count is not None and to == Change(count=count, instance_type=type_):
        # It is as it was until it is looked at: what cannot be had leaves it Failed.
        return replace(resize(arm, pace, held, count), count=held.count, state="creating")
    if held.kind == NODE and to.running is not None and to == Change(running=to.running):
        return _start(arm, pace, held) if to.running else _deallocate(arm, pace, held)
    if held.kind == NODE and type_ and aim is not None and to == Change(instance_type=type_, reservation_id=aim):
        return _retype(arm, pace, held, type_, aim)
    if held.kind == NODE and to.disk_gb is not None and to == Change(disk_gb=to.disk_gb):
        return _grow_disk(arm, held, to.disk_gb)
    raise ValueError(f"Azure cannot change a {held.kind} so: {to}")


def resize(arm: Arm, pace: listing.Pace, held: Held, count: int) -> Held:
    """Change the count of a reservation to ``count`` machines; return when Azure has accepted it."""
    answer = arm.call(f"{MEMBERS}/write", "PATCH", held.id, COMPUTE_VERSION, bodies.capacity(count))
    pace.note(held.id, answer.retry_after)
    facts = {**held.facts, "capacity": str(count), **({"operation": answer.operation} if answer.operation else {})}
    return replace(held, count=count, facts=facts)


def _deallocate(arm: Arm, pace: listing.Pace, held: Held) -> Held:
    if CHANGED not in held.facts:
        # Before the machine is stopped, so that the next keeper sees what this one may not live to write down.
        path = f"{held.id}/providers/Microsoft.Resources/tags/default"
        tags = bodies.tag_change({CHANGED_TAG: "true"})
        arm.call("Microsoft.Resources/tags/write", "PATCH", path, RESOURCES_VERSION, tags)
    _act(arm, pace, held, "deallocate")
    return replace(held, state="creating", facts={**held.facts, CHANGED: "true", POWER: "stopping"})


def _start(arm: Arm, pace: listing.Pace, held: Held) -> Held:
    _act(arm, pace, held, "start")
    return replace(held, state="creating", facts={**held.facts, CHANGED: "true", POWER: "starting"})


def _act(arm: Arm, pace: listing.Pace, held: Held, action: str) -> None:
    answer = arm.call(f"{MACHINES}/{action}/action", "POST", f"{held.id}/{action}", COMPUTE_VERSION)
    pace.note(held.id, answer.retry_after)


def _retype(arm: Arm, pace: listing.Pace, held: Held, size: str, reservation: str) -> Held:
    group = ""
    if reservation:
        member = ResourceId.parse(reservation)
        group = str(ResourceId(member.subscription, member.group, GROUPS, member.parent))
    body = bodies.machine_change(size, group)
    answer = arm.call(f"{MACHINES}/write", "PATCH", held.id, COMPUTE_VERSION, body)
    pace.note(held.id, answer.retry_after)
    return replace(held, facts={**held.facts, "instance_type": size})


def _grow_disk(arm: Arm, held: Held, size_gb: int) -> Held:
    machine = ResourceId.parse(held.id)
    disk = str(ResourceId(machine.subscription, machine.group, DISKS, bodies.disk_name(machine.name)))
    found = arm.call(f"{DISKS}/read", "GET", disk, DISKS_VERSION)
    if int((found.body.get("properties") or {}).get("diskSizeGB") or 0) < size_gb:
        arm.call(f"{DISKS}/write", "PATCH", disk, DISKS_VERSION, bodies.disk_change(size_gb))
    return held


def disks(arm: Arm, nodes: Sequence[Held]) -> list[int]:
    """Return the sizes of the disks that the nodes start from, GB; 0 while one is being changed.

    One list for each of their resource groups.
    """
    groups = sorted({ResourceId.parse(held.id).group for held in nodes})
    sizes: dict[str, int] = defaultdict(int)
    for found in listing.side_by_side(lambda group: listing.of_group(arm, group, DISKS), groups):
        for disk in found:
            properties = disk.get("properties") or {}
            # The size is the requested one from the call on.
            if disk.get("managedBy") and properties.get("provisioningState", "Succeeded") == "Succeeded":
                sizes[canonical(disk["managedBy"])] = int(properties.get("diskSizeGB") or 0)
    return [sizes[held.id] for held in nodes]


def obstacles(arm: Arm, wanted: NodeChange, group: NodeGroup, nodes: Sequence[Held]) -> list[Obstacle]:
    """Return why the nodes cannot get the size in place, or larger disks. One list of sizes; none for anything else."""
    if wanted.disk_gb is not None:
        return _of_disks(arm, wanted.disk_gb, group, nodes)
    type_ = wanted.instance_type
    if type_ is None or wanted.mode != "in_place":
        return []
    region = nodes[0].region
    sizes = read_sizes(arm, region)
    old, new = sizes.get(group.instance_type.lower()), sizes.get(type_.lower())
    if new is None:
        return [Obstacle("unknown-type", f"{region} has no size {type_}")]
    return _between(group.instance_type, old, type_, new) if old else []


def _of_disks(arm: Arm, size_gb: int, group: NodeGroup, nodes: Sequence[Held]) -> list[Obstacle]:
    if size_gb > MOST_DISK_GB:
        return [Obstacle("unsupported", f"a disk that a machine starts from has at most {MOST_DISK_GB} GB")]
    words = "Azure grows the disk that a machine starts from only while the machine is deallocated"
    old = read_sizes(arm, nodes[0].region).get(group.instance_type.lower())
    return [Obstacle("restart", words), *(_local_disks(group.instance_type, old) if old else [])]


def _between(name: str, old: Size, wanted: str, new: Size) -> list[Obstacle]:
    found = []
    if old.architecture != new.architecture:
        words = f"{name} is of {old.architecture}, and {wanted} of {new.architecture}"
        found.append(Obstacle("architecture", words))
    if old.resource_disk != new.resource_disk:
        has = {True: "has a temporary disk", False: "has none"}
        words = f"{name} {has[old.resource_disk]}, and {wanted} {has[new.resource_disk]}: Azure does not change between"
        found.append(Obstacle("unsupported", f"{words} the two"))
    return [*found, *_local_disks(name, old)]


def _local_disks(name: str, size: Size) -> list[Obstacle]:
    if not (size.resource_disk or size.nvme):
        return []
    words = f"{name} has local disks, and a machine that is deallocated loses what is on them"
    return [Obstacle("local-disks", words)]
