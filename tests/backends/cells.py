"""Where a run comes to stand on a cloud with dry cells: worked out without the ladder, for the clouds' ladder tests."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct

from pytest_capacity.errors import Exhausted
from pytest_capacity.model import Fallback, NodeGroup
from pytest_capacity.testing import Bench
from tests.backends.lab import EmulatedLab

MARKETS: Final = ("spot", "on-demand")

#: Region, zone as the user writes it, type, market.
Cell = tuple[str, ...]


class Field(Struct, frozen=True, kw_only=True):
    """What a run may ask of a cloud: every cell of it, and the fault that makes one dry."""

    regions: tuple[str, ...]
    zones: tuple[str, ...]
    types: tuple[str, ...]
    fault: Callable[[Cell], dict[str, Any]]

    @property
    def cells(self) -> Sequence[Cell]:
        """Return them in the order in which they are tried, the market being the innermost."""
        return list(itertools.product(self.regions, self.zones, self.types, MARKETS))

    def stands_in_the_first_cell(self, lab: EmulatedLab, tmp_path: Path, seed: int) -> None:
        """Check it for dry cells that ``seed`` draws: more of those that are tried first, and now and then all."""
        cells, chance = self.cells, random.Random(seed)
        dry = {cell for number, cell in enumerate(cells) if chance.random() < 1.05 - number / 20}
        lab.emulator.weather(faults=[self.fault(cell) for cell in dry])
        group = NodeGroup(
            name="db", count=1, instance_type=self.types[0], alternatives=self.types[1:], market="spot", reserve=True
        )
        moves = Fallback(regions=True)
        wanted = lab.request(group, regions=self.regions, zones=self.zones, fallback=moves, market="spot")
        left = [cell for cell in cells if cell not in dry]
        bench = Bench(lab, tmp_path / "journal.sqlite")
        engine = bench.engine(wanted)
        if left:
            (node,) = engine.provision("default").nodes["db"]
            assert (node.region, node.zone[-1], node.instance_type, node.market) == left[0]
            assert len(engine.run_state.attempts) == cells.index(left[0]) + 1
        else:
            with pytest.raises(Exhausted):
                engine.provision("default")
            assert len(engine.run_state.attempts) == len(cells)
        bench.give_back(engine)
        bench.close()
