"""Made-up weather for the matrix of the ladder, and what a run must make of it, worked out without the ladder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

REGIONS: Final = ("us-east-1", "us-west-2")
LETTERS: Final = ("a", "b")

#: How far a refusal reaches, by its code; the words that EC2 says with it.
REACH: Final[Mapping[str, str]] = {
    "InsufficientInstanceCapacity": "cell",
    "UnfulfillableCapacity": "cell",
    "Unsupported": "type in zone",
    "InsufficientFreeAddressesInSubnet": "zone",
    "MaxSpotInstanceCountExceeded": "market in region",
    "VcpuLimitExceeded": "market in region",
}
_WORDS: Final = {
    "Unsupported": "The requested configuration is currently not supported. Please check the documentation.",
}


@dataclass(frozen=True)
class Cell:
    """One thing to ask for."""

    region: str
    zone: str
    market: str
    first: bool
    """The group's first type, or else its alternative."""


@dataclass(frozen=True)
class Weather:
    """What one topology meets: ``dry`` says where, ``code`` how, ``on`` at which call an on-demand node fails."""

    name: str
    types: tuple[str, str]
    dry: Callable[[Cell], bool]
    code: str = "InsufficientInstanceCapacity"
    on: str = "reserve"

    def faults(self) -> Iterator[dict[str, Any]]:
        """The refusals, for the emulator: those of these types alone."""
        for cell in _cells({"spot", "type", "zone", "region"}):
            if not self.dry(cell):
                continue
            reserves = cell.market == "on-demand" and self.on == "reserve"
            yield {
                "operation": "CreateCapacityReservation" if reserves else "RunInstances",
                "region": cell.region,
                "zone": cell.zone,
                "type": self.types[not cell.first],
                "error": self.code,
                "message": _WORDS.get(self.code, "There is none."),
                **({} if reserves else {"market": cell.market}),
            }

    def climb(self, axes: set[str]) -> tuple[list[Cell], Cell | None]:
        """What must be tried, in order, and where the topology must stand; None: nowhere."""
        tried: list[Cell] = []
        for cell in _cells(axes):
            if any(self._blocks(refused, cell) for refused in tried):
                continue
            if not self.dry(cell):
                return tried, cell
            tried.append(cell)
        return tried, None

    def _blocks(self, refused: Cell, cell: Cell) -> bool:
        match REACH[self.code]:
            case "cell":
                return refused == cell
            case "type in zone":
                return (refused.zone, refused.first) == (cell.zone, cell.first)
            case "zone":
                return refused.zone == cell.zone
        return (refused.region, refused.market) == (cell.region, cell.market)

    def calls(self, axes: set[str]) -> Mapping[str, int]:
        """How many calls that create something must be made, and not one more."""
        tried, stands = self.climb(axes)
        calls = {"CreateCapacityReservation": 0, "RunInstances": 0}
        for cell in [*tried, *([stands] if stands else [])]:
            reserved = cell.market == "on-demand"
            refused_there = cell in tried and reserved and self.on == "reserve"
            calls["CreateCapacityReservation"] += reserved
            calls["RunInstances"] += not refused_there
        return calls


def _cells(axes: set[str]) -> Iterator[Cell]:
    """In the order in which they are tried: market, type, zone, region. What is off has one value: on-demand, say."""
    for region in REGIONS[: 1 + ("region" in axes)]:
        for letter in LETTERS[: 1 + ("zone" in axes)]:
            for first in (True, False)[: 1 + ("type" in axes)]:
                for market in ("spot", "on-demand")["spot" not in axes :]:
                    yield Cell(region, region + letter, market, first)


def _never(cell: Cell) -> bool:
    return False


def _only_the_last(cell: Cell) -> bool:
    return cell != Cell("us-west-2", "us-west-2b", "on-demand", False)


#: Each with types of its own, so that one run can place them all beside each other.
WEATHERS: Final[Sequence[Weather]] = (
    Weather("fair", ("c5.large", "c5.xlarge"), _never),
    Weather("no-spot-in-a", ("c5.2xlarge", "c5.4xlarge"), lambda cell: cell.market == "spot" and cell.zone[-1] == "a"),
    Weather("no-spot", ("m5.large", "m5.xlarge"), lambda cell: cell.market == "spot", "UnfulfillableCapacity"),
    Weather("first-type-launch", ("m5.2xlarge", "m5.4xlarge"), lambda cell: cell.first, on="launch"),
    Weather("unsupported-in-a", ("r5.large", "r5.xlarge"), lambda cell: cell.zone[-1] == "a", "Unsupported"),
    Weather(
        "subnet-full",
        ("r5.2xlarge", "r5.4xlarge"),
        lambda cell: cell.zone == "us-east-1a",
        "InsufficientFreeAddressesInSubnet",
        on="launch",
    ),
    Weather(
        "spot-quota", ("c6i.large", "c6i.xlarge"), lambda cell: cell.market == "spot", "MaxSpotInstanceCountExceeded"
    ),
    Weather("east-quota", ("c6i.2xlarge", "c6i.4xlarge"), lambda cell: cell.region == "us-east-1", "VcpuLimitExceeded"),
    Weather("east-dry", ("m6i.large", "m6i.xlarge"), lambda cell: cell.region == "us-east-1"),
    Weather("only-the-last", ("m6i.2xlarge", "m6i.4xlarge"), _only_the_last, on="launch"),
    Weather("drought", ("r6i.large", "r6i.xlarge"), lambda cell: True),
)
