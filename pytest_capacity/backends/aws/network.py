"""What a group's nodes need of a zone: a subnet, security groups, and the key pair that lets the user in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_capacity.backends.aws.reads import Read, tag_matches
from pytest_capacity.backends.aws.settings import GroupSettings


def network_facts(group: GroupSettings, region: str, zone: str, read: Read) -> dict[str, str]:
    """Return what `plan` has to know of the group's network."""
    ids, _ = _security_groups(group, region, zone, read)
    ours = group.aws.subnets or group.aws.subnet_name
    return {
        f"subnet/{group.name}": _subnet(group, zone, read).get("SubnetId", "") if ours else "",
        f"security-groups/{group.name}": " ".join(ids),
    }


def why_no_network(group: GroupSettings, region: str, zone: str, read: Read) -> str:
    """Return why the group's nodes cannot be reached in the zone as the user wants; "" if they can, so far as seen."""
    aws = group.aws
    if aws.subnets and zone not in aws.subnets:
        return f"no subnet configured (aws.subnets has: {', '.join(sorted(aws.subnets))})"
    if aws.subnet_name and not _subnet(group, zone, read):
        return f"no subnet called {aws.subnet_name!r}{_unless_read(read, 'subnets')}"
    if not aws.subnets and not aws.subnet_name and read.subnets is not None and not _subnet(group, zone, read):
        return "the zone has no default subnet (name one of your own: aws.subnets)"
    if lacking := _security_groups(group, region, zone, read)[1]:
        return f"no security group called {', '.join(lacking)} in its VPC{_unless_read(read, 'security_groups')}"
    if aws.key_name in (read.lacking_pairs or ()):
        return f"{region} has no key pair called {aws.key_name!r}"
    return ""


def _unless_read(read: Read, name: str) -> str:
    why = read.unread.get(name) or (read.unread.get("subnets") if name == "security_groups" else None)
    return f" is known, since they could not be read ({why})" if why else ""


def _subnet(group: GroupSettings, zone: str, read: Read) -> Mapping[str, Any]:
    """Return the subnet as EC2 describes it, or its id alone where unread: the user's, else the zone's default one.

    Of several that have the name the one with most free addresses.
    """
    own, name = group.aws.subnets.get(zone), group.aws.subnet_name
    here = [one for one in read.subnets or () if one["AvailabilityZone"] == zone]
    if own:
        return next((one for one in here if one["SubnetId"] == own), {"SubnetId": own})
    if not name:
        return next((one for one in here if one.get("DefaultForAz")), {})
    found = [one for one in here if tag_matches(one, name) and one.get("State", "available") == "available"]
    return min(found, key=lambda one: (-int(one.get("AvailableIpAddressCount", 0)), one["SubnetId"]), default={})


def _security_groups(group: GroupSettings, region: str, zone: str, read: Read) -> tuple[list[str], list[str]]:
    """Return the ids of the group's security groups, and the names that none has in the subnet's VPC."""
    vpc = _subnet(group, zone, read).get("VpcId")
    known = {one["GroupName"]: one["GroupId"] for one in read.security_groups or () if one.get("VpcId") == vpc}
    given = group.security_groups(region)
    ids = [one if one.startswith("sg-") else known.get(one, "") for one in given]
    return [id_ for id_ in ids if id_], [name for name, id_ in zip(given, ids, strict=True) if not id_]
