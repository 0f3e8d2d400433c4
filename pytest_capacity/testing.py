"""A suite of tests that every backend must pass, for the authors of backends.

Subclass `ConformanceSuite` in a test module, with a fixture ``lab`` that gives a `Lab` over a stub or an emulator of
the cloud, empty at the beginning of each test::

    class TestRack(ConformanceSuite):
        @pytest.fixture
        def lab(self, rack: RackStub) -> RackLab:
            return RackLab(rack)

The tests drive the real engine in this process: journal, fallback, waiting and release are those of a run. No test of
the suite knows the cloud; all that it compares is what the lab says is held, and what was called.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend
from pytest_capacity.engine import Engine
from pytest_capacity.engine.calls import asked
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Exhausted
from pytest_capacity.journal import Journal
from pytest_capacity.model import Change, Diagnosis, Held, Piece, Placed, Request

#: How long a release may take here. Seconds.
PATIENCE = 60.0


#: How far from what it is told the end of a lease may lie. Seconds.
MINUTE = 60.0


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
    """What the process that is killed in `ConformanceSuite.test_crash_at_every_boundary` dies of."""


class _Dying:
    """The backend, in a process that dies before or after its ``fatal``-th mutating call."""

    def __init__(self, backend: Backend, fatal: int) -> None:
        self._backend = backend
        self._fatal = fatal
        self.passed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def _boundary(self) -> None:
        self.passed += 1
        if self.passed >= self._fatal:  # What runs beside it on other threads dies too.
            raise Killed

    def create(self, piece: Piece) -> Sequence[Held]:
        self._boundary()
        made = self._backend.create(piece)
        self._boundary()
        return made

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        self._boundary()
        asked = self._backend.release(helds)
        self._boundary()
        return asked


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

    def engine(self, request: Request | None = None, fatal: int = 0) -> Engine:
        """Return an engine whose account is known, over a backend of its own.

        With ``fatal`` it dies (`Killed`) before or after its ``fatal``-th mutating call.
        """
        request = request or self.lab.request()
        journal = Journal(self._path)
        self._journals.append(journal)
        state = RunState(journal, request.run, self._clock)
        if not state.live:
            data = {"started": self._clock.now(), "nonce": "n", "request": request}
            state.intend("run-started", data=data)
        backend = self.lab.backend(request)
        engine = Engine(request, cast("Backend", _Dying(backend, fatal)) if fatal else backend, state, self._clock)
        self._engines.append(engine)
        engine.open()
        return engine

    def wait_a_minute(self) -> None:
        """Let things be old enough that the cloud is believed when it says that there is no such thing."""
        self._clock.moved += 60.0

    def give_back(self, engine: Engine) -> None:
        """Release all, and see that the cloud has nothing left."""
        receipt = engine.release(_within(PATIENCE))
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
def _bench(lab: Lab, path: Path) -> Iterator[Bench]:
    bench = Bench(lab, path / "journal.sqlite")
    try:
        yield bench
    finally:
        bench.close()


def _within(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _weather(lab: Lab, **weather: Any) -> None:
    try:
        lab.weather(**weather)
    except NotImplementedError as error:
        raise unittest.SkipTest(f"the lab cannot do {weather}: {error}") from error


def _count(placed: Placed) -> int:
    return sum(map(len, placed.nodes.values()))


class ConformanceSuite:
    """Subclass it, and give it a fixture ``lab``. ``tmp_path`` is pytest's own."""

    def test_reserve_and_launch(self, lab: Lab, tmp_path: Path) -> None:
        """What is asked for stands in the first zone, each node in its reservation, and all of it is given back."""
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            placed = engine.provision("default")
            topology = engine.request.topologies["default"]
            assert placed.zone == lab.zones[0]
            assert {name: len(nodes) for name, nodes in placed.nodes.items()} == {
                group.name: group.count for group in topology.groups
            }
            reservations = {one.id for one in placed.reservations}
            assert reservations
            assert all(node.reservation_id in reservations for nodes in placed.nodes.values() for node in nodes)
            assert len({node.id for nodes in placed.nodes.values() for node in nodes}) == _count(placed)
            assert lab.held()
            bench.give_back(engine)

    def test_reserve_only(self, lab: Lab, tmp_path: Path) -> None:
        """Reservations alone stand, ready, and go."""
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            placed = engine.provision("default", launch=False)
            assert placed.reservations
            assert not _count(placed)
            bench.give_back(engine)

    def test_dry_zones_are_left(self, lab: Lab, tmp_path: Path) -> None:
        """k dry zones are k+1 attempts, and nothing stays in them."""
        _weather(lab, dry=lab.zones[:1])
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            placed = engine.provision("default")
            assert placed.zone == lab.zones[1]
            assert [one.outcome for one in engine.run_state.attempts] == ["no-capacity", "placed"]
            bench.give_back(engine)

    def test_all_zones_dry(self, lab: Lab, tmp_path: Path) -> None:
        """The user reads of every zone what the cloud said there, and nothing is held."""
        _weather(lab, dry=lab.zones)
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            try:
                engine.provision("default")
            except Exhausted as error:
                words = str(error)
            else:
                raise AssertionError("the topology stands in zones that are dry")
            assert all(zone in words for zone in lab.zones), words
            assert all(one.code for one in engine.run_state.attempts)
            bench.give_back(engine)

    def test_late_failures_fall_back(self, lab: Lab, tmp_path: Path) -> None:
        """What was accepted and fails later is left like a dry zone."""
        _weather(lab, late=lab.zones[:1])
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            assert engine.provision("default").zone == lab.zones[1]
            first = engine.run_state.attempts[0]
            assert (first.zone, first.outcome) == (lab.zones[0], "no-capacity"), first
            bench.give_back(engine)

    def test_lost_reply(self, lab: Lab, tmp_path: Path) -> None:
        """A call whose answer was lost is asked again with its token: one thing comes of it, not two."""
        with _bench(lab, tmp_path) as bench:
            fair = bench.engine()
            fair.provision("default", launch=False)
            expected = len(lab.held())
            bench.give_back(fair)
        _weather(lab, lose_reply=True)
        with _bench(lab, tmp_path / "second") as bench:
            engine = bench.engine(lab.request(run="conformance-lost"))
            engine.provision("default", launch=False)
            assert len(lab.held()) == expected, f"{lab.held()} after {lab.calls()}"
            bench.give_back(engine)

    def test_quota(self, lab: Lab, tmp_path: Path) -> None:
        """A quota of the region is told as one, and costs no call in the region's other zones."""
        _weather(lab, quota=True)
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            try:
                engine.provision("default")
            except Exhausted:
                pass
            else:
                raise AssertionError("the topology stands though the quota is used up")
            assert {one.outcome for one in engine.run_state.attempts} == {"quota"}
            assert {one.zone for one in engine.run_state.attempts} == {lab.zones[0]}
            bench.give_back(engine)

    def test_slow_nodes(self, lab: Lab, tmp_path: Path) -> None:
        """Nodes that take a second are waited for, and on their way out, too."""
        _weather(lab, slow_s=1.0)
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            assert {held.state for held in engine.run_state.held() if held.kind == "node"} == {"ready"}
            bench.give_back(engine)

    def test_crash_at_every_boundary(self, lab: Lab, tmp_path: Path) -> None:
        """Killed before or after any mutating call, the run leaves nothing once the next keeper has released it."""
        for fatal in range(1, 60):
            request = lab.request(run=f"conformance-{fatal}")
            with _bench(lab, tmp_path) as bench:
                try:
                    engine = bench.engine(request, fatal)
                    engine.provision("default")
                    engine.release(_within(PATIENCE))
                except Killed:
                    died = True
                else:
                    died = False
                if died:
                    bench.wait_a_minute()
                    bench.give_back(bench.engine(request))
                assert not lab.held(), f"after boundary {fatal} the cloud still has {lab.held()}"
                if not died:
                    assert fatal > 4, "hardly any boundary was crossed"
                    return
        raise AssertionError("more than 60 boundaries in a run of a few nodes")

    def test_the_next_keeper_goes_on(self, lab: Lab, tmp_path: Path) -> None:
        """A second engine on the same journal hands over what stands, and makes nothing."""
        with _bench(lab, tmp_path) as bench:
            first = bench.engine().provision("default")
            held = sorted(lab.held())
            second = bench.engine()
            assert second.provision("default") == first
            assert sorted(lab.held()) == held
            bench.give_back(second)

    def test_inventory_knows_what_the_journal_lost(self, lab: Lab, tmp_path: Path) -> None:
        """All bears the stamp: a listing has it with its subject, so a keeper without a journal gives it back."""
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            known = engine.run_state.held()
            backend = lab.backend(engine.request)
            listed = list(backend.inventory(engine.request.run, engine.request.regions))
            assert {one.key: one.subject for one in listed if isinstance(one, Held)} == {
                one.key: one.subject for one in known
            }
            assert not list(backend.inventory("another-run", engine.request.regions))
            engine.run_state.note_gone(known)  # As if it had never been written down.
            assert not engine.run_state.held()
            bench.give_back(engine)

    def test_another_run_is_released_by_its_stamp(self, lab: Lab, tmp_path: Path) -> None:
        """What a run left whose journal is elsewhere is found and given back, slow nodes too; a third run's stays."""
        _weather(lab, slow_s=1.0)
        with _bench(lab, tmp_path) as dead, _bench(lab, tmp_path / "second") as bench:
            dead.engine(lab.request(run="conformance-dead")).provision("default")
            alive = bench.engine(lab.request(run="conformance-alive"))
            before = set(lab.held())
            alive.provision("default", launch=False)
            own = set(lab.held()) - before
            assert own
            receipt = bench.engine(lab.request(run="conformance-third")).cancel_other("conformance-dead", PATIENCE)
            assert receipt.clean, f"left {receipt.left}, unread {receipt.unread}, troubles {receipt.troubles}"
            assert set(lab.held()) == own
            bench.give_back(alive)

    def test_extend(self, lab: Lab, tmp_path: Path) -> None:
        """A lease that the cloud enforces moves to what is asked for, and the cloud says so."""
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            backend = lab.backend(engine.request)
            until = float(int(time.time()) + 3000)
            leased = [held for held in engine.run_state.held() if held.kind in backend.leased]
            for held in leased:
                # Some clouds count in whole minutes; none may let a lease run on for longer than it was told.
                assert until - MINUTE < (backend.change(held, Change(deadline=until)).deadline or 0.0) <= until
            now = backend.refresh(leased) if leased else ()
            assert all((held.deadline or 0.0) > until - MINUTE for held in now)
            bench.give_back(engine)

    def test_release_is_idempotent(self, lab: Lab, tmp_path: Path) -> None:
        """Asked twice, the cloud may only say that the thing is gone, or not now; without a subject it is refused."""
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            backend = lab.backend(engine.request)
            held = backend.releasable(engine.run_state.held())[0]
            answers = [asked(backend, lambda: backend.release([held])) for _ in range(2)]
            steps = {answer.step for answer in answers if isinstance(answer, Diagnosis)}
            assert steps <= {"gone", "back-off"}, answers
            before = sorted(lab.held())
            other = next((one for one in engine.run_state.held() if one.key != held.key), held)
            try:
                backend.release([replace(other, subject="")])
            except ValueError:
                assert sorted(lab.held()) == before
            else:
                raise AssertionError("a thing without our whole stamp was released")
            bench.wait_a_minute()
            bench.give_back(engine)

    def test_by_hand_names_all_that_is_held(self, lab: Lab, tmp_path: Path) -> None:
        """Where the keeper gives up, a person gets a command for each thing."""
        with _bench(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            helds = engine.run_state.held()
            commands = "\n".join(engine.by_hand(helds))
            missing = [
                held.id for held in helds if held.id not in commands and held.facts.get("name", held.id) not in commands
            ]
            assert not missing, commands
            bench.give_back(engine)
