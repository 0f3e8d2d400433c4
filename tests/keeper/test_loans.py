"""Loans: all at once, first come first served, nothing to two tests, nothing from a crashed one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Cancelled, CapacityError
from pytest_capacity.journal import Journal
from pytest_capacity.keeper.loans import Loans
from pytest_capacity.keeper.protocol import Borrow
from pytest_capacity.model import Node, Placed


def node(name: str, group: str) -> Node:
    """A node of zone a."""
    return Node(
        id=f"i-{name}",
        name=name,
        group=group,
        region="us-east-1",
        zone="us-east-1a",
        market="on-demand",
        instance_type="i4i.large",
    )


PLACED = Placed(
    topology="default",
    region="us-east-1",
    zone="us-east-1a",
    nodes={"db": tuple(node(f"db-{i}", "db") for i in range(3)), "loader": (node("loader-0", "loader"),)},
    reservations=(),
)


class Counter:
    """Loans on a journal, and tests that wait for them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.dead: set[str] = set()
        self.reopen()

    def reopen(self) -> None:
        """What a second keeper sees."""
        self.run_state = RunState(self._journal, "run", SystemClock())
        self.loans = Loans(self.run_state)

    def lend(self, borrower: str, count: int = 1, group: str | None = "db", key: str = "") -> list[str]:
        """Borrow now; the loan's key is the borrower's name unless told otherwise."""
        call = Borrow(key=key or borrower, topology="default", group=group, count=count, test=f"test of {borrower}")
        return [node.name for node in self.loans.lend(call, borrower, PLACED, lambda: borrower not in self.dead)]

    def later(self, borrower: str, count: int = 1, group: str | None = "db") -> Callable[[], object]:
        """Borrow on a thread that is seen to wait; the function gives what came of it."""
        result: list[object] = []

        def ask() -> None:
            try:
                result.append(self.lend(borrower, count, group))
            except CapacityError as error:
                result.append(error)

        before = len(self.loans._queue)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        end = time.monotonic() + 60
        while len(self.loans._queue) == before and not result and time.monotonic() < end:
            thread.join(0.005)

        def outcome() -> object:
            thread.join(timeout=60)
            assert result, f"{borrower} still waits"
            return result[0]

        return outcome


@pytest.fixture(name="counter")
def _counter(tmp_path: Path) -> Iterator[Counter]:
    journal = Journal(tmp_path / "j.sqlite")
    yield Counter(journal)
    journal.close()


def test_no_node_is_lent_twice(counter: Counter) -> None:
    """Three loans of one exhaust a group of three."""
    names = [counter.lend(f"gw{i}")[0] for i in range(3)]
    assert sorted(names) == ["db-0", "db-1", "db-2"]
    waiting = counter.later("gw3")
    assert len(counter.loans._queue) == 1
    counter.loans.give_back("gw1")
    assert waiting() == [names[1]]


def test_a_loan_is_whole(counter: Counter) -> None:
    """Who wants two waits for two; one alone is not taken meanwhile."""
    counter.lend("gw0", 2)
    pair = counter.later("gw1", 2)
    assert len(counter.run_state.loans) == 1
    counter.loans.give_back("gw0")
    assert pair() == ["db-0", "db-1"]


@pytest.mark.parametrize(
    ("first", "second", "got"), [("db", "db", "db-0"), (None, "db", "db-0"), ("db", None, "loader-0")]
)
def test_nobody_overtakes(counter: Counter, first: str | None, second: str | None, got: str) -> None:
    """A small wish behind a large one that may want the same node waits, or the large one would never be served."""
    counter.lend("gw0", 2)
    large = counter.later("gw1", 3, first)
    small = counter.later("gw2", 1, second)
    assert len(counter.loans._queue) == 2
    counter.loans.give_back("gw0")
    assert large() == ["db-0", "db-1", "db-2"]
    counter.loans.give_back("gw1")
    assert small() == [got]


def test_other_groups_do_not_wait(counter: Counter) -> None:
    """A queue for the database nodes holds up no test that wants the loader."""
    counter.lend("gw0", 3)
    counter.later("gw1", 1)
    assert counter.lend("gw2", group="loader") == ["loader-0"]


def test_any_group_will_do(counter: Counter) -> None:
    """Without a group, any node."""
    assert len(counter.lend("gw0", 4, group=None)) == 4


def test_a_crashed_borrowers_node_is_suspect(counter: Counter) -> None:
    """It is not lent again, and what now can never be had is refused at once."""
    counter.lend("gw0")
    counter.loans.borrower_gone("gw0", suspect=True)
    assert counter.lend("gw1", 2) == ["db-1", "db-2"]
    with pytest.raises(
        CapacityError, match="for 3 nodes at once; group 'db' of topology 'default' has 3 nodes, of which 1 is suspect"
    ):
        counter.lend("gw2", 3)


def test_the_last_node_of_a_crash(counter: Counter) -> None:
    """One node is one node, and the marker's count is not to blame."""
    counter.lend("gw0", group="loader")
    counter.loans.borrower_gone("gw0", suspect=True)
    with pytest.raises(CapacityError, match=r"asks for 1 node; .* has 1 node, of which 1 is suspect") as raised:
        counter.lend("gw1", group="loader")
    assert "count=" not in str(raised.value)


def test_a_wish_that_became_impossible_ends(counter: Counter) -> None:
    """Who waits for three nodes does not wait for ever when one becomes suspect."""
    counter.lend("gw0")
    waiting = counter.later("gw1", 3)
    counter.loans.borrower_gone("gw0", suspect=True)
    assert isinstance(waiting(), CapacityError)


def test_a_borrower_that_left_in_good_order(counter: Counter) -> None:
    """Its nodes are lent again."""
    counter.lend("gw0", 3)
    counter.loans.borrower_gone("gw0", suspect=False)
    assert len(counter.lend("gw1", 3)) == 3


@pytest.mark.parametrize(
    ("group", "count", "words"), [("db", 4, "has 3 nodes. Lower the marker's count="), ("cache", 1, "has: db, loader")]
)
def test_impossible_wishes_are_refused(counter: Counter, group: str, count: int, words: str) -> None:
    """At once, with what there is."""
    with pytest.raises(CapacityError, match=words):
        counter.lend("gw0", count, group)


def test_the_end_of_the_run_ends_all_waiting(counter: Counter) -> None:
    """No test hangs in a fixture while the nodes go."""
    counter.lend("gw0", 3)
    waiting = counter.later("gw1")
    counter.loans.close()
    assert isinstance(waiting(), Cancelled)
    with pytest.raises(Cancelled):
        counter.lend("gw2")


def test_a_second_keeper_knows_the_loans(counter: Counter) -> None:
    """What a test still uses is not lent to another after an adoption; its key is still good."""
    names = counter.lend("gw0", 2)
    counter.reopen()
    assert counter.lend("gw1") == ["db-2"]
    counter.loans.give_back("gw0")
    assert counter.lend("gw2", 2) == names


def test_a_call_that_is_sent_again_is_one_loan(counter: Counter) -> None:
    """Its answer died with a keeper: the same nodes come again, not others, and no test waits for them for ever."""
    names = counter.lend("gw0", 3)
    counter.reopen()
    assert counter.lend("gw0", 3) == names
    assert len(counter.run_state.loans) == 1


def test_the_dead_borrow_nothing(counter: Counter) -> None:
    """A worker that died while its call was on the way would never give back."""
    counter.dead.add("gw0")
    counter.loans.borrower_gone("gw0", suspect=True)
    with pytest.raises(Cancelled):
        counter.lend("gw0", 3)
    assert len(counter.lend("gw1", 3)) == 3
