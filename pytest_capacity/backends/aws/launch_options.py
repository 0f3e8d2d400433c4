"""How nodes are launched, beside type and image: metadata service, role, disks, addresses, dedicated hosts.

Read from the section and from a group alike, and turned into the parameters of RunInstances.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field

from pytest_capacity.config.fields import (
    Faults,
    Reader,
    as_bool,
    as_mapping,
    chosen,
    counted,
    formed,
    read_keys,
    refuse_unknown,
)

#: Types of EBS volumes (API reference, EbsBlockDevice).
_VOLUME_TYPES: Final = ("gp2", "gp3", "io1", "io2", "st1", "sc1", "standard")
_PROFILE_FORM: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/[\w+=,.@/-]+|[\w+=,.@-]{1,128}")
_HOST_FORM: Final = re.compile(r"h-[0-9a-f]{8,17}")
_DEVICE_FORM: Final = re.compile(r"/dev/[a-z0-9/]+|xvd[a-z]{1,2}")
_KEY_FORM: Final = re.compile(r"arn:aws[a-z-]*:kms:\S+|alias/\S+|mrk-[0-9a-f]+|[0-9a-f-]{36}")

#: Devices that volumes get which name none (EC2 user guide, "Device names": recommended for data volumes).
_DEVICES: Final = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")


class Volume(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An EBS volume of a node; what is None is as EC2 or the image has it."""

    size_gb: int | None = None
    type: str | None = None
    iops: int | None = None
    #: MiB a second.
    throughput: int | None = None
    encrypted: bool | None = None
    kms_key: str | None = None
    device: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """``Ebs`` of a block device mapping. A volume goes with its node: one that stays would bill for ever."""
        named = {
            "VolumeSize": self.size_gb,
            "VolumeType": self.type,
            "Iops": self.iops,
            "Throughput": self.throughput,
            # EC2 takes a key for encrypted volumes only.
            "Encrypted": True if self.kms_key else self.encrypted,
            "KmsKeyId": self.kms_key,
        }
        return {"DeleteOnTermination": True, **{key: value for key, value in named.items() if value is not None}}


class MetadataOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The instance metadata service: IMDSv2 alone (a token for each question), unless the user says otherwise."""

    http_tokens: str = "required"
    http_endpoint: str | None = None
    hop_limit: int | None = None
    instance_tags: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """``MetadataOptions`` of RunInstances."""
        named = {
            "HttpTokens": self.http_tokens,
            "HttpEndpoint": self.http_endpoint,
            "HttpPutResponseHopLimit": self.hop_limit,
            "InstanceMetadataTags": self.instance_tags,
        }
        return {key: value for key, value in named.items() if value is not None}


class LaunchOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the section and a group may say of a launch."""

    metadata_options: MetadataOptions = field(default_factory=MetadataOptions)
    #: A name or an ARN.
    iam_instance_profile: str | None = None
    root_volume: Volume | None = None
    volumes: tuple[Volume, ...] = ()
    ebs_optimized: bool | None = None
    ipv6: bool = False
    #: A dedicated host of the account. No reservation is made for nodes on one.
    host_id: str | None = None


def _metadata(value: object, where: str, faults: Faults) -> MetadataOptions:
    values = as_mapping(value, where, faults, "{http_tokens: required, hop_limit: 2}")
    refuse_unknown(values, MetadataOptions.__struct_fields__, f"{where}.", faults)
    return MetadataOptions(**read_keys(values, _METADATA, where, faults))


def _volumes(value: object, where: str, faults: Faults) -> tuple[Volume, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        faults.add(where, "is not a list", "Write `volumes: [{size_gb: 500, type: gp3}]`.")
        return ()
    return tuple(_read_volume(one, f"{where}[{at}]", faults, _VOLUME) for at, one in enumerate(value))


def _root(value: object, where: str, faults: Faults) -> Volume:
    return _read_volume(value, where, faults, {key: reader for key, reader in _VOLUME.items() if key != "device"})


def _read_volume(value: object, where: str, faults: Faults, readers: Mapping[str, Reader]) -> Volume:
    values = as_mapping(value, where, faults, "{size_gb: 100, type: gp3, encrypted: true}")
    refuse_unknown(values, tuple(readers), f"{where}.", faults)
    found = read_keys(values, readers, where, faults)
    if "kms_key" in values and found.get("encrypted") is False:
        faults.add(f"{where}.kms_key", "is there beside `encrypted: false`", "Remove one of them.")
    return Volume(**found)


_METADATA: Final = {
    "http_tokens": chosen("required", "optional"),
    "http_endpoint": chosen("enabled", "disabled"),
    "instance_tags": chosen("enabled", "disabled"),
    "hop_limit": counted(1, 64),
}
# The most of each number that any type of volume takes (EBS user guide, "Amazon EBS volume types").
_VOLUME: Final[Mapping[str, Reader]] = {
    "size_gb": counted(1, 65536),
    "type": chosen(*_VOLUME_TYPES),
    "iops": counted(100, 256_000),
    "throughput": counted(125, 2000),
    "encrypted": as_bool,
    "kms_key": formed(_KEY_FORM, "alias/ebs, an id or an ARN"),
    "device": formed(_DEVICE_FORM, "/dev/sdf"),
}
#: What reads each of the `LaunchOptions`.
LAUNCH_READERS: Final[Mapping[str, Reader]] = {
    "metadata_options": _metadata,
    "iam_instance_profile": formed(_PROFILE_FORM, "db-nodes, or arn:aws:iam::123456789012:instance-profile/db-nodes"),
    "root_volume": _root,
    "volumes": _volumes,
    "ebs_optimized": as_bool,
    "ipv6": as_bool,
    "host_id": formed(_HOST_FORM, "h-0123456789abcdef0"),
}


def launch_parameters(options: LaunchOptions) -> dict[str, Any]:
    """Return the parameters of RunInstances that are of no disk, card or placement."""
    parameters: dict[str, Any] = {"MetadataOptions": options.metadata_options.parameters}
    if profile := options.iam_instance_profile:
        parameters["IamInstanceProfile"] = {"Arn" if profile.startswith("arn:") else "Name": profile}
    if options.ebs_optimized is not None:
        parameters["EbsOptimized"] = options.ebs_optimized
    return parameters


def disk_mappings(options: LaunchOptions, root: str, lasting: Sequence[str]) -> list[dict[str, Any]]:
    """Return the block device mappings: the root volume (``root`` is its device), further ones, and those of the image
    that would outlive their node."""
    mappings: dict[str, dict[str, Any]] = {device: {"DeleteOnTermination": True} for device in lasting}
    if options.root_volume:
        mappings[root] = options.root_volume.parameters
    free = iter(device for device in _DEVICES if device not in mappings)
    for volume in options.volumes:
        mappings[volume.device or next(free)] = volume.parameters
    return [{"DeviceName": device, "Ebs": ebs} for device, ebs in mappings.items()]
