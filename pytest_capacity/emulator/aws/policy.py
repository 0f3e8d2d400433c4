"""A service control policy: what each launch must have, and the encoded words in which EC2 refuses it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.context import Context
from pytest_capacity.emulator.aws.own import own_of
from pytest_capacity.emulator.aws.partitions import partition
from pytest_capacity.emulator.refusal import Refusal


def check(ctx: Context, tags: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a launch that lacks what the weather's policy demands."""
    for demand in own_of(ctx.world).policy.require:
        for resource, key, values in _lacks(ctx, demand, tags):
            raise _denied(ctx, demand, resource, key, values)


def _lacks(ctx: Context, demand: str, tags: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the resource that lacks something, the condition's key, and its values."""
    if demand == "imdsv2":
        tokens = ctx.params.get("MetadataOptions", {}).get("HttpTokens", "optional")
        if tokens != "required":
            yield "instance", "ec2:MetadataHttpTokens", [tokens]
    elif demand == "encrypted":
        disks = [one.get("Ebs", {}) for one in ctx.params.get("BlockDeviceMappings", [])]
        # The image's own disks are not encrypted here, and nor is one that is not spoken of.
        if not disks or not all(disk.get("Encrypted") for disk in disks):
            yield "volume", "ec2:Encrypted", ["false"]
    else:
        key = demand.removeprefix("tag:")
        for kind in ("instance", "volume"):
            if key not in tags.get(kind, {}):
                yield kind, f"aws:RequestTag/{key}", []


def _denied(ctx: Context, demand: str, kind: str, key: str, values: list[str]) -> Refusal:
    user = f"arn:{partition(ctx.region)}:iam::{ACCOUNT}:user/emulated"
    resource = ctx.arn(kind, "*")
    reason = {
        "allowed": False,
        "explicitDeny": True,
        "matchedStatements": {"items": [{"statementId": f"Require-{demand}", "effect": "DENY"}]},
        "failures": {"items": []},
        "context": {
            "principal": {"id": "AIDAEMULATED00000000", "arn": user},
            "action": "ec2:RunInstances",
            "resource": resource,
            "conditions": {"items": [{"key": key, "values": {"items": [{"value": value} for value in values]}}]},
        },
    }
    words = f"You are not authorized to perform this operation. User: {user} is not authorized to perform: "
    words += f"ec2:RunInstances on resource: {resource} with an explicit deny in a service control policy. "
    words += f"Encoded authorization failure message: {encode(reason)}"
    return Refusal("UnauthorizedOperation", words)


def encode(reason: Mapping[str, Any]) -> str:
    """Return a reason as EC2 encodes it."""
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(reason).encode())).decode()


def decode(message: str) -> str:
    """Return the reason; refuse what is none."""
    try:
        return zlib.decompress(base64.urlsafe_b64decode(message)).decode()
    except (ValueError, zlib.error):
        words = "Message is not valid"
        raise Refusal("InvalidAuthorizationMessageException", words) from None
