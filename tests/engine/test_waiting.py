"""A cloud that says "not now": what is asked again, what is told meanwhile, and what is said when time is up."""

from __future__ import annotations

import pytest

from pytest_capacity.errors import TimedOut
from pytest_capacity.model import NodeGroup
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, Bench, request, within


def test_only_what_was_not_read_is_read_again(bench: Bench, emulator: Emulator) -> None:
    """Reads that are throttled do not throttle each other: what a region has said is kept, and the wait is told."""
    emulator.weather(faults=[{"operation": "DescribeImages", "error": "RequestLimitExceeded", "times": 2}])
    engine = bench.engine()
    engine.provision("default")
    asked = [call["operation"] for call in emulator.calls()]
    assert asked.count("DescribeImages") == 3
    assert asked.count("DescribeAvailabilityZones") == 1
    assert asked.count("DescribeInstanceTypeOfferings") == 1
    assert bench.events().count("unread") == 1
    assert engine.release(within(60)).clean


def test_a_piece_that_is_not_had_in_time_says_so(bench: Bench, emulator: Emulator) -> None:
    """Whichever of several gives up first: the limit, its flag and the cloud's last word, not that another gave up."""
    emulator.weather(faults=[{"operation": "RunInstances", "error": "Unavailable", "http": 503, "message": "wait"}])
    engine = bench.engine(request(emulator, DB, LOADER, timeout_s=8.0))
    with pytest.raises(TimedOut, match=r"took longer than 8 s \(--capacity-timeout\); .* was Unavailable: wait"):
        engine.provision("default")
    emulator.weather(faults=[])
    assert engine.release(within(60)).clean


@pytest.mark.parametrize(("slow", "other"), [(DB, LOADER), (LOADER, DB)], ids=lambda group: group.name)
def test_who_was_called_off_is_not_the_reason(
    bench: Bench, emulator: Emulator, slow: NodeGroup, other: NodeGroup
) -> None:
    """One piece is called off since the other one's time was up, whichever stands first: the other's reason counts."""
    refusal = {"operation": "RunInstances", "error": "Unavailable", "http": 503}
    emulator.weather(
        faults=[
            {**refusal, "type": slow.instance_type, "delay_s": 2},
            {**refusal, "type": other.instance_type},
        ]
    )
    engine = bench.engine(request(emulator, DB, LOADER, timeout_s=1.0))
    with pytest.raises(TimedOut):
        engine.provision("default")
    emulator.weather(faults=[])
    assert engine.release(within(60)).clean
