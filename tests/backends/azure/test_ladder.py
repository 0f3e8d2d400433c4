"""Where a run comes to stand on an emulated Azure, against an expectation that is worked out without the ladder."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_capacity.errors import Exhausted
from pytest_capacity.model import Fallback, NodeGroup
from pytest_capacity.testing import Bench
from tests.backends.azure.runs import AzureLab, request
from tests.emulated import Emulator

REGIONS: Final = ("eastus", "westeurope")
ZONES: Final = ("1", "2")
TYPES: Final = ("Standard_L8s_v3", "Standard_D4s_v5")
MARKETS: Final = ("spot", "on-demand")
GROUP: Final = NodeGroup(
    name="db", count=1, instance_type=TYPES[0], alternatives=TYPES[1:], market="spot", reserve=True
)

#: Region, zone, type, market: in the order in which they are tried, the market being the innermost.
CELLS: Final = tuple(itertools.product(REGIONS, ZONES, TYPES, MARKETS))


def some_dry(seed: int) -> frozenset[tuple[str, ...]]:
    """Cells that have nothing: more of those that are tried first, and now and then all."""
    chance = random.Random(seed)
    return frozenset(cell for number, cell in enumerate(CELLS) if chance.random() < 1.05 - number / 20)


def faults(dry: frozenset[tuple[str, ...]]) -> list[dict[str, Any]]:
    """What the emulator answers: that each dry cell has none in this market, and late."""
    return [
        {
            "cloud": "azure",
            "operation": f"{'CapacityReservations' if market == 'on-demand' else 'VirtualMachines'}_CreateOrUpdate",
            "zone": f"{region}-{zone}",
            "type": type_,
            "market": market,
            "error": "OverconstrainedZonalAllocationRequest",
            "late": True,
        }
        for region, zone, type_, market in dry
    ]


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(24))
def test_it_stands_in_the_first_cell_that_has_some(emulator: Emulator, tmp_path: Path, seed: int) -> None:
    """After one attempt in each dry cell before it, and nothing stays in those; where all are dry, in none."""
    dry = some_dry(seed)
    lab = AzureLab(emulator)
    emulator.weather(faults=faults(dry))
    moves = Fallback(regions=True)
    wanted = request(emulator, GROUP, regions=REGIONS, zones=ZONES, fallback=moves, timeout_s=60.0, market="spot")
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
