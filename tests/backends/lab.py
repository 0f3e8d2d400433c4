"""An emulated cloud for the conformance suite: what the labs of all clouds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.base import Backend
from pytest_capacity.model import NodeGroup, Request, Topology
from tests.emulated import Emulator


class Wanted(Struct, frozen=True, kw_only=True):
    """The weather that a test wants, as in `pytest_capacity.testing.Lab.weather`."""

    dry: Sequence[str] = ()
    late: Sequence[str] = ()
    lose_reply: bool = False
    quota: bool = False
    slow_s: float = 0.0


class EmulatedLab(ABC):
    """`pytest_capacity.testing.Lab` over the emulator, empty at the beginning."""

    zones: Sequence[str]

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    @abstractmethod
    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        """Return a request for this cloud."""

    @abstractmethod
    def parts(self, wanted: Wanted) -> dict[str, Any]:
        """Return the parts of the emulator's weather that make the ``wanted`` one on this cloud."""

    def weather(self, **wanted: Any) -> None:
        """Set the weather; what is left out is fair."""
        self.emulator.weather(**self.parts(Wanted(**wanted)))

    def backend(self, request: Request) -> Backend:
        """Return the real backend, as a keeper opens it."""
        return open_backend(request)

    def held(self) -> Sequence[str]:
        """Return the ids of all that is there."""
        return [one["id"] for one in self.emulator.held()]

    def calls(self) -> Sequence[str]:
        """Return the operations that were called."""
        return [call["operation"] for call in self.emulator.calls()]


def request_to(emulator: Emulator, backend: str, groups: Sequence[NodeGroup], **changes: Any) -> Request:
    """Return the request of a run at the emulator, with ``changes`` to its fields."""
    wanted: dict[str, Any] = {
        "backend": backend,
        "run": "run-1",
        "project": "tests",
        "topologies": {"default": Topology(tuple(groups))},
        "duration_s": 5400.0,
        "timeout_s": 60.0,
        "endpoint": emulator.url,
        "emulated": True,
    }
    return Request(**{**wanted, **changes})
