"""Nodes that are being changed are lent to no test, and nodes that are lent are not changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.run_state import Alteration, RunState
from pytest_capacity.errors import CapacityError, ScalingError
from pytest_capacity.journal import Journal
from pytest_capacity.keeper.loans import Loans
from pytest_capacity.keeper.protocol import Borrow
from pytest_capacity.model import Node, NodeChange, Order, Placed, Placement, Topology
from pytest_capacity.scaling.nodes.tasks import Task, check_lent, check_numbers


def node(number: int) -> Node:
    return Node(
        id=f"i-{number}",
        name=f"db-{number}",
        group="db",
        region="r",
        zone="z",
        market="on-demand",
        instance_type="large",
    )


ORDER = Order(
    run="r",
    project="p",
    topology=Topology(()),
    placement=Placement("r", "z"),
    attempt=1,
    lease_end=1.0,
    hard_end=1.0,
)
PLACED = Placed(topology="default", region="r", zone="z", nodes={"db": (node(0), node(1))}, reservations=())


@pytest.fixture
def state(tmp_path: Path) -> Iterator[RunState]:
    """A run in whose hands the two nodes are."""
    journal = Journal(tmp_path / "journal.sqlite")
    run_state = RunState(journal, "run", SystemClock())
    run_state.note("placed", data={"placed": PLACED})
    yield run_state
    journal.close()


def lend(loans: Loans, key: str, count: int = 1) -> list[str]:
    call = Borrow(key=key, topology=PLACED.topology, group="db", count=count, test=f"test_{key}")
    return [one.id for one in loans.lend(call, "gw0", PLACED, lambda: True)]


def begin(state: RunState, *ids: str) -> None:
    state.intend(
        "alteration-started", data={"alteration": Alteration(token="t", topology="default", group="db", ids=ids)}
    )


def end(state: RunState) -> None:
    state.note("alteration-ended", data={"token": "t", "words": ""})


def test_a_node_that_is_being_changed_is_waited_for(state: RunState) -> None:
    """It is lent once its change has ended, and not before; the others are lent meanwhile."""
    loans = Loans(state)
    begin(state, "i-0")
    assert lend(loans, "a") == ["i-1"]
    got: list[str] = []
    waiting = threading.Thread(target=lambda: got.extend(lend(loans, "b")))
    waiting.start()
    loans.look_again()
    waiting.join(0.2)
    assert (waiting.is_alive(), got) == (True, [])
    end(state)
    loans.look_again()
    waiting.join(30)
    assert got == ["i-0"]


def test_a_node_that_goes_is_not_waited_for(state: RunState) -> None:
    """A test that asks for more than is left is refused, not kept waiting."""
    loans = Loans(state)
    begin(state, "i-1")
    left = Placed(topology="default", region="r", zone="z", nodes={"db": (node(0),)}, reservations=())
    state.note("placed", data={"placed": left, "alteration": "t"})
    with pytest.raises(CapacityError, match=r"asks for 2 nodes at once.* has 1 node"):
        lend(loans, "a", 2)


def test_no_node_is_lent_while_it_is_decided(state: RunState) -> None:
    """Between the look at the loans and the note that a node is being changed no test can get it."""
    loans = Loans(state)
    waiting = threading.Thread(target=lambda: lend(loans, "a", 2))

    def take() -> None:
        waiting.start()
        waiting.join(0.2)
        assert not state.loans
        begin(state, "i-0")

    loans.hold(take)
    waiting.join(0.2)
    assert not state.loans
    end(state)
    loans.look_again()
    waiting.join(30)
    assert [loan.ids for loan in state.loans.values()] == [("i-0", "i-1")]


@pytest.mark.parametrize(
    ("step", "victims", "order", "free"),
    [
        ("shrink", (1,), None, False),
        ("shrink", (0,), None, True),
        ("in-place", (), ORDER, False),
        ("storage", (), ORDER, False),
        ("storage", (), None, True),
    ],
)
def test_a_lent_node_is_neither_stopped_nor_removed(
    state: RunState, step: str, victims: tuple[int, ...], order: Order | None, free: bool
) -> None:
    """Only where a node is touched that is lent, the request is refused, with the names of node and test.

    Disks that grow while their nodes run have no order, and stop none.
    """
    change = NodeChange(topology="default", group="db")
    keys = tuple(("node", "r", f"i-{number}") for number in victims)
    nodes = PLACED.nodes["db"]
    task = Task(step=step, change=change, type="large", nodes=nodes, victims=keys, order=order)  # type: ignore[arg-type]
    loans = {"i-1": "test_one"}
    if free:
        check_lent(task, loans)
    else:
        with pytest.raises(ScalingError, match=r"db-1 \(test_one\)"):
            check_lent(task, loans)


@pytest.mark.parametrize("change", [{"count": 0}, {"count": -1}, {"count": True}, {"disk_gb": 0}, {}])
def test_numbers_that_can_never_be_meant(change: dict[str, int]) -> None:
    """Counts and sizes are whole numbers of at least 1, and something must be asked for."""
    with pytest.raises(ScalingError, match=r"group/default/db: (nothing to change|.* at least 1)"):
        check_numbers(NodeChange(topology="default", group="db", **change))  # type: ignore[arg-type]
