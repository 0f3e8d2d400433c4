"""Where a run comes to stand on an emulated GCE, against an expectation that is worked out without the ladder."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity.errors import Exhausted
from pytest_capacity.model import Fallback, NodeGroup
from pytest_capacity.testing import Bench
from tests.backends.gce.lab import GceLab

REGIONS: Final = ("us-central1", "us-east4")
LETTERS: Final = ("a", "b")
TYPES: Final = ("n2-standard-2", "c2-standard-4")
MARKETS: Final = ("spot", "on-demand")
GROUP: Final = NodeGroup(
    name="db", count=1, instance_type=TYPES[0], alternatives=TYPES[1:], market="spot", reserve=True
)

#: Region, letter, type, market: in the order in which they are tried, the market being the innermost.
CELLS: Final = tuple(itertools.product(REGIONS, LETTERS, TYPES, MARKETS))


def some_dry(seed: int) -> frozenset[tuple[str, ...]]:
    """Cells that have nothing: more of those that are tried first, and now and then all."""
    chance = random.Random(seed)
    return frozenset(cell for number, cell in enumerate(CELLS) if chance.random() < 1.05 - number / 20)


def faults(dry: frozenset[tuple[str, ...]]) -> list[dict[str, Any]]:
    """What the emulator answers: that each dry cell has none, and late."""
    return [
        {
            "cloud": "gce",
            "operation": "reservations.insert" if market == "on-demand" else "instances.insert",
            "zone": f"{region}-{letter}",
            "type": type_,
            "market": market,
            "error": "ZONE_RESOURCE_POOL_EXHAUSTED",
            "late": True,
        }
        for region, letter, type_, market in dry
    ]


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(24))
def test_it_stands_in_the_first_cell_that_has_some(lab: GceLab, tmp_path: Path, seed: int) -> None:
    """After one attempt in each dry cell before it, and nothing stays in those; where all are dry, in none."""
    dry = some_dry(seed)
    lab.emulator.weather(faults=faults(dry))
    wanted = lab.request(
        GROUP, regions=REGIONS, zones=LETTERS, fallback=Fallback(regions=True), timeout_s=60.0, market="spot"
    )
    left = [cell for cell in CELLS if cell not in dry]
    bench = Bench(lab, tmp_path / "journal.sqlite")
    engine = bench.engine(wanted)
    if left:
        (node,) = engine.provision("default").nodes["db"]
        assert (node.region, node.zone[-1], node.instance_type, node.market) == left[0]
        assert len(engine.run_state.attempts) == CELLS.index(left[0]) + 1
    else:
        with pytest.raises(Exhausted):
            engine.provision("default")
        assert len(engine.run_state.attempts) == len(CELLS)
    bench.give_back(engine)
    bench.close()
