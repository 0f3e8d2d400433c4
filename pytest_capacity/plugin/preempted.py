"""A test that failed because the cloud took its spot node back has not failed: it is *preempted*."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_capacity.errors import CapacityError
from pytest_capacity.keeper import protocol
from pytest_capacity.text import clean

if TYPE_CHECKING:
    from pytest_capacity.plugin.runtime import Runtime


class Preempted:
    """Asks the keeper, once a test that used spot nodes has failed, whether these are still there.

    A test that took a lost node is preempted. One that took none by itself, and so may have used any, is so only when
    the loss is news: what fails later has had time to do without the node, and fails for reasons of its own.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Count a failure of setup, call or teardown as what did not run to its end, where the node was lost."""
        report = yield
        words = self._words(item) if report.failed else ""
        if words:
            path, line, _ = item.location
            report.sections.append(("capacity: what the test said", str(report.longrepr)))
            report.outcome = "skipped"
            report.longrepr = (path, (line or 0) + 1, f"Preempted: {words}")
            report.preempted = words  # type: ignore[attr-defined]
        return report

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Return ``P``, and a category of its own for the last line."""
        if getattr(report, "preempted", None):
            return "preempted", "P", ("PREEMPTED", {"yellow": True})
        return None

    def _words(self, item: pytest.Item) -> str:
        taken = {node.id for node in self._runtime.uses.of(item)}
        nodes = [node.id for node in self._runtime.nodes_of(item) if node.market == "spot"]
        if not nodes:
            return ""
        try:
            found = self._runtime.call(protocol.FindPreempted(), protocol.Preempted).nodes
        except CapacityError:
            return ""  # Then it is a failure, as far as is known.
        lost = [node for node in nodes if node in found and (node in taken or node not in self._known)]
        self._known.update(found)
        return clean("; ".join(found[node] for node in lost))
