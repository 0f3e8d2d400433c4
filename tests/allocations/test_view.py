"""The allocation view: what each event changes, filters, windows, pages, and the index that can be thrown away."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_capacity.allocations import Filter, open_view
from pytest_capacity.allocations.fold import FOLDS
from pytest_capacity.allocations.index import SUFFIX
from pytest_capacity.errors import JournalError
from pytest_capacity.journal import Journal
from tests.allocations.runs import HOUR, MIDNIGHT, Lab, node, reservation


def test_a_node_shows_its_reservation_run_group_and_tests(lab: Lab) -> None:
    """All that is known of one node is in one row."""
    lab.start("run-1", project="scylla")
    lab.create("run-1", node("i-1", reservation="cr-1"))
    lab.clock.at += 60
    for test in ("test_b", "test_a", "test_b"):
        lab.lend("run-1", test, "i-1")
        lab.give_back("run-1", test)
    with lab.view() as view:
        (found,) = view.page(Filter()).resources
    (one,) = found.allocations
    assert (found.resource.id, found.resource.kind, found.resource.zone) == ("i-1", "node", "r1a")
    assert (one.reservation, one.lease, one.run, one.project) == ("cr-1", "run-1", "run-1", "scylla")
    assert (one.group, one.name, one.instance_type, one.topology) == ("db", "db-0", "m5.large", "default")
    assert (one.since, one.renewable_until, one.ended) == (MIDNIGHT, MIDNIGHT + 2 * HOUR, None)
    assert one.tests == ("test_b", "test_a")


def test_a_reservation_without_hosts_is_its_own_resource(lab: Lab) -> None:
    """Capacity that no node uses yet is shown, too."""
    lab.start("run-1")
    lab.create("run-1", reservation("cr-1"))
    assert lab.found() == {"cr-1": ["cr-1"]}


def test_a_reservation_on_hosts_is_there_once_for_each_slot(lab: Lab) -> None:
    """As Blazar lists it: a host that serves two instances of a reservation has it twice."""
    lab.start("run-1", "blazar")
    lab.create("run-1", reservation("res-1", facts={"hosts": "1 2 2", "lease_id": "lease-1"}))
    assert lab.found() == {"1": ["res-1"], "2": ["res-1", "res-1"]}
    assert lab.found(Filter(lease="lease-1")) == lab.found(Filter(lease="run-1")) == lab.found()


def test_hosts_that_become_known_later_take_the_place_of_the_reservation(lab: Lab) -> None:
    """What the cloud shows after the create call replaces what was shown before."""
    lab.start("run-1", "blazar")
    held = reservation("res-1", state="creating")
    lab.create("run-1", held)
    assert lab.found() == {"res-1": ["res-1"]}
    lab.state("run-1", replace(held, state="ready", facts={"hosts": "7", "lease_id": "lease-1"}))
    assert lab.found() == {"7": ["res-1"]}


def test_what_is_gone_is_terminated_and_still_listed(lab: Lab) -> None:
    """With when it ended; what stands is not among the terminated."""
    lab.start("run-1")
    lab.create("run-1", node("i-1"), node("i-2"))
    lab.clock.at += 60
    lab.gone("run-1", node("i-1"))
    assert set(lab.found(Filter(terminated=False))) == {"i-2"}
    assert set(lab.found(Filter(terminated=True))) == {"i-1"}
    assert set(lab.found()) == {"i-1", "i-2"}
    with lab.view() as view:
        (ended,) = view.page(Filter(terminated=True)).resources[0].allocations
    assert (ended.terminated, ended.ended, ended.state, ended.latest_end) == (
        True,
        MIDNIGHT + 60,
        "gone",
        MIDNIGHT + 60,
    )


def test_of_two_things_with_one_id_the_named_one_ends(lab: Lab) -> None:
    """Region and kind belong to the id: a host of another region stays."""
    lab.start("run-1")
    lab.create("run-1", node("i-1", region="r1"), node("i-1", region="r2"))
    lab.gone("run-1", node("i-1", region="r2"))
    with lab.view() as view:
        (stands,) = view.page(Filter(terminated=False)).resources
    assert stands.resource.region == "r1"


def test_the_end_of_a_run_ends_what_it_held(lab: Lab) -> None:
    """Unless something was left: that may still stand."""
    for run, left in (("run-1", 0), ("run-2", 1)):
        lab.start(run)
        lab.create(run, node(f"i-{run}"))
        lab.journal.write(run, "run-ended", data={"left": left})
    assert set(lab.found(Filter(terminated=False))) == {"i-run-2"}


def test_a_lease_ends_by_itself_and_a_node_does_not(lab: Lab) -> None:
    """Past its end a host is free, whether or not a keeper looked; a machine with a stamp may run on."""
    lab.start("run-1", "blazar", hours=1)
    lab.create("run-1", reservation("res-1", facts={"hosts": "1"}, deadline=MIDNIGHT + HOUR), node("vm-1"))
    lab.clock.at += 2 * HOUR
    assert set(lab.found(Filter(terminated=False))) == {"vm-1"}
    assert lab.found(Filter(terminated=True)) == {"1": ["res-1"]}


def test_a_renewal_moves_the_end(lab: Lab) -> None:
    """Of the thing itself, and of the reservations of a lease that is renewed as one."""
    lab.start("run-1", "blazar", hours=9)
    held = reservation("res-1", facts={"hosts": "1", "lease_id": "lease-1"}, deadline=MIDNIGHT + HOUR)
    lab.create("run-1", held)
    data = {"id": "lease-1", "kind": "lease", "region": "r1", "deadline": MIDNIGHT + 3 * HOUR}
    lab.journal.write("run-1", "renewed", data=data)
    lab.clock.at += 2 * HOUR
    with lab.view() as view:
        (found,) = view.page(Filter(terminated=False)).resources
    assert found.allocations[0].until == MIDNIGHT + 3 * HOUR


def test_an_extension_moves_the_latest_end(lab: Lab) -> None:
    """`extend` writes the run's new hard end; it never moves back."""
    lab.start("run-1", hours=1)
    lab.create("run-1", node("i-1"))
    for hours in (5, 3):
        lab.journal.write("run-1", "extended", data={"hard_end": MIDNIGHT + hours * HOUR})
    with lab.view() as view:
        (found,) = view.page(Filter()).resources
    assert found.allocations[0].latest_end == MIDNIGHT + 5 * HOUR


@pytest.mark.parametrize(
    ("start", "end", "there"),
    [
        (None, None, {"now", "coming", "past"}),
        (1.0, None, {"now", "coming"}),
        (None, 3.0, {"now", "past"}),
        (4.5, 5.5, {"coming"}),
        (2.1, 3.9, set()),
        (0.1, 0.9, {"now"}),
        (-2.0, -0.5, {"past"}),
    ],
)
def test_a_window_finds_what_may_stand_in_it(lab: Lab, start: float | None, end: float | None, there: set[str]) -> None:
    """Before a host is taken down: what stands then, what may be renewed until then, and what comes until then."""
    lab.clock.at = MIDNIGHT - 2 * HOUR
    lab.start("run-0")
    lab.create("run-0", node("past"))
    lab.clock.at = MIDNIGHT - HOUR / 4
    lab.gone("run-0", node("past"))
    lab.clock.at = MIDNIGHT
    lab.start("run-1", hours=2)
    lab.create("run-1", node("now", deadline=MIDNIGHT + HOUR / 2))
    lab.start("run-2", hours=5)
    starts = str(MIDNIGHT + 4 * HOUR)
    lab.create("run-2", reservation("coming", deadline=MIDNIGHT + 6 * HOUR, facts={"starts": starts}))
    wanted = Filter(
        start=None if start is None else MIDNIGHT + start * HOUR, end=None if end is None else MIDNIGHT + end * HOUR
    )
    assert set(lab.found(wanted)) == there


def test_filters_are_all_to_hold(lab: Lab) -> None:
    """Of several, and of each alone; an unknown id fits nothing."""
    for run, id_, of in (("run-1", "i-1", "cr-1"), ("run-1", "i-2", "cr-2"), ("run-2", "i-3", "cr-1")):
        if id_ != "i-2":
            lab.start(run)
        lab.create(run, node(id_, reservation=of))
    assert set(lab.found(Filter(lease="run-1"))) == {"i-1", "i-2"}
    assert set(lab.found(Filter(reservation="cr-1"))) == {"i-1", "i-3"}
    assert set(lab.found(Filter(reservation="cr-1", lease="run-1"))) == {"i-1"}
    assert set(lab.found(Filter(resource="i-3"))) == {"i-3"}
    assert lab.found(Filter(lease="' OR 1=1 --")) == {}
    assert lab.found(Filter(lease="run-2", empty=True)) == {"i-1": [], "i-2": [], "i-3": ["cr-1"]}


def test_pages_have_every_resource_once(lab: Lab) -> None:
    """In the order in which they came, also those that come while someone turns the pages."""
    lab.start("run-1")
    lab.create("run-1", *(node(f"i-{number}") for number in range(7)))
    with lab.view() as view:
        first = view.page(Filter(limit=3))
        lab.create("run-1", node("i-7"))
        rest = view.page(Filter(limit=3, after=first.next or 0))
        last = view.page(Filter(limit=3, after=rest.next or 0))
    ids = [one.resource.id for page in (first, rest, last) for one in page.resources]
    assert ids == [f"i-{number}" for number in range(8)]
    assert last.next is None


def test_the_view_follows_without_being_opened_again(lab: Lab) -> None:
    """Each question sees the events before it; folded once."""
    lab.start("run-1")
    with lab.view() as view:
        assert view.page(Filter()).resources == ()
        lab.create("run-1", node("i-1"))
        assert len(view.page(Filter()).resources) == 1
        assert view.follow() == 0


def test_the_index_is_private_and_beside_the_journal(lab: Lab) -> None:
    """Names of tests and projects stand in it."""
    lab.start("run-1")
    lab.found()
    path = lab.path.with_name(lab.path.name + SUFFIX)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("harm", ["garbage", "other form", "missing", "other journal"])
def test_an_index_that_does_not_fit_is_made_again(lab: Lab, tmp_path: Path, harm: str) -> None:
    """The journal is the truth: whatever the file beside it says, the answer is the same."""
    lab.start("run-1")
    lab.create("run-1", node("i-1"))
    assert set(lab.found()) == {"i-1"}
    path = lab.path.with_name(lab.path.name + SUFFIX)
    if harm == "garbage":
        path.write_bytes(b"no database at all " * 100)
    elif harm == "other form":
        other = sqlite3.connect(path)
        other.execute("PRAGMA user_version=99")
        other.close()
    elif harm == "missing":
        path.unlink()
    else:
        with sqlite3.connect(path) as other:
            other.execute("UPDATE folded SET run = 'another', at = 1")
            other.execute("UPDATE allocations SET held_id = 'wrong'")
            other.execute("UPDATE resources SET id = 'wrong'")
        other.close()
    assert set(lab.found()) == {"i-1"}


def test_where_no_file_can_be_made_the_index_is_in_memory(lab: Lab) -> None:
    """A directory stands where the file would be; the view answers all the same."""
    lab.start("run-1")
    lab.create("run-1", node("i-1"))
    lab.path.with_name(lab.path.name + SUFFIX).mkdir()
    assert set(lab.found()) == {"i-1"}


def test_no_journal_is_no_view(tmp_path: Path) -> None:
    """And none is made; a file of something else is refused."""
    assert open_view(tmp_path / "none.sqlite") is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text").write_text("hello")
    with pytest.raises(JournalError, match="is no journal"):
        open_view(tmp_path / "text")


def test_many_who_look_at_once_see_the_same(lab: Lab) -> None:
    """Threads with views of their own fold one journal into one index, each event once."""
    lab.start("run-1")
    lab.create("run-1", *(node(f"i-{number}") for number in range(50)))
    counts: list[int] = []

    def look() -> None:
        with lab.view() as view:
            counts.append(sum(len(one.allocations) for one in view.all(Filter(limit=7))))

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [50] * 6


@pytest.mark.parametrize("kind", sorted(FOLDS))
def test_an_event_of_another_version_changes_nothing_else(lab: Lab, kind: str) -> None:
    """What it holds is shown as far as it is understood, and what came before stays."""
    lab.start("run-1")
    lab.create("run-1", node("i-1"))
    for data in ({}, {"held": [{"kind": "node"}]}, {"ids": None}, {"loan": 3}, {"left": 1, "hard_end": "later"}):
        if not (kind == "run-ended" and not data.get("left")):
            lab.journal.write("run-2", kind, data=data)
    assert set(lab.found(Filter(lease="run-1"))) == {"i-1"}


def test_a_page_is_one_query_by_the_index(lab: Lab) -> None:
    """No table of allocations is read from end to end, whatever the filter."""
    lab.start("run-1")
    lab.create("run-1", node("i-1"))
    seen: list[str] = []
    with lab.view() as view:
        view.follow()
        view._index.set_trace_callback(seen.append)
        view.page(Filter(lease="run-1", start=1.0, empty=True, terminated=False))
        view._index.set_trace_callback(None)
        asked = [text for text in seen if "page AS" in text]
        assert len(asked) == 1
        plan = [row[3] for row in view._index.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    assert not [step for step in plan if step.startswith("SCAN") and "page" not in step and "subquery" not in step], (
        plan
    )
    assert any("by_resource" in step for step in plan)


def test_events_after_leaves_out_the_data_of_other_kinds(tmp_path: Path) -> None:
    """The journal gives every event its number, and only the named kinds their data."""
    journal = Journal(tmp_path / "j.sqlite")
    for kind in ("a", "b", "a"):
        journal.write("run", kind, data={"n": 1})
    assert [(entry.kind, dict(entry.data)) for entry in journal.events_after(1, ("a",), 9)] == [
        ("b", {}),
        ("a", {"n": 1}),
    ]
    assert len(journal.events_after(0, ("a",), 2)) == 2
    journal.close()
