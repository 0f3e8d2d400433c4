"""Node groups that are changed while they stand: what the suite of conformance tests does not reach, on one cloud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.base import Backend, scaling_of
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.reach import KeyFiles, Reach
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Refused, ScalingError
from pytest_capacity.journal import Entry, Journal
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup, Request, Ssh
from pytest_capacity.scaling.model import TERMINAL, OpsRequest
from pytest_capacity.scaling.nodes.provider import NodeGroups
from pytest_capacity.scaling.state import OpsState
from pytest_capacity.testing import Killed
from pytest_capacity.testing.scaling import NoLoans, Scaler
from tests.backends.aws.account import stranger
from tests.engine.runs import Bench, Wrapped, request, within

WEB = NodeGroup(name="web", count=2, instance_type="c6i.large", market="on-demand", reserve=True)
CACHE = NodeGroup(name="cache", count=1, instance_type="c6i.large", market="on-demand", reserve=True)


class Changes:
    """What one keeper's node groups are asked, on the thread that asks."""

    def __init__(self, engine: Engine, start: Callable[[Callable[[], None]], object] | None = None) -> None:
        self.engine = engine
        state = engine.run_state
        self.state = OpsState((), state.intend, state.note)
        self.groups = NodeGroups(
            engine, self.state, NoLoans(), 6000.0, lambda: None, start=start or (lambda work: work())
        )

    def ask(self, group: str, **change: Any) -> OpsRequest:
        """Ask, and look once."""
        (asked,) = self.groups.ask(NodeChange(topology="default", group=group, **change))
        seen = self.groups.observe([asked])[asked.token]
        if seen.phase in TERMINAL:
            self.state.ended(replace(seen, outcome="successful" if seen.phase == "Successful" else "failed"))
        return seen

    def nodes(self, group: str) -> list[tuple[str, str]]:
        """Name and zone of each node of a group."""
        return [(node.name, node.zone) for node in self.engine.run_state.placed["default"].nodes[group]]


def counts(engine: Engine) -> dict[str, list[int]]:
    """How many each reservation holds, by type."""
    found: dict[str, list[int]] = {}
    for one in engine.run_state.placed["default"].reservations:
        found.setdefault(one.instance_type, []).append(one.count)
    return found


def test_groups_of_one_shape_share_a_reservation(bench: Bench) -> None:
    """Each has its part of the count, and one that comes back to the type of the other takes its place there again."""
    engine = bench.engine(request(bench.emulator, WEB, CACHE))
    engine.provision("default")
    changes = Changes(engine)
    assert counts(engine) == {"c6i.large": [3]}
    assert changes.ask("web", count=3).phase == "Successful"
    assert counts(engine) == {"c6i.large": [4]}
    assert changes.ask("web", instance_type="c6i.xlarge", count=2).phase == "Successful"
    assert counts(engine) == {"c6i.large": [1], "c6i.xlarge": [2]}
    assert changes.ask("web", instance_type="c6i.large").phase == "Successful"
    assert counts(engine) == {"c6i.large": [3]}
    assert changes.ask("web", instance_type="c6i.xlarge", mode="in_place").phase == "Successful"
    assert changes.ask("web", count=3).phase == "Successful"
    assert changes.ask("web", instance_type="c6i.large", mode="in_place").phase == "Successful"
    assert counts(engine) == {"c6i.large": [4]}
    assert len({name for name, _ in changes.nodes("web")}) == 3
    # Nodes that were changed in place stand under the subjects of their first type, and are not taken for new ones.
    assert changes.ask("web", instance_type="c6i.xlarge", mode="in_place").phase == "Successful"
    before = engine.run_state.placed["default"].nodes["web"]
    assert changes.ask("web", instance_type="c6i.large").phase == "Successful"
    assert not {node.id for node in before} & {node.id for node in engine.run_state.placed["default"].nodes["web"]}
    assert counts(engine) == {"c6i.large": [4]}
    bench.give_back(engine)


def test_a_spread_group_grows_where_it_is_thinnest(bench: Bench) -> None:
    """Nodes that are added go to the zone that has the fewest, and to its reservation."""
    spread = request(bench.emulator, replace(WEB, count=3), colocate="region")
    engine = bench.engine(spread)
    engine.provision("default")
    changes = Changes(engine)
    assert changes.ask("web", count=6).phase == "Successful"
    zones = [zone for _, zone in changes.nodes("web")]
    assert (zones.count("us-east-1a"), zones.count("us-east-1b")) == (3, 3)
    assert [name for name, _ in changes.nodes("web")] == [f"web-{number}" for number in range(6)]
    assert counts(engine) == {"c6i.large": [3, 3]}
    assert changes.ask("web", instance_type="c6i.xlarge", mode="in_place").phase == "Successful"
    assert counts(engine) == {"c6i.xlarge": [3, 3]}
    assert changes.ask("web", instance_type="c6i.large", count=2).phase == "Successful"
    assert sorted(zone for _, zone in changes.nodes("web")) == ["us-east-1a", "us-east-1b"]
    assert counts(engine) == {"c6i.large": [1, 1]}
    bench.give_back(engine)


def test_spot_nodes_are_replaced_and_not_stopped(bench: Bench) -> None:
    """They have no reservation that could grow; in place they are refused."""
    engine = bench.engine(request(bench.emulator, replace(WEB, market="spot")))
    engine.provision("default")
    changes = Changes(engine)
    with pytest.raises(ScalingError, match="spot nodes, which cannot be stopped"):
        changes.ask("web", instance_type="c6i.xlarge", mode="in_place")
    assert changes.ask("web", count=3).phase == "Successful"
    assert changes.ask("web", instance_type="c6i.xlarge").phase == "Successful"
    assert bench.emulator.held("capacity-reservation") == []
    assert {one["market"] for one in bench.emulator.held("instance")} == {"spot"}
    bench.give_back(engine)


def test_unreserved_nodes_stay_out_of_every_reservation(bench: Bench) -> None:
    """A group that is not reserved is changed without one, and sits in no open reservation of another user after it."""
    others = stranger(bench.emulator).create_capacity_reservation(
        InstanceType="c6i.xlarge", InstancePlatform="Linux/UNIX", AvailabilityZone="us-east-1a", InstanceCount=2
    )["CapacityReservation"]
    engine = bench.engine(request(bench.emulator, replace(WEB, reserve=False)))
    engine.provision("default")
    changes = Changes(engine)
    assert changes.ask("web", instance_type="c6i.xlarge", mode="in_place").phase == "Successful"
    assert changes.ask("web", count=1).phase == "Successful"
    (node,) = bench.emulator.held("instance")
    assert (node["type"], node["reservation"]) == ("c6i.xlarge", None)
    (mine,) = bench.emulator.calls("CreateCapacityReservation")
    assert mine["token"] is None
    assert engine.release(within(60)).clean
    assert [one["id"] for one in bench.emulator.held()] == [others["CapacityReservationId"]]


def test_another_architecture_is_refused_with_both(bench: Bench) -> None:
    """What the old type is of, and what the new one."""
    engine = bench.engine(request(bench.emulator, WEB))
    engine.provision("default")
    with pytest.raises(ScalingError, match=r"c6i.large is of x86_64, and c6g.large of arm64. Nothing was changed"):
        Changes(engine).ask("web", instance_type="c6g.large", mode="in_place")
    with pytest.raises(ScalingError, match=r"us-east-1 has no instance type c6i.none"):
        Changes(engine).ask("web", instance_type="c6i.none", mode="in_place")
    bench.give_back(engine)


def test_what_a_group_shares_outlives_a_keeper(bench: Bench, tmp_path: Path) -> None:
    """The key pair and the placement group of the run are released by no keeper that adopts it after a change."""
    cluster = NodeGroup(name="cluster", count=1, instance_type="c6i.large", placement_group=True)
    wanted = request(bench.emulator, WEB, cluster, ssh=Ssh())
    keys = KeyFiles("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAc9mWNh2LhGLCvFcr3bKIC2RIz9rDuoVKbmHNVTHmlw k", None, None)

    def engine() -> Engine:
        journal = Journal(tmp_path / "shared.sqlite")
        state = RunState(journal, wanted.run, SystemClock())
        if not state.live:
            state.intend("run-started", data={"started": state._clock.now(), "nonce": "n"})
        backend = open_backend(wanted)
        made = Engine(wanted, backend, state, SystemClock(), Reach(wanted, backend.default_user, keys))
        bench.engines.append(made)
        made.open()
        return made

    first = engine()
    first.provision("default")
    assert Changes(first).ask("web", instance_type="c6i.xlarge", mode="in_place").phase == "Successful"
    shared = sorted(one["id"] for one in bench.emulator.held() if one["kind"] in ("key-pair", "placement-group"))
    assert len(shared) == 2
    second = engine()
    assert second.provision("default") == first.run_state.placed["default"]
    for work in second._abandoned.under_way():
        work.result(60)
    assert sorted(one["id"] for one in bench.emulator.held() if one["id"] in shared) == shared
    bench.give_back(second)


def test_two_groups_of_one_reservation_are_changed_one_after_the_other(bench: Bench) -> None:
    """Counts are absolute, so a second change of the same reservation is refused while the first is under way."""
    engine = bench.engine(request(bench.emulator, WEB, CACHE))
    engine.provision("default")
    later: list[Callable[[], None]] = []
    changes = Changes(engine, later.append)
    assert changes.ask("web", count=3).phase == "Progressing"
    with pytest.raises(ScalingError, match="shares a reservation with group 'web'"):
        changes.ask("cache", count=2)
    with pytest.raises(ScalingError, match="under way"):
        changes.ask("web", count=4)
    later.pop()()
    assert counts(engine) == {"c6i.large": [4]}
    bench.give_back(engine)


class _Broken(Wrapped):
    """A backend whose changes of one kind are refused."""

    def __init__(self, backend: Backend, refuses: Callable[[Held, Change], bool]) -> None:
        super().__init__(backend)
        self._refuses = refuses

    def change(self, held: Held, to: Change) -> Held:
        if self._refuses(held, to):
            raise Refused("the house forbids it")
        return self._backend.change(held, to)


def broken(bench: Bench, wanted: Request, refuses: Callable[[Held, Change], bool]) -> Engine:
    engine = bench.engine(wanted, cast("Backend", _Broken(open_backend(wanted), refuses)))
    engine.provision("default")
    return engine


def test_nodes_that_cannot_be_started_again_come_back(bench: Bench) -> None:
    """Where the changed nodes do not start, they get their old type and their old seats, and run."""
    wanted = request(bench.emulator, WEB)
    types: dict[str, str] = {}

    def refuses(held: Held, to: Change) -> bool:
        types[held.id] = to.instance_type or types.get(held.id, "")
        return bool(to.running) and types[held.id] == "c6i.xlarge"

    engine = broken(bench, wanted, refuses)
    before = engine.run_state.placed["default"].nodes["web"]
    ended = Changes(engine).ask("web", instance_type="c6i.xlarge", mode="in_place")
    assert ended.phase == "Failed"
    assert "the house forbids it. The group is as it was before" in ended.conditions[-1].message
    assert engine.run_state.placed["default"].nodes["web"] == before
    assert {(one["state"], one["type"]) for one in bench.emulator.held("instance")} == {("running", "c6i.large")}
    assert counts(engine) == {"c6i.large": [2]}
    bench.give_back(engine)


def test_what_cannot_be_undone_is_said(bench: Bench) -> None:
    """Nodes that are gone stay gone: where the reservation cannot shrink, the error says what it holds."""
    engine = broken(bench, request(bench.emulator, WEB), lambda held, to: to.count is not None)
    ended = Changes(engine).ask("web", count=1)
    assert ended.phase == "Failed"
    words = ended.conditions[-1].message
    (reservation,) = bench.emulator.held("capacity-reservation")
    assert "Now group 'web' has web-0" in words
    assert f"reservation {reservation['id']} holds 2" in words
    assert [name for name, _ in Changes(engine).nodes("web")] == ["web-0"]
    bench.give_back(engine)


def test_disks_that_did_not_grow_are_named(bench: Bench) -> None:
    """Of two disks one grows: the error says how large each is."""
    wanted = request(bench.emulator, WEB)
    first: list[str] = []

    def refuses(held: Held, to: Change) -> bool:
        first.append(held.id)
        return to.disk_gb is not None and held.facts["name"] == "web-1"

    ended = Changes(engine := broken(bench, wanted, refuses)).ask("web", disk_gb=20)
    assert ended.phase == "Failed"
    assert "web-0 20 GB, web-1 8 GB" in ended.conditions[-1].message
    bench.give_back(engine)


def test_a_disk_that_is_growing_is_not_asked_for_twice(bench: Bench) -> None:
    """EC2 changes a volume once in some hours: the same asked for again is accepted, another size is not."""
    engine = bench.engine(request(bench.emulator, WEB))
    engine.provision("default")
    backend, _ = scaling_of(open_backend(engine.request))
    (held, *_) = (one for one in engine.run_state.held() if one.kind == "node")
    bench.emulator.weather(operation_s=60)
    change = cast("Backend", backend).change
    change(held, Change(disk_gb=20))
    assert backend.disks([held]) == [8]
    change(held, Change(disk_gb=20))
    with pytest.raises(ClientError, match="IncorrectModificationState"):
        change(held, Change(disk_gb=30))
    bench.emulator.weather(clock={"advance_s": 60})
    assert backend.disks([held]) == [20]
    change(held, Change(disk_gb=20))
    with pytest.raises(ClientError, match="VolumeModificationRateExceeded"):
        change(held, Change(disk_gb=30))
    bench.emulator.weather(operation_s=0)
    bench.give_back(engine)


def test_a_group_that_was_given_another_type_is_mended_with_it(bench: Bench) -> None:
    """A node that is lost after a change is replaced by one of the type that the group has now."""
    engine = bench.engine(request(bench.emulator, replace(WEB, market="spot"), on_preempt="replace"))
    engine.provision("default")
    assert Changes(engine).ask("web", instance_type="c6i.xlarge").phase == "Successful"
    lost = engine.run_state.placed["default"].nodes["web"][0]
    bench.emulator.weather(reclaim=[lost.id])
    assert engine.watch_preemption()
    nodes = engine.run_state.placed["default"].nodes["web"]
    assert lost.id not in {node.id for node in nodes}
    assert {node.instance_type for node in nodes} == {"c6i.xlarge"}
    bench.give_back(engine)


def test_a_node_that_is_stopped_on_purpose_is_not_lost(bench: Bench) -> None:
    """The watch for nodes that a cloud takes away leaves those alone that a change has stopped."""
    seen: list[dict[str, str]] = []

    def refuses(held: Held, to: Change) -> bool:
        if to.instance_type:
            bench.clock.moved += 120  # All nodes are due to be looked at.
            engine.preemption.look()
            seen.append(dict(engine.run_state.preempted))
        return False

    engine = broken(bench, request(bench.emulator, WEB), refuses)
    assert Changes(engine).ask("web", instance_type="c6i.xlarge", mode="in_place").phase == "Successful"
    assert seen == [{}, {}]
    bench.clock.moved += 120
    engine.preemption.look()
    assert engine.run_state.preempted == {}
    bench.give_back(engine)


def test_a_topology_that_is_not_provisioned_is_not_changed(bench: Bench) -> None:
    """There is nothing to change, and no call is made that changes anything."""
    engine = bench.engine(request(bench.emulator, WEB))
    with pytest.raises(ScalingError, match="is not provisioned"):
        Changes(engine).ask("web", count=3)
    operations = {call["operation"] for call in bench.emulator.calls()}
    assert not [one for one in operations if not one.startswith(("Describe", "Get"))]


class _Keepers:
    """One keeper after the other of a run, each of which knows what the journal knows."""

    def __init__(self, bench: Bench, wanted: Request) -> None:
        self._bench = bench
        self._wanted = wanted

    def events(self, run: str) -> list[Entry]:
        """Return the journal's events."""
        return self._bench.entries(run)

    def next(self) -> Scaler:
        """Return the next one."""
        engine = self._bench.engine(self._wanted)
        return Scaler(cast("Any", self), engine)


def die_after(state: RunState, kind: str) -> None:
    """Let the process die as soon as an event of this kind is written."""

    def dying(write: Callable[..., None]) -> Callable[..., None]:
        def written(what: str, *more: Any, **named: Any) -> None:
            write(what, *more, **named)
            if what == kind:
                raise Killed

        return written

    cast("Any", state).intend, cast("Any", state).note = dying(state.intend), dying(state.note)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *[(kind, {"count": 3}) for kind in ("ops-requested", "alteration-started", "ops-created", "placed")],
        *[(kind, {"count": 1}) for kind in ("alteration-started", "placed", "gone", "alteration-ended")],
        *[(kind, {"instance_type": "c6i.xlarge"}) for kind in ("placed", "gone", "alteration-ended")],
        *[(kind, {"instance_type": "c6i.xlarge", "mode": "in_place"}) for kind in ("state", "placed", "gone")],
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_a_keeper_dies_over_its_journal(bench: Bench, kind: str, change: dict[str, Any]) -> None:
    """Whatever it wrote last: asked again with the same key, as a client does, the next keeper does it once."""
    wanted = request(bench.emulator, WEB)
    keepers = _Keepers(bench, wanted)
    first = keepers.next()
    first.engine.provision("default")
    die_after(first.engine.run_state, kind)
    with pytest.raises(Killed):
        Scaler(cast("Any", keepers), first.engine).ask("web", key="k", **change)
    first.engine.stop.set()
    bench.clock.moved += 60
    second = keepers.next()
    second.finish()
    (ended,) = second.ask("web", key="k", **change)
    assert ended.outcome == "successful", ended.reason
    assert len(second.state.all()) == 1
    nodes = second.engine.run_state.placed["default"].nodes["web"]
    assert len(nodes) == change.get("count", 2)
    assert {node.instance_type for node in nodes} == {change.get("instance_type", "c6i.large")}
    assert {one["id"] for one in bench.emulator.held("instance")} == {node.id for node in nodes}
    assert [one["count"] for one in bench.emulator.held("capacity-reservation")] == [len(nodes)]
    assert not second.engine.run_state.alterations
    bench.give_back(second.engine)
