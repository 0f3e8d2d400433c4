"""Runs as their keepers would write them into a journal, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_capacity.allocations import AllocationView, Filter, open_view
from pytest_capacity.engine.run_state import Loan
from pytest_capacity.journal import Journal
from pytest_capacity.model import Held, NodeGroup, Request, Subject, Topology

HOUR = 3600.0
#: 2026-11-21 00:00 UTC.
MIDNIGHT = 1795219200.0


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.at = MIDNIGHT

    def __call__(self) -> float:
        return self.at


class Lab:
    """A journal, its writers and its readers."""

    def __init__(self, path: Path) -> None:
        self.path = path / "journal.sqlite"
        self.clock = Clock()
        self.journal = Journal(self.path, now=self.clock)

    def start(self, run: str, backend: str = "aws", *, project: str = "tests", hours: float = 2) -> None:
        """A run begins now."""
        request = Request(
            backend=backend,
            run=run,
            project=project,
            topologies={"default": Topology((NodeGroup(name="db", count=1, instance_type="m5.large"),))},
            regions=("r1",),
            duration_s=hours * HOUR,
            timeout_s=60,
        )
        self.journal.write(run, "run-started", data={"request": request, "started": self.clock.at})

    def create(self, run: str, *helds: Held) -> None:
        """A create call has made these."""
        self.journal.write(run, "created", helds[0].subject, {"held": list(helds)})

    def state(self, run: str, *helds: Held) -> None:
        """The cloud shows these so."""
        self.journal.write(run, "state", "", {"held": list(helds)})

    def gone(self, run: str, *helds: Held) -> None:
        """The cloud no longer has these."""
        first = helds[0]
        self.journal.write(
            run, "gone", data={"kind": first.kind, "region": first.region, "ids": [held.id for held in helds]}
        )

    def lend(self, run: str, test: str, *nodes: str) -> None:
        """A test takes nodes."""
        loan = Loan(f"{run}-{test}", "gw0", test, "default", nodes)
        self.journal.write(run, "lent", "default", {"loan": loan, "ids": list(nodes), "test": test})

    def give_back(self, run: str, test: str) -> None:
        """It gives them back."""
        self.journal.write(run, "returned", "default", {"key": f"{run}-{test}", "ids": []})

    def view(self) -> AllocationView:
        """The view as a new process opens it."""
        view = open_view(self.path, now=self.clock)
        assert view is not None
        return view

    def found(self, wanted: Filter | None = None) -> dict[str, list[str | None]]:
        """Reservations by resource, as a new process sees them."""
        with self.view() as view:
            return {
                one.resource.id: [allocation.reservation for allocation in one.allocations]
                for one in view.all(wanted or Filter())
            }


def node(id_: str, *, group: str = "db", region: str = "r1", reservation: str = "", **changes: Any) -> Held:
    """A machine."""
    facts = {"name": f"{group}-0", "instance_type": "m5.large", "market": "on-demand", "reservation_id": reservation}
    return _held("node", id_, group, region, facts, changes)


def reservation(id_: str, *, group: str = "db", region: str = "r1", **changes: Any) -> Held:
    """Capacity, on the hosts that its facts name."""
    return _held("reservation", id_, group, region, {"instance_type": "m5.large"}, changes)


def _held(kind: str, id_: str, group: str, region: str, facts: Mapping[str, str], changes: Mapping[str, Any]) -> Held:
    values: dict[str, Any] = {
        "kind": kind,
        "id": id_,
        "region": region,
        "zone": f"{region}a",
        "state": "ready",
        "subject": str(Subject("default", 1, f"{region}a", kind, group)),
        "group": group,
        **changes,
    }
    values["facts"] = {**facts, **changes.get("facts", {})}
    return Held(**values)
