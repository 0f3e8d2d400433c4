"""What the subscription's quotas allow stands in the plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.model import Fallback
from tests.backends.azure.runs import DB, LOADER, REGION, request
from tests.emulated import Emulator
from tests.engine.runs import Bench

USAGES = "Usage_List"


@pytest.fixture
def bench(emulator: Emulator, tmp_path: Path) -> Iterator[Bench]:
    """Makes engines on one journal, and closes them."""
    with Bench(emulator, tmp_path / "journal.sqlite") as bench:
        yield bench


def test_the_room_is_read_from_the_subscription(bench: Bench, emulator: Emulator) -> None:
    """vCPUs of each family and of the region by market, with what is in use, reservations included."""
    emulator.weather(quota={REGION: {"cores": 100, "standardLSv3Family": 40, "lowPriorityCores": 9}})
    bench.engine(request(emulator, replace(DB, count=1))).provision("default", launch=False)
    wanted = request(emulator, DB, replace(LOADER, count=2, market="spot", reserve=False), run="two", zones=("1",))
    first = bench.plan_of(wanted).topologies["default"].rungs[0]
    assert {(one.name, one.market, one.asked, one.limit, one.free, one.enough) for one in first.room} == {
        ("standardLSv3Family", "on-demand", 16, 40, 32, True),
        ("cores", "on-demand", 16, 100, 92, True),
        ("lowPriorityCores", "spot", 8, 9, 9, True),
    }


def test_each_region_has_its_own(bench: Bench, emulator: Emulator) -> None:
    """A region whose quota is too small says so."""
    emulator.weather(quota={REGION: {"cores": 20}, "westeurope": {"cores": 100}})
    bench.engine(request(emulator, LOADER)).provision("default", launch=False)
    moving: dict[str, Any] = {"regions": (REGION, "westeurope"), "zones": ("1",), "fallback": Fallback(regions=True)}
    wanted = request(emulator, DB, LOADER, run="two", **moving)
    rungs = bench.plan_of(wanted).topologies["default"].rungs
    cores = {rung.region: one for rung in rungs for one in rung.room if one.name == "cores"}
    assert {region: (one.limit, one.free, one.enough) for region, one in cores.items()} == {
        REGION: (20, 16, False),
        "westeurope": (100, 100, True),
    }


def test_what_may_not_be_read_is_reported(bench: Bench, emulator: Emulator) -> None:
    """The plan stands, without the room, and names the right that is missing."""
    emulator.weather(faults=[{"operation": USAGES, "error": "AuthorizationFailed", "http": 403}])
    plan = bench.plan_of(request(emulator, DB, zones=("1",)))
    assert plan.good
    assert plan.topologies["default"].rungs[0].room == ()
    assert any(words.startswith(f"asked what the quotas of {REGION} allow") for words in plan.troubles), plan.troubles


def test_a_run_reads_no_more_than_before(bench: Bench, emulator: Emulator) -> None:
    """Of a run, the offers read the limits once."""
    bench.engine(request(emulator, DB)).provision("default", launch=False)
    assert len(emulator.calls(USAGES)) == 1
