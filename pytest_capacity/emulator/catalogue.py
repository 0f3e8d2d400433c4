"""The offers of the emulated clouds: a catalogue for each, and the names that weather uses for their places."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from msgspec import Struct

#: What a type that is in no list of prices costs for each of its vCPUs, in USD an hour.
PRICE_OF_A_VCPU: Final = 0.05
#: What spot costs, of the on-demand price.
SPOT_SHARE: Final = 0.3


class Place(Struct, frozen=True):
    """A zone; ``zone`` is empty for a whole region, ``region`` too for all of a cloud."""

    cloud: str
    region: str = ""
    zone: str = ""


class Catalogue(Protocol):
    """The offers of one cloud. Names are the cloud's own."""

    @property
    def least_s(self) -> float:
        """Return the seconds that a machine is billed at least."""
        ...

    def regions(self) -> frozenset[str]:
        """Return every region."""
        ...

    def zones(self) -> frozenset[str]:
        """Return every zone of every region."""
        ...

    def zones_of(self, region: str) -> Iterable[str]:
        """Return the zones of a region, in the cloud's order; none if there is no such region."""
        ...

    def has_type(self, type_: str) -> bool:
        """Return whether machines of this type exist."""
        ...

    def vcpus(self, type_: str) -> int | None:
        """Return the vCPUs of a type; None if there is no such type."""
        ...

    def memory_gb(self, type_: str) -> float | None:
        """Return the memory of a type; None if there is no such type."""
        ...

    def architecture(self, type_: str) -> str:
        """Return x86_64 or arm64."""
        ...

    def family(self, type_: str) -> str:
        """Return the family of a type, as quotas count it."""
        ...

    def price(self, type_: str, market: str) -> float:
        """Return USD for an hour of one machine."""
        ...

    def uses(self, type_: str, market: str) -> Mapping[str, float]:
        """Return how much one machine takes of each quota metric."""
        ...

    def metrics(self) -> frozenset[str]:
        """Return every quota metric that `uses` may name."""
        ...

    def operations(self) -> frozenset[str]:
        """Return every operation that a fault can name."""
        ...


class MachineType(Struct, frozen=True):
    """One type of a `TableCatalogue`. ``spot_hourly=None``: a share of the on-demand price."""

    vcpus: int
    memory_gb: float
    family: str = ""
    architecture: str = "x86_64"
    hourly: float | None = None
    spot_hourly: float | None = None


class TableCatalogue:
    """A catalogue of tables. A face subclasses it for `uses` and `metrics`, where its quotas count something else."""

    least_s: float = 60.0

    def __init__(
        self, zones: Mapping[str, tuple[str, ...]], types: Mapping[str, MachineType], operations: Iterable[str]
    ) -> None:
        self._zones = zones
        self._types = types
        self._operations = frozenset(operations)

    def regions(self) -> frozenset[str]:
        """Return every region."""
        return frozenset(self._zones)

    def zones(self) -> frozenset[str]:
        """Return every zone of every region."""
        return frozenset(zone for zones in self._zones.values() for zone in zones)

    def zones_of(self, region: str) -> tuple[str, ...]:
        """Return the zones of a region; none if there is no such region."""
        return self._zones.get(region, ())

    def has_type(self, type_: str) -> bool:
        """Return whether machines of this type exist."""
        return type_ in self._types

    def type(self, type_: str) -> MachineType | None:
        """Return what is known of a type."""
        return self._types.get(type_)

    def types(self) -> Mapping[str, MachineType]:
        """Return every type."""
        return self._types

    def vcpus(self, type_: str) -> int | None:
        """Return the vCPUs of a type; None if there is no such type."""
        known = self._types.get(type_)
        return None if known is None else known.vcpus

    def memory_gb(self, type_: str) -> float | None:
        """Return the memory of a type; None if there is no such type."""
        known = self._types.get(type_)
        return None if known is None else known.memory_gb

    def architecture(self, type_: str) -> str:
        """Return x86_64 or arm64."""
        known = self._types.get(type_)
        return "x86_64" if known is None else known.architecture

    def family(self, type_: str) -> str:
        """Return the family of a type, as quotas count it."""
        known = self._types.get(type_)
        return "" if known is None else known.family

    def price(self, type_: str, market: str) -> float:
        """Return USD for an hour of one machine."""
        known = self._types.get(type_, MachineType(2, 8))
        hourly = known.vcpus * PRICE_OF_A_VCPU if known.hourly is None else known.hourly
        if market != "spot":
            return hourly
        return hourly * SPOT_SHARE if known.spot_hourly is None else known.spot_hourly

    def uses(self, type_: str, market: str) -> Mapping[str, float]:
        """Return how much one machine takes of each quota metric: its vCPUs, of its market."""
        return {"spot_vcpus" if market == "spot" else "vcpus": self.vcpus(type_) or 0}

    def metrics(self) -> frozenset[str]:
        """Return every quota metric that `uses` may name."""
        return frozenset({"vcpus", "spot_vcpus"})

    def operations(self) -> frozenset[str]:
        """Return every operation that a fault can name."""
        return self._operations


class Names:
    """The names of all clouds together, to find what weather means and what in it is mistyped.

    A place is written as plainly as it is clear: ``ZONE``, ``REGION/ZONE`` or ``CLOUD/REGION/ZONE``; a
    region ``REGION`` or ``CLOUD/REGION``; all of a cloud, where quotas have it, ``CLOUD/*``.
    """

    def __init__(self, catalogues: Mapping[str, Catalogue]) -> None:
        self._catalogues = catalogues

    def catalogues(self, cloud: str | None) -> Mapping[str, Catalogue]:
        """Return the catalogue of one cloud, or of all."""
        if cloud is None:
            return self._catalogues
        return {name: one for name, one in self._catalogues.items() if name == cloud}

    def clouds(self) -> frozenset[str]:
        """Return the names of all clouds."""
        return frozenset(self._catalogues)

    def zones(self, key: str) -> list[Place]:
        """Return the zones that a key may mean."""
        cloud, region, zone = self._split(key, 3)
        return [
            Place(name, one, zone)
            for name, catalogue in self.catalogues(cloud).items()
            if zone in catalogue.zones()
            for one in ([region] if region else sorted(catalogue.regions()))
            if zone in catalogue.zones_of(one)
        ]

    def regions(self, key: str) -> list[Place]:
        """Return the regions that a key may mean; ``CLOUD/*`` is a whole cloud."""
        cloud, region = self._split(key, 2)
        if cloud is not None and region == "*":
            return [Place(cloud)]
        return [Place(name, region) for name, one in self.catalogues(cloud).items() if region in one.regions()]

    def _split(self, key: str, parts: int) -> list[str | None] | list[str]:
        words: list[str | None] = list(key.split("/", parts - 1))
        if len(words) == 2 and parts == 3 and words[0] in self._catalogues:
            return [words[0], None, words[1]]
        return [None] * (parts - len(words)) + words

    def has_type(self, type_: str, cloud: str | None = None) -> bool:
        """Return whether a cloud has such a type."""
        return any(one.has_type(type_) for one in self.catalogues(cloud).values())

    def operations(self, cloud: str | None = None) -> frozenset[str]:
        """Return the operations of one cloud or of all."""
        return frozenset[str]().union(*(one.operations() for one in self.catalogues(cloud).values()))

    def all_zones(self, cloud: str | None = None) -> frozenset[str]:
        """Return the zones of one cloud or of all, as they call them."""
        return frozenset[str]().union(*(one.zones() for one in self.catalogues(cloud).values()))

    def all_regions(self, cloud: str | None = None) -> frozenset[str]:
        """Return the regions of one cloud or of all."""
        return frozenset[str]().union(*(one.regions() for one in self.catalogues(cloud).values()))

    def metrics(self, cloud: str) -> frozenset[str]:
        """Return the quota metrics of a cloud."""
        return self._catalogues[cloud].metrics()


def near(word: str, known: Iterable[str]) -> str:
    """Return a hint at the known word that is most like ``word``; empty if none is."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
