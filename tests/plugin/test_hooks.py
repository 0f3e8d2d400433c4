"""The hooks of the ladder, used by a plugin: they decide, they are told, and a bad one does no harm."""

from __future__ import annotations

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import CONFIG, Run

PLUGIN = """
from msgspec.structs import replace

heard = []

def pytest_capacity_ladder(config, topology, rungs):
    heard.append(f"ladder {topology.name} {' '.join(rung.zone[-1] for rung in rungs)}")
    return [rung for rung in reversed(rungs) if rung.zone != "us-east-1b"]

def pytest_capacity_diagnose(config, diagnosis, region, zone, groups):
    heard.append(f"diagnose {diagnosis.code} {diagnosis.step} {region} {zone[-1]} {' '.join(groups)}")
    if diagnosis.code == "HouseRule":
        return replace(diagnosis, step="move-on", kind="capacity-zone", scope="zone")

def pytest_capacity_attempt_started(config, topology, region, zone, number):
    heard.append(f"started {topology} {region} {zone[-1]} {number}")

def pytest_capacity_attempt_ended(config, attempt):
    heard.append(f"ended {attempt.zone[-1]} {attempt.outcome} {attempt.kind} {attempt.group}")

def pytest_capacity_reserved(config, reservation):
    heard.append(f"reserved {reservation.count} {reservation.instance_type} {reservation.zone[-1]}")

def pytest_capacity_node_ready(config, node):
    heard.append(f"ready {node.group} {node.zone[-1]}")

def pytest_capacity_released(config, kind, ids):
    heard.extend(f"released {kind}" for _ in ids)

def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        print("HEARD", *heard, sep="|")
"""

ZONES = CONFIG.replace("zones: [a, b]", "zones: [a, b, c]")
RULE = {"operation": "CreateCapacityReservation", "zone": "us-east-1c", "error": "HouseRule", "message": "not today"}


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["serial", "n1"])
def test_every_hook(pytester: pytest.Pytester, run_on: Run, cloud: Emulator, workers: tuple[str, ...]) -> None:
    """Rungs are reordered and vetoed, an unknown refusal moves on, and each step is reported, in order."""
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("def test_placed(capacity):\n    assert capacity.zone == 'us-east-1a'\n")
    # Both groups are asked for before one of them is refused, on a loaded machine too.
    cloud.weather(faults=[RULE], latency_ms=1000)
    result = run_on(*workers, config=ZONES)
    result.assert_outcomes(passed=1)
    (line,) = [line for line in result.outlines if line.startswith("HEARD")]
    heard = line.split("|")[1:]
    assert heard[0] == "ladder default a b c"
    assert "diagnose HouseRule stop us-east-1 c db" in heard
    told = [one for one in heard if one.partition(" ")[0] in ("started", "ended")]
    assert told[:3] == [
        "started default us-east-1 c 1",
        "ended c no-capacity capacity-zone db, loader",
        "started default us-east-1 a 2",
    ]
    assert "ended a placed  " in told
    assert sorted(one for one in heard if one.startswith("reserved")) == [
        "reserved 1 c6i.xlarge a",
        "reserved 2 i4i.large a",
    ]
    assert [one for one in heard if one.startswith("ready")] == ["ready db a", "ready db a", "ready loader a"]
    assert {heard.count("released node"), heard.count("released reservation")} == {3, 2}
    assert {call["zone"] for call in cloud.calls("CreateCapacityReservation")} == {"us-east-1a", "us-east-1c"}
    assert cloud.held() == []


def test_hooks_that_fail(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """The run goes on as if they were not there, and says so at once; the next hooks are still called.

    pytest.fail() and pytest.skip() are errors like any other there.
    """
    pytester.makeconftest(
        """
        import pytest
        def pytest_capacity_ladder(rungs):
            pytest.skip("no idea")
        def pytest_capacity_diagnose(diagnosis):
            return "what?"
        def pytest_capacity_attempt_started():
            pytest.fail("bad listener")
        def pytest_capacity_attempt_ended():
            raise ValueError("another one")
        def pytest_capacity_node_ready(node):
            print("HEARD", node.group)
        """
    )
    pytester.makepyfile("def test_placed(capacity):\n    assert capacity.zone == 'us-east-1b'\n")
    cloud.weather(stock={"us-east-1a": {"*": 0}})
    result = run_on("-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*pytest_capacity_ladder: no idea; it was decided without it*",
            "*pytest_capacity_diagnose: *it was decided without it*",
            "*a hook failed on attempt-started: bad listener*",
            "*a hook failed on attempt-ended: ValueError('another one')*",
            "*HEARD loader*",
        ]
    )
    result.stdout.no_fnmatch_line("*did not answer within*")
    assert cloud.held() == []
