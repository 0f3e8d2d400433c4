"""Clouds that are not like EC2: one made-up cloud, with one habit of another cloud at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.journal import Journal
from pytest_capacity.model import Diagnosis, ErrorPart, Fallback, Held, Need, NodeGroup, Piece, Subject
from tests.engine.made_up_cloud import REGION, CloudError, Habits, MadeUpBench

DB = NodeGroup(name="db", count=3, instance_type="big", market="on-demand", reserve=True)
LOADER = NodeGroup(name="loader", count=1, instance_type="small", market="on-demand", reserve=True)

#: A late error as GCE and Azure give it: the telling part is inside of one that says only that something failed.
EXHAUSTED = (ErrorPart("OPERATION_FAILED", "it failed"), ErrorPart("POOL_EXHAUSTED", "zone is full", depth=1))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[MadeUpBench]:
    """Engines over an empty made-up cloud."""
    bench = MadeUpBench(tmp_path / "journal.sqlite")
    yield bench
    bench.close()


def zones_of(bench: MadeUpBench, kind: str) -> list[str]:
    """In which zones a create call of that kind was made, in order."""
    subjects = [Subject.parse(text) for operation, text in bench.cloud.calls if operation == "create"]
    return [subject.zone for subject in subjects if subject.kind == kind]


@pytest.mark.parametrize("kind", ["reservation", "node"])
def test_a_create_that_fails_after_it_was_accepted_falls_back(bench: MadeUpBench, kind: str) -> None:
    """(a) Its parts are read like those of a prompt refusal: the deepest counts, and the next zone is tried."""
    engine = bench.engine(DB, LOADER, habits=Habits(takes_s=120, late={("1", kind): EXHAUSTED}))
    placed = engine.provision("default")
    assert (placed.zone, len(placed.nodes["db"])) == ("2", 3)
    first, second = engine.run_state.attempts
    assert (first.outcome, first.code, first.kind, first.zone) == (
        "no-capacity",
        "POOL_EXHAUSTED",
        "capacity-zone",
        "1",
    )
    assert second.outcome == "placed"
    bench.give_back()


def test_a_round_begins_when_the_one_before_is_ready(bench: MadeUpBench) -> None:
    """(a) No node is asked for in a zone whose reservation failed two minutes after its acceptance."""
    bench.engine(DB, habits=Habits(takes_s=120, late={("1", "reservation"): EXHAUSTED})).provision("default")
    assert set(zones_of(bench, "node")) == {"2"}
    assert zones_of(bench, "reservation") == ["1", "2"]


def test_a_late_failure_is_read_for_the_market_that_was_tried(bench: MadeUpBench) -> None:
    """(a) A row for spot matches; the same words about the on-demand node are not understood, and stop."""
    spot = NodeGroup(name="db", count=1, instance_type="big", market="spot", reserve=True)
    late = {("1", "node"): (ErrorPart("NO_SPOT", "no spot"),)}
    engine = bench.engine(spot, habits=Habits(takes_s=120, late=late))
    with pytest.raises(Refused, match="NO_SPOT"):
        engine.provision("default")
    assert [(one.market, one.kind) for one in engine.run_state.attempts] == [
        ("spot", "spot-capacity"),
        ("on-demand", "unknown"),
    ]
    bench.give_back()


def test_what_stands_beside_a_late_failure_is_not_made_again(bench: MadeUpBench) -> None:
    """(a) The refused group moves to another type; the other group's things stay."""
    db = NodeGroup(name="db", count=1, instance_type="big", alternatives=("bigger",), market="on-demand", reserve=False)
    late = {("1", "node"): EXHAUSTED}
    habits = Habits(takes_s=120, late=late, after={"node": 1})
    engine = bench.engine(LOADER, db, habits=habits, fallback=Fallback(zones=False))
    with pytest.raises(Exhausted):
        engine.provision("default")
    assert zones_of(bench, "reservation") == ["1"]
    bench.give_back()


def test_a_late_not_now_is_tried_again_in_the_same_place(bench: MadeUpBench) -> None:
    """(a) What failed late for a reason that passes blocks no zone: it is released, and made once more."""
    habits = Habits(takes_s=5, late={("1", "reservation"): (ErrorPart("BUSY", "not now"),)})
    engine = bench.engine(DB, habits=habits)
    listener: list[str] = []

    def mend(entry: Any) -> None:
        listener.append(entry.kind)
        if entry.kind == "attempt-ended":
            habits.late = {}

    engine.run_state.listen(mend)
    placed = engine.provision("default")
    assert placed.zone == "1"
    assert [one.outcome for one in engine.run_state.attempts] == ["failed", "placed"]
    bench.give_back()


def test_a_late_quota_refusal_is_not_believed_while_ours_is_leaving(bench: MadeUpBench) -> None:
    """(a) Like a prompt one: it is asked once more after the releases, with things of its own."""
    habits = Habits(takes_s=1, stop_s=30, late={("1", "node"): EXHAUSTED, ("2", "node"): (ErrorPart("QUOTA", "full"),)})
    with pytest.raises(Exhausted):
        bench.engine(DB, habits=habits).provision("default")
    assert zones_of(bench, "reservation").count("2") == 2
    bench.give_back()


def test_one_call_may_make_several_kinds_of_things(bench: MadeUpBench) -> None:
    """(b) A lease with a reservation a group: each group's nodes are aimed at their own, by the name of the output."""
    engine = bench.engine(DB, LOADER, habits=Habits(lease=True, takes_s=10, leased=frozenset({"lease"})))
    placed = engine.provision("default")
    sits = {name: {node.reservation_id for node in nodes} for name, nodes in placed.nodes.items()}
    (lease,) = (held for held in bench.cloud.standing() if held.kind == "lease")
    assert sits == {"db": {f"{lease.id}/db"}, "loader": {f"{lease.id}/loader"}}
    assert {one.id for one in placed.reservations} == {f"{lease.id}/db", f"{lease.id}/loader"}
    assert zones_of(bench, "lease") == ["1"]
    bench.clock.wait(1000)
    engine.renew()
    assert [id_ for operation, id_ in bench.cloud.calls if operation == "change"][:1] == [lease.id]
    assert bench.cloud.called("change") == 1, "the lease is renewed once, not once a reservation"
    bench.give_back()


def test_nodes_made_one_by_one_may_be_refused_in_part(bench: MadeUpBench) -> None:
    """(c) Fifty calls side by side, the first ten go through: one attempt fails, and nothing of it stays."""
    many = NodeGroup(name="db", count=50, instance_type="big", market="on-demand", reserve=False)
    habits = Habits(refuses={("1", "node"): "POOL_EXHAUSTED"}, after={"node": 10})
    engine = bench.engine(many, habits=habits)
    placed = engine.provision("default")
    assert (placed.zone, len(placed.nodes["db"])) == ("2", 50)
    assert [node.name for node in placed.nodes["db"]] == [f"db-{number}" for number in range(50)]
    assert len(engine.run_state.attempts) == 2
    bench.give_back()


def test_the_first_refusal_ends_the_waiting_of_the_others(bench: MadeUpBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """(c) Calls that are to be made again later are not, where the zone is left anyway."""
    engine = bench.engine(replace(DB, reserve=False))
    create = engine.backend.create

    def refuse(piece: Piece) -> Sequence[Held]:
        if piece.zone == "1":
            raise CloudError("POOL_EXHAUSTED" if piece.subject.endswith("/0") else "BUSY")
        return create(piece)

    monkeypatch.setattr(engine.backend, "create", refuse)
    assert engine.provision("default").zone == "2"
    assert [one.outcome for one in engine.run_state.attempts] == ["no-capacity", "placed"]
    bench.give_back()


def test_a_release_may_take_steps_and_an_order(bench: MadeUpBench) -> None:
    """(d) A node, then its card, then the reservation: set to nothing, and deleted by a second call."""
    bench.engine(DB, habits=Habits(steps=True, cards=True, stop_s=3)).provision("default")
    (reservation,) = (held.id for held in bench.cloud.standing() if held.kind == "reservation")
    bench.give_back()
    released = [id_ for operation, id_ in bench.cloud.calls if operation == "release"]
    assert released[-2:] == [reservation, reservation]
    assert len(released) == 3 + 3 + 2
    assert not bench.cloud.in_use, "each waited until what sits in it was gone"


@pytest.mark.parametrize("reserve", [True, False])
def test_what_a_refused_call_leaves_is_found_and_released(bench: MadeUpBench, reserve: bool) -> None:
    """(e) By its stamp, beside the next attempt, before the run's end; also where nothing else of it is known."""
    habits = Habits(refuses={("1", "node"): "POOL_EXHAUSTED"}, leftover_nodes=True)
    engine = bench.engine(replace(DB, reserve=reserve), habits=habits)
    engine.provision("default")
    for work in engine._abandoned.under_way():
        assert work.result(timeout=60)
    assert not [held for held in bench.cloud.standing() if held.id.startswith("left-")]
    assert sum(held.kind == "node" for held in bench.cloud.standing()) == 3
    bench.give_back()


def test_a_stamp_may_be_a_name(bench: MadeUpBench) -> None:
    """(f) What a dead keeper made and did not write down is known by its name, and released."""
    engine = bench.engine(DB, habits=Habits(named=True))
    engine.provision("default")
    for held in engine.run_state.held():
        engine.run_state.note_gone([held])  # As if the journal had lost them.
    assert engine.run_state.held() == []
    bench.give_back()


def test_a_fixed_deadline_is_not_renewed(bench: MadeUpBench) -> None:
    """(g) Kinds that are not leased are left alone, but for the stamp on one node a region."""
    engine = bench.engine(DB, LOADER, habits=Habits(leased=frozenset()))
    engine.provision("default")
    bench.clock.wait(1000)
    engine.renew()
    assert bench.cloud.called("change") == 1
    kinds = {held.kind for held in engine.run_state.held() if (held.deadline or 0) > bench.clock.now() + 1000}
    assert kinds == {"node"}
    bench.give_back()


def test_a_list_may_cover_all_regions(bench: MadeUpBench) -> None:
    """(h) One listing; where it cannot be read, nothing of any region is taken for gone."""
    habits = Habits(global_list=True, unlisted=True, stop_s=60)
    engine = bench.engine(DB, habits=habits, regions=(REGION, "south"), fallback=Fallback(regions=True))
    engine.provision("default")
    before = bench.cloud.called("list")
    end = bench.clock.now() + 5
    receipt = engine.release(lambda: bench.clock.now() > end)
    assert [part.region for part in receipt.unread] == [""]
    assert not receipt.clean
    assert [held.kind for held in engine.run_state.held()].count("node") == 3, "they are on their way out"
    assert bench.cloud.called("list") > before
    habits.unlisted = False
    bench.give_back()


def test_namesakes_in_two_zones_and_kinds_are_two_things(bench: MadeUpBench) -> None:
    """(f, h) An id is one of its kind and region: the same id elsewhere is another thing in the journal."""
    engine = bench.engine(LOADER)
    engine.provision("default")
    node = next(held for held in engine.run_state.held() if held.kind == "node")
    twin = Held(kind="disk", id=node.id, region="south", zone="1", state="ready", subject="default/1/1/disk/x")
    engine.run_state.note(
        "created", twin.subject, {"kind": "disk", "region": "south", "ids": [twin.id], "held": [twin]}
    )
    assert {held.key for held in engine.run_state.held() if held.id == node.id} == {node.key, twin.key}
    engine.run_state.note_gone([twin])
    assert [held.key for held in engine.run_state.held() if held.id == node.id] == [node.key]
    bench.give_back()


def test_the_place_above_the_region_is_pinned(bench: MadeUpBench) -> None:
    """(i) Another project of the same account is not the run's: nothing is released, and nothing created, there."""
    bench.engine(LOADER, habits=Habits(place="project-a")).provision("default")
    with pytest.raises(Refused, match="work in project-b, but this run began in project-a"):
        bench.engine(LOADER, habits=Habits(place="project-b"))
    bench.engines.pop().stop.set()
    bench.give_back()


@pytest.mark.parametrize("how", ["same id", "gone"])
def test_a_node_that_maintenance_replaced_is_lost(bench: MadeUpBench, how: str) -> None:
    """(j) Within a minute it is known, in every market, and another one stands in its place where that is wished."""
    engine = bench.engine(DB, habits=Habits(), on_preempt="replace")
    before = engine.provision("default").nodes["db"]
    thing = next(one for one in bench.cloud.things.values() if one.held.id == before[1].id)
    if how == "same id":
        thing.held = replace(thing.held, facts={**thing.held.facts, "incarnation": "2"})
    else:
        thing.gone_at = 0.0
    assert not engine.watch_preemption(), "on-demand nodes are looked at once a minute"
    bench.clock.wait(61)
    assert engine.watch_preemption()
    assert list(engine.run_state.preempted) == [before[1].id]
    after = engine.provision("default").nodes["db"]
    assert after[1].id != before[1].id
    assert (after[0], after[2]) == (before[0], before[2])
    bench.give_back()


def test_a_fault_in_the_backend_is_logged_with_its_place(bench: MadeUpBench, caplog: pytest.LogCaptureFixture) -> None:
    """An error that its table does not know may be one of its own code; one that the table knows is not logged so."""
    caplog.set_level("INFO", "pytest_capacity")
    backend = bench.engine(LOADER).backend

    def full() -> None:
        raise CloudError("POOL_EXHAUSTED")

    def faulty() -> str:
        return str(int("no number"))

    known, unknown = asked(backend, full), asked(backend, faulty)
    assert isinstance(known, Diagnosis)
    assert isinstance(unknown, Diagnosis)
    assert (known.kind, unknown.kind) == ("capacity-zone", "unknown")
    (record,) = caplog.records
    assert "made-up does not know this error" in record.getMessage()
    assert "in faulty" in caplog.text


def test_a_journal_of_the_version_before_is_read(bench: MadeUpBench) -> None:
    """Needs were subjects, inputs were by subject, and what went was named without its region."""
    journal = Journal(bench.path, now=bench.clock.now)
    reservation, node = "default/1/1/reservation/db", "default/1/1/node/db"
    place = {"kind": "node", "region": REGION, "zone": "1"}
    piece = {**place, "subject": node, "token": "t", "needs": [reservation], "inputs": {reservation: "r-1"}}
    journal.write("run-1", "run-started", "", {"started": bench.clock.now(), "nonce": "n"})
    for kind, id_ in (("reservation", "r-1"), ("node", "n-1"), ("node", "n-2")):
        held = {**place, "kind": kind, "id": id_, "state": "ready", "subject": f"default/1/1/{kind}/db"}
        journal.write("run-1", "created", held["subject"], {"kind": kind, "ids": [id_], "held": [held]})
    journal.write("run-1", "renewed", reservation, {"id": "r-1", "deadline": 7.0})
    journal.write("run-1", "gone", "", {"kind": "node", "ids": ["n-1"]})
    journal.write("run-1", "releasing", "", {"kind": "node", "ids": ["n-2"]})
    journal.write("run-1", "intent", node, {**place, "token": "t", "piece": piece})
    run_state = RunState(journal, "run-1", bench.clock)
    journal.close()
    (doubt,) = run_state.doubtful()
    assert doubt.needs == (Need("reservation", reservation),)
    assert doubt.inputs == {"reservation": "r-1"}
    assert {held.id: (held.deadline, run_state.accepted(held)) for held in run_state.held()} == {
        "r-1": (7.0, False),
        "n-2": (None, True),
    }


@pytest.mark.parametrize("order", [(5000, 1000), (1000, 5000)])
def test_the_end_of_a_run_never_moves_back(bench: MadeUpBench, order: tuple[int, int]) -> None:
    """Of two extensions at once the later one counts, in whatever order they are written; the next keeper knows it."""
    engine = bench.engine(LOADER, limit_s=100_000.0)
    end = engine.hard_end
    for more in order:
        # As two processes do that ask for the end at the same moment: neither knows of the other's.
        engine.run_state.intend("extended", data={"hard_end": end + more})
    assert engine.hard_end == end + 5000
    assert bench.engine(LOADER, limit_s=100_000.0).hard_end == end + 5000


def test_the_release_goes_on_until_things_end_by_themselves(bench: MadeUpBench) -> None:
    """A node lives to the limit, whatever the hard end is; what nothing ends is tried for a day more."""
    engine = bench.engine(LOADER, limit_s=8 * 3600.0)
    # What is not known of, since its region could not be read, may live as long as a node.
    assert engine.give_up_at() > engine.limit > engine.hard_end + 3600
    engine.provision("default")
    assert engine.give_up_at() >= engine.limit > engine.hard_end + 3600
    key = Held(kind="key", id="k", region=REGION, zone="1", state="ready", subject="default/1/1/key/x")
    engine.run_state.note("created", key.subject, {"kind": "key", "region": REGION, "ids": ["k"], "held": [key]})
    assert engine.give_up_at() == engine.limit + 24 * 3600
    engine.run_state.note_gone([key])
    bench.give_back()


def test_regions_that_may_not_be_listed_are_a_refusal(bench: MadeUpBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cancel_other` says what was asked and what the cloud said; the SDK's error stays inside."""
    engine = bench.engine(LOADER)

    def denied() -> list[str]:
        raise CloudError("FORBIDDEN", "not for you")

    monkeypatch.setattr(engine.backend, "regions", denied)
    with pytest.raises(Refused, match="asked which regions the account may use, and made-up said FORBIDDEN"):
        engine.cancel_other("run-2", 5)


def test_ten_slow_nodes_are_up_and_down_soon(bench: MadeUpBench) -> None:
    """Three seconds to boot and to stop cost at most 3.7 s each, and few reads: only what is there is looked at."""
    ten = replace(DB, count=10)
    engine = bench.engine(ten, habits=Habits(takes_s=3.0, stop_s=3.0))
    began = bench.clock.now()
    engine.provision("default")
    # The reservation is waited for before the nodes are.
    assert bench.clock.now() - began <= 2 * 3.7
    before, began = len(bench.cloud.calls), bench.clock.now()
    bench.give_back()
    # The reservation waits for the nodes here.
    assert bench.clock.now() - began <= 2 * 3.7
    reads = [operation for operation, _ in bench.cloud.calls[before:] if operation in ("refresh", "list")]
    # The whole stamp is listed once, at the end.
    assert reads.count("list") == 1
    assert len(reads) <= 16
