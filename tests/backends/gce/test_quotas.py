"""What the project's quotas allow stands in the plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_capacity.model import Fallback
from tests.backends.gce.lab import DB, LOADER, REGION, request
from tests.emulated import Emulator
from tests.engine.runs import Bench

OTHER = "us-east1"


@pytest.fixture
def bench(emulator: Emulator, tmp_path: Path) -> Iterator[Bench]:
    """Makes engines on one journal, and closes them."""
    with Bench(emulator, tmp_path / "journal.sqlite") as bench:
        yield bench


def test_the_room_is_read_from_the_project(bench: Bench, emulator: Emulator) -> None:
    """vCPUs of each series' metric; a project's own quota of spot machines is for all series."""
    emulator.weather(quota={REGION: {"N2_CPUS": 24, "CPUS": 3, "PREEMPTIBLE_CPUS": 8}})
    bench.engine(request(emulator, DB)).provision("default", launch=False)
    spot = replace(DB, name="spot", market="spot", reserve=False)
    wanted = request(emulator, DB, LOADER, spot, run="two", zones=("a",))
    first = bench.plan_of(wanted).topologies["default"].rungs[0]
    assert {(one.name, one.market, one.asked, one.limit, one.free, one.enough) for one in first.room} == {
        ("N2_CPUS", "on-demand", 4, 24, 20, True),
        ("CPUS", "on-demand", 4, 3, 3, False),
        ("PREEMPTIBLE_CPUS", "spot", 4, 8, 8, True),
    }


def test_spot_counts_like_the_others_without_a_quota_of_its_own(bench: Bench, emulator: Emulator) -> None:
    """A project that was granted none uses that of the series."""
    emulator.weather(quota={REGION: {"N2_CPUS": 24, "PREEMPTIBLE_CPUS": 0}})
    wanted = request(emulator, replace(DB, market="spot", reserve=False), zones=("a",))
    first = bench.plan_of(wanted).topologies["default"].rungs[0]
    assert [(one.name, one.market, one.asked) for one in first.room] == [("N2_CPUS", "spot", 4)]


def test_all_regions_are_one_list(bench: Bench, emulator: Emulator) -> None:
    """Each region has its own quotas; regions and machine types are read once, whatever the number of regions."""
    emulator.weather(quota={REGION: {"N2_CPUS": 2}, OTHER: {"N2_CPUS": 100}})
    wanted = request(emulator, DB, regions=(REGION, OTHER), zones=(), fallback=Fallback(regions=True))
    rungs = bench.plan_of(wanted).topologies["default"].rungs
    assert {(rung.region, one.limit, one.enough) for rung in rungs for one in rung.room} == {
        (REGION, 2, False),
        (OTHER, 100, True),
    }
    assert len(emulator.calls("regions.list")) == 1
    assert len(emulator.calls("machineTypes.aggregatedList")) == 1


def test_what_may_not_be_read_is_reported(bench: Bench, emulator: Emulator) -> None:
    """The plan stands, without the room."""
    emulator.weather(faults=[{"operation": "regions.list", "error": "forbidden", "http": 403}])
    plan = bench.plan_of(request(emulator, DB, zones=("a",)))
    assert plan.good
    assert plan.topologies["default"].rungs[0].room == ()
    assert any(words.startswith(f"asked what the quotas of {REGION} allow") for words in plan.troubles), plan.troubles


def test_a_run_reads_none(bench: Bench, emulator: Emulator) -> None:
    """A run is told by Compute Engine where a quota is full."""
    bench.engine(request(emulator, DB)).provision("default", launch=False)
    assert not emulator.calls("regions.list")
