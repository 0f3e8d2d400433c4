"""The tests that a backend must pass whose node groups can be changed while they stand."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pytest_capacity.backends.base import scaling_of
from pytest_capacity.databases import ScalingSettings
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.errors import CapacityError
from pytest_capacity.model import Held, Node, NodeChange, Request
from pytest_capacity.scaling.model import OpsRequest
from pytest_capacity.scaling.nodes.provider import NodeGroups
from pytest_capacity.scaling.reconciler import Reconciler
from pytest_capacity.scaling.state import OpsState
from pytest_capacity.testing.bench import Bench, Dying, Killed, Lab, ScalingLab, benched, raised, set_weather

#: How long a change may take here. Seconds.
PATIENCE_S = 120.0

#: More boundaries than a change of two nodes has.
MOST_BOUNDARIES = 60


class NoLoans:
    """The nodes of a run of which no test borrows any."""

    def hold(self, take: Callable[[], None]) -> None:
        """Call ``take``."""
        take()

    def look_again(self) -> None:
        """Do nothing: no test waits."""


class Scaler:
    """One keeper's part in the changes of node groups, on the thread that asks.

    A second one, over a second engine on the same journal, continues with what the first one left.
    """

    def __init__(self, bench: Bench, engine: Engine) -> None:
        self.engine = engine
        state = engine.run_state
        clock = SystemClock()
        self.state = OpsState(bench.events(state.run), state.intend, state.note)
        self._groups = NodeGroups(engine, self.state, NoLoans(), PATIENCE_S, lambda: None, start=lambda work: work())
        settings = ScalingSettings(timeout_s=PATIENCE_S)
        self._reconciler = Reconciler({self._groups.name: self._groups}, self.state, settings, clock.now)

    def ask(self, group: str, **change: Any) -> tuple[OpsRequest, ...]:
        """Request a change, and wait until all its requests have ended. Raises what is refused at once."""
        requests = self._groups.ask(NodeChange(topology="default", group=group, **change))
        self.finish()
        return self.state.by_token([request.token for request in requests])

    def do(self, group: str, **change: Any) -> OpsRequest:
        """Request a change that is one request, and check that it succeeds."""
        (request,) = self.ask(group, **change)
        assert request.outcome == "successful", request.reason
        return request

    def finish(self) -> None:
        """Finish what is under way, of an earlier keeper too."""
        for _ in range(10):
            if not self.state.active():
                return
            self._reconciler.look()
        raise AssertionError(f"requests do not end: {self.state.active()}")


class ScalingSuite:
    """Subclass it, and give it a fixture ``lab`` whose ``scaling`` is a `ScalingLab`. ``tmp_path`` is pytest's own.

    The first group of the lab's request is made of two nodes of `ScalingLab.type`, and changed.
    """

    def test_growing_reserves_first_and_in_the_same_zone(self, lab: Lab, tmp_path: Path) -> None:
        """The reservation grows before a node is launched; all nodes sit in it, in one zone; each has a name."""
        with benched(lab, tmp_path) as bench:
            scaling, dying, engine = _standing(lab, bench)
            group = _group(engine)
            before = _nodes(engine)
            dying.die_at(0)
            Scaler(bench, engine).do(group, count=4)
            after = _nodes(engine)
            assert [node.id for node in after[:2]] == [node.id for node in before]
            assert len({node.name for node in after}) == len({node.id for node in after}) == 4
            assert {node.zone for node in after} == {before[0].zone}
            assert {node.instance_type for node in after} == {scaling.type}
            (reservation,) = {node.reservation_id for node in after}
            assert dying.made[0][:2] == ("reservation", "change")
            assert {what for kind, what, _ in dying.made if kind == "node"} == {"create"}
            assert _counts(lab, engine)[reservation or ""] == 4
            _is_true(lab, engine)
            bench.give_back(engine)

    def test_shrinking_removes_the_youngest_and_then_the_reservation(self, lab: Lab, tmp_path: Path) -> None:
        """The youngest node goes, or the named one; then the reservation holds as many as are left."""
        with benched(lab, tmp_path) as bench:
            _, dying, engine = _standing(lab, bench, count=3)
            group, before = _group(engine), _nodes(engine)
            dying.die_at(0)
            scaler = Scaler(bench, engine)
            scaler.do(group, count=2)
            assert [node.id for node in _nodes(engine)] == [node.id for node in before[:2]]
            assert dying.made[-1][:2] == ("reservation", "change")
            _is_true(lab, engine)
            scaler.do(group, remove=(before[0].name,))
            assert [node.id for node in _nodes(engine)] == [before[1].id]
            assert _counts(lab, engine)[before[1].reservation_id or ""] == 1
            _is_true(lab, engine)
            bench.give_back(engine)

    def test_growing_again_after_shrinking(self, lab: Lab, tmp_path: Path) -> None:
        """A group that was made smaller grows anew: with a token of its own, it gets nodes that live."""
        with benched(lab, tmp_path) as bench:
            _, _, engine = _standing(lab, bench)
            scaler, group = Scaler(bench, engine), _group(engine)
            for count in (3, 2, 3):
                scaler.do(group, count=count)
                assert len(_nodes(engine)) == count
                _is_true(lab, engine)
            bench.give_back(engine)

    def test_without_capacity_the_group_stays_as_it_was(self, lab: Lab, tmp_path: Path) -> None:
        """A zone that has run dry refuses more nodes, or others: nodes, reservation and cloud are as before."""
        with benched(lab, tmp_path) as bench:
            scaling, _, engine = _standing(lab, bench)
            _, held, counts = _nodes(engine), sorted(lab.held()), _counts(lab, engine)
            set_weather(lab, dry=lab.zones)
            _fails_and_stays(lab, bench, engine, count=4)
            if scaling.larger:
                _fails_and_stays(lab, bench, engine, instance_type=scaling.larger)
                if "in-place" in _can(engine):
                    _fails_and_stays(lab, bench, engine, instance_type=scaling.larger, mode="in_place")
            assert (sorted(lab.held()), _counts(lab, engine)) == (held, counts)
            set_weather(lab)
            Scaler(bench, engine).do(_group(engine), count=3)
            bench.give_back(engine)

    def test_what_fails_later_is_undone(self, lab: Lab, tmp_path: Path) -> None:
        """What the cloud accepts and fails later is taken back, and the reservation holds what it held."""
        set_weather(lab, late=lab.zones)  # Skipped where the lab cannot do it.
        set_weather(lab)
        with benched(lab, tmp_path) as bench:
            scaling, _, engine = _standing(lab, bench)
            held, counts = sorted(lab.held()), _counts(lab, engine)
            set_weather(lab, late=lab.zones)
            _fails_and_stays(lab, bench, engine, count=4)
            if scaling.larger:
                _fails_and_stays(lab, bench, engine, instance_type=scaling.larger)
            assert (sorted(lab.held()), _counts(lab, engine)) == (held, counts)
            set_weather(lab)
            bench.give_back(engine)

    def test_another_type_by_new_nodes(self, lab: Lab, tmp_path: Path) -> None:
        """New nodes in a new reservation come first; then the old ones go, and their reservation."""
        with benched(lab, tmp_path) as bench:
            scaling, dying, engine = _standing(lab, bench)
            larger = _needs(scaling.larger, "a larger type")
            before = _nodes(engine)
            dying.die_at(0)
            Scaler(bench, engine).do(_group(engine), instance_type=larger)
            after = _nodes(engine)
            assert {node.instance_type for node in after} == {larger}
            assert not {node.id for node in after} & {node.id for node in before}
            assert [node.name for node in after] == [node.name for node in before]
            assert not {before[0].id, before[0].reservation_id} & {*_listed(lab, engine)}
            kinds = [what for kind, what, _ in dying.made if kind == "node"]
            assert kinds.index("release") > max(place for place, what in enumerate(kinds) if what == "create")
            _is_true(lab, engine)
            bench.give_back(engine)

    def test_type_and_count_together(self, lab: Lab, tmp_path: Path) -> None:
        """By new nodes it is one request; in place two, of which the count is the first."""
        with benched(lab, tmp_path) as bench:
            scaling, _, engine = _standing(lab, bench)
            larger = _needs(scaling.larger, "a larger type")
            scaler = Scaler(bench, engine)
            assert scaler.do(_group(engine), instance_type=larger, count=3).kind == "VerticalScaling"
            assert [node.instance_type for node in _nodes(engine)] == [larger] * 3
            _is_true(lab, engine)
            if "in-place" in _can(engine):
                requests = scaler.ask(_group(engine), instance_type=scaling.type, count=2, mode="in_place")
                assert [one.kind for one in requests] == ["HorizontalScaling", "VerticalScaling"]
                assert [one.outcome for one in requests] == ["successful"] * 2, requests
                assert [node.instance_type for node in _nodes(engine)] == [scaling.type] * 2
                _is_true(lab, engine)
            bench.give_back(engine)

    def test_another_type_in_place(self, lab: Lab, tmp_path: Path) -> None:
        """The same nodes have the new type, in a new reservation that was made before one of them was stopped."""
        with benched(lab, tmp_path) as bench:
            scaling, dying, engine = _standing(lab, bench)
            _needs("in-place" in _can(engine), "changes in place")
            larger = _needs(scaling.larger, "a larger type")
            before = _nodes(engine)
            dying.die_at(0)
            Scaler(bench, engine).do(_group(engine), instance_type=larger, mode="in_place")
            after = _nodes(engine)
            assert [(node.id, node.name) for node in after] == [(node.id, node.name) for node in before]
            assert {node.instance_type for node in after} == {larger}
            assert not {node.reservation_id for node in after} & {None, *(node.reservation_id for node in before)}
            assert before[0].reservation_id not in _listed(lab, engine)
            # What a reservation stands in may come before it.
            calls = [(kind, what) for kind, what, _ in dying.made if kind in ("node", "reservation")]
            assert calls[0] == ("reservation", "create")
            _is_true(lab, engine)
            Scaler(bench, engine).do(_group(engine), count=3)
            assert {node.instance_type for node in _nodes(engine)} == {larger}
            _is_true(lab, engine)
            bench.give_back(engine)

    def test_what_cannot_be_changed_in_place(self, lab: Lab, tmp_path: Path) -> None:
        """Another architecture, and local disks that would be lost, are refused without one change."""
        with benched(lab, tmp_path) as bench:
            scaling, dying, engine = _standing(lab, bench, with_local_disks=True)
            _needs("in-place" in _can(engine), "changes in place")
            _needs(scaling.other_architecture or scaling.with_local_disks, "such a type")
            if scaling.other_architecture:
                words = _refused(
                    bench,
                    engine,
                    dying,
                    instance_type=scaling.other_architecture,
                    mode="in_place",
                    lose_local_disks=True,
                )
                assert scaling.other_architecture in words, words
            if scaling.with_local_disks:
                words = _refused(bench, engine, dying, instance_type=scaling.larger, mode="in_place")
                assert "lose_local_disks" in words, words
                Scaler(bench, engine).do(
                    _group(engine), instance_type=scaling.larger, mode="in_place", lose_local_disks=True
                )
            bench.give_back(engine)

    def test_storage_grows(self, lab: Lab, tmp_path: Path) -> None:
        """The disks of all nodes have the new size; a smaller one, and the same once more, is refused before a call.

        Nodes that must be stopped for it are so only where the test allows it; they run again, in their reservation.
        """
        with benched(lab, tmp_path) as bench:
            scaling, dying, engine = _standing(lab, bench)
            size = _needs(scaling.disk_gb, "disks that grow")
            helds = [held for held in engine.run_state.held() if held.group == _group(engine) and held.kind == "node"]
            backend, _ = scaling_of(engine.backend)
            assert list(backend.disks(helds)) == [size] * 2
            before, group = _nodes(engine), engine.request.topologies["default"].groups[0]
            wanted = NodeChange(topology="default", group=group.name, disk_gb=size + 10)
            if "restart" in {one.kind for one in backend.obstacles(wanted, group, helds)}:
                assert "restart=True" in _refused(bench, engine, dying, disk_gb=size + 10)
            Scaler(bench, engine).do(_group(engine), disk_gb=size + 10, restart=True)
            assert list(backend.disks(helds)) == [size + 10] * 2
            after = _nodes(engine)
            assert [(node.id, node.name, node.reservation_id) for node in after] == [
                (node.id, node.name, node.reservation_id) for node in before
            ]
            _is_true(lab, engine)
            for smaller in (size, size + 10):
                assert "Nothing was changed" in _refused(bench, engine, dying, disk_gb=smaller, restart=True)
            bench.give_back(engine)

    def test_what_can_never_be_meant(self, lab: Lab, tmp_path: Path) -> None:
        """A count below 1, a size below 1, groups and nodes that are not there: refused without one change."""
        with benched(lab, tmp_path) as bench:
            _, dying, engine = _standing(lab, bench)
            for change in ({"count": 0}, {"count": -1}, {"disk_gb": 0}, {"remove": ("no-such-node",)}, {}):
                _refused(bench, engine, dying, **change)
            assert _group(engine) in _refused(bench, engine, dying, "no-such-group", count=3)
            (request,) = Scaler(bench, engine).ask(_group(engine), count=2)
            assert request.outcome == "skipped"
            assert not dying.made
            bench.give_back(engine)

    def test_killed_at_every_boundary_of_growing(self, lab: Lab, tmp_path: Path) -> None:
        """Killed before or after any call, the next keeper ends the request; the journal is true, and nothing stays."""
        _die_everywhere(lab, tmp_path, least=4, count=3)

    def test_killed_at_every_boundary_of_shrinking(self, lab: Lab, tmp_path: Path) -> None:
        """So for nodes that go."""
        _die_everywhere(lab, tmp_path, least=4, count=1)

    def test_killed_at_every_boundary_of_a_replacement(self, lab: Lab, tmp_path: Path) -> None:
        """So for nodes in the place of others."""
        larger = _needs(_scaling(lab).larger, "a larger type")
        _die_everywhere(lab, tmp_path, least=8, instance_type=larger)

    def test_killed_at_every_boundary_of_a_change_in_place(self, lab: Lab, tmp_path: Path) -> None:
        """So for nodes that are stopped, changed and started."""
        larger = _needs(_scaling(lab).larger, "a larger type")
        _die_everywhere(lab, tmp_path, least=8, instance_type=larger, mode="in_place")

    def test_killed_at_every_boundary_of_growing_disks(self, lab: Lab, tmp_path: Path) -> None:
        """So for disks."""
        size = _needs(_scaling(lab).disk_gb, "disks that grow")
        _die_everywhere(lab, tmp_path, least=4, disk_gb=size + 10, restart=True)

    def test_killed_while_it_is_undone(self, lab: Lab, tmp_path: Path) -> None:
        """Killed while a change is taken back that found no capacity, the next keeper takes it back."""
        set_weather(lab, late=lab.zones)
        _die_everywhere(lab, tmp_path, least=4, weather={"late": lab.zones}, count=3)


def _scaling(lab: Lab) -> ScalingLab:
    scaling = getattr(lab, "scaling", None)
    if not isinstance(scaling, ScalingLab):
        raise unittest.SkipTest("the lab has no `scaling`")
    return scaling


def _needs(thing: Any, what: str) -> Any:
    if not thing:
        raise unittest.SkipTest(f"the lab has not: {what}")
    return thing


def _request(lab: Lab, count: int, type_: str, **overrides: Any) -> Request:
    request = lab.request(**overrides)
    topology = request.topologies["default"]
    first, *rest = topology.groups
    changed = replace(first, count=count, instance_type=type_, alternatives=())
    return replace(request, topologies={"default": replace(topology, groups=(changed, *rest))})


def _standing(
    lab: Lab, bench: Bench, count: int = 2, *, with_local_disks: bool = False, **overrides: Any
) -> tuple[ScalingLab, Dying, Engine]:
    """Return the lab's topology, provisioned; the backend counts its mutating calls from `Dying.die_at` on."""
    scaling = _scaling(lab)
    type_ = scaling.with_local_disks if with_local_disks and scaling.with_local_disks else scaling.type
    request = _request(lab, count, type_, **overrides)
    dying = Dying(lab.backend(request))
    engine = bench.engine(request, dying=dying)
    engine.provision("default")
    dying.die_at(0)
    return scaling, dying, engine


def _group(engine: Engine) -> str:
    return engine.request.topologies["default"].groups[0].name


def _can(engine: Engine) -> frozenset[str]:
    return scaling_of(engine.backend)[1]


def _nodes(engine: Engine) -> tuple[Node, ...]:
    return engine.run_state.placed["default"].nodes[_group(engine)]


def _inventory(lab: Lab, engine: Engine) -> list[Held]:
    """Return what the cloud lists of the run, by a new backend."""
    backend = lab.backend(engine.request)
    listed = list(backend.inventory(engine.request.run, engine.request.regions))
    assert all(isinstance(one, Held) for one in listed), listed
    return [one for one in listed if isinstance(one, Held)]


def _listed(lab: Lab, engine: Engine) -> set[str]:
    return {held.id for held in _inventory(lab, engine) if held.state in ("creating", "ready")}


def _counts(lab: Lab, engine: Engine) -> dict[str, int]:
    listed = [held for held in _inventory(lab, engine) if held.kind == "reservation"]
    return {held.id: held.count for held in listed if held.state in ("creating", "ready")}


def _is_true(lab: Lab, engine: Engine) -> None:
    """Check that the cloud has the nodes and reservations of the journal, and each of these as many as sit in it."""
    placed = engine.run_state.placed["default"]
    nodes = [node for members in placed.nodes.values() for node in members]
    live = [held for held in _inventory(lab, engine) if held.state in ("creating", "ready")]
    assert {held.id for held in live if held.kind == "node"} == {node.id for node in nodes}
    inside = [node.reservation_id for node in nodes if node.reservation_id]
    assert _counts(lab, engine) == {id_: inside.count(id_) for id_ in inside}
    assert {one.id: one.count for one in placed.reservations} == _counts(lab, engine)
    assert not engine.run_state.alterations


def _fails_and_stays(lab: Lab, bench: Bench, engine: Engine, **change: Any) -> None:
    before = _nodes(engine)
    (request,) = Scaler(bench, engine).ask(_group(engine), **change)
    assert request.outcome == "failed", request
    assert "as it was before" in request.reason, request.reason
    after = _nodes(engine)
    assert [(node.id, node.instance_type) for node in after] == [(node.id, node.instance_type) for node in before]
    _is_true(lab, engine)


def _refused(bench: Bench, engine: Engine, dying: Dying, group: str = "", **change: Any) -> str:
    """Make a request that is refused and return the words; check that nothing is changed by it."""
    dying.die_at(0)
    scaler, group = Scaler(bench, engine), group or _group(engine)
    words = str(raised(CapacityError, lambda: scaler.ask(group, **change), f"{change} was not refused"))
    assert not dying.made, dying.made
    assert not engine.run_state.alterations
    return words


def _die_everywhere(
    lab: Lab, path: Path, least: int, weather: dict[str, Sequence[str]] | None = None, **change: Any
) -> None:
    """Change a group in processes that die before or after the first, the second ... call; least so many boundaries."""
    if "in_place" in change.values() or "disk_gb" in change:
        with benched(lab, path / "can") as bench:
            can = _can(bench.engine(_request(lab, 2, _scaling(lab).type)))
            _needs("storage" in can if "disk_gb" in change else "in-place" in can, "such changes")
    for fatal in range(1, MOST_BOUNDARIES):
        set_weather(lab)
        with benched(lab, path / str(fatal)) as bench:
            _, dying, engine = _standing(lab, bench, run=f"scaling-{fatal}")
            set_weather(lab, **(weather or {}))
            dying.die_at(fatal)
            try:
                Scaler(bench, engine).ask(_group(engine), **change)
            except Killed:
                died = True
            else:
                died = False
            dying.die_at(0)
            if died:
                engine.stop.set()
                bench.wait_a_minute()
                engine = bench.engine(engine.request)
            scaler = Scaler(bench, engine)
            scaler.finish()
            assert all(request.outcome for request in scaler.state.all()), scaler.state.all()
            _is_true(lab, engine)
            set_weather(lab)
            bench.give_back(engine)
        if not died:
            assert fatal > least, f"only {fatal - 1} boundaries were crossed"
            return
    raise AssertionError(f"more than {MOST_BOUNDARIES} boundaries in a change of two nodes")
