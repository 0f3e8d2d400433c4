"""What the emulated Azure offers: locations, sizes, images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_capacity.emulator.catalogue import MachineType, TableCatalogue

SUBSCRIPTION: Final = "00000000-0000-4000-8000-000000000001"
TENANT: Final = "00000000-0000-4000-8000-000000000002"

#: Locations by name: the name that people read, and the numbers of their zones.
LOCATIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "eastus": ("East US", ("1", "2", "3")),
    "eastus2": ("East US 2", ("1", "2", "3")),
    "westus2": ("West US 2", ("1", "2", "3")),
    "westus": ("West US", ()),
    "westeurope": ("West Europe", ("1", "2", "3")),
    "northeurope": ("North Europe", ("1", "2", "3")),
    "uksouth": ("UK South", ("1", "2", "3")),
}

#: How what has no zone is called here, since every machine has a place.
NO_ZONE: Final = "none"


def _size(family: str, vcpus: int, memory_gb: float, hourly: float, architecture: str = "x86_64") -> MachineType:
    return MachineType(vcpus=vcpus, memory_gb=memory_gb, family=family, architecture=architecture, hourly=hourly)


SIZES: Final[Mapping[str, MachineType]] = {
    "Standard_B2s": _size("standardBSFamily", 2, 4, 0.0416),
    "Standard_D2s_v3": _size("standardDSv3Family", 2, 8, 0.096),
    "Standard_D4s_v3": _size("standardDSv3Family", 4, 16, 0.192),
    "Standard_D2s_v5": _size("standardDSv5Family", 2, 8, 0.096),
    "Standard_D4s_v5": _size("standardDSv5Family", 4, 16, 0.192),
    "Standard_D8s_v5": _size("standardDSv5Family", 8, 32, 0.384),
    "Standard_D2ps_v5": _size("standardDPSv5Family", 2, 8, 0.077, "arm64"),
    "Standard_E4s_v5": _size("standardESv5Family", 4, 32, 0.252),
    "Standard_F4s_v2": _size("standardFSv2Family", 4, 8, 0.169),
    "Standard_L8s_v3": _size("standardLSv3Family", 8, 64, 0.624),
    "Standard_L16s_v3": _size("standardLSv3Family", 16, 128, 1.248),
    "Standard_L8s_v4": _size("standardLSv4Family", 8, 64, 0.69),
    "Standard_HB120rs_v3": _size("standardHBrsv3Family", 120, 448, 3.6),
}
#: Sizes that cannot be reserved, and those that are not sold as spot.
NOT_RESERVABLE: Final = frozenset({"Standard_HB120rs_v3"})
NO_SPOT: Final = frozenset({"Standard_B2s"})
#: MB of the resource disk ("temp disk") that a size has, and MiB of its NVMe disks. What is on them is lost when the
#: machine is deallocated.
RESOURCE_DISK_MB: Final = {
    "Standard_B2s": 8192,
    "Standard_D2s_v3": 16384,
    "Standard_D4s_v3": 32768,
    "Standard_F4s_v2": 32768,
    "Standard_L8s_v3": 81920,
    "Standard_L16s_v3": 163840,
}
NVME_MIB: Final = {"Standard_L8s_v3": 1831420, "Standard_L16s_v3": 3662840, "Standard_L8s_v4": 1966080}

#: Images by publisher, offer and SKU.
IMAGES: Final = frozenset(
    {
        ("canonical", "ubuntu-24_04-lts", "server"),
        ("canonical", "ubuntu-24_04-lts", "server-arm64"),
        ("canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2"),
        ("debian", "debian-12", "12-gen2"),
        ("scylladb", "scylla-database", "enterprise"),
    }
)
IMAGE_VERSION: Final = "24.04.202611010"

OPERATIONS: Final = (
    "ResourceGroups_CreateOrUpdate",
    "ResourceGroups_Get",
    "ResourceGroups_List",
    "ResourceGroups_Delete",
    "ResourceGroups_CheckExistence",
    "Resources_List",
    "Resources_ListByResourceGroup",
    "Tags_UpdateAtScope",
    "Tags_GetAtScope",
    "Subscriptions_Get",
    "Subscriptions_List",
    "Subscriptions_ListLocations",
    "Tenants_List",
    "Providers_List",
    "ResourceSkus_List",
    "Usage_List",
    "VirtualMachineImages_List",
    "VirtualMachines_RetrieveBootDiagnosticsData",
    "VirtualMachines_InstanceView",
    "VirtualMachines_Deallocate",
    "VirtualMachines_Start",
    "Operations_Get",
    "Tokens_Get",
    "Blobs_Get",
    *(
        f"{group}_{verb}"
        for group in (
            "VirtualMachines",
            "CapacityReservationGroups",
            "CapacityReservations",
            "ProximityPlacementGroups",
            "Disks",
            "Images",
            "VirtualNetworks",
            "Subnets",
            "NetworkInterfaces",
            "PublicIPAddresses",
            "NetworkSecurityGroups",
        )
        for verb in ("CreateOrUpdate", "Update", "Get", "List", "ListAll", "Delete")
    ),
)


class AzureCatalogue(TableCatalogue):
    """The tables whose quotas count vCPUs: of the region, of the family of sizes, and of spot."""

    def __init__(self) -> None:
        zones = {
            name: tuple(zone_name(name, one) for one in (*numbers, "")) for name, (_, numbers) in LOCATIONS.items()
        }
        super().__init__(zones, SIZES, OPERATIONS)

    def uses(self, type_: str, market: str) -> Mapping[str, float]:
        """Return its vCPUs, under Azure's names of the quotas and under the neutral ones."""
        vcpus = self.vcpus(type_) or 0
        if market == "spot":
            return {"lowPriorityCores": vcpus, "spot_vcpus": vcpus}
        return {"cores": vcpus, "vcpus": vcpus, self.family(type_): vcpus}

    def metrics(self) -> frozenset[str]:
        """Return every quota."""
        families = {size.family for size in SIZES.values()}
        return frozenset({"cores", "vcpus", "lowPriorityCores", "spot_vcpus", *families})


def zone_name(region: str, number: str) -> str:
    """Return the name of a zone over all regions, as Kubernetes on Azure writes it: ``eastus-1``."""
    return f"{region}-{number or NO_ZONE}"
