"""What is on its way out is not taken for what stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_capacity.engine.abandoned import Abandoned
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.release import Scope
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from pytest_capacity.model import Held, Piece, Subject

GROUP = str(Subject(topology="default", series=9, zone="1", kind="capacity-group", label="run"))
NETWORK = str(Subject(topology="default", series=9, zone="1", kind="network", label="run"))


class SlowReleaser:
    """Releases when it is let: a cloud takes its time, and says so only then."""

    def __init__(self, state: RunState) -> None:
        self.let = threading.Event()
        self._state = state

    def release(self, scope: Scope, until: Callable[[], bool], wake: threading.Event | None = None) -> bool:
        assert self.let.wait(60)
        for held in scope.held():
            self._state.note("gone", data={"kind": held.kind, "held": [held], "ids": [held.id]})
        return True


@pytest.fixture
def state(tmp_path: Path) -> Iterator[RunState]:
    """A run that holds a network and a capacity group of one series."""
    journal = Journal(tmp_path / "journal.sqlite")
    state = RunState(journal, "run-1", SystemClock())
    for subject in (NETWORK, GROUP):
        kind = Subject.parse(subject).kind
        held = Held(kind=kind, id=f"id-of-{kind}", region="r", zone="1", state="ready", subject=subject)
        state.note("created", subject, {"kind": kind, "ids": [held.id], "held": [held]})
    yield state
    journal.close()


def test_a_piece_that_is_being_released_is_known_as_such(state: RunState) -> None:
    """An attempt that had no use for it left it to be released; a later one of the series must not count on it.

    Found on Azure: reserved, then spot, then reserved in one zone; the capacity group of the first went away under the
    reservation of the third, which ended the run as "ParentResourceNotFound".
    """
    releaser = SlowReleaser(state)
    with ThreadPoolExecutor(2) as pool:
        abandoned = Abandoned(releaser, state, pool, threading.Event())  # type: ignore[arg-type] # of it one method
        abandoned.release("default", 9, keep=(NETWORK,), regions=("r",))
        assert abandoned.is_releasing([NETWORK, GROUP])
        assert not abandoned.is_releasing([NETWORK])
        releaser.let.set()
        abandoned.under_way()[0].result(60)
        assert not abandoned.is_releasing([NETWORK, GROUP])
        assert [held.kind for held in state.held()] == ["network"]


def test_what_may_exist_is_released_as_what_does(state: RunState) -> None:
    """A create call without an answer may have made something: its piece is in the release of its series."""
    subject = str(Subject(topology="default", series=9, zone="1", kind="node", label="0"))
    piece = Piece(kind="node", subject=subject, region="r", zone="1", token="t")
    state.note("intent", subject, {"piece": piece})
    releaser = SlowReleaser(state)
    with ThreadPoolExecutor(2) as pool:
        abandoned = Abandoned(releaser, state, pool, threading.Event())  # type: ignore[arg-type] # of it one method
        abandoned.release("default", 9, keep=(NETWORK, GROUP), regions=("r",))
        assert abandoned.is_releasing([subject])
        releaser.let.set()
