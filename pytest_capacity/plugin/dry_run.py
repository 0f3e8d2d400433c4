"""``--capacity-plan``: what a run would try, instead of the run; and the same beside what ``--setup-plan`` shows.

No keeper is started. A process of its own reads what the zones offer, once, after the tests are collected.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from pytest_capacity.errors import CapacityError
from pytest_capacity.keeper.oneshot import plan
from pytest_capacity.keeper.protocol import Consult
from pytest_capacity.keeper.spawn import SpawnOptions
from pytest_capacity.model import Request
from pytest_capacity.plugin.console import folded, width_of
from pytest_capacity.plugin.hooks import Hooks
from pytest_capacity.plugin.runtime import uses_capacity
from pytest_capacity.preview import LeftOut, Plan, TopologyPreview, as_rung
from pytest_capacity.report import tables
from pytest_capacity.report.render import EMULATED, Line
from pytest_capacity.text import clean


class DryRun:
    """Reads in the place of the tests (``only``), or before pytest shows its own plan, and shows it in the summary."""

    def __init__(self, config: pytest.Config, request: Request, options: SpawnOptions, *, only: bool) -> None:
        self._config = config
        self._request = request
        self._options = options
        self._only = only
        self._hooks = Hooks(config, request, lambda _words: None)
        self._plan: Plan | None = None
        self._fault: CapacityError | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Read the plan. Where it is all that is wanted, no test runs."""
        # An xdist controller does not know what was selected.
        distributed = self._config.getoption("dist", "no") != "no"
        if self._only or distributed or any(map(uses_capacity, session.items)):
            try:
                self._plan = self._advised(plan(self._request, self._options))
            except CapacityError as error:
                self._fault = error
        return True if self._only else None

    def _advised(self, planned: Plan) -> Plan:
        """Return the plan as the hook orders its rungs; those of spread groups are not yet what it would see."""
        if "ladder" not in self._hooks.advises or self._request.colocate == "region":
            return planned
        topologies = dict(planned.topologies)
        troubles = list(planned.troubles)
        for name, topology in planned.topologies.items():
            rungs = tuple(map(as_rung, topology.rungs))
            if not rungs:
                continue
            told = self._hooks.advise(Consult(number=0, topic="ladder", topology=name, rungs=rungs))
            if told.fault:
                troubles.append(f"hook pytest_capacity_ladder failed, and changes nothing: {told.fault}")
            elif told.rungs is not None:
                topologies[name] = _reordered(topology, told.rungs)
        return replace(planned, topologies=topologies, troubles=tuple(troubles))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Set 0 where every topology has something to try, though no test was found; 1 otherwise."""
        if self._only and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            good = self._plan is not None and self._plan.good
            session.exitstatus = pytest.ExitCode.OK if good else pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section ``capacity plan``."""
        width = width_of(self._config)
        lines = list(self._lines(width))
        if lines:
            terminalreporter.write_sep("=", "capacity plan")
        for line in folded(lines, width):
            terminalreporter.write_line(line.text, **line.markup)

    def _lines(self, width: int | None = None) -> Iterator[Line]:
        if self._fault:
            yield Line(clean(str(self._fault), lines=True), "red")
        if self._plan:
            if self._plan.emulated:
                yield Line(EMULATED, "yellow")
            yield from map(Line, tables.plan(self._plan, width=width))

    def pytest_unconfigure(self) -> None:
        """Print the plan without a terminal too: it is all that was asked for."""
        if self._config.pluginmanager.get_plugin("terminalreporter") is None:
            for line in self._lines():
                print(line.text, file=sys.__stdout__)


def _reordered(topology: TopologyPreview, chosen: Sequence[int]) -> TopologyPreview:
    """Return these rungs in this order; how many others each zone had is shown with what is left out."""
    gone = [(rung.region, rung.zone) for number, rung in enumerate(topology.rungs) if number not in chosen]
    counts = Counter(gone)
    left_out = [
        LeftOut(region, zone, f"{count} of its rungs, by the hook pytest_capacity_ladder")
        for (region, zone), count in counts.items()
    ]
    rungs = tuple(topology.rungs[number] for number in chosen)
    return replace(topology, rungs=rungs, left_out=(*topology.left_out, *left_out))


def stay_alone(config: pytest.Config) -> None:
    """Have xdist start no workers: there is nothing for them to do. It may have been configured before us, or not."""
    if hasattr(config.option, "dist"):
        config.option.dist = "no"
        config.option.tx = []
    for name in ("dsession", "terminaldistreporter"):
        if config.pluginmanager.get_plugin(name):
            config.pluginmanager.unregister(name=name)
