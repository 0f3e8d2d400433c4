"""Which nodes a test uses: what it was lent, what it took from a handle, and what fixtures of it took before."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Any

import pytest

from pytest_capacity.remote.machine import Machine


class Uses:
    """Written by handles and loans, read when the test has failed. One test at a time runs in a process.

    A fixture that several tests share takes its nodes in the time of one of them; they count for each test that has
    the fixture.
    """

    def __init__(self) -> None:
        self._of_test: dict[Machine, None] = {}
        self._of_fixture: dict[str, dict[Machine, None]] = {}
        #: The shared fixtures whose setup runs now, the outermost first.
        self._under_way: list[str] = []
        #: Nodes that were lent to the test and are given back: to be lent again, or not.
        self.returned: set[Machine] = set()
        self.suspect: set[Machine] = set()

    def took(self, nodes: tuple[Machine, ...]) -> tuple[Machine, ...]:
        """Remember that whatever runs now uses ``nodes``; return them."""
        self._of_test.update(dict.fromkeys(nodes))
        for fixture in self._under_way:
            self._of_fixture.setdefault(fixture, {}).update(dict.fromkeys(nodes))
        return nodes

    def gave_back(self, nodes: Sequence[Machine], suspect: Collection[Machine]) -> None:
        """Note that the test, which is not over yet, has these no more; some are not lent again."""
        self.suspect.update(suspect)
        self.returned.update(node for node in nodes if node not in suspect)

    def of(self, item: pytest.Item) -> Sequence[Machine]:
        """Return the nodes that ``item``, which ran last, uses."""
        found = dict(self._of_test)
        for name in getattr(item, "fixturenames", ()):
            found.update(self._of_fixture.get(name, {}))
        return list(found)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin anew: another test, or the same once more."""
        self._of_test.clear()
        self.returned.clear()
        self.suspect.clear()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Note which shared fixture is being set up."""
        if fixturedef.scope == "function":
            return (yield)
        self._under_way.append(fixturedef.argname)
        try:
            return (yield)
        finally:
            self._under_way.pop()

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Forget what a fixture took."""
        self._of_fixture.pop(fixturedef.argname, None)
