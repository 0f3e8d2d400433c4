"""What the fixtures ask, in the controller and in a worker alike."""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import pytest

from pytest_capacity.errors import CapacityError, Exhausted, KeeperError, NodeError
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.protocol import Answer, Call
from pytest_capacity.model import DEFAULT_TOPOLOGY, Node, Placed, Request
from pytest_capacity.plugin.console import width_of
from pytest_capacity.plugin.handle import Capacity
from pytest_capacity.plugin.markers import Wanted, wanted
from pytest_capacity.plugin.node_usage import Uses
from pytest_capacity.plugin.other_plugins import keep_real_files, unhurried
from pytest_capacity.plugin.run_options import OnExhausted
from pytest_capacity.remote.machine import Machine
from pytest_capacity.text import clean, fold_all

#: What the keeper refuses is shown at the line of the test that asked; `--full-trace` shows how it got there.
__tracebackhide__ = True

A = TypeVar("A", bound=Answer)


#: The fixtures for which something is provisioned.
_FIXTURES: Final = frozenset({"capacity", "capacity_nodes", "capacity_reservations", "capacity_node"})


#: Who uses these and takes no node by itself may have stored one anywhere, so it counts as using all.
ALL: Final = frozenset({"capacity", "capacity_nodes"})


def uses_capacity(item: pytest.Item) -> bool:
    """Return whether the test, or a fixture of it, uses what is provisioned."""
    return not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


class Loan(NamedTuple):
    """What a test has borrowed."""

    item: pytest.Item
    key: str
    nodes: tuple[Machine, ...]
    #: Whether it asked for one node, and gets no tuple.
    alone: bool


class Runtime(ABC):
    """Asks the keeper, and remembers per process what it answered, failures too."""

    def __init__(
        self, config: pytest.Config, request: Request, collect_dir: Path, on_exhausted: OnExhausted = "fail"
    ) -> None:
        self.config = config
        self.on_exhausted: Final = on_exhausted
        #: The columns of the terminal on which errors are shown; None where that is a file or a pipe.
        self.width: int | None = width_of(config)
        self.request = request
        #: Where to collect what helps to understand a failed test.
        self.collect_dir: Final = collect_dir
        self.uses: Final = Uses()
        self._answers: dict[str, Placed | CapacityError] = {}
        #: How often nodes have come or gone so far, and how often they had when each answer was asked for.
        self._changes = 0
        self._asked_at: dict[str, int] = {}
        self._machines: dict[Node, Machine] = {}
        self._deaths_known = 0
        self._lost_capacity: CapacityError | None = None
        self._item: pytest.Item | None = None
        self._in_call = False

    @abstractmethod
    def call(self, message: Call, answer: type[A]) -> A:
        """Send ``message`` to the keeper and wait for its answer. Raises `CapacityError`."""

    @property
    @abstractmethod
    def deaths(self) -> int:
        """How many keepers of this run are gone."""

    def known(self, topology: str) -> str:
        """Return the name under which ``topology`` is configured. "default" stands for the only one, whatever its name.

        Raises `CapacityError` for a name that is not there.
        """
        names = list(self.request.topologies)
        if topology in names:
            return topology
        if topology == DEFAULT_TOPOLOGY and len(names) == 1:
            return names[0]
        fault = f"no topology {topology!r} is configured. There are: {', '.join(names) or 'none'}"
        if topology == DEFAULT_TOPOLOGY and names:
            fault += f'. Name one: capacity.topology("{names[0]}"), or @pytest.mark.capacity("{names[0]}")'
        raise CapacityError(fault)

    def check(self, asked: Wanted) -> None:
        """Raise `CapacityError` where the configuration can never give what a marker asks for."""
        topology = self.request.topologies[self.known(asked.topology)]
        groups = [group for group in topology.groups if asked.group in (None, group.name)]
        if not groups:
            known = ", ".join(group.name for group in topology.groups)
            raise CapacityError(f"no group {asked.group!r} in topology {topology.name!r}. It has: {known}")
        count = max(sum(group.count for group in groups), self._standing(asked.topology, asked.group))
        if asked.count > count:
            whose = (
                f"group {asked.group!r} of topology {topology.name!r}" if asked.group else f"topology {topology.name!r}"
            )
            raise CapacityError(
                f"count={asked.count} asks for {asked.count} nodes at once, and {whose} has {count}. "
                "Lower count=, or raise the group's count"
            )

    def _standing(self, topology: str, group: str | None) -> int:
        """Return how many nodes a group, or all, has by now, so far as this process knows: it may have grown."""
        answer = self._answers.get(self.known(topology))
        if not isinstance(answer, Placed):
            return 0
        return sum(len(nodes) for name, nodes in answer.nodes.items() if group in (None, name))

    def placed(self, topology: str) -> Placed:
        """Return ``topology`` as it stands; provisioned at the first call of any process. Raise `CapacityError`."""
        topology = self.known(topology)
        answer = self._answers.get(topology)
        if answer is None or (isinstance(answer, Placed) and self._may_have_changed(topology)):
            self._asked_at[topology] = self._changes
            try:
                answer = self._call_unhurried(protocol.Ask(topology=topology), protocol.Ready).placed
            except CapacityError as error:
                # A run whose capacity did not come does not try for every test again, and says the same each time.
                answer = error
            self._answers[topology] = answer
        if isinstance(answer, CapacityError):
            raise answer.with_traceback(None)
        return answer

    def _may_have_changed(self, topology: str) -> bool:
        return self.request.on_preempt == "replace" or self._asked_at.get(topology) != self._changes

    def on_event(self, event: protocol.Event) -> None:
        """Take note of an event of the keeper's, on the thread that reads them."""
        if event.kind == "placed" and "alteration" in event.data:
            self._changes += 1

    def machines(self, topology: str) -> Mapping[str, tuple[Machine, ...]]:
        """Return the nodes of ``topology`` by group, as tests get them. Raises as `placed` does."""
        return {group: self._usable(nodes) for group, nodes in self.placed(topology).nodes.items()}

    def everything(self) -> Sequence[Machine]:
        """Return the nodes of all topologies that this process has asked for and got."""
        stand = [self._newest(name) for name, answer in list(self._answers.items()) if isinstance(answer, Placed)]
        return [node for placed in stand for nodes in placed.nodes.values() for node in self._usable(nodes)]

    def _newest(self, topology: str) -> Placed:
        """A topology as this process has it, asked for again where its nodes have changed since."""
        answer = self._answers[topology]
        assert isinstance(answer, Placed)
        if self._asked_at.get(topology) != self._changes:
            with suppress(CapacityError):
                return self.placed(topology)
        return answer

    def nodes_of(self, item: pytest.Item) -> Sequence[Machine]:
        """Return the nodes that ``item``, which ran last, uses; one that took none by itself may have stored any."""
        used = self.uses.of(item)
        if used or ALL.isdisjoint(getattr(item, "fixturenames", ())):
            return used
        return self.everything()

    def _usable(self, nodes: tuple[Node, ...]) -> tuple[Machine, ...]:
        """Return one machine a node, however often it is asked for."""
        return tuple(self._machines.setdefault(node, Machine.of(node)) for node in nodes)

    def capacity(self) -> Capacity:
        """Return the handle of the default topology, provisioned.

        An unbound one where several are named and none so, and where there are only databases.
        """
        several = DEFAULT_TOPOLOGY not in self.request.topologies and len(self.request.topologies) > 1
        if several or (self.request.databases and not self.request.topologies):
            return Capacity(self, DEFAULT_TOPOLOGY)
        return self.default()

    def default(self) -> Capacity:
        """Return the handle of the default topology, provisioned. Fails the test where there is none."""
        with self.explained():
            handle = Capacity(self, self.known(DEFAULT_TOPOLOGY))
            self.placed(handle.name)
            return handle

    def lend(self, item: pytest.Item) -> Loan:
        """Return the nodes that ``item`` wants, its own until `take_back`."""
        with self.explained():
            asked = wanted(item)
            self.check(asked)
            key = secrets.token_hex(8)
            nodes = self.uses.took(self._borrow(item, asked, key))
        return Loan(item, key, nodes, alone=asked.count == 1)

    def take_back(self, loan: Loan) -> None:
        """End a loan, once the suite has cleaned its nodes. Raises `NodeError` where it could not."""
        suspect = set(loan.nodes)
        try:
            self._clean(loan, suspect)
        finally:
            self.uses.gave_back(loan.nodes, suspect)
            # A keeper that is gone for good keeps no state in which a loan could stay open.
            with suppress(KeeperError):
                ids = tuple(node.id for node in loan.nodes if node in suspect)
                self.call(protocol.GiveBack(key=loan.key, suspect=ids), protocol.Done)

    def _borrow(self, item: pytest.Item, asked: Wanted, key: str) -> tuple[Machine, ...]:
        topology = self.known(asked.topology)
        self.placed(topology)
        borrow = protocol.Borrow(key=key, topology=topology, group=asked.group, count=asked.count, test=item.nodeid)
        return self._usable(self._call_unhurried(borrow, protocol.Lent).nodes)

    def _clean(self, loan: Loan, suspect: set[Machine]) -> None:
        """Let the suite clean each node, which takes it out of ``suspect``.

        Raises `NodeError` that names those for which a hook failed.
        """
        failures: list[tuple[Machine, BaseException]] = []
        for node in loan.nodes:
            try:
                loan.item.ihook.pytest_capacity_node_returned(node=node, item=loan.item)
            except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - others' code
                failures.append((node, error))
            else:
                suspect.discard(node)
        if failures:
            raise NodeError(_uncleaned(failures)) from failures[0][1]

    def call_patiently(self, message: Call, answer: type[A]) -> A:
        """Do as `call`, for what takes minutes: the wait does not count against a test's timeout. From any thread."""
        if threading.current_thread() is not threading.main_thread():
            return self.call(message, answer)  # A test's timer is the main thread's.
        return self._call_unhurried(message, answer)

    def _call_unhurried(self, message: Call, answer: type[A]) -> A:
        with unhurried(self._item, in_call=self._in_call):
            return self.call(message, answer)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Ask, after a keeper's death, whether what session fixtures show still stands; if not, no test may use it.

        A fixture of the suite's own may ask for what is not to be had, too.
        """
        keep_real_files(ssh=self.request.ssh is not None and uses_capacity(item))
        if uses_capacity(item):
            self._must_stand()
        with self._given_up():
            return (yield)

    def _must_stand(self) -> None:
        if self.deaths != self._deaths_known:
            self._deaths_known = self.deaths
            self._confirm()
        if self._lost_capacity:
            with self.explained():
                raise self._lost_capacity.with_traceback(None)

    def _confirm(self) -> None:
        for topology, answer in list(self._answers.items()):
            if isinstance(answer, Placed):
                del self._answers[topology]
                try:
                    self.placed(topology)
                except CapacityError as error:
                    self._lost_capacity = error

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note which test runs: a session fixture's body does not know it."""
        self._item = item
        try:
            return (yield)
        finally:
            self._item = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, None, None]:
        """Note that a test's own body runs; it too may ask for what is not to be had."""
        self._in_call = True
        try:
            with self._given_up():
                return (yield)
        finally:
            self._in_call = False

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise what the keeper refuses as an error of the test's setup, in its own few lines without a traceback."""
        try:
            with self._given_up():
                yield
        except (CapacityError, pytest.UsageError) as error:
            # `from None`, which pytest.fail() cannot say: what is shown must not be a chain of two.
            words = "\n".join(fold_all(f"capacity: {clean(str(error), lines=True)}".splitlines(), self.width))
            raise pytest.fail.Exception(words, pytrace=False) from None

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        """Skip or xfail the test where nothing is to be had, if the user wants that."""
        try:
            yield
        except Exhausted as error:
            words = f"capacity: {clean(str(error))}"
            if self.on_exhausted == "skip":
                # At the test, not here: pytest counts skips of one reason by their place.
                raise pytest.skip.Exception(words, _use_item_location=True) from None
            if self.on_exhausted == "xfail":
                raise pytest.xfail.Exception(words) from None
            raise


def _uncleaned(failures: Sequence[tuple[Machine, BaseException]]) -> str:
    """Return for which nodes the hook failed, and what comes of that."""
    named = "; ".join(
        f"{node.name} ({node.id}): {type(error).__name__}: {clean(str(error), limit=200)}" for node, error in failures
    )
    among = ", ".join(node.name for node, _ in failures)
    fate = f"{among} {'is' if len(failures) == 1 else 'are'} not lent again"
    return f"hook pytest_capacity_node_returned failed for {named}. {fate}: mend the hook, or what the test left there"
