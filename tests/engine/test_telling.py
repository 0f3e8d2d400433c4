"""What an attempt tells of itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_capacity.engine.messages import none_able
from pytest_capacity.errors import Exhausted
from tests.emulated import Emulator
from tests.engine.runs import DB, Bench, request

#: Without a reservation: EC2 names zones where it refuses a launch.
OPEN = replace(DB, reserve=False)


def test_zones_that_the_cloud_names_are_part_of_the_advice(bench: Bench, emulator: Emulator) -> None:
    """Those that the run may not use: the others are tried by themselves."""
    emulator.weather(stock={f"us-east-1{letter}": {"i4i.large": 0} for letter in "abd"})
    engine = bench.engine(request(emulator, OPEN, zones=("a", "b")))
    with pytest.raises(
        Exhausted, match=r"try later \(the cloud names\nus-east-1c, us-east-1e, us-east-1f\); the attempts"
    ):
        engine.provision("default")
    assert len(engine.run_state.attempts) == 2
    (remedy,) = {attempt.remedy for attempt in engine.run_state.attempts}
    assert remedy.endswith("(the cloud names us-east-1c, us-east-1e, us-east-1f)")


def test_nothing_is_named_where_all_is_tried(bench: Bench, emulator: Emulator) -> None:
    """The advice is the table's."""
    emulator.weather(stock={f"us-east-1{letter}": {"i4i.large": 0} for letter in "ab"})
    engine = bench.engine(request(emulator, OPEN, zones=()))
    assert engine.provision("default").zone not in ("us-east-1a", "us-east-1b")
    assert "the cloud names" not in engine.run_state.attempts[0].remedy


def test_a_region_of_which_the_cloud_lists_no_zone() -> None:
    """Most often it is misspelt, which the message says; where there are zones, it has their reasons."""
    assert none_able("default", ("us-cental1",), []).splitlines()[1] == (
        "  the cloud lists none. See that the region is spelt as there"
    )
    assert "lists none" not in none_able("default", ("r",), [("r-a", "does not offer x")])
