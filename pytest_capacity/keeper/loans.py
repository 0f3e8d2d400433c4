"""Who uses which node: all of a loan at once, first come first served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from pytest_capacity.engine.run_state import Loan, RunState
from pytest_capacity.errors import Cancelled, CapacityError
from pytest_capacity.keeper.protocol import Borrow
from pytest_capacity.model import Node, Placed


class LoanRequest:
    """A call that waits for its nodes."""

    def __init__(self, call: Borrow, borrower: str, placed: Placed) -> None:
        self.call = call
        self.borrower = borrower
        self.placed = placed
        self.granted = threading.Event()
        self.nodes: tuple[Node, ...] = ()
        self.withdrawn = False

    def conflicts_with(self, other: LoanRequest) -> bool:
        """Return whether the two may want the same node."""
        one, another = self.call, other.call
        return one.topology == another.topology and (
            one.group is None or another.group is None or one.group == another.group
        )


class Loans:
    """The run's loans. `lend` blocks; all the rest is quick."""

    def __init__(self, run_state: RunState, *, replaces: bool = False) -> None:
        self._run_state = run_state
        #: Whether nodes that the cloud takes back are replaced, and so may be waited for.
        self._replaces = replaces
        self._lock = threading.Lock()
        self._queue: list[LoanRequest] = []
        self._closed = False

    def lend(self, call: Borrow, borrower: str, placed: Placed, alive: Callable[[], bool]) -> tuple[Node, ...]:
        """Wait until so many nodes of the group are free, take them all at once.

        Asked again with a ``key`` that has a loan (the answer was lost with a keeper), it gives the same nodes. Raises
        `CapacityError` when there can never be so many, `Cancelled` when the run or the borrower ends.
        """
        wish = LoanRequest(call, borrower, placed)
        with self._lock:
            if call.key in self._run_state.loans:
                ids = self._run_state.loans[call.key].ids
                return tuple(node for nodes in placed.nodes.values() for node in nodes if node.id in ids)
            if not alive():  # `borrower_gone` is not called for it a second time.
                raise Cancelled(f"{borrower} is gone")
            self._check(wish)
            self._queue.append(wish)
            self._grant()
        wish.granted.wait()
        if wish.withdrawn:
            raise Cancelled("the run is ending, so no node is lent any more")
        if not wish.nodes:
            with self._lock:
                self._check(wish)
        return wish.nodes

    def give_back(self, key: str, *, suspect: Collection[str] = ()) -> None:
        """End a loan; these of its nodes are suspect. Unknown keys are loans that ended already."""
        with self._lock:
            self._end([loan for loan in self._run_state.loans.values() if loan.key == key], suspect)

    def borrower_gone(self, borrower: str, *, suspect: bool) -> None:
        """End all loans and wishes of a borrower; ``suspect``: it crashed, leaving who knows what there."""
        with self._lock:
            for wish in [wish for wish in self._queue if wish.borrower == borrower]:
                self._queue.remove(wish)
                wish.withdrawn = True
                wish.granted.set()
            loans = [loan for loan in self._run_state.loans.values() if loan.borrower == borrower]
            self._end(loans, {node for loan in loans for node in loan.ids} if suspect else ())

    def hold(self, take: Callable[[], None]) -> None:
        """Call ``take`` while no node is lent or given back."""
        with self._lock:
            take()

    def look_again(self) -> None:
        """Check the requests that wait again: nodes were taken back or replaced, or have come or gone."""
        with self._lock:
            self._grant()

    def close(self) -> None:
        """Grant no request that waits: the run ends."""
        with self._lock:
            self._closed = True
            for wish in self._queue:
                wish.withdrawn = True
                wish.granted.set()
            self._queue.clear()

    def _end(self, loans: Sequence[Loan], suspect: Collection[str]) -> None:
        for loan in loans:
            ids = [node for node in loan.ids if node in suspect]
            if ids:
                self._run_state.note(
                    "suspect", loan.topology, {"ids": ids, "borrower": loan.borrower, "test": loan.test}
                )
            self._run_state.note("returned", loan.topology, {"key": loan.key, "ids": list(loan.ids)})
        if loans:
            self._grant()

    def _grant(self) -> None:
        """Serve the queue in order; no request overtakes an earlier one for the same nodes."""
        still: list[LoanRequest] = []
        for wish in self._queue:
            if self._impossible(wish):
                wish.granted.set()
                continue
            free = self._free(wish)
            if len(free) < wish.call.count or any(wish.conflicts_with(other) for other in still):
                still.append(wish)
                continue
            wish.nodes = tuple(free[: wish.call.count])
            ids = tuple(node.id for node in wish.nodes)
            loan = Loan(wish.call.key, wish.borrower, wish.call.test, wish.call.topology, ids)
            self._run_state.note("lent", loan.topology, {"loan": loan, "ids": list(ids), "test": loan.test})
            wish.granted.set()
        self._queue = still

    def _members(self, wish: LoanRequest) -> list[Node]:
        # What stands now: a node may have been replaced since the wish was made.
        groups = self._run_state.placed.get(wish.call.topology, wish.placed).nodes
        names = [wish.call.group] if wish.call.group is not None else list(groups)
        return [node for name in names for node in groups.get(name, ())]

    def _candidates(self, wish: LoanRequest) -> list[Node]:
        gone = () if self._replaces else self._run_state.preempted
        return [node for node in self._members(wish) if node.id not in self._run_state.suspects and node.id not in gone]

    def _free(self, wish: LoanRequest) -> list[Node]:
        taken = {identifier for loan in self._run_state.loans.values() for identifier in loan.ids}
        # They may be waited for: such a node is lent again once it is changed, or another one in its place.
        taken |= self._run_state.altering()
        return [
            node for node in self._candidates(wish) if node.id not in taken and node.id not in self._run_state.preempted
        ]

    def _impossible(self, wish: LoanRequest) -> bool:
        return len(self._candidates(wish)) < wish.call.count

    def _check(self, wish: LoanRequest) -> None:
        if self._closed:
            raise Cancelled("the run is ending, so no node is lent any more")
        call = wish.call
        if call.group is not None and call.group not in wish.placed.nodes:
            known = ", ".join(wish.placed.nodes) or "none"
            raise CapacityError(
                f"{call.test} asks for a node of group {call.group!r}; topology {call.topology!r} has: {known}. "
                "Correct the marker's group="
            )
        if self._impossible(wish):
            raise CapacityError(self._too_few(wish))

    def _too_few(self, wish: LoanRequest) -> str:
        count, group, topology = wish.call.count, wish.call.group, wish.call.topology
        whose = f"group {group!r} of topology {topology!r}" if group is not None else f"topology {topology!r}"
        members, fit = len(self._members(wish)), len(self._candidates(wish))
        at_once = " at once" if count > 1 else ""
        asked = f"{wish.call.test} asks for {_nodes(count)}{at_once}; {whose} has {_nodes(members)}"
        if members < count:
            return f"{asked}. Lower the marker's count=, or raise the group's count"
        verb = "is" if members - fit == 1 else "are"
        if any(node.id in self._run_state.preempted for node in self._members(wish)):
            lost = f"{asked}, of which {members - fit} {verb} lost: the cloud took nodes back"
            if self._replaces:
                return (
                    f"{lost}, and had no others in their zone. "
                    "Name `alternatives`, let spot fall back to on-demand, or run again"
                )
            return f"{lost}. Set `on_preempt: replace`, or `market: on-demand`, or run again"
        return (
            f"{asked}, of which {members - fit} {verb} suspect, after a crash of its borrower or a hook that could not "
            "clean it: such a node is not lent again. Mend the test that crashed, or the hook "
            "pytest_capacity_node_returned, or raise the group's count"
        )


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
