"""What the cloud refuses: to give (the tests say so, fast), and to take back (the run fails, and says what is left)."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from typing import Any, Final

import boto3
import pytest

from tests.emulated import IMAGE
from tests.safety.runs import GRANTED, PATIENCE, Ended, Suite, creates, launches, until

#: More tests than anybody wants to wait for, were each to ask the cloud.
MANY: Final = """
import pytest
@pytest.mark.parametrize("number", range(30))
def test_many(capacity, number):
    pass
@pytest.mark.parametrize("number", range(5))
def test_lent(capacity_node, number):
    pass
def test_other():
    pass
"""

DRY: Final = {"us-east-1a": {"*": 0}, "us-east-1b": {"*": 0}}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_exhausted(suite: Suite, workers: str) -> None:
    """All zones are dry: every test that needs nodes has the same short reason; the zones are asked once."""
    # Both groups are asked for before one of them is refused, on a loaded machine too.
    suite.emulator.weather(stock=DRY, latency_ms=1000)
    suite.write("test_suite.py", MANY)
    ended = suite.run(workers)
    assert ended.code == 1, ended
    assert (ended.count("error"), ended.count("passed")) == (35, 1), ended
    reason = """capacity: no capacity for topology 'default': aws refused
  us-east-1a, us-east-1b reserved on-demand i4i.large, c6i.xlarge
    (InsufficientInstanceCapacity)
"""
    told = ended.out.partition("= ERRORS =")[2].partition("= capacity =")[0]
    assert told.count(reason) == 35
    assert len(told.strip().splitlines()) < 7 * 35 + 5, "a heading and a few lines each, no code and no traceback"
    assert len(creates(suite.emulator)) == 4
    table = ended.out.partition("= capacity =")[2].splitlines()
    assert [line.split()[:2] for line in table if line[:1].isdigit()] == [["1", "us-east-1a"], ["2", "us-east-1b"]]
    assert "0 things bearing run" in ended.out
    suite.nothing_left()


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("CreateCapacityReservation", "UnauthorizedOperation"),
        ("CreateCapacityReservation", "InvalidParameterValue"),
        ("RunInstances", "UnauthorizedOperation"),
        ("RunInstances", "SomethingThatNobodyKnows"),
        ("DescribeInstances", "UnauthorizedOperation"),
    ],
)
def test_refused(suite: Suite, operation: str, code: str) -> None:
    """What another zone would not cure stops at the first zone, with the cloud's own words; what was got goes back."""
    words = "You are not allowed to do this. Ask the people upstairs."
    suite.emulator.weather(faults=[{"operation": operation, "error": code, "message": words, "times": 2}], boot_s=1)
    suite.write("test_suite.py", MANY)
    ended = suite.run()
    assert ended.code == 1, ended
    assert (ended.count("error"), ended.count("passed")) == (35, 1), ended
    assert f"aws said {code}: {words}" in ended.out
    assert {call["zone"] for call in creates(suite.emulator)} == {"us-east-1a"}, ended
    assert "0 things bearing run" in ended.out
    suite.nothing_left()


def test_provisioning_takes_too_long(suite: Suite) -> None:
    """--capacity-timeout: nodes that never come are given back, and the tests say how long was waited."""
    suite.emulator.weather(boot_s=600)
    ended = suite.run("--capacity-timeout=15")
    assert ended.code == 1, ended
    assert ended.count("error") == 2, ended
    assert "took longer than 15 s (--capacity-timeout)" in ended.out
    assert len(launches(suite.emulator)) == 2
    suite.nothing_left()


def _stuck(suite: Suite, *operations: str) -> None:
    """The cloud refuses to take back, until further notice."""
    words = "You are not authorized to perform this operation."
    faults = [{"operation": operation, "error": "UnauthorizedOperation", "message": words} for operation in operations]
    suite.emulator.weather(faults=faults)


def _left(ended: Ended) -> dict[str, Any]:
    """What the receipt lists, by kind."""
    receipt = ended.out.rpartition("receipt: ")[2].splitlines()
    rows = [line.split() for line in receipt if line.startswith(("  node ", "  reservation "))]
    kinds: dict[str, list[str]] = {}
    for kind, identifier, *_ in rows:
        kinds.setdefault(kind, []).append(identifier)
    return kinds


@pytest.mark.matrix
@pytest.mark.parametrize(("tests", "code"), [("pass", 1), ("fail", 1), ("interrupted", 2)])
def test_release_refused(suite: Suite, tests: str, code: int) -> None:
    """The receipt lists what is left and the commands; a bad run stays as it is; the keeper goes on."""
    suite.configure(release_timeout=1)
    body = {"pass": "assert True", "fail": "assert 1 == 2", "interrupted": "raise KeyboardInterrupt"}[tests]
    suite.write("test_suite.py", f"def test(capacity):\n    {body}\n")
    _stuck(suite, "TerminateInstances")
    ended = suite.run()
    assert ended.code == code, ended
    assert ("assert 1 == 2" in ended.out) == (tests == "fail")
    nodes = sorted(held["id"] for held in suite.emulator.held("instance"))
    assert len(nodes) == 3, ended
    assert sorted(_left(ended)["node"]) == nodes, ended
    assert "receipt: 3 things bearing run" in ended.out
    assert "UnauthorizedOperation: You are not authorized to perform this operation." in ended.out
    command = next(line for line in ended.out.splitlines() if line.startswith("    aws ec2 terminate-instances"))
    assert all(node in command for node in nodes)
    assert "bound to end by" in ended.out
    assert len(suite.keepers()) == 1
    tries = suite.emulator.calls("TerminateInstances")
    hasty = [later for sooner, later in pairwise(tries) if later["began"] - sooner["ended"] < 0.1]
    assert len(hasty) <= 1, "it pauses between its tries, but for the end of the time in which pytest waits"
    suite.emulator.weather(faults=[])
    suite.nothing_left()


def test_release_refused_and_lifted_in_time(suite: Suite) -> None:
    """What is refused for a moment only is tried again before the run ends: the receipt is clean, the exit code 0."""
    suite.emulator.weather(
        faults=[{"operation": "TerminateInstances", "error": "UnauthorizedOperation", "times": 2}],
    )
    ended = suite.run()
    assert ended.code == 0, ended
    assert "could not be released: UnauthorizedOperation" in ended.out
    assert "0 things bearing run" in ended.out
    suite.nothing_left()


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("DescribeCapacityReservations", "reservation"), ("DescribePlacementGroups", "placement-group")],
)
def test_listing_refused(suite: Suite, operation: str, kind: str) -> None:
    """What cannot be listed is not taken for nothing: the receipt says what was not read, and the run fails."""
    suite.configure(release_timeout=1)
    _stuck(suite, operation)
    ended = suite.run()
    assert ended.code == 1, ended
    assert f"not read: {kind} in us-east-1: UnauthorizedOperation" in ended.out
    assert suite.keepers(), "it goes on looking"
    suite.emulator.weather(faults=[])
    suite.nothing_left()


def test_keeper_that_stays_is_told_to_stop(suite: Suite) -> None:
    """A keeper that cannot release ends on SIGTERM no sooner than everything is gone: it is the last that knows."""
    suite.configure(release_timeout=1)
    _stuck(suite, "TerminateInstances", "CancelCapacityReservation")
    ended = suite.run()
    assert ended.code == 1, ended
    (keeper,) = suite.keepers()
    os.kill(keeper, signal.SIGTERM)
    before = len(suite.emulator.calls("TerminateInstances"))
    until(lambda: len(suite.emulator.calls("TerminateInstances")) > before, GRANTED, "it tries on")
    assert suite.keepers() == [keeper]
    suite.emulator.weather(faults=[])
    suite.nothing_left()


#: The seeds' interface, in a plain script.
SCRIPT: Final = """
import pathlib, sys, time
from pytest_capacity import CapacityError, CapacityReservation

params = "capacity.yaml"
reservation = CapacityReservation()
assert reservation.is_enabled(params)
reservation.reserve(params)
print(reservation.get_id("a", "i4i.large"), reservation.get_id("us-east-1a", "c6i.xlarge"), flush=True)
try:
    reservation.get_id("b", "i4i.large")
except CapacityError as error:
    print(error, flush=True)
pathlib.Path("ready").touch()
if sys.argv[1] == "cancel":
    reservation.cancel(params)
elif sys.argv[1] == "cancel-all":
    reservation.cancel_all_regions("script-1")
elif sys.argv[1] == "crash":
    raise RuntimeError("the script breaks")
elif sys.argv[1] == "wait":
    time.sleep(600)
print("end", flush=True)
"""


@pytest.mark.matrix
@pytest.mark.parametrize("ending", ["cancel", "cancel-all", "crash", "forget"])
def test_script(suite: Suite, ending: str) -> None:
    """CapacityReservation without pytest: two reservations and no node; however the script ends, they are cancelled."""
    going = _script(suite, ending)
    ended = going.wait()
    assert ended.code == (1 if ending == "crash" else 0), ended
    suite.nothing_left()
    made = {call["type"]: call["operation"] for call in creates(suite.emulator)}
    assert made == {"i4i.large": "CreateCapacityReservation", "c6i.xlarge": "CreateCapacityReservation"}
    first, second = ended.out.splitlines()[0].split()
    assert first.startswith("cr-")
    assert first != second
    assert "no reservation for i4i.large in b. This run holds: " in ended.out


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_script_that_is_killed(suite: Suite, number: signal.Signals) -> None:
    """A signal ends the script in the middle: the keeper cancels its reservations."""
    going = _script(suite, "wait")
    until((suite.tests / "ready").exists, PATIENCE, "the script has its reservations")
    assert len(suite.emulator.held("capacity-reservation")) == 2
    going.kill(number)
    assert going.wait().code != 0
    suite.nothing_left()


def test_script_that_finds_no_capacity(suite: Suite) -> None:
    """reserve raises Exhausted, and nothing is held."""
    suite.emulator.weather(stock=DRY)
    ended = _script(suite, "forget").wait()
    assert ended.code == 1, ended
    assert "pytest_capacity.errors.Exhausted: no capacity for topology 'default'" in ended.err
    suite.nothing_left()


def test_cancel_all_regions_of_a_lost_run(suite: Suite) -> None:
    """pytest and keeper are killed at once: another machine finds what they left, by its stamp, and nothing else."""
    suite.configure(test_id="lost-1", project="mine")
    suite.write("test_suite.py", HOLD)
    going = suite.start()
    until((suite.tests / "ready").exists, PATIENCE, "the test has its nodes")
    (keeper,) = suite.keepers()
    going.kill(signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    going.kill(signal.SIGKILL)
    going.wait()
    stranger = _stranger(suite)
    assert len(suite.emulator.held()) == 6
    suite.configure(project="mine", endpoint=suite.emulator.url)
    script = suite.write("script.py", CANCEL)
    ended = suite.start(
        program=(sys.executable, str(script)), env={"XDG_STATE_HOME": str(suite.path / "other")}, endpoint=False
    ).wait()
    assert ended.code == 0, ended
    assert [held["id"] for held in suite.emulator.held()] == [stranger]


HOLD: Final = """
import pathlib, time
def test_hold(capacity):
    pathlib.Path("ready").touch()
    time.sleep(600)
"""

CANCEL: Final = """
from pytest_capacity import CapacityReservation
CapacityReservation().cancel_all_regions("lost-1", "capacity.yaml")
"""


def _stranger(suite: Suite) -> str:
    """An instance that bears the run's tag and nothing else of our stamp."""
    client = boto3.client("ec2", region_name="us-east-1", endpoint_url=suite.emulator.url)
    launch = client.run_instances(
        ImageId=IMAGE,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "pytest-capacity:run", "Value": "lost-1"}]},
        ],
    )
    return launch["Instances"][0]["InstanceId"]


def _script(suite: Suite, ending: str) -> Any:
    suite.configure(test_id="script-1", endpoint=suite.emulator.url)
    script = suite.write("script.py", SCRIPT)
    return suite.start(program=(sys.executable, str(script), ending), endpoint=False)
