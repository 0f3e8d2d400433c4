"""What only AWS has among the keys of scylla-cluster-tests: images by name, data volumes, instance profiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.config.fields import Faults, shown
from pytest_capacity.config.provider import SctReading

_PROFILES: Final = {"db": "aws_instance_profile_name_db", "loader": "aws_instance_profile_name_loader"}
#: Number and size of the data volumes of each database node, and what may be said of them.
_NUMBER: Final = "data_volume_disk_num"
_VOLUME: Final = {
    "data_volume_disk_size": "size_gb",
    "data_volume_disk_type": "type",
    "data_volume_disk_iops": "iops",
    "data_volume_disk_throughput": "throughput",
}
_ADDRESSES: Final = "ip_ssh_connections"
REFUSED: Final = dict.fromkeys(
    ("use_dedicated_host", "aws_dedicated_host_ids"),
    "Leave it out, or name the host in a `capacity.yaml` (`aws: {host_id: h-...}`).",
)
KEYS: Final = (*_PROFILES.values(), _NUMBER, *_VOLUME, _ADDRESSES)
#: Those that advice names. What SCT has none of (encryption) is left as it is.
ADVISED: Final = {
    "iam_instance_profile": _PROFILES["db"],
    "key_name": "user_credentials_path",
    "public_ip": _ADDRESSES,
    "root_volume(?! with)": "root_disk_size_db",
    "volumes": _NUMBER,
}

_SSM: Final = "resolve:ssm:"
_OWNER: Final = "resolve:owner:"
_OWNER_FORM: Final = re.compile(r"(?P<owner>\d{12})/(?P<architecture>x86_64|arm64)/(?P<name>.+)")
#: Names of images are patterns of EC2 here, in which `.*` is `*`. What else a regular expression has is none.
_NO_PATTERN: Final = re.compile(r"[\\^$+|()\[\]{}]")
#: Whose images may be meant by a name alone, since anyone may publish one under any name: the account's own, those of
#: ScyllaDB (two accounts), Amazon's, and Canonical's.
OWNERS: Final = ("self", "797456418907", "158855661827", "amazon", "099720109477")


def lookup(text: str) -> Mapping[str, Any] | None:
    """Return the lookup of an image that is not named by its id: ``resolve:ssm:``, ``resolve:owner:``, or a name."""
    if text.startswith(_SSM):
        return {"ssm": text.removeprefix(_SSM)}
    if text.startswith(_OWNER):
        found = _OWNER_FORM.fullmatch(text.removeprefix(_OWNER))
        name = found["name"].replace(".*", "*") if found else ""
        if found is None or _NO_PATTERN.search(name):
            return None
        return {"owner": found["owner"], "architecture": found["architecture"], "name": name}
    return None if text.startswith(("ami-", "resolve:")) else {"name": text, "owner": list(OWNERS), "or_tag": True}


def read(values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> SctReading:
    """Return instance profiles and data volumes by group, and whether the nodes have public addresses."""
    groups: dict[str, dict[str, Any]] = {}
    for name, key in _PROFILES.items():
        if key in values:
            groups.setdefault(name, {})["iam_instance_profile"] = values[key]
    if volumes := _volumes(values, where, faults):
        groups.setdefault("db", {})["volumes"] = volumes
    section = {"public_ip": True} if values.get(_ADDRESSES) == "public" else {}
    names = {f"groups.{name}.aws.iam_instance_profile": key for name, key in _PROFILES.items()}
    return SctReading(section=section, groups=groups, names={**names, "groups.db.aws.volumes": _NUMBER})


def _volumes(values: Mapping[str, Any], where: Callable[[str], str], faults: Faults) -> list[dict[str, Any]]:
    number = _whole(values, _NUMBER, where, faults)
    volume: dict[str, Any] = {}
    for key, ours in _VOLUME.items():
        if key in values:
            volume[ours] = values[key] if ours == "type" else _whole(values, key, where, faults)
    wanted = {key: value for key, value in volume.items() if value}
    if number and "size_gb" not in wanted:
        faults.add(where("data_volume_disk_size"), "is missing", "Write it like `data_volume_disk_size: 500` (GB).")
        return []
    return [wanted] * (number or 0)


def _whole(values: Mapping[str, Any], key: str, where: Callable[[str], str], faults: Faults) -> int | None:
    value = values.get(key)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if value is None or (text.isascii() and text.isdigit()):
        return int(text) if text else None
    faults.add(where(key), f"{shown(value)} is not a whole number", "Write it like 3.")
    return None
