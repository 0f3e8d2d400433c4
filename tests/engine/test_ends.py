"""What a receipt says of what is left: in which state, and until when."""

from __future__ import annotations

from msgspec.structs import replace

from tests.emulated import Emulator
from tests.engine.runs import DB, Bench, request, within


def test_what_takes_long_to_go(bench: Bench, emulator: Emulator) -> None:
    """A node that is shutting down is leaving, and bound to end at the hard end, not with its stamp's lease."""
    emulator.weather(stop_s=30)
    engine = bench.engine(request(emulator, DB, duration_s=3 * 3600.0))
    engine.provision("default")
    receipt = engine.release(within(0))
    assert {held.state for held in receipt.left if held.kind == "node"} == {"leaving"}
    assert receipt.until == engine.hard_end
    assert receipt.endless == ()


def test_what_nothing_ends(bench: Bench, emulator: Emulator) -> None:
    """Nodes without a timer are named; no end is promised for them."""
    emulator.weather(stop_s=30)
    wanted = request(emulator, DB)
    wanted = replace(wanted, settings={**wanted.settings, "self_terminate": False})
    engine = bench.engine(wanted)
    engine.provision("default")
    receipt = engine.release(within(0))
    nodes = {held.id for held in receipt.left if held.kind == "node"}
    assert len(nodes) == 3
    assert set(receipt.endless) == nodes
