"""What an emulator refused is remembered of it alone: a later one may be at the same address."""

from __future__ import annotations

from msgspec.structs import replace

from tests.emulated import Emulator
from tests.engine.runs import DB, Bench, request, within


def test_zones_that_ran_dry_are_those_of_one_emulator(bench: Bench, emulator: Emulator) -> None:
    """The next run there tries them last; a run at another emulator with the same URL and journal does not."""
    emulator.weather(stock={"us-east-1a": {"i4i.large": 0}})

    def zone(run: str, which: str) -> str:
        engine = bench.engine(request(emulator, replace(DB, count=1), run=run), which=which)
        placed = engine.provision("default")
        assert engine.release(within(20)).clean
        return placed.zone

    assert zone("run-1", "one") == "us-east-1b"
    emulator.weather(stock={})
    assert zone("run-2", "one") == "us-east-1b"
    assert zone("run-3", "two") == "us-east-1a"
