"""What is not known: lost answers, and what is believed about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.base import Backend
from pytest_capacity.errors import Cancelled, CapacityError, Refused
from pytest_capacity.model import Held, NodeGroup, Piece
from tests.backends.aws.account import stranger
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import DB, Bench, Wrapped, request, within

NODES = replace(DB, reserve=False)
THROTTLED = {"us-east-1": {"write": {"burst": 0, "per_second": 0.01}}}


class Weathered(Wrapped):
    """The real backend; before its n-th create of nodes the weather changes."""

    def __init__(self, backend: Backend, *changes: Callable[[], object]) -> None:
        super().__init__(backend)
        self._changes = list(changes)

    def create(self, piece: Piece) -> Sequence[Held]:
        if piece.kind == "node" and self._changes:
            self._changes.pop(0)()
        return self._backend.create(piece)


class Clearing(Weathered):
    """The weather clears as soon as another zone than the first is tried."""

    def __init__(self, backend: Backend, emulator: Emulator) -> None:
        super().__init__(backend)
        self._emulator = emulator

    def create(self, piece: Piece) -> Sequence[Held]:
        if piece.zone != "us-east-1a":
            self._emulator.weather(faults=[])
        return super().create(piece)


def lost(emulator: Emulator) -> Callable[[], object]:
    """The next launch is made, and no message is written."""
    return lambda: emulator.weather(faults=[{"operation": "RunInstances", "lose_reply": True, "times": 1}], throttle={})


def throttled(emulator: Emulator) -> Callable[[], object]:
    """Nothing is let through."""
    return lambda: emulator.weather(faults=[], throttle=THROTTLED)


def fair(emulator: Emulator) -> Callable[[], object]:
    """All is well."""
    return lambda: emulator.weather(faults=[], throttle={})


@pytest.mark.parametrize("group", [DB, NODES], ids=["reserved", "not reserved"])
def test_a_throttle_says_nothing_about_a_lost_answer(bench: Bench, emulator: Emulator, group: NodeGroup) -> None:
    """The same token is asked again until the cloud says what became of it: no second set, no other zone."""
    wanted = request(emulator, group)
    changes = (lost(emulator), throttled(emulator), fair(emulator))
    engine = bench.engine(wanted, Weathered(open_backend(wanted), *changes))
    placed = engine.provision("default")
    assert {one["id"] for one in emulator.held("instance")} == {node.id for node in placed.nodes["db"]}
    assert [attempt.outcome for attempt in engine.run_state.attempts] == ["placed"]


def test_a_doubt_outlives_a_throttle_at_the_release(bench: Bench, emulator: Emulator) -> None:
    """Told to stop in the middle, with listings that lag: what the lost call made is found all the same."""
    emulator.weather(consistency_s=3)
    wanted = request(emulator, NODES)

    def stop() -> None:
        throttled(emulator)()
        engine.stop.set()

    backend = Weathered(open_backend(wanted), lost(emulator), stop, fair(emulator))
    engine = bench.engine(wanted, backend)
    with pytest.raises(Cancelled):
        engine.provision("default")
    bench.give_back(engine)


def test_an_open_doubt_is_not_clean(bench: Bench, emulator: Emulator) -> None:
    """While every answer is lost and nothing new is listed, the receipt says that something may be left."""
    emulator.weather(consistency_s=3600, faults=[{"operation": "RunInstances", "lose_reply": True}])
    engine = bench.engine(request(emulator, NODES, timeout_s=6.0))
    engine.offers.ahead("default")[0].result()
    with pytest.raises(CapacityError):
        engine.provision("default")
    receipt = engine.release(within(0.5))
    assert receipt.unanswered == 1
    assert not receipt.clean
    emulator.weather(consistency_s=0, faults=[])
    bench.give_back(engine)


def test_an_old_doubt_ends_with_a_listing(bench: Bench, emulator: Emulator) -> None:
    """A call made ten minutes ago whose thing no whole listing shows made nothing."""
    emulator.weather(faults=[{"operation": "RunInstances", "error": "InternalError"}])
    engine = bench.engine(request(emulator, NODES, timeout_s=6.0))
    engine.offers.ahead("default")[0].result()
    with pytest.raises(CapacityError):
        engine.provision("default")
    emulator.weather(faults=[{"operation": "RunInstances", "error": "UnauthorizedOperation"}])
    assert engine.release(within(0.3)).unanswered == 1
    bench.clock.moved = 700
    assert engine.release(within(60)).clean


def test_a_fresh_reservation_that_is_not_known_yet(bench: Bench, emulator: Emulator) -> None:
    """EC2 may not know everywhere what it has just made: the launch is tried again, the zone is not lost."""
    emulator.weather(
        faults=[{"operation": "RunInstances", "error": "InvalidCapacityReservationId.NotFound", "times": 1}]
    )
    engine = bench.engine(request(emulator, DB))
    assert engine.provision("default").zone == "us-east-1a"
    assert len(engine.run_state.attempts) == 1


def test_a_sibling_that_waits_does_not_hold_a_dry_zone(bench: Bench, emulator: Emulator) -> None:
    """One group is refused for certain while another's answer is unclear: the next zone is tried at once."""
    loader = NodeGroup(name="loader", count=1, instance_type="c6i.xlarge", market="on-demand", reserve=True)
    emulator.weather(
        stock={"us-east-1a": {"c6i.xlarge": 0}},
        faults=[
            {
                "operation": "CreateCapacityReservation",
                "type": "i4i.large",
                "zone": "us-east-1a",
                "error": "InternalError",
            }
        ],
    )
    wanted = request(emulator, DB, loader, timeout_s=120)
    engine = bench.engine(wanted, Clearing(open_backend(wanted), emulator))
    assert engine.provision("default", launch=False).zone == "us-east-1b"
    assert engine.run_state.attempts[0].seconds < 60


def test_reads_are_tried_again(bench: Bench, emulator: Emulator) -> None:
    """A bad moment at the start does not end a run."""
    emulator.weather(
        faults=[
            {"operation": "GetCallerIdentity", "error": "InternalError", "times": 1},
            {"operation": "DescribeImages", "error": "RequestLimitExceeded", "times": 1},
        ]
    )
    assert bench.engine(request(emulator, DB)).provision("default", launch=False).zone == "us-east-1a"


def test_a_throttled_read_costs_no_second_reservation(bench: Bench, emulator: Emulator) -> None:
    """Capacity that the user has already is used, though the first look at it was refused."""
    mine = stranger(emulator).create_capacity_reservation(
        InstanceType="i4i.large", InstancePlatform="Linux/UNIX", AvailabilityZone="us-east-1b", InstanceCount=3
    )["CapacityReservation"]["CapacityReservationId"]
    emulator.weather(
        faults=[{"operation": "DescribeCapacityReservations", "error": "RequestLimitExceeded", "times": 1}]
    )
    engine = bench.engine(request(emulator, DB, use_reservations=(mine,)))
    placed = engine.provision("default")
    assert {node.reservation_id for node in placed.nodes["db"]} == {mine}
    assert [one["id"] for one in emulator.held("capacity-reservation")] == [mine]
    assert engine.release(within(60)).clean
    assert [one["id"] for one in emulator.held()] == [mine]


def test_nothing_is_declared_gone_in_another_account(bench: Bench, emulator: Emulator) -> None:
    """A keeper with strange credentials sees an empty account; that is no proof of anything."""
    bench.engine(request(emulator, DB)).provision("default")
    other = request(emulator, DB, aws=AwsSettings(image={"us-east-1": IMAGE}, account="999999999999"))
    bench.clock.moved = 60
    with pytest.raises(Refused):
        bench.engine(other)
    engine = bench.engines[-1]
    receipt = engine.release(within(0.3))
    assert len(receipt.left) == 4
    assert [part.kind for part in receipt.unread] == ["everything"]
    assert len(emulator.held()) == 4


def test_a_run_id_used_again_has_other_tokens(bench: Bench, emulator: Emulator) -> None:
    """EC2 remembers a token for longer than a run lasts; a CI job's fresh journal knows nothing of the last run."""
    tokens = set()
    for nonce in ("one", "two"):
        engine = bench.engine(request(emulator, DB))
        engine.run_state.intend("run-started", data={"started": bench.clock.now(), "nonce": nonce})
        engine.provision("default", launch=False)
        engine.release(within(60))
        entries = engine.run_state._journal.events("run-1")
        tokens |= {entry.data["token"] for entry in entries if entry.kind == "intent"}
    assert len(tokens) == 2


def test_what_an_earlier_run_of_the_id_left_is_released(bench: Bench, emulator: Emulator) -> None:
    """Its nodes are not handed to the tests of this run; they go."""
    first = bench.engine(request(emulator, NODES)).provision("default")
    engine = bench.engine(request(emulator, NODES))
    engine.run_state.intend("run-started", data={"started": bench.clock.now(), "nonce": "new"})
    engine._take_up()
    second = engine.provision("default")
    assert {node.id for node in second.nodes["db"]}.isdisjoint(node.id for node in first.nodes["db"])
    bench.give_back(engine)


def test_refused_tokens_do_not_come_again(bench: Bench, emulator: Emulator) -> None:
    """Not even from the keeper that comes after: refusals are counted in the journal."""
    emulator.weather(faults=[{"operation": "CreateCapacityReservation", "error": "RequestLimitExceeded"}])
    engine = bench.engine(request(emulator, DB, timeout_s=8.0))
    engine.offers.ahead("default")[0].result()
    with pytest.raises(CapacityError):
        engine.provision("default")
    used = [
        entry.data["token"] for entry in bench.engines[-1].run_state._journal.events("run-1") if entry.kind == "intent"
    ]
    assert len(used) == len(set(used)) > 1
    assert bench.engine(request(emulator, DB)).run_state.refusals["default/1/us-east-1a/reservation/i4i.large"] == len(
        used
    )


def test_disks_go_with_their_machines(bench: Bench, emulator: Emulator) -> None:
    """A disk that the image wants to last is told not to: it would bear our stamp, and bill."""
    wanted = request(emulator, NODES)
    engine = bench.engine(wanted)
    engine.provision("default")
    order = engine.run_state.fulfilled["default"][0]
    lasting = replace(order, attempt=2, facts={**order.facts, "lasting/db": "/dev/sda1 /dev/sdb"})
    backend = open_backend(wanted)
    (piece,) = backend.plan(lasting)[0]
    assert piece.spec["BlockDeviceMappings"] == [
        {"DeviceName": "/dev/sda1", "Ebs": {"DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdb", "Ebs": {"DeleteOnTermination": True}},
    ]
    assert len(backend.create(piece)) == 3


def test_a_pending_reservation_is_given_back(bench: Bench, emulator: Emulator) -> None:
    """It may be cancelled only when it is active; until then that is asked again, without a word of trouble."""
    emulator.weather(pending_s=2)
    engine = bench.engine(request(emulator, DB))
    engine.provision("default", launch=False)
    receipt = engine.release(within(60))
    assert receipt.clean
    assert receipt.troubles == ()


def test_nodes_are_not_exposed_unasked(bench: Bench, emulator: Emulator) -> None:
    """A default subnet gives every machine a public address unless the launch says no."""
    assert bench.engine(request(emulator, DB)).provision("default").nodes["db"][0].public_ip is None
    public = AwsSettings(image={"us-east-1": IMAGE}, public_ip=True)
    nodes = bench.engine(request(emulator, DB, run="run-2", aws=public)).provision("default").nodes["db"]
    assert all(node.public_ip for node in nodes)
