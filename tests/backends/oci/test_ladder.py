"""The ladder on OCI, axis by axis: where a run must stand is worked out here without it, from the stock alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final, NamedTuple

import pytest
from msgspec.structs import replace

from pytest_capacity.errors import Exhausted
from pytest_capacity.model import Fallback
from tests.backends.oci.runs import DB, OTHER, REGION, SETTINGS, SHAPE, request
from tests.emulated import Emulator
from tests.engine.runs import Bench, within

PHOENIX: Final = "us-phoenix-1"
PLACES: Final = {REGION: "Uocm:US-ASHBURN-AD-", PHOENIX: "Uocm:PHX-AD-"}


class Cell(NamedTuple):
    """One thing to ask for."""

    region: str
    zone: str
    shape: str
    market: str


def cells(axes: frozenset[str]) -> Iterator[Cell]:
    """In the order in which they are tried: market, type, zone, region. What is off has one value: on-demand, say."""
    for region in (REGION, PHOENIX)[: 1 + ("region" in axes)]:
        for number in (1, 2)[: 1 + ("zone" in axes)]:
            for shape in (SHAPE, OTHER)[: 1 + ("type" in axes)]:
                for market in ("spot", "on-demand")["spot" not in axes :]:
                    yield Cell(region, f"{PLACES[region]}{number}", shape, market)


#: What is dry.
WEATHERS: Final[dict[str, Callable[[Cell], bool]]] = {
    "nothing is dry": lambda cell: False,
    "no preemptible": lambda cell: cell.market == "spot",
    "the first shape": lambda cell: cell.shape == SHAPE,
    "the first domain": lambda cell: cell.zone.endswith("AD-1"),
    "the first region": lambda cell: cell.region == REGION,
    "all but the last": lambda cell: cell != Cell(PHOENIX, f"{PLACES[PHOENIX]}2", OTHER, "on-demand"),
    "everything": lambda cell: True,
}
AXES: Final = [frozenset(axis for axis, on in zip(("spot", "type", "zone", "region"), bits, strict=True) if on)
               for bits in product((False, True), repeat=4)]  # fmt: skip


def stock(dry: Callable[[Cell], bool]) -> dict[str, dict[str, object]]:
    """The stock of every domain of the test, for the emulator."""
    found: dict[str, dict[str, object]] = {}
    for cell in cells(frozenset(("spot", "type", "zone", "region"))):
        pools = found.setdefault(cell.zone, {"spot": {}})
        of = pools["spot"] if cell.market == "spot" else pools
        assert isinstance(of, dict)
        of[cell.shape] = 0 if dry(cell) else 5
    return found


@pytest.mark.matrix
@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("axes", AXES, ids=lambda axes: "+".join(sorted(axes)) or "none")
def test_every_axis(bench: Bench, emulator: Emulator, weather: str, axes: frozenset[str]) -> None:
    """It stands in the first cell that is not dry, after an attempt in each one before, and leaves nothing."""
    dry = WEATHERS[weather]
    emulator.weather(stock=stock(dry))
    asked = request(
        emulator,
        replace(
            DB,
            count=1,
            market="spot" if "spot" in axes else "on-demand",
            alternatives=(OTHER,) if "type" in axes else (),
        ),
        settings=replace(SETTINGS, image=dict.fromkeys(PLACES, SETTINGS.image[REGION])),
        regions=(REGION, PHOENIX)[: 1 + ("region" in axes)],
        zones=("AD-1", "AD-2")[: 1 + ("zone" in axes)],
        fallback=Fallback(regions="region" in axes, zones="zone" in axes, instance_types="type" in axes),
    )
    wanted = list(cells(axes))
    expected = next((cell for cell in wanted if not dry(cell)), None)
    tried = wanted if expected is None else wanted[: wanted.index(expected)]
    engine = bench.engine(asked)
    if expected is None:
        with pytest.raises(Exhausted):
            engine.provision("default")
    else:
        placed = engine.provision("default")
        (node,) = placed.nodes["db"]
        assert Cell(node.region, node.zone, node.instance_type, node.market) == expected
        assert bool(node.reservation_id) == (node.market == "on-demand")
    refused = [one for one in engine.run_state.attempts if one.outcome == "no-capacity"]
    assert [(one.zone, one.instance_type) for one in refused] == [(cell.zone, cell.shape) for cell in tried]
    assert engine.release(within(120)).clean
    assert emulator.held() == []
