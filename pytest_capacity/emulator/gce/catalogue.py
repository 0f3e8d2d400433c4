"""What the emulated Compute Engine offers: zones, machine types, accelerators, images, and what its quotas count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from pytest_capacity.emulator.catalogue import MachineType, TableCatalogue

#: The one project that there is.
PROJECT: Final = "emulated-project"
PROJECT_NUMBER: Final = "123456789012"

_LETTERS: Final[Mapping[str, str]] = {
    "us-central1": "abcf",
    "us-east1": "bcd",
    "us-east4": "abc",
    "us-west1": "abc",
    "europe-west1": "bcd",
    "europe-west4": "abc",
    "asia-northeast1": "abc",
}
ZONES: Final[Mapping[str, tuple[str, ...]]] = {
    region: tuple(f"{region}-{letter}" for letter in letters) for region, letters in _LETTERS.items()
}


def _series(
    name: str, kinds: Mapping[str, float], vcpus: Iterable[int], hourly: float, architecture: str = "x86_64"
) -> dict[str, MachineType]:
    return {
        f"{name}-{kind}-{count}": MachineType(
            vcpus=count,
            memory_gb=count * memory,
            family=name,
            architecture=architecture,
            hourly=round(hourly * count, 4),
        )
        for kind, memory in kinds.items()
        for count in vcpus
    }


#: USD an hour are the emulator's own figures, near those of us-central1.
TYPES: Final[Mapping[str, MachineType]] = {
    "e2-micro": MachineType(2, 1, "e2", hourly=0.0084),
    "e2-small": MachineType(2, 2, "e2", hourly=0.0168),
    "e2-medium": MachineType(2, 4, "e2", hourly=0.0335),
    **_series("e2", {"standard": 4, "highmem": 8, "highcpu": 1}, (2, 4, 8, 16), 0.0335),
    **_series("n1", {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}, (1, 2, 4, 8, 16, 32, 64, 96), 0.0475),
    **_series("n2", {"standard": 4, "highmem": 8, "highcpu": 1}, (2, 4, 8, 16, 32, 48, 64, 80), 0.0486),
    **_series("n2d", {"standard": 4, "highmem": 8}, (2, 4, 8, 16, 32, 64), 0.0423),
    **_series("c2", {"standard": 4}, (4, 8, 16, 30, 60), 0.0522),
    **_series("c3", {"standard": 4, "highmem": 8}, (4, 8, 22, 44, 88), 0.0504),
    # With local SSDs built in.
    **{f"{name}-lssd": type_ for name, type_ in _series("c3", {"standard": 4}, (4, 8, 22, 44, 88), 0.0604).items()},
    **_series("t2a", {"standard": 4}, (1, 2, 4, 8, 16, 32, 48), 0.0385, "arm64"),
    **_series("z3", {"highmem": 8}, (88, 176), 0.09),
}

#: Local SSDs that machines of a type have built in: how many of 375 GB.
BUNDLED_SSDS: Final[Mapping[str, int]] = {
    "c3-standard-4-lssd": 1,
    "c3-standard-8-lssd": 2,
    "c3-standard-22-lssd": 4,
    "c3-standard-44-lssd": 8,
    "c3-standard-88-lssd": 16,
    "z3-highmem-88": 12,
    "z3-highmem-176": 12,
}

#: Accelerator types, and the zones that have them.
ACCELERATORS: Final[Mapping[str, frozenset[str]]] = {
    "nvidia-tesla-t4": frozenset({"us-central1-a", "us-central1-b", "us-central1-f", "us-east1-c", "europe-west4-b"}),
    "nvidia-tesla-v100": frozenset({"us-central1-a", "us-central1-f", "europe-west4-a"}),
}


class Image(Struct, frozen=True):
    """A public image, or one of the project."""

    project: str
    name: str
    family: str
    architecture: str = "X86_64"
    disk_gb: int = 10


IMAGES: Final = (
    Image("debian-cloud", "debian-12-bookworm-v20261020", "debian-12"),
    Image("debian-cloud", "debian-12-bookworm-v20260915", "debian-12"),
    Image("debian-cloud", "debian-12-bookworm-arm64-v20261020", "debian-12-arm64", "ARM64"),
    Image("ubuntu-os-cloud", "ubuntu-2404-noble-amd64-v20261018", "ubuntu-2404-lts-amd64"),
    Image("ubuntu-os-cloud", "ubuntu-2404-noble-arm64-v20261018", "ubuntu-2404-lts-arm64", "ARM64"),
    Image("rocky-linux-cloud", "rocky-linux-9-v20261016", "rocky-linux-9", disk_gb=20),
    Image(PROJECT, "scylla-2026-1-x86-64", "scylla-2026-1", disk_gb=30),
)

#: Series whose vCPUs count against CPUS.
_COMMON: Final = frozenset({"e2", "n1"})
_EVERYWHERE: Final = "CPUS_ALL_REGIONS"
_SPOT: Final = "PREEMPTIBLE_CPUS"


class GceCatalogue(TableCatalogue):
    """Tables, and Compute Engine's quota metrics beside the emulator's own (``vcpus``, ``spot_vcpus``)."""

    def __init__(self, operations: Iterable[str]) -> None:
        super().__init__(ZONES, TYPES, operations)

    def metric(self, type_: str) -> str:
        """Return the metric that on-demand vCPUs of a type count against."""
        family = self.family(type_)
        return "CPUS" if family in _COMMON else f"{family.upper()}_CPUS"

    def uses(self, type_: str, market: str) -> Mapping[str, float]:
        """Return how much one machine takes of each metric."""
        vcpus = self.vcpus(type_) or 0
        if market == "spot":
            return {_SPOT: vcpus, "spot_vcpus": vcpus}
        return {self.metric(type_): vcpus, _EVERYWHERE: vcpus, "vcpus": vcpus}

    def metrics(self) -> frozenset[str]:
        """Return every metric that `uses` may name."""
        own = {self.metric(type_) for type_ in TYPES}
        return frozenset({_SPOT, _EVERYWHERE, "vcpus", "spot_vcpus"} | own)
