"""What the name of a machine type says: its quota, and what can be put into it."""

from __future__ import annotations

from typing import Final

#: Series whose vCPUs count against CPUS; every other one has a metric of its own (Compute Engine documentation,
#: "Allocation quotas", section "CPU quota").
_COMMON: Final = frozenset({"n1", "e2", "f1", "g1", "custom"})

#: Series to whose machines local SSDs can be added at will (Compute Engine documentation, "About Local SSD disks",
#: "Choose a valid number of Local SSD disks"). The others have none, or have them built in by the type ("-lssd").
_TAKE_LOCAL_SSDS: Final = frozenset({"n1", "n2", "n2d", "c2", "c2d", "a2", "g2", "m1", "m3", "custom"})

#: Machines to which accelerators can be attached; those of the accelerator series have theirs built in.
_TAKE_ACCELERATORS: Final = frozenset({"n1", "custom"})


def series(instance_type: str) -> str:
    """Return the machine series: ``n2`` of ``n2-standard-8``."""
    return instance_type.partition("-")[0]


def family(instance_type: str) -> str:
    """Return the metric of the regional quota that the type's vCPUs count against: ``CPUS``, ``N2_CPUS``."""
    name = series(instance_type)
    return "CPUS" if name in _COMMON else f"{name.upper()}_CPUS"


def takes_local_ssds(instance_type: str) -> bool:
    """Return whether local SSDs can be added to machines of the type."""
    return series(instance_type) in _TAKE_LOCAL_SSDS


def takes_accelerators(instance_type: str) -> bool:
    """Return whether accelerators can be attached to machines of the type."""
    return series(instance_type) in _TAKE_ACCELERATORS
