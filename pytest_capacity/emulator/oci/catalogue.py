"""What the emulated OCI offers: regions with their availability domains, shapes, images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.emulator.catalogue import MachineType, TableCatalogue
from pytest_capacity.emulator.oci.own import read_own

FAULT_DOMAINS: Final = ("FAULT-DOMAIN-1", "FAULT-DOMAIN-2", "FAULT-DOMAIN-3")

#: By region: its key, as OCIDs have it, and what the names of its domains have between prefix and number.
REGIONS: Final[Mapping[str, tuple[str, str, int]]] = {
    "us-ashburn-1": ("iad", "US-ASHBURN", 3),
    "us-phoenix-1": ("phx", "PHX", 3),
    "eu-frankfurt-1": ("fra", "EU-FRANKFURT-1", 3),
    "uk-london-1": ("lhr", "UK-LONDON-1", 3),
    "ap-seoul-1": ("icn", "AP-SEOUL-1", 1),
}
REGION_KEYS: Final = {key: region for region, (key, _, _) in REGIONS.items()}

#: Oracle writes another prefix for every tenancy.
PREFIX: Final = "Uocm"

DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    region: tuple(f"{PREFIX}:{place}-AD-{number}" for number in range(1, count + 1))
    for region, (_, place, count) in REGIONS.items()
}


class Shape(Struct, frozen=True):
    """A shape: its OCPUs and memory as they are by default; for a flexible one, what it may have at most."""

    ocpus: float
    memory_gb: float
    #: The limit that counts its OCPUs, without ``-count``.
    limit: str
    arm: bool = False
    most_ocpus: float = 0.0
    most_memory_gb: float = 0.0
    local_disks: int = 0
    #: USD for an OCPU and for a GB of memory, an hour.
    ocpu_usd: float = 0.025
    gb_usd: float = 0.0015

    @property
    def flexible(self) -> bool:
        """Return whether a launch must state its size."""
        return self.most_ocpus > 0


SHAPES: Final[Mapping[str, Shape]] = {
    "VM.Standard.E4.Flex": Shape(4, 64, "standard-e4-core", most_ocpus=114, most_memory_gb=1760),
    "VM.Standard.E5.Flex": Shape(4, 64, "standard-e5-core", most_ocpus=126, most_memory_gb=1049, ocpu_usd=0.03),
    "VM.Standard3.Flex": Shape(4, 64, "standard3-core", most_ocpus=56, most_memory_gb=896, ocpu_usd=0.04),
    "VM.Optimized3.Flex": Shape(4, 64, "optimized3-core", most_ocpus=18, most_memory_gb=256, ocpu_usd=0.054),
    "VM.Standard.A1.Flex": Shape(4, 24, "standard-a1-core", arm=True, most_ocpus=80, most_memory_gb=512, ocpu_usd=0.01),
    "VM.DenseIO.E4.Flex": Shape(
        8, 128, "dense-io-e4-core", most_ocpus=32, most_memory_gb=512, local_disks=1, ocpu_usd=0.06
    ),
    "VM.Standard2.1": Shape(1, 15, "standard2-core", ocpu_usd=0.0638),
    "VM.Standard2.2": Shape(2, 30, "standard2-core", ocpu_usd=0.0638),
    "VM.Standard2.4": Shape(4, 60, "standard2-core", ocpu_usd=0.0638),
    "VM.DenseIO2.8": Shape(8, 120, "dense-io2-core", local_disks=1, ocpu_usd=0.1275),
    "VM.Standard.E2.1.Micro": Shape(1, 1, "standard-e2-micro-core", ocpu_usd=0.01),
    "BM.Standard.E4.128": Shape(128, 2048, "standard-e4-core"),
}


class ImageKind(Struct, frozen=True):
    """One image, the same in every region but for its OCID."""

    name: str
    system: str
    version: str
    user: str
    arm: bool = False


IMAGES: Final = (
    ImageKind("Oracle-Linux-9.6-2026.10.20-0", "Oracle Linux", "9", "opc"),
    ImageKind("Oracle-Linux-9.5-2026.04.14-0", "Oracle Linux", "9", "opc"),
    ImageKind("Oracle-Linux-9.6-aarch64-2026.10.20-0", "Oracle Linux", "9", "opc", arm=True),
    ImageKind("Oracle-Linux-8.10-2026.10.20-0", "Oracle Linux", "8", "opc"),
    ImageKind("Canonical-Ubuntu-24.04-2026.10.09-0", "Canonical Ubuntu", "24.04", "ubuntu"),
    ImageKind("Canonical-Ubuntu-24.04-aarch64-2026.10.09-0", "Canonical Ubuntu", "24.04", "ubuntu", arm=True),
)


class OciCatalogue(TableCatalogue):
    """Availability domains are the zones; a fault domain is a zone too, written ``DOMAIN.FAULT-DOMAIN-1``.

    A domain's stock is for the launches that name no fault domain that the weather has by itself.
    """

    def __init__(self, operations: Iterable[str]) -> None:
        zones = {
            region: tuple(
                zone for domain in domains for zone in (domain, *(f"{domain}.{one}" for one in FAULT_DOMAINS))
            )
            for region, domains in DOMAINS.items()
        }
        types = {
            name: MachineType(
                vcpus=int(shape.ocpus * (1 if shape.arm else 2)),
                memory_gb=shape.memory_gb,
                family=shape.limit,
                architecture="arm64" if shape.arm else "x86_64",
                hourly=shape.ocpus * shape.ocpu_usd + shape.memory_gb * shape.gb_usd,
                # Preemptible capacity is half the price (Oracle's price list).
                spot_hourly=(shape.ocpus * shape.ocpu_usd + shape.memory_gb * shape.gb_usd) / 2,
            )
            for name, shape in SHAPES.items()
        }
        super().__init__(zones, types, operations)

    def check_own(self, values: Mapping[str, Any]) -> None:
        """Raise `ValueError` for weather of OCI's own that makes no sense."""
        read_own(values)
