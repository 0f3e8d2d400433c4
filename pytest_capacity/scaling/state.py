"""The scaling requests of a run, and their outcomes: a view of the journal's ``ops-*`` events.

=================== ==================================================================================================
``ops-requested``   the `OpsRequest`, before the call that makes it
``ops-created``     the same, with the name and uid that the provider gave it
``ops-refused``     token, words: it was not made
``ops-moved``       the request after a look that showed something new (its phase, its conditions)
``ops-ended``       the request with its outcome
``ops-deleted``     token, name: removed from the provider's list, since newer ones are kept
=================== ==================================================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from pytest_capacity.journal import Entry
from pytest_capacity.scaling.model import OpsRequest, TargetState, status_of

KINDS: Final = frozenset({"ops-requested", "ops-created", "ops-refused", "ops-moved", "ops-ended", "ops-deleted"})

#: Writes one event; the first kind must be on disk when it returns (it raises otherwise), the second need not.
Note = Callable[[str, str, Any], None]


class _Refused(Struct, frozen=True):
    token: str
    words: str = ""


class OpsState:
    """All operation requests of one run, in the order of their requests. Safe to use from many threads."""

    def __init__(self, entries: Iterable[Entry], intend: Note, note: Note) -> None:
        """Replay ``entries`` of an earlier keeper. ``intend`` raises `JournalError`, and then nothing may be made."""
        self._intend = intend
        self._note = note
        self._lock = threading.RLock()
        self._requests: dict[str, OpsRequest] = {}
        self._deleted: set[str] = set()
        for entry in entries:
            if entry.kind in KINDS:
                self._apply(entry.kind, entry.data)
        #: Tokens of requests with a call behind them that was not answered: an earlier keeper died over it, or the
        #: connection broke. Those whose call is under way now are not among them.
        self._doubtful = {
            request.token
            for request in self._requests.values()
            if request.active and not (request.sent or request.after)
        }

    def all(self) -> tuple[OpsRequest, ...]:
        """Return every request that was made or is to be made."""
        with self._lock:
            return tuple(self._requests.values())

    def active(self) -> tuple[OpsRequest, ...]:
        """Return those that have not ended."""
        return tuple(request for request in self.all() if request.active)

    def of_target(self, target: str) -> tuple[OpsRequest, ...]:
        """Return those of one target."""
        return tuple(request for request in self.all() if request.target == target)

    def by_token(self, tokens: Sequence[str]) -> tuple[OpsRequest, ...]:
        """Return those with these tokens; one that is not known is left out."""
        with self._lock:
            return tuple(self._requests[token] for token in tokens if token in self._requests)

    def status(self, target: str) -> TargetState:
        """Return the state of a target, as far as the package's own requests show it."""
        return status_of(self.of_target(target)) or TargetState(target=target)

    def is_doubtful(self, token: str) -> bool:
        """Return whether a call was made for it whose answer was lost."""
        return token in self._doubtful

    def is_deleted(self, token: str) -> bool:
        """Return whether it was removed from the provider's list."""
        return token in self._deleted

    def queued(self, request: OpsRequest) -> None:
        """Record a request that is sent later, when the one before it has ended."""
        self._write(self._intend, "ops-requested", request)

    def requested(self, request: OpsRequest) -> None:
        """Write down that a request is about to be made. Raises `JournalError`."""
        with self._lock:
            self._doubtful.discard(request.token)
        self._write(self._intend, "ops-requested", msgspec.structs.replace(request, after=""))

    def unanswered(self, request: OpsRequest) -> None:
        """Record that the call that was to make it has had no answer: the reconciler finds out."""
        with self._lock:
            self._doubtful.add(request.token)

    def created(self, request: OpsRequest) -> None:
        """Write down that the provider has it."""
        self._write(self._note, "ops-created", request)

    def refused(self, request: OpsRequest, words: str) -> None:
        """Write down that the provider does not take it."""
        self._record(self._note, "ops-refused", request.target, {"token": request.token, "words": words})

    def moved(self, request: OpsRequest) -> None:
        """Write down what a look showed."""
        self._write(self._note, "ops-moved", request)

    def ended(self, request: OpsRequest) -> None:
        """Write down how it ended."""
        self._write(self._note, "ops-ended", request)

    def deleted(self, request: OpsRequest) -> None:
        """Write down that it was removed from the provider's list."""
        self._record(self._note, "ops-deleted", request.target, {"token": request.token, "name": request.name})

    def _write(self, writer: Note, kind: str, request: OpsRequest) -> None:
        asked = ", ".join(f"{key} {value}" for key, value in request.wanted.items())
        self._record(writer, kind, request.target, {**msgspec.to_builtins(request), "asked": asked})

    def _record(self, writer: Note, kind: str, target: str, data: Any) -> None:
        with self._lock:
            writer(kind, target, data)
            self._apply(kind, data)
            if kind != "ops-requested":
                self._doubtful.discard(data["token"])

    def _apply(self, kind: str, data: Any) -> None:
        if kind == "ops-deleted":
            self._deleted.add(data["token"])
            return
        if kind == "ops-refused":
            self._requests.pop(msgspec.convert(data, _Refused).token, None)
            return
        request = msgspec.convert(data, OpsRequest)
        self._requests[request.token] = request
