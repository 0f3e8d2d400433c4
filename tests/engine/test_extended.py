"""The hard end of a run moves on, and never back."""

from __future__ import annotations

import pytest

from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from tests.emulated import Emulator
from tests.engine.runs import DB, Bench, request


@pytest.mark.parametrize("order", [(5000.0, 1000.0), (1000.0, 5000.0)])
def test_two_extensions_in_any_order(bench: Bench, emulator: Emulator, order: tuple[float, float]) -> None:
    """The later end counts, in memory and for a keeper that reads the journal, however the two were written."""
    engine = bench.engine(request(emulator, DB, limit_s=20000.0))
    began = engine.hard_end
    for more in order:
        # As two processes do that asked for the end at the same moment: neither knows of the other's.
        engine.run_state.intend("extended", data={"hard_end": began + more})
    assert engine.hard_end == began + 5000
    journal = Journal(bench.path)
    try:
        assert RunState(journal, "run-1", bench.clock).hard_end == began + 5000
    finally:
        journal.close()
