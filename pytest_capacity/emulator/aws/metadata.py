"""The instance metadata service of machines, as far as the API speaks of it: options, and which tags it can show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pytest_capacity.emulator.aws.context import Context
from pytest_capacity.emulator.aws.own import own_of
from pytest_capacity.emulator.refusal import Refusal

#: A key that has a path of its own below ``tags/instance/`` (EC2 user guide, "View tags using instance metadata").
_KEY: Final = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
_RESERVED: Final = frozenset({".", "..", "_index"})

_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "HttpTokens": ("optional", "required"),
    "HttpEndpoint": ("enabled", "disabled"),
    "HttpProtocolIpv6": ("disabled", "enabled"),
    "InstanceMetadataTags": ("disabled", "enabled"),
}
_MOST_HOPS: Final = 64


def options(ctx: Context, tags: Iterable[str]) -> dict[str, Any]:
    """Return the options of a launch with what it leaves out. Refuse tags that the service cannot show."""
    given = ctx.params.get("MetadataOptions", {})
    defaults = {name: values[0] for name, values in _VALUES.items()}
    if own_of(ctx.world).metadata_tags:
        defaults["InstanceMetadataTags"] = "enabled"
    chosen = {name: given.get(name, default) for name, default in defaults.items()}
    for name, values in _VALUES.items():
        if chosen[name] not in values:
            raise Refusal("InvalidParameterValue", f"Value ({chosen[name]}) for parameter {name} is invalid.")
    hops = given.get("HttpPutResponseHopLimit", 1)
    if not 1 <= hops <= _MOST_HOPS:
        words = f"Value ({hops}) for parameter HttpPutResponseHopLimit is invalid. It must be 1 to {_MOST_HOPS}."
        raise Refusal("InvalidParameterValue", words)
    if chosen["InstanceMetadataTags"] == "enabled":
        check_tags(tags)
    return {"State": "applied", "HttpPutResponseHopLimit": hops, **chosen}


def check_tags(keys: Iterable[str]) -> None:
    """Refuse keys that the metadata service cannot show."""
    for key in keys:
        if not _KEY.fullmatch(key) or key in _RESERVED:
            words = f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\\\-_+=,.@:]{{1,255}}), "
            words += "and must not be a reserved name ('.', '..', '_index')"
            raise Refusal("InvalidParameterValue", words)
