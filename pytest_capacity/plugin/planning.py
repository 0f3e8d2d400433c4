"""``--capacity-plan``: what a run would try, instead of the run; and the same beside what ``--setup-plan`` shows.

No keeper is started. A process of its own reads what the zones offer, once, after the tests are collected.
"""

from __future__ import annotations

import sys

import pytest

from pytest_capacity import tables
from pytest_capacity.errors import CapacityError
from pytest_capacity.keeper.planning import plan
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Request
from pytest_capacity.plan import Plan
from pytest_capacity.plugin.runtime import uses_capacity
from pytest_capacity.text import clean
from pytest_capacity.words import EMULATED


class Planning:
    """Reads in the place of the tests (``only``), or before pytest shows its own plan, and tells it in the summary."""

    def __init__(self, config: pytest.Config, request: Request, options: SpawnOptions, *, only: bool) -> None:
        self._config = config
        self._request = request
        self._options = options
        self._only = only
        self._plan: Plan | None = None
        self._fault: CapacityError | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Read the plan. Where it is all that is wanted, no test runs."""
        # An xdist controller does not know what was selected.
        if self._only or not session.items or any(map(uses_capacity, session.items)):
            try:
                self._plan = plan(self._request, self._options)
            except CapacityError as error:
                self._fault = error
        return True if self._only else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """0 where every topology has something to try, though no test was found; 1 otherwise."""
        if self._only and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            good = self._plan is not None and self._plan.good
            session.exitstatus = pytest.ExitCode.OK if good else pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The section ``capacity plan``."""
        if self._plan is None and self._fault is None:
            return
        terminalreporter.write_sep("=", "capacity plan")
        if self._request.emulated:
            terminalreporter.write_line(EMULATED, yellow=True)
        if self._fault:
            terminalreporter.write_line(clean(str(self._fault), lines=True), red=True)
        if self._plan:
            for line in tables.plan(self._plan):
                terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        """Without a terminal the plan is said all the same: it is all that was asked for."""
        if self._only and self._config.pluginmanager.get_plugin("terminalreporter") is None:
            for line in tables.plan(self._plan) if self._plan else [clean(str(self._fault or ""), lines=True)]:
                print(line, file=sys.__stdout__)


def stay_alone(config: pytest.Config) -> None:
    """Have xdist start no workers: there is nothing for them to do. It may have been configured before us, or not."""
    if hasattr(config.option, "dist"):
        config.option.dist = "no"
        config.option.tx = []
    for name in ("dsession", "terminaldistreporter"):
        if config.pluginmanager.get_plugin(name):
            config.pluginmanager.unregister(name=name)
