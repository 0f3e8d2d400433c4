"""The disks of machines: each machine has those of its image and of its launch, and takes them with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_capacity.emulator import things
from pytest_capacity.emulator.aws.context import Context, check_id, render_tags, when
from pytest_capacity.emulator.aws.listing import Reading, choose, page
from pytest_capacity.emulator.aws.things import Instance
from pytest_capacity.emulator.refusal import Refusal

ERROR: Final = "InvalidVolume"

#: GiB that an image's own disk has where the launch does not say.
IMAGE_GB: Final = 8

#: GiB that a gp3 volume has at most (EC2 user guide, "Amazon EBS volume types").
MOST_GB: Final = 65536

#: More disks than a machine has; for the order in which they are listed.
_MOST_DISKS: Final = 1000

#: How long after a modification a volume takes the next one (EC2 API reference, ModifyVolume). Seconds.
COOLING_S: Final = 6 * 3600.0


@dataclass(kw_only=True)
class Volume(things.Other):
    """An EBS volume. It was ``before`` GiB until its modification that ``began`` then.

    It is part of its machine: the World counts and lists the machine alone.
    """

    kind: str = "volume"
    machine: Instance
    device: str
    size: int
    type: str
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool = False
    key: str | None = None
    before: int = 0
    began: float | None = None
    #: When the new size can be used.
    usable_at: float = 0.0

    def modification(self, now: float) -> str:
        """Return the state of its last modification; "" where there was none."""
        if self.began is None:
            return ""
        return "modifying" if now < self.usable_at else "optimizing" if now < self.began + COOLING_S else "completed"

    def now(self, now: float) -> int:
        """Return the size that can be used."""
        return self.before if self.modification(now) == "modifying" else self.size


def add_volumes(ctx: Context, one: Instance, root_device: str, tags: Mapping[str, str]) -> None:
    """Add the volumes of its launch to a new machine, the one that it starts from first."""
    wanted: dict[str, Mapping[str, Any]] = {root_device: {}}
    for mapping in ctx.params.get("BlockDeviceMappings", []):
        if mapping.get("Ebs") is not None:
            wanted[mapping.get("DeviceName", "")] = mapping["Ebs"]
    volumes = [
        Volume(
            id=f"vol-0{ctx.world.hex(16)}",
            cloud=one.cloud,
            region=one.region,
            zone=one.zone,
            # Listed in the order of the machines.
            number=one.number * _MOST_DISKS + index,
            made=one.made,
            visible_at=one.visible_at,
            tags=dict(tags),
            machine=one,
            device=device,
            size=ebs.get("VolumeSize", IMAGE_GB),
            type=(type_ := ebs.get("VolumeType", "gp3")),
            # A gp3 volume has these by itself (EC2 user guide, "General Purpose SSD volumes").
            iops=ebs.get("Iops", 3000 if type_ == "gp3" else None),
            throughput=ebs.get("Throughput", 125 if type_ == "gp3" else None),
            encrypted=ebs.get("Encrypted", False),
            key=ebs.get("KmsKeyId"),
        )
        for index, (device, ebs) in enumerate(wanted.items())
    ]
    one.details = {**one.details, "Volumes": volumes}


def describe(ctx: Context) -> dict[str, Any]:
    """Answer DescribeVolumes."""
    ctx.dry_run()
    ids = ctx.params.get("VolumeIds", [])
    found = [_known(ctx, id_) for id_ in ids] if ids else _all(ctx)
    chosen, token = page(choose(found, ctx.params.get("Filters", []), _READINGS), ctx.params)
    return {"Volumes": [_render(ctx, one) for one in chosen], "NextToken": token}


def modify(ctx: Context) -> dict[str, Any]:
    """Answer ModifyVolume, for the size: it only grows, and not again within six hours."""
    volume = _known(ctx, ctx.params["VolumeId"])
    for name in ("Iops", "Throughput", "VolumeType", "MultiAttachEnabled"):
        if name in ctx.params:
            raise Refusal("UnsupportedOperation", f"{name}: the emulator changes only the size of a volume.")
    size = ctx.params.get("Size")
    if size is None:
        raise Refusal("MissingParameter", "The request must contain the parameter Size, Iops or VolumeType")
    if size < volume.size:
        raise Refusal("InvalidParameterValue", "New size cannot be smaller than existing size")
    if size > MOST_GB:
        words = f"Volume of {size}GiB is too large for volume type {volume.type}; maximum is {MOST_GB}GiB."
        raise Refusal("InvalidParameterValue", words)
    if volume.modification(ctx.now) == "modifying":
        raise Refusal("IncorrectModificationState", f"Volume {volume.id} is being modified.")
    if volume.began is not None and ctx.now < volume.began + COOLING_S:
        words = "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between "
        raise Refusal("VolumeModificationRateExceeded", f"{words}modifications per EBS volume.")
    ctx.dry_run()
    volume.before, volume.size, volume.began = volume.size, size, ctx.now
    volume.usable_at = ctx.now + ctx.seconds("operation_s")
    return {"VolumeModification": _modification(ctx, volume)}


def describe_modifications(ctx: Context) -> dict[str, Any]:
    """Answer DescribeVolumesModifications."""
    ctx.dry_run()
    ids = ctx.params.get("VolumeIds", [])
    found = [volume for volume in _all(ctx) if volume.began is not None and (not ids or volume.id in ids)]
    return {"VolumesModifications": [_modification(ctx, volume) for volume in found]}


def attachments(ctx: Context, one: Instance) -> list[dict[str, Any]]:
    """Return the volumes of a machine as its description has them."""
    volumes: list[Volume] = one.details["Volumes"]
    ebs = {"AttachTime": when(one.made), "DeleteOnTermination": True, "Status": "attached"}
    return [{"DeviceName": volume.device, "Ebs": {**ebs, "VolumeId": volume.id}} for volume in volumes]


def _all(ctx: Context) -> list[Volume]:
    machines = [one for one in ctx.instances.values() if one.live(ctx.now) and one.visible(ctx.now)]
    return [volume for one in machines for volume in one.details["Volumes"]]


def _known(ctx: Context, id_: str) -> Volume:
    check_id(id_, "vol", ERROR)
    for volume in _all(ctx):
        if volume.id == id_:
            return volume
    raise Refusal(f"{ERROR}.NotFound", f"The volume '{id_}' does not exist.")


def _render(ctx: Context, one: Volume) -> dict[str, Any]:
    attached = {
        "AttachTime": when(one.made),
        "DeleteOnTermination": True,
        "Device": one.device,
        "InstanceId": one.machine.id,
        "State": "attached",
        "VolumeId": one.id,
    }
    return {
        "VolumeId": one.id,
        "AvailabilityZone": one.zone,
        "Size": one.now(ctx.now),
        "State": "in-use",
        "VolumeType": one.type,
        "Iops": one.iops,
        "Throughput": one.throughput,
        "Encrypted": one.encrypted,
        "KmsKeyId": one.key,
        "CreateTime": when(one.made),
        "Attachments": [attached],
        "Tags": render_tags(one) or None,
    }


def _modification(ctx: Context, volume: Volume) -> dict[str, Any]:
    return {
        "VolumeId": volume.id,
        "ModificationState": volume.modification(ctx.now),
        "OriginalSize": volume.before,
        "TargetSize": volume.size,
        "StartTime": when(volume.began),
    }


_READINGS: Final[Mapping[str, Reading]] = {
    "attachment.instance-id": lambda one: [one.machine.id],
    "attachment.device": lambda one: [one.device],
    "volume-id": lambda one: [one.id],
    "availability-zone": lambda one: [one.zone],
    "volume-type": lambda one: [one.type],
}
