"""Leases: half an hour at a time, renewed up to the hard end and never past it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from pytest_capacity.engine.leases import LEASE
from tests.backends.aws.account import stranger
from tests.emulated import Emulator
from tests.engine.runs import DB, Bench, request


def end_dates(emulator: Emulator) -> list[float]:
    """When EC2 itself will end our reservations."""
    found: list[dict[str, Any]] = stranger(emulator).describe_capacity_reservations()["CapacityReservations"]
    return [one["EndDate"].timestamp() for one in found]


def test_the_first_lease_is_half_an_hour(bench: Bench, emulator: Emulator) -> None:
    """If everybody dies now, EC2 ends the reservation by itself."""
    bench.engine(request(emulator, DB)).provision("default")
    assert abs(end_dates(emulator)[0] - (bench.clock.now() + LEASE)) < 60


def test_nothing_is_renewed_before_half_life(bench: Bench, emulator: Emulator) -> None:
    """Renewal costs no calls while it is not due."""
    engine = bench.engine(request(emulator, DB))
    engine.provision("default")
    bench.clock.moved = LEASE / 2 - 60
    engine.renew()
    assert emulator.calls("ModifyCapacityReservation") == []


def test_leases_are_renewed_at_half_life(bench: Bench, emulator: Emulator) -> None:
    """The cloud's own end date moves on, by one call a reservation."""
    engine = bench.engine(request(emulator, DB))
    engine.provision("default")
    bench.clock.moved = LEASE / 2 + 60
    engine.renew()
    assert abs(end_dates(emulator)[0] - (bench.clock.now() + LEASE)) < 60
    assert len(emulator.calls("ModifyCapacityReservation")) == 1


def test_nothing_is_renewed_past_the_hard_end(bench: Bench, emulator: Emulator) -> None:
    """Start plus duration is the end, whatever the tests still do."""
    engine = bench.engine(request(emulator, DB, duration_s=2400.0))
    engine.provision("default")
    bench.clock.moved = 1700
    engine.renew()
    assert abs(end_dates(emulator)[0] - engine.hard_end) < 2
    calls = len(emulator.calls("ModifyCapacityReservation"))
    bench.clock.moved = 2300
    engine.renew()
    assert len(emulator.calls("ModifyCapacityReservation")) == calls == 1


def test_a_short_run_has_a_short_lease(bench: Bench, emulator: Emulator) -> None:
    """The lease never runs past the hard end."""
    bench.engine(request(emulator, DB, duration_s=600.0)).provision("default")
    assert end_dates(emulator)[0] - bench.clock.now() < 601


def test_without_reservations_one_node_a_region_bears_the_deadline(bench: Bench, emulator: Emulator) -> None:
    """Its stamp is moved on by one call, since EC2 keeps no end for instances."""
    engine = bench.engine(request(emulator, replace(DB, reserve=False)))
    engine.provision("default")
    bench.clock.moved = LEASE / 2 + 60
    engine.renew()
    assert len(emulator.calls("CreateTags")) == 1
    deadlines = {one["tags"]["pytest-capacity:deadline"] for one in emulator.held("instance")}
    latest = max(datetime.fromisoformat(deadline).astimezone(UTC).timestamp() for deadline in deadlines)
    assert abs(latest - (bench.clock.now() + LEASE)) < 60


def test_a_failed_renewal_is_said_and_tried_again(bench: Bench, emulator: Emulator) -> None:
    """The user reads it before the lease is over."""
    engine = bench.engine(request(emulator, DB))
    engine.provision("default")
    emulator.weather(faults=[{"operation": "ModifyCapacityReservation", "error": "UnauthorizedOperation", "times": 1}])
    bench.clock.moved = LEASE / 2 + 60
    engine.renew()
    assert any("could not be extended" in words for words in engine.run_state.troubles)
    engine.renew()
    assert abs(end_dates(emulator)[0] - (bench.clock.now() + LEASE)) < 60


def test_the_cloud_ends_what_nobody_renews(bench: Bench, emulator: Emulator) -> None:
    """The dead-man switch works without any of our processes."""
    bench.engine(request(emulator, DB)).provision("default")
    emulator.weather(clock={"advance_s": LEASE + 3700})
    assert emulator.held("capacity-reservation") == []
