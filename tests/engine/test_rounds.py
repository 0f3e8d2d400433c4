"""What it costs: calls and parallel rounds, as the cloud counted them, however fast it is."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.backends.aws.account import rounds
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, Bench, request, within

WRITES = {
    "CreateCapacityReservation",
    "RunInstances",
    "CancelCapacityReservation",
    "TerminateInstances",
    "CreatePlacementGroup",
    "DeletePlacementGroup",
    "CreateTags",
}


@pytest.fixture(autouse=True)
def far_away(emulator: Emulator) -> None:
    """A cloud that takes its time, so that what is side by side shows, on a loaded machine too."""
    emulator.weather(latency_ms=1000)


def made(emulator: Emulator, *operations: str) -> list[dict[str, Any]]:
    """The calls of these operations."""
    return [call for call in emulator.calls() if call["operation"] in operations]


def test_two_groups_are_reserved_in_one_round(bench: Bench, emulator: Emulator) -> None:
    """One create call a capacity shape, side by side, and no other call between them."""
    engine = bench.engine()
    engine.offers.ahead("default")[0].result()
    engine.provision("default", launch=False)
    creates = made(emulator, "CreateCapacityReservation")
    assert len(creates) == 2
    assert rounds(creates) == 1
    begun = min(call["began"] for call in creates)
    assert [call["operation"] for call in emulator.calls() if call["began"] >= begun and call not in creates] == []


@pytest.mark.parametrize("dry", [1, 2, 4])
def test_k_dry_zones_cost_k_and_one_rounds(bench: Bench, emulator: Emulator, dry: int) -> None:
    """One attempt a group and zone, although EC2 sends a dry zone as HTTP 500, which SDKs like to retry."""
    letters = "abcdf"[: dry + 1]
    emulator.weather(stock={f"us-east-1{letter}": {"*": 0} for letter in letters[:-1]})
    engine = bench.engine(request(emulator, replace(DB, instance_type="c6i.large"), LOADER, zones=tuple(letters)))
    placed = engine.provision("default", launch=False)
    creates = made(emulator, "CreateCapacityReservation")
    assert placed.zone == f"us-east-1{letters[-1]}"
    assert len(creates) == 2 * (dry + 1)
    assert rounds(creates) == dry + 1


def test_a_half_dry_zone_costs_no_more(bench: Bench, emulator: Emulator) -> None:
    """What the first zone did give is cancelled beside the next zone's creates, not before them."""
    emulator.weather(stock={"us-east-1a": {"c6i.xlarge": 0}})
    bench.engine().provision("default", launch=False)
    creates = made(emulator, "CreateCapacityReservation")
    cancels = made(emulator, "CancelCapacityReservation")
    assert (len(creates), rounds(creates), len(cancels)) == (4, 2, 1)
    elsewhere = [call for call in creates if call["zone"] == "us-east-1b"]
    assert min(call["began"] for call in elsewhere) < cancels[0]["ended"]


def test_a_hundred_nodes_are_one_launch(bench: Bench, emulator: Emulator) -> None:
    """One RunInstances and one look at all of them; tags go in the create call."""
    engine = bench.engine(request(emulator, replace(DB, count=100, reserve=False)))
    engine.offers.ahead("default")[0].result()
    before = len(emulator.calls())
    placed = engine.provision("default")
    calls = emulator.calls()[before:]
    assert len(placed.nodes["db"]) == 100
    assert [call["operation"] for call in calls] == ["RunInstances", "DescribeInstances"]
    assert rounds(calls) == 2


def test_a_hundred_nodes_that_boot_are_polled_together(bench: Bench, emulator: Emulator) -> None:
    """However many: one describe a poll."""
    emulator.weather(boot_s=1.2)
    engine = bench.engine(request(emulator, replace(DB, count=100, reserve=False)))
    engine.provision("default")
    assert len(made(emulator, "RunInstances")) == 1
    assert len(made(emulator, "DescribeInstances")) <= 4
    assert made(emulator, "CreateTags") == []


def test_a_hundred_nodes_are_given_back_in_two_rounds(bench: Bench, emulator: Emulator) -> None:
    """One round that ends them and their reservation, one that lists what is left: nothing."""
    engine = bench.engine(request(emulator, replace(DB, count=100), LOADER))
    engine.provision("default")
    before = len(emulator.calls())
    assert engine.release(within(60)).clean
    calls = emulator.calls()[before:]
    assert sorted(call["operation"] for call in calls if call["operation"] in WRITES) == [
        "CancelCapacityReservation",
        "CancelCapacityReservation",
        "TerminateInstances",
    ]
    assert rounds(calls) == 2
    assert emulator.held() == []


def test_warming_up_is_one_round_of_reads(bench: Bench, emulator: Emulator) -> None:
    """Account, zones, types, image and default subnets are read side by side while pytest collects."""
    engine = bench.engine()
    engine.offers.ahead("default")[0].result()
    calls = emulator.calls()
    assert WRITES.isdisjoint(call["operation"] for call in calls)
    assert len(calls) <= 5
    assert rounds(calls) <= 2


def test_ten_nodes_that_boot_slowly_are_seen_soon(bench: Bench, emulator: Emulator) -> None:
    """They take 3 s: looked at often enough to be up soon after, seldom enough to be few calls."""
    emulator.weather(latency_ms=0, boot_s=3.0)
    engine = bench.engine(request(emulator, replace(DB, count=10)))
    engine.offers.ahead("default")[0].result()
    before = len(emulator.calls())
    engine.provision("default")
    operations = [call["operation"] for call in emulator.calls()[before:]]
    assert operations[:2] == ["CreateCapacityReservation", "RunInstances"]
    assert set(operations[2:]) == {"DescribeInstances"}
    assert len(operations[2:]) <= 8


def test_ten_nodes_that_stop_slowly_are_looked_at_alone(bench: Bench, emulator: Emulator) -> None:
    """A look reads only what is still there, and the stamp is listed once, at the end: some ten reads in 3 s."""
    engine = bench.engine(request(emulator, replace(DB, count=10)))
    engine.provision("default")
    emulator.weather(latency_ms=0, stop_s=3.0)
    before = len(emulator.calls())
    assert engine.release(within(60)).clean
    reads = [call["operation"] for call in emulator.calls()[before:] if call["operation"] not in WRITES]
    assert reads.count("DescribeCapacityReservations") == 2  # The first look, and the listing.
    assert reads.count("DescribePlacementGroups") == 1
    assert len(reads) <= 12
    assert emulator.held() == []
