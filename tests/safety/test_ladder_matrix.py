"""Which axes are on, times which rungs are dry and how: the placement, the calls, and nothing left."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Any, Final

import pytest

from tests.emulated import IMAGE
from tests.safety.clouds import LETTERS, REGIONS, WEATHERS, Weather
from tests.safety.runs import Ended, Suite

pytestmark = pytest.mark.matrix

AXES: Final = ("spot", "type", "zone", "region")

#: Every set of axes.
SETS: Final = tuple(chain.from_iterable(combinations(AXES, count) for count in range(len(AXES) + 1)))

#: One test a topology, each of which writes down where it got its nodes.
SUITE: Final = """
import json, pathlib
import pytest
from pytest_capacity import Exhausted

HERE = pathlib.Path(__file__).parent

@pytest.mark.parametrize("name", NAMES)
def test_place(capacity, name):
    try:
        nodes = capacity.topology(name).nodes("db")
    except Exhausted as error:
        pytest.fail(str(error))
    found = sorted({(node.zone, node.market, node.instance_type, bool(node.reservation_id)) for node in nodes})
    (HERE / f"{name}.json").write_text(json.dumps([len(nodes), found]))
"""

#: The same for a command: the file that it is handed, where we look for it.
COMMAND: Final = "import os, shutil; shutil.copy(os.environ['CAPACITY_FILE'], 'got.json')"

PROGRAM: Final = (sys.executable, "-c", "import sys; from pytest_capacity.cli import main; sys.exit(main())")


def configure(suite: Suite, axes: Sequence[str], weathers: Collection[Weather]) -> None:
    """The weather, and a topology of two nodes for each part of it."""
    suite.emulator.weather(faults=[fault for weather in weathers for fault in weather.faults()])
    regions = list(REGIONS) if "region" in axes else [REGIONS[0]]
    group = {"count": 2, "market": "spot" if "spot" in axes else "on-demand", "reserve": True}
    suite.configure(
        None,
        topologies={
            one.name: {"groups": {"db": {**group, "instance_type": one.types[0], "alternatives": [one.types[1]]}}}
            for one in weathers
        },
        regions=regions,
        zones=list(LETTERS),
        aws={"image": dict.fromkeys(regions, IMAGE)},
    )


def wanted(weather: Weather, axes: Sequence[str]) -> list[Any] | None:
    """How many nodes, and where, of which market and type, and whether in a reservation."""
    _, stands = weather.climb(set(axes))
    if stands is None:
        return None
    on_demand = stands.market == "on-demand"
    return [2, [[stands.zone, stands.market, weather.types[not stands.first], on_demand]]]


def calls(suite: Suite, weather: Weather) -> Mapping[str, int]:
    """The calls that were made for the types of one part of the weather."""
    made = {"CreateCapacityReservation": 0, "RunInstances": 0}
    for call in suite.emulator.calls():
        if call["operation"] in made and call["type"] in weather.types:
            made[call["operation"]] += 1
    return made


def check(
    suite: Suite, axes: Sequence[str], weathers: Collection[Weather], got: Mapping[str, list[Any] | None], ended: Ended
) -> None:
    """Everything stood where it must, was asked for as often as it must, and is gone."""
    suite.nothing_left()
    for weather in weathers:
        assert got.get(weather.name) == wanted(weather, axes), (weather.name, ended)
        assert calls(suite, weather) == weather.calls(set(axes)), (weather.name, ended)


@pytest.mark.parametrize("axes", SETS, ids=lambda axes: "-".join(axes) or "none")
def test_through_pytest(suite: Suite, axes: Sequence[str]) -> None:
    """A test whose topology is to be had passes on just those nodes; one that nothing is left for fails at once."""
    configure(suite, axes, WEATHERS)
    suite.write("test_suite.py", SUITE.replace("NAMES", repr([one.name for one in WEATHERS])))
    ended = suite.run(f"--capacity-fallback={','.join(axes) or 'none'}")
    placeable = [one for one in WEATHERS if wanted(one, axes)]
    assert ended.count("passed") == len(placeable), ended
    assert ended.count("failed") == len(WEATHERS) - len(placeable), ended
    check(suite, axes, WEATHERS, dict(_written(suite)), ended)


def _written(suite: Suite) -> Iterator[tuple[str, list[Any]]]:
    for one in WEATHERS:
        path = suite.tests / f"{one.name}.json"
        if path.exists():
            yield one.name, json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("axes", SETS, ids=lambda axes: "-".join(axes) or "none")
def test_through_the_command_line(suite: Suite, axes: Sequence[str]) -> None:
    """The command is handed the same nodes."""
    weathers = [one for one in WEATHERS if wanted(one, axes)]
    configure(suite, axes, weathers)
    options = (f"--endpoint={suite.emulator.url}", f"--fallback={','.join(axes) or 'none'}")
    ended = suite.run("run", *options, "--", sys.executable, "-c", COMMAND, program=PROGRAM, endpoint=False)
    assert ended.code == 0, ended
    read = json.loads((suite.tests / "got.json").read_text(encoding="utf-8"))["topologies"]
    got: dict[str, list[Any] | None] = {}
    for name, placed in read.items():
        nodes = placed["groups"]["db"]
        kinds = {(one["zone"], one["market"], one["instance_type"], bool(one["reservation_id"])) for one in nodes}
        got[name] = [len(nodes), sorted(map(list, kinds))]
    check(suite, axes, weathers, got, ended)


def test_a_command_without_capacity(suite: Suite) -> None:
    """Where nothing is left to try the command does not run, the reason is said, and the status is 3."""
    (drought,) = [one for one in WEATHERS if one.name == "drought"]
    configure(suite, AXES, [drought])
    ended = suite.run(
        "run",
        f"--endpoint={suite.emulator.url}",
        "--fallback=spot,type,zone,region",
        "--",
        sys.executable,
        "-c",
        COMMAND,
        program=PROGRAM,
        endpoint=False,
    )
    assert ended.code == 3, ended
    assert "no capacity for topology 'drought'" in ended.err, ended
    assert not (suite.tests / "got.json").exists()
    check(suite, AXES, [drought], {}, ended)
