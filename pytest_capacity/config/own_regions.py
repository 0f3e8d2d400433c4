"""Regions that topologies have for themselves (``topologies.NAME.regions``), so that a run is in several at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from pytest_capacity.config.fields import Faults, shown
from pytest_capacity.config.provider import Reader
from pytest_capacity.config.source import Source, split
from pytest_capacity.model import Topology


class OwnRegions(Struct, frozen=True, kw_only=True):
    """Which topologies name regions, and whether any is left that needs the common ones."""

    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Every topology names some.
    whole: bool = False

    @property
    def every(self) -> tuple[str, ...]:
        """Return all of them, each once."""
        return tuple(dict.fromkeys(region for regions in self.named.values() for region in regions))


def read_own_regions(source: Source, provider: Reader, given: Mapping[str, Topology], faults: Faults) -> OwnRegions:
    """Return the regions by topology, of the file and of those ``given`` in Python.

    A flag that names regions is for all topologies, so it is refused beside them.
    """
    raw: dict[str, tuple[str, Any]] = {}
    bodies = source.values.get("topologies")
    for name, body in bodies.items() if isinstance(bodies, Mapping) else ():
        value = body.get("regions") if isinstance(body, Mapping) else None
        raw[str(name)] = (f"{source.file}: topologies.{shown(name)[1:-1]}.regions", value)
    for name, topology in given.items():
        # A hook may have returned anything; that is complained of where its groups are read.
        value = list(getattr(topology, "regions", ())) or None
        raw[str(name)] = (f"pytest_capacity_topologies: {shown(name)[1:-1]}: regions", value)
    named: dict[str, tuple[str, ...]] = {}
    for name, (where, value) in raw.items():
        if value is None:
            continue
        before = len(faults.lines)
        regions = split(value, where, faults)
        if not regions and len(faults.lines) == before:
            faults.add(where, "names no region", f"Write `regions: [{provider.examples.region}]`, or leave it out.")
        named[name] = provider.read_regions(regions, where, faults)
        if source.is_overridden("regions"):
            flag = source.get("regions")[1]
            faults.add(where, f"is given, and {flag} names regions for all topologies", "Keep one of them.")
    whole = bool(named) and len(named) == len(raw) and "groups" not in source.values
    return OwnRegions(named={name: regions for name, regions in named.items() if regions}, whole=whole)
