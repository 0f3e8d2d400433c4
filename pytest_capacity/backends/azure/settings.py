"""The ``azure:`` section, and its values for one group, with the group's own over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from pytest_capacity.backends.groups import PlannedGroup, defaults_of, merged
from pytest_capacity.model import NodeGroup, Request

#: The zone of what is placed without one ("regional"), as the user writes it and as the last part of its name.
NO_ZONE: Final = "none"

#: The subscription and the tenant of the emulator.
EMULATED_SUBSCRIPTION: Final = "00000000-0000-4000-8000-000000000001"
EMULATED_TENANT: Final = "00000000-0000-4000-8000-000000000002"

CloudName = Literal["public", "government", "china"]


class NationalCloud(Struct, frozen=True):
    """Where one of Azure's clouds is: Resource Manager, its audience in tokens, and the authority that gives them."""

    endpoint: str
    scope: str
    authority: str


#: https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure and its sister of China.
NATIONAL_CLOUDS: Final[Mapping[CloudName, NationalCloud]] = {
    "public": NationalCloud(
        "https://management.azure.com", "https://management.azure.com/.default", "https://login.microsoftonline.com"
    ),
    "government": NationalCloud(
        "https://management.usgovcloudapi.net",
        "https://management.usgovcloudapi.net/.default",
        "https://login.microsoftonline.us",
    ),
    "china": NationalCloud(
        "https://management.chinacloudapi.cn",
        "https://management.chinacloudapi.cn/.default",
        "https://login.chinacloudapi.cn",
    ),
}


class AzureSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``azure:`` section. ``image``, ``subnets`` and ``security_groups`` are keyed by region."""

    #: The run works in it, and in no other.
    subscription: str | None = None
    #: Refuse a subscription of another tenant than this one.
    tenant: str | None = None
    cloud: CloudName = "public"
    #: URNs (``publisher:offer:sku:version``) or resource ids.
    image: Mapping[str, str] = field(default_factory=dict)
    #: Resource ids of existing subnets; a region without one gets a network of the run's.
    subnets: Mapping[str, str] = field(default_factory=dict)
    #: Resource ids of existing network security groups for the network interfaces.
    security_groups: Mapping[str, str] = field(default_factory=dict)
    #: Who may connect to port 22 of nodes in the run's own network: ranges of addresses; empty: none from outside.
    ssh_from: tuple[str, ...] = ()
    public_ip: bool = False
    #: Resource ids of user-assigned identities that the nodes get.
    identities: tuple[str, ...] = ()
    #: The resource id of an existing capacity reservation group, or a name: of one in the region, or of ours.
    capacity_reservation_group: str | None = None
    #: USD an hour that a spot machine may cost at most; -1: as much as on-demand.
    max_price: float = -1.0
    os_disk_gb: int | None = None
    os_disk_type: str | None = None
    #: Keep what a node writes to its console (boot diagnostics in a storage account of Azure's).
    console: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupSettings(PlannedGroup):
    """A group with every default filled in."""

    azure: AzureSettings

    def image(self, region: str) -> str:
        """Return the image that the group starts from in ``region``; "" where none is named."""
        own = self.group.cloud.get("image")
        if isinstance(own, Mapping) and region in own:
            return str(own[region])
        return self.group.image or self.azure.image.get(region, "")


def section_of(request: Request) -> AzureSettings:
    """Return the section of ``request``."""
    return msgspec.convert(request.settings, AzureSettings)


def subscription_of(request: Request) -> str:
    """Return the subscription of ``request``; that of the emulator in an emulated run."""
    return EMULATED_SUBSCRIPTION if request.emulated else (section_of(request).subscription or "")


def settings_of(request: Request, group: NodeGroup) -> GroupSettings:
    """Return ``group`` with the defaults of ``request``, and its own values over the section's."""
    own = merged(AzureSettings, request.settings, group.cloud, "tags", without="image")
    return GroupSettings(**defaults_of(request, group), azure=own)


def zone_number(zone: str) -> str:
    """Return what the API calls a zone of ours: ``eastus-1`` is ``1``; "" for a placement without a zone."""
    number = zone.rpartition("-")[2]
    return "" if number == NO_ZONE else number


def zone_name(region: str, number: str) -> str:
    """Return our name of a zone, which is that of Kubernetes on Azure: ``eastus-1``."""
    return f"{region}-{number or NO_ZONE}"
