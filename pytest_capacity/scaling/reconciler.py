"""Follows operation requests to their end.

The rules are `advance`, a pure function. `Reconciler` calls it for all active requests: one look at each provider for
many targets, in batches, with growing pauses after a look that failed. Time is passed in. A look that fails is
no evidence about a target. Requests that wait in the reconciler's queue are sent when the one before has ended well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, Protocol

from msgspec.structs import replace

from pytest_capacity.databases import ScalingSettings
from pytest_capacity.errors import CapacityError
from pytest_capacity.scaling.model import GOOD, GOOD_OUTCOMES, TERMINAL, WAITING, OpsRequest, Outcome, why
from pytest_capacity.scaling.state import OpsState

_log: Final = logging.getLogger("pytest_capacity.scaling")

#: Pauses after failed looks at one provider, seconds; the last one is repeated.
BACKOFF: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)

#: In so many looks one after the other a request must be missing before it counts as deleted: a list may be stale.
MISSES: Final = 3

_OUTCOMES: Final[Mapping[str, Outcome]] = {
    "Successful": "successful",
    "Skipped": "skipped",
    "Failed": "failed",
    "Denied": "denied",
}


class Provider(Protocol):
    """The interface of what carries operation requests out: KubeDB, or the run's own engine for node groups."""

    @property
    def name(self) -> str:
        """Return what requests call it."""
        ...

    def observe(self, requests: Sequence[OpsRequest]) -> Mapping[str, OpsRequest]:
        """Return the requests as they are now, by token; those that are not there are left out. Few calls.

        Raises `CapacityError` when it cannot look.
        """
        ...

    def send(self, request: OpsRequest) -> OpsRequest:
        """Make a request that waited in the queue. Raises `CapacityError` with the provider's words."""
        ...

    def delete(self, request: OpsRequest) -> None:
        """Remove a finished request from the provider's own list; one that is gone already is no error."""
        ...

    def settle(self, request: OpsRequest) -> OpsRequest | None:
        """Find out what became of a request whose creation was never answered: None, it was not made."""
        ...


def advance(
    request: OpsRequest, seen: OpsRequest | None, misses: int, now: float, since: float, timeout_s: float
) -> OpsRequest:
    """Return ``request`` after one look that was answered: ``seen`` now, or missing for the ``misses``-th time.

    ``since`` is when its time began to run.
    """
    if seen is None:
        if misses < MISSES:
            return request
        return _end(request, "lost", now, f"{request.label} is not there any more: another deleted it before it ended")
    begun = request.begun
    if begun is None and seen.phase not in WAITING:
        begun = now
    moved = replace(request, phase=seen.phase, conditions=seen.conditions, uid=seen.uid or request.uid, begun=begun)
    if moved.phase in TERMINAL:
        return _end(moved, _OUTCOMES[moved.phase], now, "" if moved.phase in GOOD else why(moved))
    if now - since > timeout_s and moved.via != "engine":  # The engine ends its own in time, and undoes them.
        last = why(moved) if moved.conditions else f"its phase is {moved.phase or 'empty'}"
        words = f"{moved.label} did not end within {timeout_s:g} s; the last that was said of it: {last}"
        return _end(moved, "timed-out", now, words)
    return moved


def _end(request: OpsRequest, outcome: Outcome, now: float, reason: str) -> OpsRequest:
    return replace(request, outcome=outcome, finished=now, reason=reason)


class Reconciler:
    """Follows the requests of one run; `look` is called again and again by the keeper, on one thread.

    A request comes in by `follow` (or stands in ``state`` from an earlier keeper), is looked at until it has an
    outcome, and stays in ``state`` as history. `wait` lets other threads wait for outcomes.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        state: OpsState,
        settings: ScalingSettings,
        now: Callable[[], float],
    ) -> None:
        self._providers = providers
        self._state = state
        self._settings = settings
        self._now = now
        self._changed = threading.Condition()
        self._misses: dict[str, int] = {}
        #: Failed looks one after the other, and until when none is made, by provider.
        self._failures: dict[str, int] = {}
        self._quiet_until: dict[str, float] = {}
        #: One look at a time; another thread may want one now.
        self._looking = threading.Lock()

    def look(self, only: str = "") -> None:
        """Look at every active request once, or at those of one provider. Quick when there is none."""
        with self._looking:
            for name, batch in self._batches():
                if only in ("", name) and self._quiet_until.get(name, 0.0) <= self._now():
                    self._look_at(self._providers[name], batch)
            self._send_queued()
        self.wake()

    def wake(self) -> None:
        """Wake the threads that wait for a request's end."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, tokens: Sequence[str], timeout_s: float) -> tuple[OpsRequest, ...]:
        """Return these requests once all have ended, or as they are after ``timeout_s`` seconds.

        The thread of `look` wakes it, so a wait costs no call.
        """

        def over() -> bool:
            return not any(request.active for request in self._state.by_token(tokens))

        with self._changed:
            self._changed.wait_for(over, timeout_s)
        return self._state.by_token(tokens)

    def _batches(self) -> Iterator[tuple[str, list[OpsRequest]]]:
        """Yield the requests to look at, by provider, and by as many targets as one round of calls takes."""
        active = sorted(self._state.active(), key=lambda request: (request.provider, request.target))
        for name, of_provider in groupby(active, key=lambda request: request.provider):
            targets = [list(group) for _, group in groupby(of_provider, key=lambda request: request.target)]
            for start in range(0, len(targets), self._settings.batch):
                yield name, [request for group in targets[start : start + self._settings.batch] for request in group]

    def _look_at(self, provider: Provider, batch: Sequence[OpsRequest]) -> None:
        sent = [request for request in batch if request.sent]
        doubtful = [request for request in batch if not request.sent and self._state.is_doubtful(request.token)]
        try:
            seen = provider.observe(sent) if sent else {}
            for request in doubtful:
                self._settle(provider, request)
        except CapacityError as error:
            self._failed_look(provider.name, error)
            return
        self._failures.pop(provider.name, None)
        for request in sent:
            self._move(request, seen.get(request.token))

    def _failed_look(self, name: str, error: CapacityError) -> None:
        """Log a look that failed, which is no failure of the target; the next one comes later."""
        failures = self._failures.get(name, 0)
        pause = BACKOFF[min(failures, len(BACKOFF) - 1)]
        self._failures[name] = failures + 1
        self._quiet_until[name] = self._now() + pause
        _log.warning("ops_request_check_failed provider=%s error=%s next_look_s=%g", name, error, pause)

    def _settle(self, provider: Provider, request: OpsRequest) -> None:
        found = provider.settle(request)
        if found is None:
            words = "its creation was never answered, and the server does not have it"
            self._finish(_end(request, "lost", self._now(), words))
        else:
            self._state.created(found)

    def _move(self, request: OpsRequest, seen: OpsRequest | None) -> None:
        misses = self._misses.get(request.token, 0) + 1 if seen is None else 0
        self._misses[request.token] = misses
        moved = advance(request, seen, misses, self._now(), self._since(request), self._settings.timeout_s)
        if moved == request:
            return
        if moved.outcome is None:
            self._state.moved(moved)
        else:
            self._finish(moved)

    def _since(self, request: OpsRequest) -> float:
        """Return when its time began: a request behind another of the same target waits for that one's end first."""
        before = [
            other.finished
            for other in self._state.of_target(request.target)
            if other.token != request.token and other.created <= request.created and other.outcome is not None
        ]
        ahead = [
            other
            for other in self._state.of_target(request.target)
            if other.active and other.token != request.token and _goes_before(other, request)
        ]
        if ahead and request.phase in WAITING:
            return self._now()
        return max([request.created, *(at for at in before if at is not None)])

    def _finish(self, request: OpsRequest) -> None:
        self._misses.pop(request.token, None)
        self._state.ended(request)
        log_end(request)
        self._retain(request.target)

    def _retain(self, target: str) -> None:
        """Delete the oldest finished requests of a target beyond those that are kept; never one that is active."""
        finished = [
            request
            for request in self._state.of_target(target)
            if request.outcome is not None
            and request.sent
            and request.via == "ops-request"
            # One that was given up may still be at work: it is not ours to remove.
            and request.phase in TERMINAL
            and not self._state.is_deleted(request.token)
        ]
        finished.sort(key=lambda request: (request.finished or 0.0, request.name))
        for request in finished[: max(0, len(finished) - self._settings.keep_finished)]:
            try:
                self._providers[request.provider].delete(request)
            except CapacityError as error:
                _log.warning("ops_request_delete_failed ops_request_name=%s error=%s", request.name, error)
                return
            self._state.deleted(request)

    def _send_queued(self) -> None:
        for request in self._state.active():
            if request.sent or not request.after or self._state.is_doubtful(request.token):
                continue
            (before,) = self._state.by_token([request.after]) or (None,)
            if before is not None and before.active:
                continue
            if before is None or before.outcome not in GOOD_OUTCOMES:
                words = f"{before.label if before else 'the request before it'} did not succeed, so it was not sent"
                self._finish(_end(request, "not-sent", self._now(), words))
                continue
            if self._quiet_until.get(request.provider, 0.0) > self._now():
                continue
            try:
                self._providers[request.provider].send(request)
            except CapacityError as error:
                # One whose call was not answered may stand; the next look finds out.
                if not self._state.is_doubtful(request.token):
                    self._finish(_end(request, "failed", self._now(), str(error)))


def _goes_before(other: OpsRequest, request: OpsRequest) -> bool:
    if other.phase not in WAITING:
        return True
    return (other.created, other.token == request.after) < (request.created, False) or other.token == request.after


def log_end(request: OpsRequest) -> None:
    """Write the seeds' log event for the end of a request."""
    fields: dict[str, Any] = {
        "database_id": request.target,
        "ops_request_name": request.name,
        "ops_type": request.kind,
        "phase": request.phase,
    }
    good = request.outcome in GOOD_OUTCOMES
    if not good:
        fields |= {"reason": request.outcome, "message": request.reason}
    log_event("ops_request_successful" if good else "ops_request_failed", fields, failed=not good)


def log_event(event: str, fields: Mapping[str, Any], *, failed: bool = False) -> None:
    """Write ``event`` with its fields, as text and as attributes of the log record."""
    words = " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)
    level = logging.ERROR if failed else logging.INFO
    _log.log(level, "%s %s", event, words, extra={"event": event, **{f"ops_{k}": v for k, v in fields.items()}})
