"""Engines for tests: the real backend over the emulator, a journal of their own, a clock that can be moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.base import Backend
from pytest_capacity.backends.groups import plain
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Entry, Journal, PassingJournal
from pytest_capacity.model import NodeGroup, Request, Topology
from pytest_capacity.preview import Plan
from tests.emulated import IMAGE, Emulator

DB = NodeGroup(name="db", count=3, instance_type="i4i.large", market="on-demand", reserve=True)
LOADER = NodeGroup(name="loader", count=1, instance_type="c6i.xlarge", market="on-demand", reserve=True)


class MovedClock(SystemClock):
    """The machine's clock, moved by so many seconds."""

    def __init__(self) -> None:
        self.moved = 0.0

    def now(self) -> float:
        return time.time() + self.moved


def request(emulator: Emulator, *groups: NodeGroup, **changes: Any) -> Request:
    """What a run wants: three database nodes and a loader, in zones a and b, unless told otherwise."""
    wanted: dict[str, Any] = {
        "backend": "aws",
        "run": "run-1",
        "project": "tests",
        "topologies": {"default": Topology(groups or (DB, LOADER))},
        "regions": ("us-east-1",),
        "zones": ("a", "b"),
        "duration_s": 5400.0,
        "timeout_s": 60.0,
        "endpoint": emulator.url,
        "emulated": True,
    }
    aws = changes.pop("aws", None) or AwsSettings(image={"us-east-1": IMAGE})
    return Request(**{**wanted, "settings": plain(aws), **changes})


class Wrapped:
    """The backend, of which a test changes what it wants to."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class Bench:
    """Makes engines on one journal. A context manager: closes what it made, and waits for what that has under way."""

    def __init__(self, emulator: Emulator, path: Path) -> None:
        self.emulator = emulator
        self.path = path
        self.clock = MovedClock()
        self.engines: list[Engine] = []
        self._journals: list[Journal] = []

    def engine(self, wanted: Request | None = None, backend: Backend | None = None, *, which: str = "") -> Engine:
        """An engine as a keeper has it after its start: run in the journal, account known, zones being read.

        ``which`` is the identity of the emulator.

        The second one of a run adopts what the first one holds.
        """
        wanted = wanted or request(self.emulator)
        journal = Journal(self.path)
        run_state = RunState(journal, wanted.run, self.clock)
        if not run_state.live:
            run_state.intend("run-started", data={"started": self.clock.now(), "nonce": "n"})
        engine = Engine(wanted, backend or open_backend(wanted), run_state, self.clock, emulator=lambda: which)
        self.engines.append(engine)
        self._journals.append(journal)
        engine.open()
        return engine

    def plan_of(self, wanted: Request) -> Plan:
        """What a dry run says."""
        return make_plan(wanted, open_backend(wanted), PassingJournal(self.path), self.clock)

    def entries(self, run: str = "run-1") -> list[Entry]:
        """The run's events, in order."""
        with closing(Journal(self.path)) as journal:
            return journal.events(run)

    def events(self, run: str = "run-1") -> list[str]:
        """The kinds of the run's events, in order."""
        return [entry.kind for entry in self.entries(run)]

    def give_back(self, engine: Engine) -> None:
        """The engine releases everything, and the World is empty."""
        assert engine.release(within(60)).clean
        assert self.emulator.held() == []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self.engines:
            engine.stop.set()
            engine.close()
        for engine in self.engines:
            # What a failed attempt's release asks for later would be counted as the next test's.
            engine.close(wait=True)
        for journal in self._journals:
            journal.close()


def within(seconds: float) -> Callable[[], bool]:
    """A ``until`` for a release: true once so many seconds are over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
