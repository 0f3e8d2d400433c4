"""Spot nodes that the cloud takes back while the run has them."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity.engine import Engine
from pytest_capacity.model import Fallback, NodeGroup
from tests.emulated import Emulator
from tests.engine.runs import LOADER, Bench, request, within

SPOT = NodeGroup(name="db", count=3, instance_type="i4i.large", market="spot", reserve=True)


def standing(bench: Bench, emulator: Emulator, **keys: Any) -> Engine:
    """Spot nodes and an on-demand loader in zone a."""
    engine = bench.engine(request(emulator, SPOT, LOADER, **keys))
    engine.provision("default")
    return engine


def reclaim(emulator: Emulator, engine: Engine, count: int = 1) -> list[str]:
    """The cloud takes the first spot nodes back; their ids."""
    ids = [node.id for node in engine.run_state.placed["default"].nodes["db"][:count]]
    emulator.weather(reclaim=ids)
    return ids


def test_it_is_noticed(bench: Bench, emulator: Emulator) -> None:
    """With the cloud's reason, once, and only of the node that was taken."""
    engine = standing(bench, emulator)
    assert not engine.watch_preemption()
    (lost,) = reclaim(emulator, engine)
    assert engine.watch_preemption()
    assert not engine.watch_preemption()
    assert list(engine.run_state.preempted) == [lost]
    assert "is taken back by aws: Server.SpotInstanceTermination" in engine.run_state.preempted[lost]
    assert len(engine.provision("default").nodes["db"]) == 3
    bench.give_back(engine)


def test_on_demand_nodes_cost_no_look(bench: Bench, emulator: Emulator) -> None:
    """A run without spot nodes asks the cloud nothing for this."""
    engine = bench.engine(request(emulator, LOADER))
    engine.provision("default")
    calls = len(emulator.calls())
    assert not engine.watch_preemption()
    assert len(emulator.calls()) == calls


def test_it_is_replaced(bench: Bench, emulator: Emulator) -> None:
    """In the same zone, by spot while there is any; the others stay, and the new one stands in its place."""
    engine = standing(bench, emulator, on_preempt="replace")
    before = engine.provision("default").nodes["db"]
    lost = before[1].id
    emulator.weather(reclaim=[lost])
    engine.watch_preemption()
    after = engine.provision("default").nodes["db"]
    assert lost not in {node.id for node in after}
    assert (after[0], after[2]) == (before[0], before[2])
    assert (after[1].zone, after[1].market) == ("us-east-1a", "spot")
    assert [node.name for node in after] == [node.name for node in before]
    launched = [call for call in emulator.calls("RunInstances") if call["status"] == 200]
    assert len(launched) == 3
    bench.give_back(engine)


def test_two_are_replaced_by_on_demand_nodes(bench: Bench, emulator: Emulator) -> None:
    """Where spot has run dry and fallback allows, into a reservation of their own; that is told."""
    engine = standing(bench, emulator, on_preempt="replace")
    reclaim(emulator, engine, 2)
    emulator.weather(stock={"us-east-1a": {"spot": {"*": 0}}})
    engine.watch_preemption()
    after = engine.provision("default").nodes["db"]
    assert [node.market for node in after] == ["on-demand", "on-demand", "spot"]
    assert sum(one["count"] for one in emulator.held("capacity-reservation")) == 3
    assert any("asked for spot and got on-demand" in words for words in engine.run_state.changes)
    bench.give_back(engine)


def test_it_cannot_be_replaced(bench: Bench, emulator: Emulator) -> None:
    """Then it is not lent any more, the run goes on with the others, and says so; no other zone is tried."""
    engine = standing(bench, emulator, on_preempt="replace", fallback=Fallback(spot_to_on_demand=False))
    (lost,) = reclaim(emulator, engine)
    emulator.weather(stock={"us-east-1a": {"spot": {"*": 0}}})
    engine.watch_preemption()
    assert lost in engine.run_state.suspects
    assert any("could not be replaced" in words for words in engine.run_state.troubles)
    assert {call["zone"] for call in emulator.calls("RunInstances")} == {"us-east-1a"}
    calls = len(emulator.calls("RunInstances"))
    engine.watch_preemption()
    assert len(emulator.calls("RunInstances")) == calls
    assert engine.release(within(60)).clean


def test_who_waits_hears_that_nothing_comes(bench: Bench, emulator: Emulator) -> None:
    """A failed replacement of a node whose loss was known before is a change: no test waits for it any longer."""
    engine = standing(bench, emulator, on_preempt="replace", fallback=Fallback(spot_to_on_demand=False))
    reclaim(emulator, engine)
    emulator.weather(stock={"us-east-1a": {"spot": {"*": 0}}})
    engine.preemption.look()
    assert engine.watch_preemption()
    assert not engine.watch_preemption()
    assert engine.release(within(60)).clean


def test_a_keeper_dies_before_it_hands_over(bench: Bench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one takes over the new node, too, and makes no other."""
    engine = standing(bench, emulator, on_preempt="replace")
    reclaim(emulator, engine)
    monkeypatch.setattr(engine, "_hand_over", lambda placed: placed)
    engine.watch_preemption()
    assert bench.events()[-1] == "attempt-ended"
    second = bench.engine(engine.request)
    second.watch_preemption()
    assert len(second.provision("default").nodes["db"]) == 3
    assert len(emulator.held("instance")) == 4
    assert [attempt.number for attempt in second.run_state.attempts] == [1, 2]
    bench.give_back(second)


def test_another_keeper_knows_of_it(bench: Bench, emulator: Emulator) -> None:
    """What was replaced is not replaced again, and all that stands is still held."""
    engine = standing(bench, emulator, on_preempt="replace")
    reclaim(emulator, engine)
    engine.watch_preemption()
    nodes = engine.provision("default").nodes["db"]
    second = bench.engine(engine.request)
    second.watch_preemption()
    assert second.provision("default").nodes["db"] == nodes
    assert len(emulator.held("instance")) == 4
    bench.give_back(second)
