"""The ladder: which zones, in which order."""

from __future__ import annotations

import pytest

from pytest_capacity import ladder
from pytest_capacity.model import Offer


def offers(**changes: bool) -> list[Offer]:
    """Zones a to d of us-east-1; ``b=False`` cannot take it."""
    letters = {"a": "use1-az6", "b": "use1-az1", "c": "use1-az2", "d": "use1-az4"}
    return [
        Offer(
            "us-east-1",
            f"us-east-1{letter}",
            zone_id,
            changes.get(letter, True),
            "" if changes.get(letter, True) else "no",
        )
        for letter, zone_id in letters.items()
    ]


def names(rungs: list[Offer]) -> str:
    """The zones' letters."""
    return "".join(offer.zone[-1] for offer in rungs)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((), "abcd"),
        (("c", "a"), "ca"),
        (("us-east-1d", "a"), "da"),
        (("use1-az2", "use1-az1"), "cb"),
        (("a", "us-east-1a", "use1-az6"), "a"),
    ],
)
def test_order_is_the_written_one(wanted: tuple[str, ...], expected: str) -> None:
    """Letters, names and zone ids mean zones, each once; none means all."""
    assert names(ladder.rungs(wanted, offers())) == expected


def test_zones_that_cannot_are_no_rungs() -> None:
    """A zone that lacks a type or a subnet is never tried."""
    assert names(ladder.rungs(("a", "b", "c"), offers(b=False))) == "ac"


def test_zones_with_capacity_of_ours_come_first() -> None:
    """Reservations that the user named are worth more than the written order."""
    zones = offers()
    zones[2] = Offer(zones[2].region, zones[2].zone, zones[2].zone_id, True, preferred=True)
    assert names(ladder.rungs(("a", "b", "c"), zones)) == "cab"


def test_unknown_zones_are_named() -> None:
    """A zone that the region does not have is a fault of the file."""
    assert ladder.unknown(("a", "q", "us-west-2a"), offers()) == ["q", "us-west-2a"]
