"""What is changed of instances and reservations that stand: count, type, power, disks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from botocore.exceptions import ClientError
from msgspec.structs import replace

from pytest_capacity.backends.aws.errors import code_of
from pytest_capacity.backends.aws.listing import FILTER_VALUES, where
from pytest_capacity.backends.aws.plan import NODE, RESERVATION, aimed_at
from pytest_capacity.backends.aws.session import Cloud
from pytest_capacity.backends.base import ScalingStep
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup, Obstacle

CAN: Final[frozenset[ScalingStep]] = frozenset({"count", "replace", "in-place", "storage"})

#: The fact of a node that names the volume from which it starts.
ROOT_VOLUME: Final = "root_volume"

#: What EC2 says of a volume that is being changed, or was a short time ago.
_BEING_CHANGED: Final = frozenset({"IncorrectModificationState", "VolumeModificationRateExceeded"})


def change(cloud: Cloud, held: Held, to: Change) -> Held:
    """Set ``to``, less a deadline. ``ValueError`` for what cannot be set, before any call."""
    if (
        held.kind == RESERVATION
        and to.count is not None
        and to == Change(count=to.count, instance_type=to.instance_type)
    ):
        cloud.ec2(held.region, "modify_capacity_reservation", CapacityReservationId=held.id, InstanceCount=to.count)
        return replace(held, count=to.count)
    if held.kind == NODE and to.running is not None and to == Change(running=to.running):
        cloud.ec2(held.region, "start_instances" if to.running else "stop_instances", InstanceIds=[held.id])
        return held
    if held.kind == NODE and to.disk_gb is not None and to == Change(disk_gb=to.disk_gb):
        return _grow_disk(cloud, held, to.disk_gb)
    type_, aim = to.instance_type, to.reservation_id
    if held.kind == NODE and type_ and aim is not None and to == Change(instance_type=type_, reservation_id=aim):
        cloud.ec2(
            held.region,
            "modify_instance_capacity_reservation_attributes",
            InstanceId=held.id,
            CapacityReservationSpecification=aimed_at(aim),
        )
        cloud.ec2(held.region, "modify_instance_attribute", InstanceId=held.id, InstanceType={"Value": type_})
        return replace(held, facts={**held.facts, "instance_type": type_})
    raise ValueError(f"EC2 cannot change a {held.kind} so: {to}")


def _grow_disk(cloud: Cloud, held: Held, wanted: int) -> Held:
    volume = held.facts.get(ROOT_VOLUME)
    if volume is None:
        raise ValueError(f"node {held.id} is not known to start from a volume")
    try:
        cloud.ec2(held.region, "modify_volume", VolumeId=volume, Size=wanted)
    except ClientError as error:
        # The same may have been asked for by a keeper that died: EC2 changes a volume once in some hours.
        if code_of(error) not in _BEING_CHANGED or _target(cloud, held.region, volume) != wanted:
            raise
    return held


def _target(cloud: Cloud, region: str, volume: str) -> int | None:
    answer = cloud.ec2(region, "describe_volumes_modifications", VolumeIds=[volume])
    targets = [one.get("TargetSize") for one in answer["VolumesModifications"]]
    return targets[0] if targets else None


def disks(cloud: Cloud, nodes: Sequence[Held]) -> list[int]:
    """Return the sizes of the volumes that the nodes start from, GiB; 0 for a node that starts from none."""
    sizes: dict[tuple[str, str], int] = {}
    for region, some in groupby(sorted(nodes, key=_region), key=_region):
        volumes = [held.facts[ROOT_VOLUME] for held in some if ROOT_VOLUME in held.facts]
        for start in range(0, len(volumes), FILTER_VALUES):
            filters = where("volume-id", *volumes[start : start + FILTER_VALUES])
            for volume in cloud.pages(region, "describe_volumes", "Volumes", Filters=filters):
                sizes[region, volume["VolumeId"]] = int(volume["Size"])
    return [sizes.get((held.region, held.facts.get(ROOT_VOLUME, "")), 0) for held in nodes]


def obstacles(cloud: Cloud, change: NodeChange, group: NodeGroup, nodes: Sequence[Held]) -> list[Obstacle]:
    """Return why the nodes cannot get the type in place. One read; none for any other change."""
    type_ = change.instance_type
    if type_ is None or change.mode != "in_place":
        return []
    try:
        answer = cloud.ec2(nodes[0].region, "describe_instance_types", InstanceTypes=[group.instance_type, type_])
    except ClientError as error:
        if code_of(error) != "InvalidInstanceType":
            raise
        return [Obstacle("unknown-type", f"{nodes[0].region} has no instance type {type_}")]
    types = {one["InstanceType"]: one for one in answer["InstanceTypes"]}
    old, new = types.get(group.instance_type, {}), types.get(type_, {})
    found: list[Obstacle] = []
    before, after = _architectures(old), _architectures(new)
    if not before & after:
        words = f"{group.instance_type} is of {', '.join(sorted(before))}, and {type_} of {', '.join(sorted(after))}"
        found.append(Obstacle("architecture", words))
    if old.get("InstanceStorageSupported"):
        words = f"{group.instance_type} has local disks, and a node that is stopped loses what is on them"
        found.append(Obstacle("local-disks", words))
    if any(ROOT_VOLUME not in node.facts for node in nodes):
        found.append(Obstacle("unsupported", "a node that starts from no EBS volume cannot be stopped"))
    return found


def _architectures(type_: Mapping[str, Any]) -> set[str]:
    return set(type_.get("ProcessorInfo", {}).get("SupportedArchitectures", ()))


def _region(held: Held) -> str:
    return held.region
