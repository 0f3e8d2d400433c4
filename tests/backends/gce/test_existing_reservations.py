"""Reservations that the user named: where they are used, why others are not, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.journal import PassingJournal
from pytest_capacity.testing import Bench
from tests.backends.gce.lab import DB, ZONES, GceLab, make_reservation
from tests.backends.gce.test_engine import SPOT, standing
from tests.backends.gce.test_refusals import refused


def test_an_existing_reservation_is_used(bench: Bench, lab: GceLab) -> None:
    """In its zone, which is tried first; it stands when the run is over."""
    make_reservation(lab, "mine", "n2-standard-2")
    engine = standing(bench, DB, use_reservations=("mine",))
    placed = engine.run_state.placed["default"]
    assert placed.zone == ZONES[1]
    assert {node.reservation_id for node in placed.nodes["db"]} == {"mine"}
    assert engine.release(lambda: False).clean
    assert [one["name"] for one in lab.emulator.held()] == ["mine"]


@pytest.mark.parametrize("host", ["", "https://www.googleapis.com/compute/v1/"])
def test_a_link_names_the_reservation_of_one_zone(bench: Bench, lab: GceLab, host: str) -> None:
    """Another one of the same name, in a zone that would be tried first, is left alone."""
    for zone in ZONES[:2]:
        make_reservation(lab, "mine", "n2-standard-2", zone=zone)
    link = f"{host}projects/emulated-project/zones/{ZONES[1]}/reservations/mine"
    engine = standing(bench, DB, use_reservations=(link,))
    assert engine.run_state.placed["default"].zone == ZONES[1]
    assert {one.reservation_id for one in engine.run_state.placed["default"].nodes["db"]} == {"mine"}
    assert engine.release(lambda: False).clean
    assert len(lab.held()) == 2


def test_one_that_is_not_used_is_told(bench: Bench, lab: GceLab) -> None:
    """In the plan and in the summary, with why: too few are free, or it is in another zone."""
    make_reservation(lab, "mine", "n2-standard-2", count=1)
    wanted = lab.request(DB, use_reservations=("mine",))
    backend, journal = lab.backend(wanted), PassingJournal(Path("none-such"))
    plan = make_plan(wanted, backend, journal, SystemClock())
    assert [dict(rung.unused) for rung in plan.topologies["default"].rungs] == [
        {"mine": "it is in us-central1-b"},
        {"mine": "1 of 1 are free, and db needs 2"},
    ]
    engine = standing(bench, DB, use_reservations=("mine",))
    words = "use_reservations: mine is not used for 'default' in us-central1-a: it is in us-central1-b"
    assert engine.run_state.changes == [words]
    assert engine.release(lambda: False).clean


def test_one_for_nodes_that_are_spot_is_told(bench: Bench, lab: GceLab) -> None:
    """Spot uses none; it is used where they become on-demand."""
    make_reservation(lab, "mine", "n2-standard-2", count=3, zone=ZONES[0])
    lab.emulator.weather(stock={zone: {"spot": {"*": 0}} for zone in ZONES})
    wanted = lab.request(SPOT, use_reservations=("mine",))
    plan = make_plan(wanted, lab.backend(wanted), PassingJournal(Path("none-such")), SystemClock())
    assert list(plan.topologies["default"].rungs[0].unused.values()) == [
        "it is for db as on-demand n2-standard-2, which is not asked for here"
    ]
    engine = standing(bench, SPOT, use_reservations=("mine",))
    assert {one.reservation_id for one in engine.run_state.placed["default"].nodes["db"]} == {"mine"}
    assert engine.release(lambda: False).clean


def test_a_name_without_a_zone_counts_in_all(bench: Bench, lab: GceLab) -> None:
    """And a link beside it, to the same one, makes no difference."""
    for zone in ZONES[:2]:
        make_reservation(lab, "mine", "n2-standard-2", zone=zone)
    link = f"projects/emulated-project/zones/{ZONES[1]}/reservations/mine"
    engine = standing(bench, DB, use_reservations=("mine", link))
    assert engine.run_state.placed["default"].zone == ZONES[0]
    assert {one.reservation_id for one in engine.run_state.placed["default"].nodes["db"]} == {"mine"}
    assert engine.release(lambda: False).clean
    assert len(lab.held()) == 2


def test_a_link_to_a_zone_without_it_is_refused(bench: Bench, lab: GceLab) -> None:
    """Though another zone has one of that name."""
    make_reservation(lab, "mine", "n2-standard-2")
    link = f"projects/emulated-project/zones/{ZONES[0]}/reservations/mine"
    assert f"use_reservations asks for {link}" in refused(bench, DB, use_reservations=(link,))
