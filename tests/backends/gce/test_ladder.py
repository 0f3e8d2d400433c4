"""Where a run comes to stand on an emulated GCE, against an expectation that is worked out without the ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.backends.cells import Cell, Field
from tests.backends.gce.lab import GceLab


def fault(cell: Cell) -> dict[str, Any]:
    """Return what the emulator answers in a dry cell: that it has none in this market, and late."""
    region, letter, type_, market = cell
    return {
        "cloud": "gce",
        "operation": "reservations.insert" if market == "on-demand" else "instances.insert",
        "zone": f"{region}-{letter}",
        "type": type_,
        "market": market,
        "error": "ZONE_RESOURCE_POOL_EXHAUSTED",
        "late": True,
    }


FIELD: Final = Field(
    regions=("us-central1", "us-east4"), zones=("a", "b"), types=("n2-standard-2", "c2-standard-4"), fault=fault
)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(24))
def test_it_stands_in_the_first_cell_that_has_some(lab: GceLab, tmp_path: Path, seed: int) -> None:
    """After one attempt in each dry cell before it, and nothing stays in those; where all are dry, in none."""
    FIELD.stands_in_the_first_cell(lab, tmp_path, seed)
