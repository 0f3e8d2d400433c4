"""Every backend of ours passes the public suite of conformance tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.base import Backend
from pytest_capacity.model import Request
from pytest_capacity.testing import ConformanceSuite, ScalingLab, ScalingSuite
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, request


class AwsLab:
    """EC2, emulated."""

    zones: Sequence[str] = ("us-east-1a", "us-east-1b")
    scaling = ScalingLab(
        type="c6i.large",
        larger="c6i.xlarge",
        other_architecture="c6g.large",
        with_local_disks="i4i.large",
        disk_gb=8,
    )

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def request(self, **overrides: Any) -> Request:
        return request(self._emulator, replace(DB, count=2), LOADER, **overrides)

    def backend(self, request: Request) -> Backend:
        return open_backend(request)

    def weather(
        self,
        *,
        dry: Sequence[str] = (),
        late: Sequence[str] = (),
        lose_reply: bool = False,
        quota: bool = False,
        slow_s: float = 0.0,
    ) -> None:
        faults: list[dict[str, Any]] = []
        if lose_reply:
            faults.append({"operation": "CreateCapacityReservation", "lose_reply": True, "times": 1})
        faults += [{"operation": "boot", "zone": zone, "error": "Server.InsufficientInstanceCapacity"} for zone in late]
        self._emulator.weather(
            stock={zone: {"*": 0} for zone in dry},
            quota={"us-east-1": {"vcpus": 0}} if quota else {},
            faults=faults,
            boot_s=slow_s or (0.05 if late else 0.0),
            stop_s=slow_s,
        )

    def held(self) -> Sequence[str]:
        return [one["id"] for one in self._emulator.held()]

    def calls(self) -> Sequence[str]:
        return [call["operation"] for call in self._emulator.calls()]


class TestAws(ConformanceSuite, ScalingSuite):
    """EC2."""

    @pytest.fixture(autouse=True)
    def _sdk(self, descriptions_read_once: None) -> None:
        """Each engine makes clients of its own."""

    @pytest.fixture
    def lab(self, emulator: Emulator) -> AwsLab:
        """The emulator, empty."""
        return AwsLab(emulator)
