"""Reserves and starts the cloud machines that tests need, and gives every one of them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_capacity.api import CapacityReservation
    from pytest_capacity.errors import (
        Cancelled,
        CapacityError,
        CapacityWarning,
        ChangedSession,
        CommandFailed,
        CommandTimedOut,
        ConfigError,
        Exhausted,
        InUse,
        JournalError,
        KeeperError,
        NodeError,
        Refused,
        ScalingError,
        TimedOut,
        Unreachable,
    )
    from pytest_capacity.model import NodeGroup, Reservation, Topology
    from pytest_capacity.plugin.handle import Capacity
    from pytest_capacity.remote.machine import Machine as Node
    from pytest_capacity.version import __version__

__all__ = [
    "Cancelled",
    "Capacity",
    "CapacityError",
    "CapacityReservation",
    "CapacityWarning",
    "ChangedSession",
    "CommandFailed",
    "CommandTimedOut",
    "ConfigError",
    "Exhausted",
    "InUse",
    "JournalError",
    "KeeperError",
    "Node",
    "NodeError",
    "NodeGroup",
    "Refused",
    "Reservation",
    "ScalingError",
    "TimedOut",
    "Topology",
    "Unreachable",
    "__version__",
]

#: Names that are others in their module: what tests get is a machine, and the field's word for it is node.
_OTHERWISE: Final = {"Node": "Machine"}

#: The others are errors.
_HOMES: Final = {
    "Capacity": "pytest_capacity.plugin.handle",
    "CapacityReservation": "pytest_capacity.api",
    "Node": "pytest_capacity.remote.machine",
    "__version__": "pytest_capacity.version",
    **dict.fromkeys(("NodeGroup", "Reservation", "Topology"), "pytest_capacity.model"),
}


def __getattr__(name: str) -> Any:
    # pytest imports this package in every run of an environment that has it installed: nothing loads before its use.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "pytest_capacity.errors")), _OTHERWISE.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)
