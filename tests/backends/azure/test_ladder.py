"""Where a run comes to stand on an emulated Azure, against an expectation that is worked out without the ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.backends.azure.runs import AzureLab
from tests.backends.cells import Cell, Field
from tests.emulated import Emulator


def fault(cell: Cell) -> dict[str, Any]:
    """Return what the emulator answers in a dry cell: that it has none in this market, and late."""
    region, zone, type_, market = cell
    return {
        "cloud": "azure",
        "operation": f"{'CapacityReservations' if market == 'on-demand' else 'VirtualMachines'}_CreateOrUpdate",
        "zone": f"{region}-{zone}",
        "type": type_,
        "market": market,
        "error": "OverconstrainedZonalAllocationRequest",
        "late": True,
    }


FIELD: Final = Field(
    regions=("eastus", "westeurope"), zones=("1", "2"), types=("Standard_L8s_v3", "Standard_D4s_v5"), fault=fault
)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(24))
def test_it_stands_in_the_first_cell_that_has_some(emulator: Emulator, tmp_path: Path, seed: int) -> None:
    """After one attempt in each dry cell before it, and nothing stays in those; where all are dry, in none."""
    FIELD.stands_in_the_first_cell(AzureLab(emulator), tmp_path, seed)
