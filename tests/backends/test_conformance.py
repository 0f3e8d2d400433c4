"""Every backend of ours passes the public suite of conformance tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.model import NodeGroup, Request
from pytest_capacity.testing import ConformanceSuite, ScalingLab, ScalingSuite
from tests.backends.lab import EmulatedLab, Wanted
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, request


class AwsLab(EmulatedLab):
    """EC2, emulated."""

    zones: Sequence[str] = ("us-east-1a", "us-east-1b")
    scaling = ScalingLab(
        type="c6i.large",
        larger="c6i.xlarge",
        other_architecture="c6g.large",
        with_local_disks="i4i.large",
        disk_gb=8,
    )

    def request(self, *groups: NodeGroup, **overrides: Any) -> Request:
        return request(self.emulator, *(groups or (replace(DB, count=2), LOADER)), **overrides)

    def parts(self, wanted: Wanted) -> dict[str, Any]:
        faults: list[dict[str, Any]] = []
        if wanted.lose_reply:
            faults.append({"operation": "CreateCapacityReservation", "lose_reply": True, "times": 1})
        faults += [
            {"operation": "boot", "zone": zone, "error": "Server.InsufficientInstanceCapacity"} for zone in wanted.late
        ]
        return {
            "stock": {zone: {"*": 0} for zone in wanted.dry},
            "quota": {"us-east-1": {"vcpus": 0}} if wanted.quota else {},
            "faults": faults,
            "boot_s": wanted.slow_s or (0.05 if wanted.late else 0.0),
            "stop_s": wanted.slow_s,
        }


class TestAws(ConformanceSuite, ScalingSuite):
    """EC2."""

    @pytest.fixture(autouse=True)
    def _sdk(self, descriptions_read_once: None) -> None:
        """Each engine makes clients of its own."""

    @pytest.fixture
    def lab(self, emulator: Emulator) -> AwsLab:
        """The emulator, empty."""
        return AwsLab(emulator)
