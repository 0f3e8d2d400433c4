"""The reconciler: how looks move a request, what is kept, and what a failed look means."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.databases import ScalingSettings
from pytest_capacity.errors import KubeDBError
from pytest_capacity.scaling.model import PHASES, TERMINAL, Condition, OpsRequest, status_of, why
from pytest_capacity.scaling.reconciler import BACKOFF, MISSES, Reconciler, advance
from pytest_capacity.scaling.state import OpsState
from tests.scaling.conftest import Lab, create

REQUEST = OpsRequest(token="t", provider="p", target="a", kind="HorizontalScaling", name="n", uid="u", created=0.0)


class Script:
    """A provider whose requests move as a test says, and that counts what it is asked."""

    name = "p"

    def __init__(self) -> None:
        self.phases: dict[str, Any] = {}
        self.looks: list[tuple[str, ...]] = []
        self.deleted: list[str] = []
        self.fault: KubeDBError | None = None

    def observe(self, requests: Sequence[OpsRequest]) -> Mapping[str, OpsRequest]:
        self.looks.append(tuple(request.token for request in requests))
        if self.fault:
            raise self.fault
        return {
            request.token: replace(request, phase=self.phases.get(request.token, "Progressing"))
            for request in requests
            if self.phases.get(request.token) != "missing"
        }

    def send(self, request: OpsRequest) -> OpsRequest:
        raise NotImplementedError

    def settle(self, request: OpsRequest) -> OpsRequest | None:
        raise NotImplementedError

    def delete(self, request: OpsRequest) -> None:
        self.deleted.append(request.token)


class Bench:
    """A reconciler on `Script`, with a clock that a test moves."""

    def __init__(self, **settings: Any) -> None:
        self.at = 0.0
        self.provider = Script()
        self.written: list[tuple[str, str]] = []
        self.state = OpsState((), self._write, self._write)
        self.reconciler = Reconciler({"p": self.provider}, self.state, ScalingSettings(**settings), lambda: self.at)

    def _write(self, kind: str, subject: str, data: Any) -> None:
        self.written.append((kind, subject))

    def follow(self, token: str, target: str = "a", **fields: Any) -> None:
        made = replace(REQUEST, token=token, name=token, uid=token, target=target, created=self.at, **fields)
        self.state.requested(made)
        self.state.created(made)

    def look(self, seconds: float = 1.0) -> None:
        self.at += seconds
        self.reconciler.look()


@pytest.mark.parametrize("phase", sorted(PHASES))
def test_every_phase_is_known_to_be_terminal_or_not(phase: Any) -> None:
    """Successful, Failed, Skipped and Denied end a request; the others, and none at all, do not."""
    moved = advance(REQUEST, replace(REQUEST, phase=phase), 0, 10.0, 0.0, 600.0)
    assert (moved.outcome is not None) == (phase in {"Successful", "Failed", "Skipped", "Denied"})
    assert (phase in TERMINAL) == (moved.finished == 10.0)
    assert moved.outcome in (None, phase.lower())


def test_what_does_not_end_is_given_up_with_its_last_condition() -> None:
    """After the timeout the outcome is timed-out, and the reason ends with what was said last."""
    condition = Condition(type="HorizontalScaleStarted", status="True", reason="Started", message="waiting for pod-3")
    seen = replace(REQUEST, phase="Progressing", conditions=(condition,))
    assert advance(REQUEST, seen, 0, 600.0, 0.0, 600.0).outcome is None
    moved = advance(REQUEST, seen, 0, 600.5, 0.0, 600.0)
    assert moved.outcome == "timed-out"
    assert moved.reason.endswith("Started: waiting for pod-3")
    assert "within 600 s" in moved.reason


def test_the_reason_is_the_last_condition_that_says_failed() -> None:
    """Conditions are in the order of time; one that failed goes before later ones that did not."""
    conditions = (
        Condition(type="Running", status="True", reason="Started", message="begun"),
        Condition(type="VerticalScaleFailed", status="False", reason="Timeout", message="pod-0 is not ready"),
        Condition(type="ResumeDatabase", status="True", reason="Resumed", message="resumed"),
    )
    assert why(replace(REQUEST, phase="Failed", conditions=conditions)) == "Timeout: pod-0 is not ready"
    assert why(replace(REQUEST, phase="Denied")) == "Denied, and no condition says why"


def test_a_request_that_another_deletes_is_lost_after_several_looks() -> None:
    """One list that lacks it proves nothing; the third one in turn does."""
    bench = Bench()
    bench.follow("one")
    bench.provider.phases["one"] = "missing"
    for _ in range(MISSES - 1):
        bench.look()
        assert bench.state.active()
    bench.provider.phases["one"] = "Progressing"
    bench.look()
    bench.provider.phases["one"] = "missing"
    for _ in range(MISSES):
        assert bench.state.active()
        bench.look()
    (lost,) = bench.state.all()
    assert lost.outcome == "lost"
    assert bench.state.status("a").status == "FAILED"


def test_the_last_three_finished_ones_of_a_target_are_kept() -> None:
    """Older ones are deleted at the provider, oldest end first, and stay in the history; live ones never are."""
    bench = Bench(keep_finished=3)
    for number in range(6):
        bench.follow(f"r{number}")
        bench.provider.phases[f"r{number}"] = "Failed" if number == 1 else "Successful"
        bench.look()
    bench.follow("alive")
    bench.follow("other", target="b")
    bench.provider.phases["other"] = "Successful"
    bench.look()
    assert bench.provider.deleted == ["r0", "r1", "r2"]
    assert len(bench.state.all()) == 8
    assert [one.token for one in bench.state.active()] == ["alive"]


def test_one_that_was_given_up_is_not_deleted() -> None:
    """It may still be at work in the provider, so it is not ours to remove."""
    bench = Bench(keep_finished=0, timeout_s=5.0)
    bench.follow("stuck")
    bench.look(10.0)
    assert bench.state.all()[0].outcome == "timed-out"
    assert bench.provider.deleted == []


def test_a_failed_look_fails_no_target_and_comes_again_later() -> None:
    """Looks pause longer and longer while they fail, and go on at once after one that succeeded."""
    bench = Bench()
    bench.follow("one")
    bench.provider.fault = KubeDBError("connection refused")
    at = []
    for _ in range(60):
        before = len(bench.provider.looks)
        bench.look()
        if len(bench.provider.looks) > before:
            at.append(bench.at)
    assert [round(later - earlier) for earlier, later in pairwise(at)] == [1, 2, 4, 8, 16]
    assert len(BACKOFF) == 6
    assert bench.state.status("a").status == "SCALING"
    bench.provider.fault = None
    bench.provider.phases["one"] = "Successful"
    bench.look(40)
    assert bench.state.all()[0].outcome == "successful"


def test_many_targets_are_looked_at_in_batches() -> None:
    """One look for so many targets; all requests of a target are in the same one; nothing active, no look."""
    bench = Bench(batch=2)
    bench.look()
    assert bench.provider.looks == []
    for number in range(5):
        bench.follow(f"r{number}", target=f"t{number}")
    bench.follow("r0-second", target="t0")
    bench.look()
    assert bench.provider.looks == [("r0", "r0-second", "r1"), ("r2", "r3"), ("r4",)]


def test_the_time_of_one_in_the_queue_begins_when_its_turn_comes() -> None:
    """Pending behind another of its target, it does not run out of time for the time of the other."""
    bench = Bench(timeout_s=10.0)
    bench.follow("first")
    bench.follow("second")
    bench.provider.phases["second"] = "Pending"
    for _ in range(9):
        bench.look()
    bench.provider.phases["first"] = "Successful"
    bench.look()
    for _ in range(9):
        bench.look()
    assert [one.token for one in bench.state.active()] == ["second"]
    bench.look(2.0)
    assert bench.state.all()[1].outcome == "timed-out"


def test_a_wait_ends_with_the_request() -> None:
    """`wait` sleeps until a look has ended them all, and returns what they are when its time is over."""
    bench = Bench()
    bench.follow("one")
    assert bench.reconciler.wait(["one"], 0.01)[0].outcome is None
    bench.provider.phases["one"] = "Successful"
    looking = threading.Timer(0.05, bench.look)
    looking.start()
    assert bench.reconciler.wait(["one"], 60.0)[0].outcome == "successful"
    looking.join()


def test_the_state_of_a_target_is_that_of_its_last_request() -> None:
    """Changing while any is active; after that what the last one came to."""
    done = replace(REQUEST, outcome="successful")
    failed = replace(REQUEST, outcome="denied", reason="no")
    assert status_of([]) is None
    for requests, status in (
        ([done], "RUNNING"),
        ([done, failed], "FAILED"),
        ([failed, done], "RUNNING"),
        ([failed, REQUEST], "SCALING"),
        ([replace(REQUEST, kind="VerticalScaling")], "UPDATING"),
    ):
        state = status_of(requests)
        assert state is not None
        assert state.status == status


def test_denied_ends_it_against_a_server(lab: Lab) -> None:
    """A request that is denied by an approver ends, and fails the target; one that waits for approval does not."""
    lab.script(
        fates=[{"phase": "WaitingForApproval", "reason": "Approval"}, {"phase": "Denied", "message": "not today"}]
    )
    (request,) = lab.patch(replicas=5)
    lab.run(5)
    assert [one.phase for one in lab.history()] == ["WaitingForApproval"]
    with lab.served.lock:
        store, kind = lab.served.cluster.store, lab.served.cluster.kinds["ops.kubedb.com", "mongodbopsrequests"]
        found = store.get(kind, "default", request.name)
        store.update(kind, "default", request.name, {**found, "status": {"phase": "Denied"}}, status=True)
    lab.run(1)
    assert lab.history()[0].outcome == "denied"
    assert lab.scaling.status(request.target).status == "FAILED"


def test_the_server_keeps_the_last_three(lab: Lab) -> None:
    """Of five finished requests of a database two are deleted there; the history has all, another's are untouched."""
    create(lab.served, "mongodb", "shop")
    lab.patch(name="shop", replicas=4)
    for replicas in (4, 5, 6, 7, 8):
        lab.patch(replicas=replicas)
        lab.run(5)
    left = [one["spec"]["databaseRef"]["name"] for one in lab.served.made("mongodbopsrequests")]
    assert sorted(left) == ["orders"] * 3 + ["shop"]
    assert [entry.kind for entry in lab.events("ops-deleted")] == ["ops-deleted"] * 2
    assert len(lab.history()) == 6
