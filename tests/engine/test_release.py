"""Giving back: what is ours and all of it, confirmed by the cloud's own listing."""

from __future__ import annotations

from msgspec.structs import replace

from tests.backends.aws.account import stranger
from tests.emulated import IMAGE, Emulator
from tests.engine.runs import DB, Bench, request, within


def test_nothing_asked_nothing_called(bench: Bench, emulator: Emulator) -> None:
    """A run that provisioned nothing ends without a release or a listing."""
    engine = bench.engine()
    receipt = engine.release(within(60))
    assert receipt.clean
    assert not receipt.asked
    listing = {"DescribeInstances", "TerminateInstances", "CancelCapacityReservation"}
    assert listing.isdisjoint(call["operation"] for call in emulator.calls())


def test_strangers_are_not_touched(bench: Bench, emulator: Emulator) -> None:
    """An instance and a reservation without our whole stamp stay, look-alikes too."""
    client = stranger(emulator)
    look_alike = [{"Key": "pytest-capacity:run", "Value": "run-1"}, {"Key": "TestId", "Value": "run-1"}]
    client.run_instances(
        ImageId=IMAGE,
        InstanceType="i4i.large",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": look_alike}],
    )
    client.create_capacity_reservation(
        InstanceType="c6i.xlarge", InstancePlatform="Linux/UNIX", AvailabilityZone="us-east-1a", InstanceCount=1
    )
    before = {one["id"] for one in emulator.held()}
    engine = bench.engine()
    engine.provision("default")
    receipt = engine.release(within(60))
    assert receipt.clean
    assert any("not our whole stamp" in words for words in receipt.troubles)
    assert {one["id"] for one in emulator.held()} == before


def test_what_somebody_else_removed_is_no_trouble(bench: Bench, emulator: Emulator) -> None:
    """Instances terminated and reservations cancelled behind our back count as given back."""
    engine = bench.engine()
    placed = engine.provision("default")
    client = stranger(emulator)
    client.terminate_instances(InstanceIds=[placed.nodes["db"][0].id])
    client.cancel_capacity_reservation(CapacityReservationId=placed.reservations[0].id)
    receipt = engine.release(within(60))
    assert receipt.clean
    assert receipt.troubles == ()


def test_a_refused_release_is_retried_and_reported(bench: Bench, emulator: Emulator) -> None:
    """While the cloud refuses, the receipt lists what is left and how to remove it; afterwards it is removed."""
    engine = bench.engine(request(emulator, DB))
    engine.provision("default")
    emulator.weather(faults=[{"operation": "TerminateInstances", "error": "UnauthorizedOperation", "message": "no"}])
    receipt = engine.release(within(0.5))
    assert len([held for held in receipt.left if held.kind == "node"]) == 3
    assert any("UnauthorizedOperation" in words for words in receipt.troubles)
    assert any("terminate-instances" in line for line in receipt.by_hand)
    emulator.weather(faults=[])
    bench.give_back(engine)


def test_an_unread_listing_is_not_an_empty_one(bench: Bench, emulator: Emulator) -> None:
    """What could not be listed is said, and the run is not called clean."""
    engine = bench.engine(request(emulator, DB))
    engine.provision("default")
    emulator.weather(
        faults=[{"operation": "DescribeCapacityReservations", "error": "UnauthorizedOperation", "message": "no"}]
    )
    receipt = engine.release(within(0.5))
    assert not receipt.clean
    assert [(part.region, part.kind) for part in receipt.unread] == [("us-east-1", "reservation")]
    emulator.weather(faults=[])
    assert engine.release(within(60)).clean


def test_new_things_that_are_not_listed_yet_are_given_back(bench: Bench, emulator: Emulator) -> None:
    """Listings lag behind creates; 'not listed' is no proof for what was never asked to go."""
    emulator.weather(consistency_s=1.0)
    engine = bench.engine(request(emulator, DB))
    engine.provision("default")
    bench.give_back(engine)


def test_a_placement_group_goes_last(bench: Bench, emulator: Emulator) -> None:
    """It cannot be deleted while anything uses it, and it is not forgotten."""
    emulator.weather(stop_s=0.5)
    group = replace(DB, instance_type="c6i.xlarge", placement_group=True)
    engine = bench.engine(request(emulator, group))
    engine.provision("default")
    assert len(emulator.held("placement-group")) == 1
    bench.give_back(engine)
    refused = [call for call in emulator.calls("DeletePlacementGroup") if call["status"] != 200]
    assert refused == []


def test_what_takes_long_to_go(bench: Bench, emulator: Emulator) -> None:
    """A node that is shutting down is leaving, and bound to end at the hard end, not with its stamp's lease."""
    emulator.weather(stop_s=30)
    engine = bench.engine(request(emulator, DB, duration_s=3 * 3600.0))
    engine.provision("default")
    receipt = engine.release(within(0))
    assert {held.state for held in receipt.left if held.kind == "node"} == {"leaving"}
    assert receipt.until == engine.hard_end
    assert receipt.endless == ()


def test_what_nothing_ends(bench: Bench, emulator: Emulator) -> None:
    """Nodes without a timer are named; no end is promised for them."""
    emulator.weather(stop_s=30)
    wanted = request(emulator, DB)
    wanted = replace(wanted, settings={**wanted.settings, "self_terminate": False})
    engine = bench.engine(wanted)
    engine.provision("default")
    receipt = engine.release(within(0))
    nodes = {held.id for held in receipt.left if held.kind == "node"}
    assert len(nodes) == 3
    assert set(receipt.endless) == nodes
