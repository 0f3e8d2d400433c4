"""How nodes are launched, beside type and image: metadata service, role, disks, addresses, dedicated hosts.

Read from the section and from a group alike, and turned into the parameters of RunInstances.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from pytest_capacity.config.fields import Faults, as_bool, as_choice, as_form, as_mapping, refuse_unknown, shown

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


def read_options(values: Mapping[str, Any], where: str, faults: Faults) -> dict[str, Any]:
    """Return the launch options among ``values``, those that are written and right."""
    found: dict[str, Any] = {}
    if "metadata_options" in values:
        found["metadata_options"] = _metadata(values["metadata_options"], f"{where}.metadata_options", faults)
    if "iam_instance_profile" in values:
        example = "db-nodes, or arn:aws:iam::123456789012:instance-profile/db-nodes"
        at = f"{where}.iam_instance_profile"
        found["iam_instance_profile"] = as_form(values["iam_instance_profile"], _PROFILE_FORM, example, at, faults)
    if "root_volume" in values:
        found["root_volume"] = _volume(values["root_volume"], f"{where}.root_volume", faults, device=False)
    if "volumes" in values:
        found["volumes"] = _volumes(values["volumes"], f"{where}.volumes", faults)
    for key in ("ebs_optimized", "ipv6"):
        if key in values:
            found[key] = as_bool(values[key], f"{where}.{key}", faults)
    if "host_id" in values:
        found["host_id"] = as_form(values["host_id"], _HOST_FORM, "h-0123456789abcdef0", f"{where}.host_id", faults)
    return {key: value for key, value in found.items() if value is not None}


def _metadata(value: object, where: str, faults: Faults) -> MetadataOptions:
    values = as_mapping(value, where, faults, "{http_tokens: required, hop_limit: 2}")
    refuse_unknown(values, MetadataOptions.__struct_fields__, f"{where}.", faults)
    found: dict[str, Any] = {}
    for key, choices in (
        ("http_tokens", ("required", "optional")),
        ("http_endpoint", ("enabled", "disabled")),
        ("instance_tags", ("enabled", "disabled")),
    ):
        if key in values and (chosen := as_choice(values[key], choices, f"{where}.{key}", faults)):
            found[key] = chosen
    if "hop_limit" in values:
        found["hop_limit"] = _number(values["hop_limit"], 1, 64, f"{where}.hop_limit", faults)
    return MetadataOptions(**found)


def _volumes(value: object, where: str, faults: Faults) -> tuple[Volume, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        faults.add(where, "is not a list", "Write `volumes: [{size_gb: 500, type: gp3}]`.")
        return ()
    return tuple(_volume(one, f"{where}[{at}]", faults, device=True) for at, one in enumerate(value))


def _volume(value: object, where: str, faults: Faults, *, device: bool) -> Volume:
    values = as_mapping(value, where, faults, "{size_gb: 100, type: gp3, encrypted: true}")
    known = [key for key in Volume.__struct_fields__ if device or key != "device"]
    refuse_unknown(values, known, f"{where}.", faults)
    found: dict[str, Any] = {}
    # The most of each that any type of volume takes (EBS user guide, "Amazon EBS volume types").
    for key, least, most in (("size_gb", 1, 65536), ("iops", 100, 256_000), ("throughput", 125, 2000)):
        if key in values:
            found[key] = _number(values[key], least, most, f"{where}.{key}", faults)
    if "type" in values:
        found["type"] = as_choice(values["type"], _VOLUME_TYPES, f"{where}.type", faults)
    if "encrypted" in values:
        found["encrypted"] = as_bool(values["encrypted"], f"{where}.encrypted", faults)
    if "kms_key" in values:
        found["kms_key"] = as_form(
            values["kms_key"], _KEY_FORM, "alias/ebs, an id or an ARN", f"{where}.kms_key", faults
        )
        if found.get("encrypted") is False:
            faults.add(f"{where}.kms_key", "is there beside `encrypted: false`", "Remove one of them.")
    if device and "device" in values:
        found["device"] = as_form(values["device"], _DEVICE_FORM, "/dev/sdf", f"{where}.device", faults)
    return Volume(**found)


def _number(value: object, least: int, most: int, where: str, faults: Faults) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    faults.add(where, f"{shown(value)} is no whole number from {least} to {most}", "Correct it.")
    return None


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


def plain_options(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return them as plain data."""
    return {key: msgspec.to_builtins(value) for key, value in found.items()}
