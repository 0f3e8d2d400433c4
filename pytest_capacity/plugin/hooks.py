"""Calls the hooks of the run: those that decide when the keeper asks, those that are only told what happens.

In the controller, or the only process; never on its main thread, which may be in a test.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import pytest

from pytest_capacity.keeper.protocol import Advise, Consult, Event, Topic
from pytest_capacity.model import Attempt, Diagnosis, Held, Placed, Request, Reservation
from pytest_capacity.remote.machine import Machine

#: How long the end of a session waits for hooks that are still called for what happened. Seconds.
LAST: Final = 5.0

_DECIDE: Final[Mapping[str, Topic]] = {"pytest_capacity_ladder": "ladder", "pytest_capacity_diagnose": "diagnose"}


class Hooks:
    """Those that are implemented when the session starts. ``complain`` is called with what one of them raised."""

    def __init__(self, config: pytest.Config, request: Request, complain: Callable[[str], None]) -> None:
        self._config = config
        self._request = request
        self._complain = complain
        self._hear: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {
            "attempt-started": self._attempt_started,
            "attempt-ended": self._attempt_ended,
            "created": self._created,
            "placed": self._placed,
            "gone": self._gone,
        }
        #: Nodes that were reported to the hooks: what stands is reported whole again when a node is replaced.
        self._ready: set[str] = set()
        # Not a `queue`: with `python -m pytest` a user's queue.py stands before Python's.
        self._events: deque[Event | None] = deque()
        self._waiting = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    @property
    def advises(self) -> tuple[Topic, ...]:
        """What the hooks that are there decide."""
        return tuple(topic for hook, topic in _DECIDE.items() if self._implemented(hook))

    @property
    def listens(self) -> bool:
        """Whether any hook is to be called for what happens."""
        return any(map(self._implemented, _HEARD))

    def _implemented(self, hook: str) -> bool:
        return bool(getattr(self._config.hook, hook).get_hookimpls())

    def on_event(self, event: Event) -> None:
        """Pass an event to the hooks, on a thread of their own, one after the other."""
        if event.kind not in self._hear or not self.listens:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="capacity-hooks", daemon=True)
            self._thread.start()
        self._put(event)

    def finish(self) -> None:
        """Wait, a while, until the hooks have had every event."""
        if self._thread:
            self._put(None)
            self._thread.join(LAST)
            if self._thread.is_alive():
                self._complain(f"hooks are still at work {LAST:g} s after the end of the run; they are not waited for")

    def advise(self, asked: Consult) -> Advise:
        """Return what a hook decides; on a thread of its own."""
        try:
            if asked.topic == "ladder":
                return Advise(number=asked.number, rungs=self._order(asked))
            return Advise(number=asked.number, diagnosis=self._diagnose(asked))
        # pytest.fail() and its like are no `Exception`; on a thread of our own, nothing else is to be let through.
        except BaseException as error:  # noqa: BLE001 - whatever a hook raises is reported, and the run goes on without it.
            return Advise(number=asked.number, fault=repr(error))

    def _order(self, asked: Consult) -> tuple[int, ...] | None:
        topology = self._request.topologies[asked.topology]
        found = self._config.hook.pytest_capacity_ladder(config=self._config, topology=topology, rungs=asked.rungs)
        if found is None:
            return None
        rungs = tuple(found)  # It may be an iterator, which is empty once it was looked through.
        strange = [rung for rung in rungs if rung not in asked.rungs]
        if strange:
            raise ValueError(f"{strange[0]!r} is none of the rungs that it was given")
        return tuple(map(asked.rungs.index, rungs))

    def _diagnose(self, asked: Consult) -> Diagnosis | None:
        found: Diagnosis | None = self._config.hook.pytest_capacity_diagnose(
            config=self._config, diagnosis=asked.diagnosis, region=asked.region, zone=asked.zone, groups=asked.groups
        )
        # What is no Diagnosis would break the wire: it is the hook's fault, and reported as such.
        return None if found is None else msgspec.convert(msgspec.to_builtins(found), Diagnosis)

    def _put(self, event: Event | None) -> None:
        self._events.append(event)
        self._waiting.release()

    def _next(self) -> Event | None:
        self._waiting.acquire()
        return self._events.popleft()

    def _listen(self) -> None:
        while (event := self._next()) is not None:
            try:
                self._hear[event.kind](event.data)
            except BaseException as error:  # noqa: BLE001 - whatever a hook raises is reported, and the run goes on.
                self._complain(f"a hook failed on {event.kind}: {error!r}. Mend the hook")

    def _attempt_started(self, data: Mapping[str, Any]) -> None:
        told = {name: data[name] for name in ("topology", "region", "zone", "number")}
        self._config.hook.pytest_capacity_attempt_started(config=self._config, **told)

    def _attempt_ended(self, data: Mapping[str, Any]) -> None:
        attempt = msgspec.convert(data["attempt"], Attempt)
        self._config.hook.pytest_capacity_attempt_ended(config=self._config, attempt=attempt)

    def _created(self, data: Mapping[str, Any]) -> None:
        for held in msgspec.convert(data.get("held", []), list[Held]):
            if held.kind == "reservation":
                self._config.hook.pytest_capacity_reserved(config=self._config, reservation=_reservation(held))

    def _placed(self, data: Mapping[str, Any]) -> None:
        placed = msgspec.convert(data["placed"], Placed)
        for nodes in placed.nodes.values():
            for node in nodes:
                if node.id not in self._ready:
                    self._ready.add(node.id)
                    self._config.hook.pytest_capacity_node_ready(config=self._config, node=Machine.of(node))

    def _gone(self, data: Mapping[str, Any]) -> None:
        ids: Sequence[str] = tuple(data["ids"])
        self._config.hook.pytest_capacity_released(config=self._config, kind=data.get("kind", ""), ids=ids)


_HEARD: Final = (
    "pytest_capacity_attempt_started",
    "pytest_capacity_attempt_ended",
    "pytest_capacity_reserved",
    "pytest_capacity_node_ready",
    "pytest_capacity_released",
)


def _reservation(held: Held) -> Reservation:
    kind = held.facts.get("instance_type", "")
    return Reservation(id=held.id, region=held.region, zone=held.zone, instance_type=kind, count=held.count)
