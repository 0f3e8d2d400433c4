"""The base of the suites: the cloud of one test, and engines over it that are keepers of one run."""

from __future__ import annotations

import threading
import time
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec
from msgspec import Struct

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Entry, Journal
from pytest_capacity.model import (
    Change,
    Diagnosis,
    Held,
    Identity,
    Offer,
    Piece,
    Placed,
    Request,
    Unread,
)

#: How long a release may take here. Seconds.
PATIENCE = 60.0

_E = TypeVar("_E", bound=BaseException)


class ScalingLab(Struct, frozen=True, kw_only=True):
    """The description of a lab for `ScalingSuite`: its attribute ``scaling``. A test is skipped whose part is empty.

    All types are offered in all zones of the lab.
    """

    #: A type that can be reserved, whose machines have no local disks.
    type: str
    #: Another one, of the same architecture.
    larger: str = ""
    #: A type of another architecture than ``type``.
    other_architecture: str = ""
    #: A type whose machines have local disks, of the architecture of ``larger``.
    with_local_disks: str = ""
    #: How large the disk is that a machine starts from, GB; 0: it does not grow.
    disk_gb: int = 0


class Lab(Protocol):
    """The cloud of one test, and what the test may do with it. Empty, and in fair weather, at the beginning."""

    #: Two zones or more, by the names that `Offer.zone` has, in the order in which ``request`` has them tried.
    zones: Sequence[str]

    def request(self, **overrides: Any) -> Request:
        """Return a request for one topology, ``default``, with at least two groups that are reserved, in ``zones``.

        ``overrides`` are fields of `Request`. Nodes are not reached by SSH.
        """
        ...

    def backend(self, request: Request) -> Backend:
        """Return the backend, opened for ``request`` as a keeper opens it."""
        ...

    def weather(
        self,
        *,
        dry: Sequence[str] = (),
        late: Sequence[str] = (),
        lose_reply: bool = False,
        quota: bool = False,
        slow_s: float = 0.0,
    ) -> None:
        """Set the weather; what is left out is fair.

        ``dry``: zones that refuse every reservation and node at once. ``late``: zones in which these are accepted, and
        fail later. ``lose_reply``: the next call that makes a reservation is done and its answer is lost. ``quota``:
        every reservation and node is refused for a quota of the region. ``slow_s``: how long a node takes to become
        ready, and to go. Raise ``NotImplementedError`` for what the cloud cannot do; the test is skipped then.
        """
        ...

    def held(self) -> Sequence[str]:
        """Return the ids of all that the cloud has in a state that bills or blocks."""
        ...

    def calls(self) -> Sequence[str]:
        """Return the operations that were called, oldest first, for the words of a failure."""
        ...


class Killed(BaseException):
    """The exception that ends the process which a test of every boundary kills."""


class Dying:
    """The backend, in a process that dies before or after its ``fatal``-th mutating call (0: not)."""

    def __init__(self, backend: Backend, fatal: int = 0) -> None:
        self._backend = backend
        self.fatal = fatal
        self.passed = 0
        #: The mutating calls, in the order of their ends: kind of thing, ``create``, ``change`` or ``release``, and id.
        self.made: list[tuple[str, str, str]] = []
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def die_at(self, fatal: int) -> None:
        """Count from now on."""
        self.fatal, self.passed, self.made = fatal, 0, []

    def _boundary(self) -> None:
        with self._lock:
            self.passed += 1
            if self.fatal and self.passed >= self.fatal:  # What runs beside it on other threads dies too.
                raise Killed

    def change(self, held: Held, to: Change) -> Held:
        self._boundary()
        changed = self._backend.change(held, to)
        self.made.append((held.kind, "change", held.id))
        self._boundary()
        return changed

    def create(self, piece: Piece) -> Sequence[Held]:
        self._boundary()
        made = self._backend.create(piece)
        self.made.append((piece.kind, "create", piece.subject))
        self._boundary()
        return made

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        self._boundary()
        asked = self._backend.release(helds)
        self.made += [(held.kind, "release", held.id) for held in helds]
        self._boundary()
        return asked


#: What the verbs of a `Backend` return.
_ANSWERS: Final[Mapping[str, Any]] = {
    "whoami": Identity,
    "regions": list[str],
    "offers": list[Offer],
    "family": str,
    "plan": list[list[Piece]],
    "create": list[Held],
    "change": Held,
    "refresh": list[Held],
    "releasable": list[Held],
    "release": list[Held],
    "console": str,
    "by_hand": list[str],
    "ends": float | None,
    "diagnose": Diagnosis,
}


class Checked:
    """The backend, whose every answer is compared with what its verb returns by `backends.base`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        #: Each verb that gave something else, with what is wrong with it.
        self.faults: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        if name not in (*_ANSWERS, "inventory"):
            return found

        def call(*given: Any) -> Any:
            answer = found(*given)
            if name == "inventory":
                return iter(self._listed(answer))
            self._check(name, answer, _ANSWERS[name])
            if name in ("refresh", "release") and name not in self.faults:
                same = [held.key for held in answer] == [held.key for held in given[0]]
                if not same:
                    self.faults[name] = "not the things that were given, in their order"
            return answer

        return call

    def _listed(self, answer: Any) -> Sequence[Held | Unread]:
        try:
            things = list(answer)
        except TypeError:
            self.faults["inventory"] = f"nothing that can be listed: {answer!r:.200}"
            raise
        for thing in things:
            self._check("inventory", thing, Unread if isinstance(thing, Unread) else Held)
        return things

    def _check(self, verb: str, answer: Any, wanted: Any) -> None:
        try:
            # By way of JSON, since that is how the journal and the keeper's messages keep it.
            same = msgspec.json.decode(msgspec.json.encode(answer), type=wanted)
        except (TypeError, ValueError) as error:
            self.faults[verb] = f"{error}: {answer!r:.200}"
            return
        kinds = [type(one) for one in _flat(answer)]
        if kinds != [type(one) for one in _flat(same)]:
            self.faults[verb] = f"not {wanted}: {answer!r:.200}"


def _flat(answer: Any) -> Iterator[Any]:
    """Yield an answer, or what is in it where it is a sequence, of sequences too."""
    if isinstance(answer, Sequence) and not isinstance(answer, str):
        for one in answer:
            yield from _flat(one)
    else:
        yield answer


class _MovedClock(SystemClock):
    """The machine's clock, moved by so many seconds."""

    moved = 0.0

    def now(self) -> float:
        return super().now() + self.moved


class Bench:
    """Makes engines over one lab and one journal: each is a keeper of the same run, the later ones adopt it."""

    def __init__(self, lab: Lab, path: Path) -> None:
        self.lab = lab
        self._path = path
        self._clock = _MovedClock()
        self._engines: list[Engine] = []
        self._journals: list[Journal] = []

    def engine(self, request: Request | None = None, fatal: int = 0, dying: Dying | Checked | None = None) -> Engine:
        """Return an engine whose account is known, over a new backend, or over ``dying``, which wraps one.

        With ``fatal`` it dies (`Killed`) before or after its ``fatal``-th mutating call.
        """
        request = request or self.lab.request()
        journal = Journal(self._path)
        self._journals.append(journal)
        state = RunState(journal, request.run, self._clock)
        if not state.live:
            data = {"started": self._clock.now(), "nonce": "n", "request": request}
            state.intend("run-started", data=data)
        over = dying or (Dying(self.lab.backend(request), fatal) if fatal else self.lab.backend(request))
        engine = Engine(request, cast("Backend", over), state, self._clock)
        self._engines.append(engine)
        engine.open()
        return engine

    def events(self, run: str) -> list[Entry]:
        """Return the events of a run."""
        with closing(Journal(self._path)) as journal:
            return journal.events(run)

    def wait_a_minute(self) -> None:
        """Advance the clock so that things are old enough for an answer of the cloud that there is no such thing."""
        self._clock.moved += 60.0

    def give_back(self, engine: Engine) -> None:
        """Release all, and check that the cloud has nothing left."""
        receipt = engine.release(within(PATIENCE))
        assert receipt.clean, f"left {receipt.left}, unread {receipt.unread}, troubles {receipt.troubles}"
        assert not self.lab.held(), f"the cloud still has {self.lab.held()} after {list(self.lab.calls())[-10:]}"

    def close(self) -> None:
        """End what the engines have under way, and close the journals."""
        for engine in self._engines:
            engine.stop.set()
            engine.close(wait=True)
        for journal in self._journals:
            journal.close()


@contextmanager
def benched(lab: Lab, path: Path) -> Iterator[Bench]:
    path.mkdir(exist_ok=True)
    bench = Bench(lab, path / "journal.sqlite")
    try:
        yield bench
    finally:
        bench.close()


def within(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def set_weather(lab: Lab, **weather: Any) -> None:
    try:
        lab.weather(**weather)
    except NotImplementedError as error:
        raise unittest.SkipTest(f"the lab cannot do {weather}: {error}") from error


def raised(kind: type[_E], call: Callable[[], object], otherwise: str) -> _E:
    """Return the exception that ``call`` raises; where it raises none, what is wrong is ``otherwise``."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(otherwise)


def count_nodes(placed: Placed) -> int:
    return sum(map(len, placed.nodes.values()))
