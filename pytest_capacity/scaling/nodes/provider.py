"""The run's node groups as a `Provider` of operation requests, and what makes them: `NodeGroups.ask`.

A request is carried out on a separate thread, beside the tests. What it does is in the journal before its first step
(``alteration-started``), so that another keeper finishes it, or undoes it, and records it.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from pytest_capacity.engine.clock import Deadline
from pytest_capacity.engine.engine import Engine
from pytest_capacity.engine.run_state import Alteration
from pytest_capacity.errors import Cancelled, CapacityError, ScalingError
from pytest_capacity.model import NodeChange
from pytest_capacity.scaling.model import Condition, Kind, OpsRequest
from pytest_capacity.scaling.nodes.steps import Steps
from pytest_capacity.scaling.nodes.tasks import Planner, Task, check_lent, check_numbers, lent, reservations_of, touched
from pytest_capacity.scaling.reconciler import log_event
from pytest_capacity.scaling.state import OpsState

_log: Final = logging.getLogger("pytest_capacity.scaling")

PROVIDER: Final = "nodes"

#: Starts work beside the tests.
Start = Callable[[Callable[[], None]], object]


class Lending(Protocol):
    """The interface to the lender of the run's nodes to tests."""

    def hold(self, take: Callable[[], None]) -> None:
        """Call ``take`` while no node is lent or given back."""
        ...

    def look_again(self) -> None:
        """Look again, since nodes were added or removed."""
        ...


class NodeGroups:
    """The node groups of one run. All methods may be called from any thread."""

    name: Final = PROVIDER

    def __init__(
        self,
        engine: Engine,
        state: OpsState,
        lending: Lending,
        timeout_s: float,
        on_end: Callable[[], None],
        start: Start | None = None,
    ) -> None:
        """Take ``on_end``, called when a request has ended, and ``start``: on threads, unless it is given."""
        self._engine = engine
        self._alterer = engine.alterer
        self._run = engine.run_state
        self._state = state
        self._lending = lending
        self._timeout_s = timeout_s
        self._on_end = on_end
        self._start = start or engine.alterer.beside
        self._planner = Planner(engine)
        #: One request at a time is looked at and begun: each sees what is under way.
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        #: What was done so far, by token; a second keeper begins anew.
        self._conditions: dict[str, tuple[Condition, ...]] = {}
        self._working: set[str] = set()

    def ask(self, change: NodeChange) -> tuple[OpsRequest, ...]:
        """Request a change and return at once: the requests, in the order in which they are carried out.

        Nodes in place and another count are two requests, the count first. Raises `ScalingError` for what is refused
        before any change, and `Refused` where the cloud cannot be read.
        """
        parts = _parts(change)
        try:
            with self._asking:
                return tuple(self._ask(parts))
        except CapacityError as error:
            fields = {"name": change.target, "count": change.count, "instance_type": change.instance_type}
            log_event("scaling_operation_failed", {**fields, "error": error}, failed=True)
            raise

    def _ask(self, parts: Sequence[NodeChange]) -> list[OpsRequest]:
        # Those that a keeper made before its death cut off the answer.
        known = self._state.by_token([_token(part) for part in parts])
        requests = [request for request in known if not self._made_nothing(request)]
        if not requests:
            requests.append(self._ask_first(parts))
        for part in parts[len(requests) :]:
            request = self._request(part, requests[-1].token)
            self._state.queued(request)
            requests.append(request)
        return requests

    def _ask_first(self, parts: Sequence[NodeChange]) -> OpsRequest:
        """Check all of it, and begin with the first."""
        for part in parts:
            check_numbers(part)
        self._check_free(parts[0])
        if self._alterer.stopped:
            raise Cancelled("the run is ending, so nothing is changed any more")
        deadline = self._deadline()
        tasks = [self._planner.task(part, deadline) for part in parts]
        for task in tasks:
            check_lent(task, lent(self._engine))
        request = self._request(parts[0], "")
        self._state.requested(request)
        return self._begin(request, tasks[0])

    def _made_nothing(self, request: OpsRequest) -> bool:
        """Return whether a request's keeper ended before it had decided what to do: it is requested once more."""
        begun = request.token in self._run.alterations or request.token in self._run.altered
        return not (request.sent or request.after or begun)

    def _begin(self, request: OpsRequest, task: Task) -> OpsRequest:
        """Write down what will be done, keep its nodes from tests, and start."""
        try:
            self._lending.hold(lambda: self._take(request, task))
        except CapacityError as error:
            self._state.refused(request, str(error))
            raise
        made = replace(request, name=_name(request), uid=request.token, phase="Progressing", after="")
        self._state.created(made)
        fields = {"name": request.target, "ops_request_name": made.name, "ops_type": request.kind, **request.wanted}
        log_event("scaling_ops_request_created", fields)
        self._work(request.token)
        return made

    def _take(self, request: OpsRequest, task: Task) -> None:
        check_lent(task, lent(self._engine))
        self._check_shared(task)
        if task.order is not None:
            task = replace(task, order=replace(task.order, attempt=self._run.next_attempt()))
        alteration = Alteration(
            token=request.token,
            topology=task.change.topology,
            group=task.change.group,
            ids=touched(task),
            order=task.order,
            task=msgspec.to_builtins(task),
        )
        self._run.intend("alteration-started", request.target, {"alteration": alteration})

    def _check_free(self, change: NodeChange) -> None:
        """Refuse a second request for a group. Raise `ScalingError`."""
        active = [request for request in self._state.of_target(change.target) if request.active]
        if active:
            raise ScalingError(
                f"{active[0].kind} {active[0].label} of {change.target} is under way. Wait for its end, and ask again"
            )

    def _check_shared(self, task: Task) -> None:
        """Refuse a second request for a reservation: like groups share one, and its count is absolute."""
        keys = reservations_of(task)
        for other in list(self._run.alterations.values()):
            if keys & reservations_of(msgspec.convert(other.task, Task)):
                raise ScalingError(
                    f"group {task.change.group!r} shares a reservation with group {other.group!r}, which is being "
                    "changed. Wait for the end of that, and ask again"
                )

    def _request(self, change: NodeChange, after: str) -> OpsRequest:
        kind, wanted = _asked(change)
        return OpsRequest(
            token=_token(change) or secrets.token_hex(8),
            provider=PROVIDER,
            target=change.target,
            kind=kind,
            via="engine",
            created=self._alterer.clock.now(),
            after=after,
            wanted=wanted,
            facts={"change": msgspec.to_builtins(change)},
        )

    def _work(self, token: str) -> None:
        """Start a thread for a request, unless it has one, or the run is ending."""
        with self._lock:
            if token in self._working or token in self._run.altered or self._alterer.stopped:
                return
            self._working.add(token)
        self._start(lambda: self._carry_out(token))

    def _carry_out(self, token: str) -> None:
        try:
            words = self._worked(token)
            if words is not None:
                self._run.note("alteration-ended", data={"token": token, "words": words})
        except Cancelled:
            pass  # The run ends, and releases what was made; or it goes on, and so does this.
        except CapacityError as error:
            self._run.note("alteration-ended", data={"token": token, "words": str(error)})
        except Exception as error:  # noqa: BLE001 - the edge of the thread: the request must end.
            _log.exception("request %s failed", token)
            self._run.note("alteration-ended", data={"token": token, "words": f"the keeper failed: {error!r}"})
        finally:
            with self._lock:
                self._working.discard(token)
            self._lending.look_again()
        self._on_end()

    def _worked(self, token: str) -> str | None:
        """Carry it out; return what failed, "" where nothing did."""
        deadline = self._deadline()
        while not self._engine.opened.wait(0.2):
            deadline.check()  # A second keeper waits until it knows the account.
        if token not in self._run.alterations:
            self._start_late(token)
        alteration = self._run.alterations[token]
        task = msgspec.convert(alteration.task, Task)
        if task.step == "skip":
            self._say(token, "Skipped", "the group is as asked for already")
            return ""
        steps = Steps(self._alterer, self._run, task, token, lambda what, words: self._say(token, what, words))
        if not alteration.undo:
            try:
                steps.forward(deadline)
            except Cancelled:
                raise
            except CapacityError as error:
                if steps.handed_over:
                    return f"{error}. Now {steps.left()}"
                self._say(token, "Undoing", str(error))
                self._run.note("alteration-undoing", task.change.target, {"token": token, "words": str(error)})
            else:
                return ""
        return self._undone(steps, self._run.alterations[token].undo)

    def _undone(self, steps: Steps, why: str) -> str:
        try:
            steps.undo(self._deadline())
        except Cancelled:
            raise
        except CapacityError as error:
            return f"{why}. It could not be undone: {error}. Now {steps.left()}"
        return f"{why}. {steps.restored()}"

    def _start_late(self, token: str) -> None:
        """Decide what to do for a request that waited for another one, or whose keeper ended before it could."""
        (request,) = self._state.by_token([token])
        with self._asking:
            task = self._planner.task(msgspec.convert(request.facts["change"], NodeChange), self._deadline())
            self._lending.hold(lambda: self._take(request, task))

    def _deadline(self) -> Deadline:
        return self._alterer.deadline(
            self._timeout_s, f"it took longer than {self._timeout_s:g} s (scaling: {{timeout: ...}})"
        )

    def _say(self, token: str, what: str, words: str) -> None:
        condition = Condition(type=what, status="True", message=words, at=self._alterer.clock.now())
        with self._lock:
            self._conditions[token] = (*self._conditions.get(token, ()), condition)

    def observe(self, requests: Sequence[OpsRequest]) -> Mapping[str, OpsRequest]:
        """Return the requests as they are. One that no thread works on is gone on with."""
        return {request.token: self._observed(request) for request in requests}

    def _observed(self, request: OpsRequest) -> OpsRequest:
        token = request.token
        words = self._run.altered.get(token)
        conditions = self._conditions.get(token, ())
        if words is None:
            self._work(token)
            return replace(request, phase="Progressing", conditions=conditions or request.conditions)
        if words:
            failed = Condition(type="Failed", status="True", message=words, at=self._alterer.clock.now())
            return replace(request, phase="Failed", conditions=(*(conditions or request.conditions), failed))
        skipped = bool(conditions) and conditions[-1].type == "Skipped"
        return replace(
            request, phase="Skipped" if skipped else "Successful", conditions=conditions or request.conditions
        )

    def send(self, request: OpsRequest) -> OpsRequest:
        """Start a request that waited for the one before it."""
        made = replace(request, name=_name(request), uid=request.token, phase="Progressing", after="")
        self._state.created(made)
        self._work(request.token)
        return made

    def delete(self, request: OpsRequest) -> None:
        """Do nothing: it is only in the journal."""

    def settle(self, request: OpsRequest) -> OpsRequest | None:
        """Return the request if it was begun before its keeper ended; None: nothing was done for it."""
        if request.token not in self._run.alterations and request.token not in self._run.altered:
            return None
        return replace(request, name=_name(request), uid=request.token)


def _parts(change: NodeChange) -> list[NodeChange]:
    """Return the changes that are carried out one after the other."""
    if change.instance_type is None or change.mode == "replace" or change.count is None:
        return [change]
    return [replace(change, instance_type=None), replace(change, count=None, remove=())]


def _asked(change: NodeChange) -> tuple[Kind, dict[str, Any]]:
    """Return the kind of its request, and the requested values, in words."""
    if change.disk_gb is not None:
        return "VolumeExpansion", {"storage_gb": change.disk_gb}
    wanted: dict[str, Any] = {"count": change.count} if change.count is not None else {}
    if change.remove:
        wanted["remove"] = ", ".join(change.remove)
    if change.instance_type is None:
        return "HorizontalScaling", wanted
    return "VerticalScaling", {"instance_type": change.instance_type, "mode": change.mode, **wanted}


def _token(change: NodeChange) -> str:
    """Return the token of the one request of that kind that a call makes, however often it is sent."""
    return f"{change.key}-{_asked(change)[0]}" if change.key else ""


def _name(request: OpsRequest) -> str:
    short = {"HorizontalScaling": "horizontal", "VerticalScaling": "vertical", "VolumeExpansion": "volume"}
    group = request.target.rpartition("/")[2]
    return f"{group}-{short[request.kind]}-{request.token.partition('-')[0][-6:]}"
