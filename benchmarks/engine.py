"""The engine at work, warm: what each piece of work takes beyond the cloud's own answer time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from benchmarks.table import Row
from pytest_capacity.engine import Engine
from pytest_capacity.model import NodeGroup
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, Bench, request, within

#: One round trip, seconds.
ROUND: Final = 0.150

#: What slow nodes take to boot and to stop, seconds.
SLOW: Final = 3.0


@contextmanager
def warm(emulator: Emulator, *groups: NodeGroup, **changes: Any) -> Iterator[Engine]:
    """An engine whose account and zones are read, whose clients are built, with an open connection for each call."""
    emulator.reset(latency_ms=0)
    with tempfile.TemporaryDirectory() as folder, Bench(emulator, Path(folder) / "journal.sqlite") as bench:
        engine = bench.engine(request(emulator, *groups, run=f"bench-{time.time_ns()}", **changes))
        engine.offers.ahead("default")[0].result()
        yield engine


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def reserve_two(emulator: Emulator) -> float:
    """Two groups reserved."""
    with warm(emulator) as engine:
        emulator.weather(latency_ms=150)
        return seconds(lambda: engine.provision("default", launch=False))


def five_dry_zones(emulator: Emulator) -> float:
    """The sixth zone has capacity."""
    letters = "abcdef"
    group = replace(DB, instance_type="m5.large")
    with warm(emulator, group, replace(LOADER, instance_type="t3.large"), zones=tuple(letters)) as engine:
        emulator.weather(latency_ms=150, stock={f"us-east-1{letter}": {"*": 0} for letter in letters[:-1]})
        return seconds(lambda: engine.provision("default", launch=False))


def launch_hundred(emulator: Emulator) -> float:
    """A hundred like nodes, running at once."""
    with warm(emulator, replace(DB, count=100, reserve=False)) as engine:
        emulator.weather(latency_ms=150)
        return seconds(lambda: engine.provision("default"))


def release_hundred(emulator: Emulator) -> float:
    """A hundred nodes and two reservations, confirmed gone."""
    with warm(emulator, replace(DB, count=100), LOADER) as engine:
        engine.provision("default")
        emulator.weather(latency_ms=150)
        return seconds(lambda: engine.release(within(60)))


def boot_ten(emulator: Emulator) -> float:
    """Ten nodes that take three seconds to boot."""
    with warm(emulator, replace(DB, count=10, reserve=False)) as engine:
        emulator.weather(latency_ms=150, boot_s=SLOW)
        return seconds(lambda: engine.provision("default"))


def stop_ten(emulator: Emulator) -> float:
    """Ten nodes that take three seconds to stop, confirmed gone."""
    with warm(emulator, replace(DB, count=10, reserve=False)) as engine:
        engine.provision("default")
        emulator.weather(latency_ms=150, stop_s=SLOW)
        return seconds(lambda: engine.release(within(60)))


def rows(emulator: Emulator, times: int) -> list[Row]:
    """Each piece of work, so many times, beside its goal."""
    works: list[tuple[str, Callable[[Emulator], float], float, str]] = [
        ("reserve 2 groups", reserve_two, 1.2 * ROUND, "1 round"),
        ("5 dry zones, then a good one (2 groups)", five_dry_zones, 1.2 * 6 * ROUND, "6 rounds"),
        ("launch 100 like nodes", launch_hundred, 2 * ROUND + 0.3, "2 rounds"),
        ("release 100 nodes, 2 reservations", release_hundred, 2 * ROUND + 0.3, "2 rounds"),
        ("10 nodes that boot in 3 s", boot_ten, SLOW + 0.7, "3 s + 1 round"),
        ("10 nodes that stop in 3 s", stop_ten, SLOW + 0.7, "3 s + 1 round"),
    ]
    return [Row(name, [work(emulator) for _ in range(times)], goal, "s", limit) for name, work, goal, limit in works]
