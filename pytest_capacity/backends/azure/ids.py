"""Resource ids, names and API versions. Ids are compared in the one form that `canonical` makes of them.

Resource Manager takes ids in any case and gives them back in another: resource groups in capitals in some lists
(https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

COMPUTE: Final = "Microsoft.Compute"
NETWORK: Final = "Microsoft.Network"

MACHINES: Final = f"{COMPUTE}/virtualMachines"
GROUPS: Final = f"{COMPUTE}/capacityReservationGroups"
MEMBERS: Final = f"{GROUPS}/capacityReservations"
PLACEMENT_GROUPS: Final = f"{COMPUTE}/proximityPlacementGroups"
DISKS: Final = f"{COMPUTE}/disks"
IMAGES: Final = f"{COMPUTE}/images"
NETWORKS: Final = f"{NETWORK}/virtualNetworks"
CARDS: Final = f"{NETWORK}/networkInterfaces"
ADDRESSES: Final = f"{NETWORK}/publicIPAddresses"
FIREWALLS: Final = f"{NETWORK}/networkSecurityGroups"

_TYPES: Final = (MACHINES, MEMBERS, GROUPS, PLACEMENT_GROUPS, DISKS, IMAGES, NETWORKS, CARDS, ADDRESSES, FIREWALLS)
_BY_LOWER: Final = {type_.lower(): type_ for type_ in _TYPES}

#: What the permissions of resource groups are called after.
RESOURCE_GROUPS: Final = "Microsoft.Resources/subscriptions/resourceGroups"

RESOURCES_VERSION: Final = "2025-04-01"
SUBSCRIPTIONS_VERSION: Final = "2022-12-01"
SKUS_VERSION: Final = "2021-07-01"
#: The first one in which a machine can be kept out of every reservation.
COMPUTE_VERSION: Final = "2026-04-01"
DISKS_VERSION: Final = "2025-01-02"
NETWORK_VERSION: Final = "2026-03-01"

_ID: Final = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)(?:/providers/(?P<rest>.+))?", re.IGNORECASE
)
_UNWANTED: Final = re.compile(r"[^a-z0-9]+")


class ResourceId(Struct, frozen=True):
    """A resource id, taken apart. ``type`` and ``name`` are empty for a resource group."""

    subscription: str
    group: str
    type: str = ""
    name: str = ""
    #: The name of the resource that it is in (of the capacity reservation group, for a member); of several, all.
    parent: str = ""

    @classmethod
    def parse(cls, text: str) -> ResourceId:
        """Return the id that ``text`` is, its names in small letters. Raise ``ValueError`` for anything else."""
        found = _ID.fullmatch(text.rstrip("/"))
        if not found:
            raise ValueError(f"{text!r} is not a resource id (/subscriptions/.../resourceGroups/...)")
        subscription, group = found["subscription"].lower(), found["group"].lower()
        words = (found["rest"] or "").split("/")
        if words == [""]:
            return cls(subscription, group)
        if len(words) < 3 or len(words) % 2 == 0:
            raise ValueError(f"{text!r} is not the id of a resource")
        type_ = "/".join([words[0], *words[1::2]])
        parent = "/".join(words[2:-1:2]).lower()
        return cls(subscription, group, _BY_LOWER.get(type_.lower(), type_), words[-1].lower(), parent)

    def __str__(self) -> str:
        path = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        if not self.type:
            return path
        provider, *kinds = self.type.split("/")
        names = [*self.parent.split("/"), self.name] if self.parent else [self.name]
        return "/".join(
            [path, "providers", provider, *(word for pair in zip(kinds, names, strict=True) for word in pair)]
        )


def canonical(text: str) -> str:
    """Return a resource id in the one form in which ids are held and compared."""
    return str(ResourceId.parse(text))


def version_of(type_: str) -> str:
    """Return the API version of a type of resource; that of resource groups for ""."""
    if not type_:
        return RESOURCES_VERSION
    if type_ == DISKS:
        return DISKS_VERSION
    return NETWORK_VERSION if type_.startswith(f"{NETWORK}/") else COMPUTE_VERSION


def make_name(limit: int, *parts: str, seed: str) -> str:
    """Return a name of small letters, digits and hyphens: ``parts``, cut to fit, and a hash of ``seed`` at its end."""
    mark = hashlib.sha256(seed.encode()).hexdigest()[:10]
    words = _UNWANTED.sub("-", "-".join(filter(None, parts)).lower()).strip("-")
    return f"{words[: limit - len(mark) - 1].rstrip('-')}-{mark}"


def tags_of(answer: Mapping[str, object]) -> Mapping[str, str]:
    """Return the tags of a resource as Resource Manager lists it."""
    tags = answer.get("tags")
    return {str(key): str(value) for key, value in tags.items()} if isinstance(tags, Mapping) else {}
