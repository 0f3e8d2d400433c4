"""Placing a topology: one zone or the next, all of it or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.base import Backend
from pytest_capacity.errors import Cancelled, Exhausted, JournalError, Refused, TimedOut
from pytest_capacity.model import Held, NodeGroup, Topology
from tests.backends.aws.account import stranger
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import DB, LOADER, Bench, Wrapped, request, within
from tests.engine.test_climb import BOTH_REGIONS


class Cancelling(Wrapped):
    """The real backend; before the nodes are looked at for the first time, another user cancels all reservations."""

    def __init__(self, backend: Backend, emulator: Emulator) -> None:
        super().__init__(backend)
        self._emulator = emulator

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        for one in self._emulator.held("capacity-reservation"):
            stranger(self._emulator).cancel_capacity_reservation(CapacityReservationId=one["id"])
        return self._backend.refresh(helds)


def test_nodes_sit_in_their_reservations(bench: Bench, emulator: Emulator) -> None:
    """Each group's nodes run, in the one zone, inside the reservation of their shape, as the cloud itself says."""
    placed = bench.engine().provision("default")
    assert {name: len(nodes) for name, nodes in placed.nodes.items()} == {"db": 3, "loader": 1}
    assert {node.zone for nodes in placed.nodes.values() for node in nodes} == {"us-east-1a"}
    held = {one["id"]: one for one in emulator.held("instance")}
    by_type = {reservation.instance_type: reservation.id for reservation in placed.reservations}
    for nodes in placed.nodes.values():
        for node in nodes:
            assert held[node.id]["reservation"] == node.reservation_id == by_type[node.instance_type]


def test_that_they_sit_there_is_read_from_the_cloud(bench: Bench, emulator: Emulator) -> None:
    """A reservation that another user cancels while its nodes boot holds them no more: they are not handed out."""
    wanted = request(emulator, DB)
    engine = bench.engine(wanted, Cancelling(open_backend(wanted), emulator))
    with pytest.raises(Refused, match=r"was aimed at reservation cr-\w+ and sits in none"):
        engine.provision("default")
    assert [attempt.code for attempt in engine.run_state.attempts] == ["not-in-reservation"]
    bench.give_back(engine)


def test_a_dry_zone_moves_the_whole_topology(bench: Bench, emulator: Emulator) -> None:
    """One group without capacity in zone a takes all of them to zone b, and nothing stays in a."""
    emulator.weather(stock={"us-east-1a": {"c6i.xlarge": 0}})
    engine = bench.engine()
    placed = engine.provision("default")
    assert placed.zone == "us-east-1b"
    assert {one["zone"] for one in emulator.held()} == {"us-east-1b"}
    assert [(one.zone, one.outcome, one.code) for one in engine.run_state.attempts] == [
        ("us-east-1a", "no-capacity", "InsufficientInstanceCapacity"),
        ("us-east-1b", "placed", ""),
    ]


def test_a_launch_without_capacity_moves_on_too(bench: Bench, emulator: Emulator) -> None:
    """A group that is not reserved can fail at the launch; the reservations of that zone go back first."""
    monitor = NodeGroup(name="monitor", count=1, instance_type="t3.large", market="on-demand", reserve=False)
    emulator.weather(stock={"us-east-1a": {"t3.large": 0}})
    placed = bench.engine(request(emulator, DB, monitor)).provision("default")
    assert placed.zone == "us-east-1b"
    assert {one["zone"] for one in emulator.held()} == {"us-east-1b"}
    assert placed.nodes["monitor"][0].reservation_id is None


def test_a_node_that_dies_before_it_runs_fails_the_attempt(bench: Bench, emulator: Emulator) -> None:
    """Its StateReason is read: for lack of capacity the next zone is tried."""
    emulator.weather(
        boot_s=0.3,
        faults=[
            {"operation": "boot", "zone": "us-east-1a", "error": "Server.InsufficientInstanceCapacity", "times": 1}
        ],
    )
    engine = bench.engine()
    assert engine.provision("default").zone == "us-east-1b"
    assert engine.run_state.attempts[0].code == "Server.InsufficientInstanceCapacity"
    bench.give_back(engine)


def test_all_zones_dry(bench: Bench, emulator: Emulator) -> None:
    """The error names each zone and code; asking again gives it at once and makes no call."""
    emulator.weather(stock={"us-east-1a": {"*": 0}, "us-east-1b": {"*": 0}})
    engine = bench.engine()
    with pytest.raises(Exhausted, match=r"(?s)us-east-1a.*us-east-1b.*InsufficientInstanceCapacity") as first:
        engine.provision("default")
    asked = [(call["zone"], call["type"]) for call in emulator.calls("CreateCapacityReservation")]
    # A group that is refused ends the zone for one whose call has not begun.
    assert len(set(asked)) == len(asked)
    assert {zone for zone, _ in asked} == {"us-east-1a", "us-east-1b"}
    with pytest.raises(Exhausted) as second:
        engine.provision("default")
    assert second.value is first.value
    assert len(emulator.calls("CreateCapacityReservation")) == len(asked)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UnauthorizedOperation", "You are not authorized"),
        ("InvalidParameterValue", "bad"),
        ("SomethingNew", "never seen"),
    ],
)
def test_other_refusals_stop_at_once(bench: Bench, emulator: Emulator, code: str, words: str) -> None:
    """What another zone or region does not cure is not tried there; the cloud's words are in the message."""
    emulator.weather(faults=[{"operation": "CreateCapacityReservation", "error": code, "message": words}])
    engine = bench.engine(request(emulator, LOADER, **BOTH_REGIONS))
    with pytest.raises(Refused, match=f"{code}.*{words}"):
        engine.provision("default")
    assert [call["zone"] for call in emulator.calls("CreateCapacityReservation")] == ["us-east-1a"]
    bench.give_back(engine)


def test_callers_share_one_provisioning(bench: Bench, emulator: Emulator) -> None:
    """Eight at once get the same nodes."""
    engine = bench.engine()
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(engine.provision("default"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result == results[0] for result in results)
    assert len(emulator.calls("RunInstances")) == 2


@pytest.mark.parametrize("operation", ["CreateCapacityReservation", "RunInstances"])
def test_a_lost_answer_is_asked_again_with_the_same_token(bench: Bench, emulator: Emulator, operation: str) -> None:
    """Nothing is made twice, nothing is taken for lack of capacity."""
    emulator.weather(faults=[{"operation": operation, "lose_reply": True, "times": 1}])
    engine = bench.engine(request(emulator, DB))
    assert engine.provision("default").zone == "us-east-1a"
    assert len(emulator.calls(operation)) == 2
    assert len(emulator.held("capacity-reservation")) == 1
    assert len(emulator.held("instance")) == 3


def test_a_lost_placement_group_is_found_by_its_stamp(bench: Bench, emulator: Emulator) -> None:
    """It has no client token; its name and tags tell that it is ours."""
    emulator.weather(faults=[{"operation": "CreatePlacementGroup", "lose_reply": True, "times": 1}])
    group = NodeGroup(
        name="db", count=2, instance_type="c6i.xlarge", market="on-demand", reserve=True, placement_group=True
    )
    engine = bench.engine(request(emulator, group))
    engine.provision("default")
    assert len(emulator.held("placement-group")) == 1
    bench.give_back(engine)


def test_provisioning_has_a_limit(bench: Bench, emulator: Emulator) -> None:
    """Nodes that never boot end in a clear error, and are given back."""
    emulator.weather(boot_s=600)
    engine = bench.engine(request(emulator, timeout_s=1.0))
    with pytest.raises(TimedOut, match="--capacity-timeout"):
        engine.provision("default")
    bench.give_back(engine)


def test_stop_ends_provisioning(bench: Bench, emulator: Emulator) -> None:
    """The waiting caller gets an error, and what was begun is given back."""
    emulator.weather(boot_s=600)
    engine = bench.engine()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            engine.provision("default")
        except Cancelled as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    end = time.monotonic() + 60
    while len(emulator.held("instance")) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    assert engine.release(within(60)).clean
    asking.join(timeout=60)
    assert len(failures) == 1
    assert emulator.held() == []


def test_the_account_is_pinned(bench: Bench, emulator: Emulator) -> None:
    """Credentials of another account than the configured one are refused before anything is created."""
    other = AwsSettings(image={"us-east-1": IMAGE}, account="999999999999")
    with pytest.raises(Refused, match=r"123456789012.*999999999999"):
        bench.engine(request(emulator, aws=other))


def test_a_run_stays_in_its_account(bench: Bench, emulator: Emulator) -> None:
    """A second keeper with other credentials does not go on in another account."""
    first = bench.engine()
    assert first.run_state.identity is not None
    first.run_state.note("identity", data={"account": "111111111111"})
    with pytest.raises(Refused, match="this run began in 111111111111"):
        bench.engine()


def test_a_quota_is_not_believed_while_we_release(bench: Bench, emulator: Emulator) -> None:
    """A failed rung's instances still count: the next rung's quota refusal is asked once more when they are gone."""
    emulator.weather(
        quota={"us-east-1": {"vcpus": 8}},
        stop_s=6.0,
        boot_s=0.2,
        faults=[
            {"operation": "boot", "zone": "us-east-1a", "error": "Server.InsufficientInstanceCapacity", "times": 1}
        ],
    )
    engine = bench.engine(request(emulator, DB))
    placed = engine.provision("default")
    assert placed.zone == "us-east-1b"
    assert "quota" in [attempt.outcome for attempt in engine.run_state.attempts]


def test_unwritable_journal_no_create_call(bench: Bench, emulator: Emulator) -> None:
    """If the intent cannot be on disk, the call is not made."""
    engine = bench.engine()
    engine.run_state._journal._base.execute("PRAGMA query_only=1")
    with pytest.raises(JournalError):
        engine.provision("default")
    assert emulator.calls("CreateCapacityReservation") == []


def test_a_journal_that_fails_later_does_not_stop_the_release(bench: Bench, emulator: Emulator) -> None:
    """What was got before the disk was full is given back all the same."""
    engine = bench.engine(request(emulator, DB, LOADER))
    engine.provision("default")
    engine.run_state._journal._base.execute("PRAGMA query_only=1")
    receipt = engine.release(within(60))
    assert receipt.clean
    assert any("journal" in words for words in receipt.troubles)
    assert emulator.held() == []


def test_a_wrong_zone_is_named(bench: Bench, emulator: Emulator) -> None:
    """Before anything is created, with the zones that there are."""
    with pytest.raises(Refused, match=r"zones q.*us-east-1a"):
        bench.engine(request(emulator, zones=("a", "q"))).provision("default")
    assert emulator.calls("CreateCapacityReservation") == []


def test_no_zone_offers_the_type(bench: Bench, emulator: Emulator) -> None:
    """The reason of all zones that have it is given once, and nothing was tried; no later time would help."""
    emulator.weather(offerings={f"us-east-1{z}": {"exclude": ["i4i.large"]} for z in "ab"})
    with pytest.raises(Refused, match=r"us-east-1a, us-east-1b: does not offer i4i\.large"):
        bench.engine().provision("default")
    assert emulator.calls("CreateCapacityReservation") == []


def test_ids_are_not_looked_for_in_names(bench: Bench, emulator: Emulator) -> None:
    """A run and a topology whose names hold ``cr-`` have a placement group of that name, and each input is its own."""
    clustered = NodeGroup(
        name="db", count=2, instance_type="c6i.xlarge", market="on-demand", reserve=True, placement_group=True
    )
    wanted = request(emulator, run="ocr-nightly", topologies={"my-cr-1": Topology((clustered,), "my-cr-1")})
    engine = bench.engine(wanted)
    placed = engine.provision("my-cr-1")
    (reservation,) = placed.reservations
    assert {node.reservation_id for node in placed.nodes["db"]} == {reservation.id}
    bench.give_back(engine)


@pytest.mark.parametrize("launch", [True, False])
def test_a_pending_reservation_is_waited_for(bench: Bench, emulator: Emulator, launch: bool) -> None:
    """EC2 may still say no to it: it is handed over, and launched into, when it is active."""
    emulator.weather(pending_s=1.0)
    engine = bench.engine(request(emulator))
    placed = engine.provision("default", launch=launch)
    # No zone is lost for it, nor another one reserved, though one that still fills refuses launches as full.
    assert placed.zone == "us-east-1a"
    assert len(placed.reservations) == len(emulator.calls("CreateCapacityReservation")) == 2
    assert {held.state for held in engine.run_state.held() if held.kind == "reservation"} == {"ready"}
    if launch:
        active = max(call["at"] for call in emulator.calls("CreateCapacityReservation")) + 1.0
        assert all(call["began"] >= active - 0.01 for call in emulator.calls("RunInstances"))
    assert engine.release(within(60)).clean
