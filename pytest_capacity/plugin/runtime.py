"""What the fixtures ask, in the controller and in a worker alike."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from pytest_capacity.errors import CapacityError, Exhausted, KeeperError, NodeError
from pytest_capacity.keeper import protocol
from pytest_capacity.model import DEFAULT_TOPOLOGY, Placed, Request
from pytest_capacity.plugin.console import width_of
from pytest_capacity.plugin.handle import Capacity
from pytest_capacity.plugin.markers import Wanted, wanted
from pytest_capacity.plugin.other_plugins import keep_real_files
from pytest_capacity.plugin.run_nodes import RunNodes
from pytest_capacity.plugin.run_options import OnExhausted
from pytest_capacity.remote.machine import Machine
from pytest_capacity.text import clean, fold_all

#: What the keeper refuses is shown at the line of the test that asked; `--full-trace` shows how it got there.
__tracebackhide__ = True

#: The fixtures for which something is provisioned.
_FIXTURES: Final = frozenset({"capacity", "capacity_nodes", "capacity_reservations", "capacity_node"})


def uses_capacity(item: pytest.Item) -> bool:
    """Return whether the test, or a fixture of it, uses what is provisioned."""
    return not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


class Runtime(RunNodes):
    """Answers fixtures, and what may be asked for of this test or that; a test fails in its own few lines."""

    def __init__(self, config: pytest.Config, request: Request, collect_dir: Path, on_exhausted: OnExhausted) -> None:
        super().__init__(request)
        self.config = config
        self.on_exhausted: Final = on_exhausted
        #: The columns of the terminal on which errors are shown; None where that is a file or a pipe.
        self.width: int | None = width_of(config)
        #: Where to collect what helps to understand a failed test.
        self.collect_dir: Final = collect_dir
        self._deaths_known = 0
        self._lost_capacity: CapacityError | None = None

    @property
    @abstractmethod
    def deaths(self) -> int:
        """How many keepers of this run are gone."""

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

    def lend(self, item: pytest.Item) -> Iterator[Machine | tuple[Machine, ...]]:
        """Yield the node or the nodes that ``item`` wants; then have the suite clean them, and give them back.

        Raises `NodeError` where a hook of the suite's fails.
        """
        with self.explained():
            asked = wanted(item)
            self.check(asked)
            key = secrets.token_hex(8)
            nodes = self.uses.took(self._borrow(item, asked, key))
        yield nodes[0] if asked.count == 1 else nodes
        suspect = set(nodes)
        try:
            self._clean(item, nodes, suspect)
        finally:
            self.uses.gave_back(nodes, suspect)
            # A keeper that is gone for good keeps no state in which a loan could stay open.
            with suppress(KeeperError):
                ids = tuple(node.id for node in nodes if node in suspect)
                self.call(protocol.GiveBack(key=key, suspect=ids), protocol.Done)

    def _borrow(self, item: pytest.Item, asked: Wanted, key: str) -> tuple[Machine, ...]:
        topology = self.known(asked.topology)
        self.placed(topology)
        borrow = protocol.Borrow(key=key, topology=topology, group=asked.group, count=asked.count, test=item.nodeid)
        return self._usable(self._call_unhurried(borrow, protocol.Lent).nodes)

    def _clean(self, item: pytest.Item, nodes: Sequence[Machine], suspect: set[Machine]) -> None:
        """Let the suite clean each node, which takes it out of ``suspect``.

        Raises `NodeError` that names those for which a hook failed.
        """
        failures: list[tuple[Machine, BaseException]] = []
        for node in nodes:
            try:
                item.ihook.pytest_capacity_node_returned(node=node, item=item)
            except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - others' code
                failures.append((node, error))
            else:
                suspect.discard(node)
        if failures:
            raise NodeError(_uncleaned(failures)) from failures[0][1]

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
