"""The tests that every backend must pass."""

from __future__ import annotations

import time
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from pytest_capacity.backends.base import Backend, ListsUses
from pytest_capacity.engine import Engine
from pytest_capacity.engine.calls import asked
from pytest_capacity.errors import Exhausted
from pytest_capacity.model import Change, Diagnosis, Held
from pytest_capacity.testing.bench import (
    PATIENCE,
    Checked,
    Killed,
    Lab,
    benched,
    count_nodes,
    raised,
    set_weather,
    within,
)
from pytest_capacity.usage import CloudResource, CloudUse, UseFilter

#: How far from what it is told the end of a lease may lie. Seconds.
MINUTE = 60.0


class ConformanceSuite:
    """Subclass it, and give it a fixture ``lab``. ``tmp_path`` is pytest's own."""

    def test_reserve_and_launch(self, lab: Lab, tmp_path: Path) -> None:
        """What is asked for stands in the first zone, each node in its reservation, and all of it is given back."""
        with benched(lab, tmp_path) as bench:
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
            assert len({node.id for nodes in placed.nodes.values() for node in nodes}) == count_nodes(placed)
            assert lab.held()
            bench.give_back(engine)

    def test_each_verb_returns_what_it_should(self, lab: Lab, tmp_path: Path) -> None:
        """The types that `backends.base` names: the engine trusts them, and fails elsewhere than at the verb."""
        with benched(lab, tmp_path) as bench:
            request = lab.request()
            checked = Checked(lab.backend(request))
            try:
                engine = bench.engine(request, dying=checked)
                engine.provision("default")
                self._look(engine, cast("Backend", checked))
                patience = within(PATIENCE)
                receipt = engine.release(lambda: bool(checked.faults) or patience())
                assert receipt.clean, receipt
            except Exception:
                assert not checked.faults, _wrong(checked)
                raise
            assert not checked.faults, _wrong(checked)

    @staticmethod
    def _look(engine: Engine, backend: Backend) -> None:
        """Call what a run without a failure does not."""
        helds = engine.run_state.held()
        backend.refresh(helds)
        backend.regions()
        for group in engine.request.topologies["default"].groups:
            backend.family(group.instance_type)
        backend.by_hand(helds)
        for held in helds:
            backend.ends(held, engine.hard_end)
            backend.diagnose(replace(held, state="failed", problem="it failed", problem_code="Failed"))
            if held.kind == "node":
                backend.console(held)
        backend.diagnose(RuntimeError("no error of the SDK"))

    def test_reserve_only(self, lab: Lab, tmp_path: Path) -> None:
        """Reservations alone stand, ready, and go."""
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            placed = engine.provision("default", launch=False)
            assert placed.reservations
            assert not count_nodes(placed)
            bench.give_back(engine)

    def test_dry_zones_are_left(self, lab: Lab, tmp_path: Path) -> None:
        """k dry zones are k+1 attempts, and nothing stays in them."""
        set_weather(lab, dry=lab.zones[:1])
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            placed = engine.provision("default")
            assert placed.zone == lab.zones[1]
            assert [one.outcome for one in engine.run_state.attempts] == ["no-capacity", "placed"]
            bench.give_back(engine)

    def test_all_zones_dry(self, lab: Lab, tmp_path: Path) -> None:
        """The user reads of every zone what the cloud said there, and nothing is held."""
        set_weather(lab, dry=lab.zones)
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            stands = "the topology stands in zones that are dry"
            words = str(raised(Exhausted, lambda: engine.provision("default"), stands))
            assert all(zone in words for zone in lab.zones), words
            assert all(one.code for one in engine.run_state.attempts)
            bench.give_back(engine)

    def test_late_failures_fall_back(self, lab: Lab, tmp_path: Path) -> None:
        """What was accepted and fails later is left like a dry zone."""
        set_weather(lab, late=lab.zones[:1])
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            assert engine.provision("default").zone == lab.zones[1]
            first = engine.run_state.attempts[0]
            assert (first.zone, first.outcome) == (lab.zones[0], "no-capacity"), first
            bench.give_back(engine)

    def test_lost_reply(self, lab: Lab, tmp_path: Path) -> None:
        """A call whose answer was lost is asked again with its token: one thing comes of it, not two."""
        with benched(lab, tmp_path) as bench:
            fair = bench.engine()
            fair.provision("default", launch=False)
            expected = len(lab.held())
            bench.give_back(fair)
        set_weather(lab, lose_reply=True)
        with benched(lab, tmp_path / "second") as bench:
            engine = bench.engine(lab.request(run="conformance-lost"))
            engine.provision("default", launch=False)
            assert len(lab.held()) == expected, f"{lab.held()} after {lab.calls()}"
            bench.give_back(engine)

    def test_quota(self, lab: Lab, tmp_path: Path) -> None:
        """A quota of the region is told as one, and costs no call in the region's other zones."""
        set_weather(lab, quota=True)
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            raised(Exhausted, lambda: engine.provision("default"), "the topology stands though the quota is used up")
            assert {one.outcome for one in engine.run_state.attempts} == {"quota"}
            assert {one.zone for one in engine.run_state.attempts} == {lab.zones[0]}
            bench.give_back(engine)

    def test_slow_nodes(self, lab: Lab, tmp_path: Path) -> None:
        """Nodes that take a second are waited for, and on their way out, too."""
        set_weather(lab, slow_s=1.0)
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            assert {held.state for held in engine.run_state.held() if held.kind == "node"} == {"ready"}
            bench.give_back(engine)

    def test_crash_at_every_boundary(self, lab: Lab, tmp_path: Path) -> None:
        """Killed before or after any mutating call, the run leaves nothing once the next keeper has released it."""
        for fatal in range(1, 60):
            request = lab.request(run=f"conformance-{fatal}")
            with benched(lab, tmp_path) as bench:
                try:
                    engine = bench.engine(request, fatal)
                    engine.provision("default")
                    engine.release(within(PATIENCE))
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
        with benched(lab, tmp_path) as bench:
            first = bench.engine().provision("default")
            held = sorted(lab.held())
            second = bench.engine()
            assert second.provision("default") == first
            assert sorted(lab.held()) == held
            bench.give_back(second)

    def test_inventory_knows_what_the_journal_lost(self, lab: Lab, tmp_path: Path) -> None:
        """All bears the stamp: a listing has it with its subject, so a keeper without a journal gives it back."""
        with benched(lab, tmp_path) as bench:
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

    def test_uses_show_what_every_run_holds(self, lab: Lab, tmp_path: Path) -> None:
        """A run that no journal here knows is listed by its stamp: nodes in their reservations, while they stand."""
        with benched(lab, tmp_path) as bench:
            engine = bench.engine(lab.request(run="conformance-other"))
            looking = lab.backend(lab.request(run="conformance-looks"))
            if not isinstance(looking, ListsUses):
                raise unittest.SkipTest("the backend does not say who uses what")
            placed = engine.provision("default")
            found = _uses_of("conformance-other", looking, engine.request.regions)
            uses = dict(found)
            for group, nodes in placed.nodes.items():
                for node in nodes:
                    use = uses.get(node.id)
                    assert use is not None, f"{node.id} is not among {sorted(uses)}"
                    assert (use.reservation, use.group, use.topology) == (node.reservation_id, group, "default")
                    assert (use.name, use.state, use.ended) == (node.name, "ready", None)
            nodes_of_run = {node.id for nodes in placed.nodes.values() for node in nodes}
            rows = {use.reservation for id_, use in found if id_ not in nodes_of_run}
            assert rows >= {one.id for one in placed.reservations}, "no reservation is a use of its nodes alone"
            bench.give_back(engine)
            left = _uses_of("conformance-other", looking, engine.request.regions)
            assert not {id_ for id_, use in left if use.ended is None and use.state != "leaving"}

    def test_another_run_is_released_by_its_stamp(self, lab: Lab, tmp_path: Path) -> None:
        """What a run left whose journal is elsewhere is found and given back, slow nodes too; a third run's stays."""
        set_weather(lab, slow_s=1.0)
        with benched(lab, tmp_path) as dead, benched(lab, tmp_path / "second") as bench:
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
        with benched(lab, tmp_path) as bench:
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
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            backend = lab.backend(engine.request)
            held = backend.releasable(engine.run_state.held())[0]
            answers = [asked(backend, lambda: backend.release([held])) for _ in range(2)]
            steps = {answer.step for answer in answers if isinstance(answer, Diagnosis)}
            assert steps <= {"gone", "back-off"}, answers
            before = sorted(lab.held())
            other = next((one for one in engine.run_state.held() if one.key != held.key), held)
            foreign = [replace(other, subject="")]
            raised(ValueError, lambda: backend.release(foreign), "a thing without our whole stamp was released")
            assert sorted(lab.held()) == before
            bench.wait_a_minute()
            bench.give_back(engine)

    def test_by_hand_names_all_that_is_held(self, lab: Lab, tmp_path: Path) -> None:
        """Where the keeper gives up, a person gets a command for each thing."""
        with benched(lab, tmp_path) as bench:
            engine = bench.engine()
            engine.provision("default")
            helds = engine.run_state.held()
            commands = "\n".join(engine.backend.by_hand(helds))
            missing = [
                held.id for held in helds if held.id not in commands and held.facts.get("name", held.id) not in commands
            ]
            assert not missing, commands
            bench.give_back(engine)


def _wrong(checked: Checked) -> str:
    return "; ".join(f"`{verb}` returned {fault}" for verb, fault in checked.faults.items())


def _uses_of(run: str, backend: ListsUses, regions: Sequence[str]) -> list[tuple[str, CloudUse]]:
    """Return each use that ``run`` has of ``regions``, after the id of its resource; nothing may be unread."""
    found = list(backend.uses(regions, UseFilter()))
    unread = [one for one in found if not isinstance(one, CloudResource)]
    assert not unread, unread
    return [(one.id, use) for one in found if isinstance(one, CloudResource) for use in one.uses if use.run == run]
