"""Up the ladder, against the emulated cloud: what moves, what stays, what is asked again, and what is left."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any, cast

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.base import Backend
from pytest_capacity.errors import Exhausted
from pytest_capacity.model import Fallback, Held, NodeGroup, Piece, Placed
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import Bench, Wrapped, request, within

SPOT = NodeGroup(name="db", count=3, instance_type="i4i.large", market="spot", reserve=True)
LOADER = NodeGroup(name="loader", count=1, instance_type="c6i.xlarge", market="on-demand", reserve=True)
BOTH_REGIONS = {
    "regions": ("us-east-1", "us-west-2"),
    "fallback": Fallback(regions=True),
    "aws": AwsSettings(image={"us-east-1": IMAGE, "us-west-2": IMAGE}),
}


def refused(operation: str, code: str = "InsufficientInstanceCapacity", **where: Any) -> dict[str, Any]:
    """A fault of the weather."""
    return {"operation": operation, "error": code, "message": "Insufficient capacity.", **where}


def asked(emulator: Emulator, operation: str) -> list[tuple[str, str]]:
    """Zone and type of each such call."""
    return [(call["zone"][-1], call["type"]) for call in emulator.calls(operation)]


def got(placed: Placed, group: str = "db") -> tuple[str, str, str]:
    """Zone, market and type of a group, which is all of one kind."""
    (found,) = {(node.zone, node.market, node.instance_type) for node in placed.nodes[group]}
    return found


class Gone:
    """The journal of a process that is dead."""

    def write(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_spot_then_reserved(bench: Bench, emulator: Emulator) -> None:
    """Where spot is dry the group alone goes on-demand, into a reservation, in the same zone; that is told."""
    emulator.weather(stock={"us-east-1a": {"spot": {"*": 0}}})
    engine = bench.engine(request(emulator, SPOT, LOADER))
    placed = engine.provision("default")
    assert got(placed) == ("us-east-1a", "on-demand", "i4i.large")
    assert all(node.reservation_id for node in placed.nodes["db"])
    assert sorted(asked(emulator, "RunInstances")) == [("a", "c6i.xlarge"), ("a", "i4i.large"), ("a", "i4i.large")]
    assert sorted(asked(emulator, "CreateCapacityReservation")) == [("a", "c6i.xlarge"), ("a", "i4i.large")]
    assert "group 'db' asked for spot and got on-demand in us-east-1a" in engine.run_state.changes
    bench.give_back(bench.engines[-1])


def test_only_the_refused_group_moves_to_another_type(bench: Bench, emulator: Emulator) -> None:
    """The loader's reservation of the first attempt serves the second; nothing of it is made twice."""
    db = NodeGroup(
        name="db", count=3, instance_type="i4i.large", alternatives=("i3en.large",), market="on-demand", reserve=True
    )
    emulator.weather(stock={"us-east-1a": {"i4i.large": 0}})
    placed = bench.engine(request(emulator, db, LOADER)).provision("default")
    assert got(placed) == ("us-east-1a", "on-demand", "i3en.large")
    assert sorted(asked(emulator, "CreateCapacityReservation")) == [
        ("a", "c6i.xlarge"),
        ("a", "i3en.large"),
        ("a", "i4i.large"),
    ]
    assert emulator.calls("CancelCapacityReservation") == []
    bench.give_back(bench.engines[-1])


def test_what_the_next_rung_cannot_use_is_released(bench: Bench, emulator: Emulator) -> None:
    """A group that is refused at the launch leaves its reservation; another type makes that one useless."""
    db = NodeGroup(
        name="db", count=3, instance_type="i4i.large", alternatives=("i3en.large",), market="on-demand", reserve=True
    )
    emulator.weather(faults=[refused("RunInstances", type="i4i.large")])
    placed = bench.engine(request(emulator, db, LOADER)).provision("default")
    assert got(placed) == ("us-east-1a", "on-demand", "i3en.large")
    held = {(one["kind"], one["type"], one["count"]) for one in emulator.held("capacity-reservation")}
    assert held == {("capacity-reservation", "i3en.large", 3), ("capacity-reservation", "c6i.xlarge", 1)}
    assert len(asked(emulator, "RunInstances")) == 3
    bench.give_back(bench.engines[-1])


def test_a_shared_reservation_is_not_kept_too_large(bench: Bench, emulator: Emulator) -> None:
    """Two groups of one type share a reservation; when one moves, no idle machine is paid for."""
    db = NodeGroup(
        name="db", count=2, instance_type="i4i.large", alternatives=("i3en.large",), market="on-demand", reserve=True
    )
    other = NodeGroup(name="other", count=1, instance_type="i4i.large", market="on-demand", reserve=True)
    # The first launch of the type is db's or the other group's; both have to stand in the end.
    emulator.weather(faults=[refused("RunInstances", type="i4i.large", times=1)])
    engine = bench.engine(request(emulator, db, other, zones=("a", "b")))
    engine.provision("default")
    reserved = sum(one["count"] for one in emulator.held("capacity-reservation"))
    assert reserved == len(emulator.held("instance")) == 3
    bench.give_back(bench.engines[-1])


def test_a_dry_region(bench: Bench, emulator: Emulator) -> None:
    """Every zone of the first region, then the next region; the end of the first is told, and both are listed."""
    dry = {f"us-east-1{letter}": {"*": 0} for letter in "ab"}
    emulator.weather(stock=dry)
    engine = bench.engine(request(emulator, LOADER, **BOTH_REGIONS))
    placed = engine.provision("default")
    assert (placed.region, placed.zone) == ("us-west-2", "us-west-2a")
    assert any("all zones of us-east-1 are exhausted" in words for words in engine.run_state.changes)
    receipt = engine.release(within(60))
    assert receipt.clean
    assert receipt.regions == ("us-east-1", "us-west-2")
    assert emulator.held() == []


def test_a_quota_takes_the_rest_of_its_region(bench: Bench, emulator: Emulator) -> None:
    """It is asked for once there, not once a zone."""
    emulator.weather(quota={"us-east-1": {"vcpus": 1}})
    engine = bench.engine(request(emulator, LOADER, **BOTH_REGIONS))
    assert engine.provision("default").region == "us-west-2"
    assert asked(emulator, "CreateCapacityReservation") == [("a", "c6i.xlarge")] * 2
    assert [one.outcome for one in engine.run_state.attempts] == ["quota", "placed"]


def test_a_quota_full_of_what_was_just_released(bench: Bench, emulator: Emulator) -> None:
    """It is asked once more, also where the release that took it was confirmed before the refusal came."""

    class Slow(Wrapped):
        """A backend whose calls in zone b arrive once all that was left in zone a is gone."""

        def create(self, piece: Piece) -> Sequence[Held]:
            if piece.zone == "us-east-1b":
                wait(engine._abandoned.under_way())
            return self._backend.create(piece)

    emulator.weather(
        faults=[
            refused("RunInstances", zone="us-east-1a"),
            refused("CreateCapacityReservation", "VcpuLimitExceeded", zone="us-east-1b", times=1),
        ]
    )
    wanted = request(emulator, LOADER)
    engine = bench.engine(wanted, cast("Backend", Slow(open_backend(wanted))))
    assert engine.provision("default").zone == "us-east-1b"
    assert [zone for zone, _ in asked(emulator, "CreateCapacityReservation")] == ["a", "b", "b"]
    bench.give_back(bench.engines[-1])


def test_a_spot_quota_leaves_on_demand(bench: Bench, emulator: Emulator) -> None:
    """The quota of one market is none of the other's."""
    emulator.weather(quota={"us-east-1": {"spot_vcpus": 0}})
    placed = bench.engine(request(emulator, SPOT)).provision("default")
    assert got(placed) == ("us-east-1a", "on-demand", "i4i.large")
    assert len(asked(emulator, "RunInstances")) == 2


def test_without_fallback_along_zones(bench: Bench, emulator: Emulator) -> None:
    """One zone is tried, and the error says what was refused there."""
    emulator.weather(stock={"us-east-1a": {"*": 0}})
    engine = bench.engine(request(emulator, LOADER, fallback=Fallback(zones=False)))
    with pytest.raises(Exhausted, match=r"us-east-1a reserved on-demand c6i\.xlarge \(InsufficientInstanceCapacity\)"):
        engine.provision("default")
    assert len(asked(emulator, "CreateCapacityReservation")) == 1


def test_a_hint_is_taken_first(bench: Bench, emulator: Emulator) -> None:
    """EC2 names zones where a launch would succeed: the next call goes there, whatever stands between."""
    node = replace(LOADER, reserve=False)
    emulator.weather(stock={f"us-east-1{letter}": {"*": 0} for letter in "abc"})
    placed = bench.engine(request(emulator, node, zones=("a", "b", "c", "d"))).provision("default")
    assert placed.zone == "us-east-1d"
    assert asked(emulator, "RunInstances") == [("a", "c6i.xlarge"), ("d", "c6i.xlarge")]


def test_another_run_remembers(bench: Bench, emulator: Emulator) -> None:
    """A zone that ran dry a moment ago comes last in the next run; after minutes it is asked first again."""
    emulator.weather(stock={"us-east-1a": {"*": 0}})
    first = bench.engine(request(emulator, LOADER))
    first.provision("default")
    assert first.release(within(60)).clean
    emulator.weather(stock={})
    second = bench.engine(request(emulator, LOADER, run="run-2"))
    assert second.provision("default").zone == "us-east-1b"
    assert second.release(within(60)).clean
    bench.clock.moved += 600
    assert bench.engine(request(emulator, LOADER, run="run-3")).provision("default").zone == "us-east-1a"


def test_zones_that_ran_dry_are_those_of_one_emulator(bench: Bench, emulator: Emulator) -> None:
    """The next run there tries them last; a run at another emulator with the same URL and journal does not."""
    emulator.weather(stock={"us-east-1a": {"*": 0}})

    def zone(run: str, which: str) -> str:
        engine = bench.engine(request(emulator, LOADER, run=run), which=which)
        placed = engine.provision("default")
        assert engine.release(within(60)).clean
        return placed.zone

    assert zone("run-1", "one") == "us-east-1b"
    emulator.weather(stock={})
    assert zone("run-2", "one") == "us-east-1b"
    assert zone("run-3", "two") == "us-east-1a"


def test_what_another_version_remembers_is_left_out(bench: Bench, emulator: Emulator) -> None:
    """A journal is shared by whatever versions a user has; what one of them does not know does not stop its runs."""
    emulator.weather(stock={"us-east-1a": {"*": 0}})
    first = bench.engine(request(emulator, LOADER))
    first.provision("default")
    with contextlib.closing(sqlite3.connect(bench.path)) as base, base:
        base.execute("UPDATE events SET data = replace(data, '\"move-on\"', '\"leap\"') WHERE kind = 'attempt-ended'")
    second = bench.engine(request(emulator, LOADER, run="run-2"))
    assert second.provision("default").zone == "us-east-1b"
    assert [zone for zone, _ in asked(emulator, "CreateCapacityReservation")] == ["a", "b", "a", "b"]
    assert first.release(within(60)).clean
    bench.give_back(bench.engines[-1])


def test_round_again(bench: Bench, emulator: Emulator) -> None:
    """With retry_until the ladder is gone round again when all was dry, after a pause, and says so."""
    emulator.weather(faults=[refused("CreateCapacityReservation", times=2)])
    engine = bench.engine(request(emulator, LOADER, retry_until_s=30.0))
    placed = engine.provision("default")
    # What ran dry a moment ago comes last, and both did: the order is that of the file.
    assert placed.zone == "us-east-1a"
    assert [zone for zone, _ in asked(emulator, "CreateCapacityReservation")] == ["a", "b", "a"]
    assert any("round 2 of the ladder begins in 5 s" in words for words in engine.run_state.changes)


def test_throttling_blocks_no_rung(bench: Bench, emulator: Emulator) -> None:
    """It is waited out where it was met."""
    emulator.weather(faults=[refused("CreateCapacityReservation", "RequestLimitExceeded", times=3)])
    engine = bench.engine(request(emulator, LOADER))
    assert engine.provision("default").zone == "us-east-1a"
    assert [one.outcome for one in engine.run_state.attempts] == ["placed"]
    assert len(asked(emulator, "CreateCapacityReservation")) == 4


def zones_of(placed: Placed, group: str) -> list[str]:
    """The zones' letters of a group's nodes."""
    return sorted(node.zone[-1] for node in placed.nodes[group])


def test_spread(bench: Bench, emulator: Emulator) -> None:
    """colocate: region puts the nodes of a group into the zones in turn, each in a reservation of its own zone."""
    db = NodeGroup(name="db", count=5, instance_type="i4i.large", market="on-demand", reserve=True)
    engine = bench.engine(request(emulator, db, LOADER, zones=("a", "b", "c"), colocate="region"))
    placed = engine.provision("default")
    assert zones_of(placed, "db") == ["a", "a", "b", "b", "c"]
    assert zones_of(placed, "loader") == ["a"]
    where = {reservation.id: reservation.zone for reservation in placed.reservations}
    assert all(where[node.reservation_id or ""] == node.zone for node in placed.nodes["db"])
    assert len({node.name for node in placed.nodes["db"]}) == 5
    bench.give_back(bench.engines[-1])


def test_spread_without_a_dry_zone(bench: Bench, emulator: Emulator) -> None:
    """The dry zone's share goes to the others."""
    db = NodeGroup(name="db", count=4, instance_type="i4i.large", market="on-demand", reserve=True)
    emulator.weather(stock={"us-east-1b": {"*": 0}})
    engine = bench.engine(request(emulator, db, zones=("a", "b", "c"), colocate="region"))
    assert zones_of(engine.provision("default"), "db") == ["a", "a", "c", "c"]
    bench.give_back(bench.engines[-1])


def test_half_of_a_spot_group_is_none(bench: Bench, emulator: Emulator) -> None:
    """A spot node that dies before all run fails the rung; nothing of it stays when the next one stands."""
    emulator.weather(boot_s=0.3, faults=[{"operation": "boot", "error": "Server.SpotInstanceTermination", "times": 1}])
    engine = bench.engine(request(emulator, SPOT))
    placed = engine.provision("default")
    assert got(placed)[1] == "on-demand"
    assert {one["market"] for one in emulator.held("instance")} == {"on-demand"}
    bench.give_back(bench.engines[-1])


@pytest.mark.parametrize("launched", [0, 1])
def test_a_keeper_that_dies_on_the_way_up(
    bench: Bench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, launched: int
) -> None:
    """The next one goes on with the attempt under way, and asks nothing of a zone that the first one was refused."""
    emulator.weather(stock={"us-east-1a": {"*": 0}})
    wanted = request(emulator, SPOT, LOADER)
    first = bench.engine(wanted)
    died: list[str] = []

    def die(entry: Any) -> None:
        if entry.kind == "created" and entry.data["zone"] == "us-east-1b":
            died.append(entry.subject)
            if len(died) > launched:
                # Nothing in between catches it, and nothing is written any more: as if its process were gone.
                monkeypatch.setattr(first.run_state, "_journal", Gone())
                raise KeyboardInterrupt

    first.run_state.listen(die)
    with pytest.raises(KeyboardInterrupt):
        first.provision("default")
    second = bench.engine(wanted)
    asked_before = asked(emulator, "RunInstances") + asked(emulator, "CreateCapacityReservation")
    placed = second.provision("default")
    assert placed.zone == "us-east-1b"
    assert len(emulator.held("instance")) == 4
    calls = asked(emulator, "RunInstances") + asked(emulator, "CreateCapacityReservation")
    assert [one for one in calls if one[0] == "a"] == [one for one in asked_before if one[0] == "a"]
    assert emulator.calls("CancelCapacityReservation") == emulator.calls("TerminateInstances") == []
    bench.give_back(bench.engines[-1])


def test_what_stands_is_not_taken_for_left_behind(bench: Bench, emulator: Emulator) -> None:
    """Whatever the journal lacks, or another version planned: nodes that were handed over are not released."""
    emulator.weather(stock={"us-east-1a": {"*": 0}})
    first = bench.engine(request(emulator, LOADER))
    placed = first.provision("default")
    with contextlib.closing(sqlite3.connect(bench.path)) as base, base:
        base.execute("DELETE FROM events WHERE kind = 'attempt-started'")
    second = bench.engine(request(emulator, LOADER))
    assert second.provision("default") == placed
    assert second._abandoned.under_way() == []
    bench.give_back(bench.engines[-1])


def test_what_is_only_reserved_is_on_demand(bench: Bench, emulator: Emulator) -> None:
    """Spot serves no reservation, so a run that launches nothing has no spot rung."""
    engine = bench.engine(request(emulator, SPOT, LOADER))
    placed = engine.provision("default", launch=False)
    assert sorted((one.instance_type, one.count) for one in placed.reservations) == [
        ("c6i.xlarge", 1),
        ("i4i.large", 3),
    ]
    bench.give_back(bench.engines[-1])
