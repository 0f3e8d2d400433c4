"""The life of a run in phases, each of which the weather can hold open, and what is true of the World after any end.

A run reserves, launches, tests and releases. A call that is held open is under way until `go_on`, and a test of this
suite waits for a file; so a signal or a death can be aimed at the middle of a phase, however slow the machine is.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from tests.emulated import IMAGE, Emulator
from tests.safety.runs import GRANTED, Going, Suite, until

Phase = Literal["reserving", "launching", "testing", "releasing"]
PHASES: Final[Sequence[Phase]] = ("reserving", "launching", "testing", "releasing")

#: The call during which a run is in a phase.
CALLS: Final[Mapping[Phase, str]] = {
    "reserving": "CreateCapacityReservation",
    "launching": "RunInstances",
    "releasing": "TerminateInstances",
}

#: How long a loaded machine may take to bring a run into a phase. Seconds.
PATIENCE: Final = 120.0

#: The functions by which a test and its driver signal each other: files in the folder of the suite.
PRELUDE: Final = """
import os, pathlib, time
import pytest

HERE = pathlib.Path(__file__).parent

def say(name, text=""):
    spare = HERE / f".{name}"
    spare.write_text(str(text))
    spare.rename(HERE / name)

def wait_for(name):
    while not (HERE / name).exists():
        time.sleep(0.02)
"""

#: Each test says that it runs and on which node, and waits until it is let go.
TESTS: Final = (
    PRELUDE
    + """
@pytest.mark.parametrize("number", [0, 1])
def test_waits(capacity_node, number):
    say(f"testing-{number}", capacity_node.id)
    wait_for("go")

def test_after(capacity_nodes):
    say("after", ",".join(sorted(node.id for node in capacity_nodes["db"])))
"""
)


def prepare(suite: Suite, *, placement_group: bool = False, count: int = 2, tests: str = TESTS) -> None:
    """Write a suite of one group of nodes, in one reservation."""
    group = {"count": count, "instance_type": "i4i.large", "placement_group": placement_group}
    suite.configure({"db": group})
    suite.write("test_suite.py", tests)


def hold(suite: Suite, *phases: Phase) -> None:
    """Hold the calls of these phases open; calls of other phases that were held open go on."""
    operations = [CALLS[phase] for phase in phases if phase in CALLS]
    if "releasing" in phases:
        operations.append("CancelCapacityReservation")
    suite.emulator.hold(*operations)


def go_on(suite: Suite) -> None:
    """The calls that are held open go on."""
    suite.emulator.go_on()


def reach(suite: Suite, going: Going, phase: Phase) -> None:
    """Wait until the run is in the middle of the phase; before "releasing" its tests are let go."""

    def reached() -> bool:
        assert going.process.poll() is None, f"the run ended before {phase}: {going.wait()}"
        if phase == "testing":
            return said(suite, "testing-0") is not None
        return CALLS[phase] in under_way(suite.emulator)

    if phase == "releasing":
        let_go(suite)
    until(reached, PATIENCE, f"the run is {phase}: {going.written()}\n{suite.logs()}")


def let_go(suite: Suite) -> None:
    """The waiting tests may end."""
    suite.write("go", "")


def said(suite: Suite, name: str) -> str | None:
    """What a test said under this name; None: nothing yet."""
    path = suite.tests / name
    return path.read_text() if path.exists() else None


def under_way(emulator: Emulator) -> list[str]:
    """The operations of the calls that the emulator has not answered yet."""
    return emulator.under_way()


def new_keeper(suite: Suite, old: Sequence[int]) -> int:
    """Wait for a keeper that is none of the ``old`` ones and has taken up the run; its process id."""

    def taken_up() -> bool:
        return bool(set(suite.keepers()) - set(old)) and suite.logs().count(" adopted ") >= len(old)

    until(taken_up, PATIENCE, f"another keeper adopts the run after {list(old)}\n{suite.logs()}")
    (pid,) = set(suite.keepers()) - set(old)
    return pid


def tokens(emulator: Emulator, operation: str) -> set[str]:
    """The tokens of the run's calls of this operation that were granted: so many logical creates."""
    calls = [call for call in emulator.calls(operation) if call["status"] == 200]
    return {call["token"] for call in calls if (call["token"] or "").startswith("pc-")}


def provisionings(emulator: Emulator) -> tuple[int, int]:
    """How many logical reservations and launches of the run were granted."""
    return len(tokens(emulator, "CreateCapacityReservation")), len(tokens(emulator, "RunInstances"))


def at_most_one_provisioning(emulator: Emulator) -> None:
    """No more than one set of creates was granted, however often each was asked for."""
    reservations, launches = provisionings(emulator)
    assert reservations <= 1
    assert launches <= 1


class Decoy:
    """A reservation and an instance of another user, which no run may touch."""

    def __init__(self, ec2: Any, emulator: Emulator) -> None:
        self._emulator = emulator
        placement = {"AvailabilityZone": "us-east-1a"}
        reservation = ec2.create_capacity_reservation(
            InstanceType="i4i.large", InstancePlatform="Linux/UNIX", InstanceCount=1, InstanceMatchCriteria="targeted",
            **placement,
        )  # fmt: skip
        instances = ec2.run_instances(
            ImageId=IMAGE, InstanceType="i4i.large", MinCount=1, MaxCount=1, Placement=placement
        )
        self.ids: Sequence[str] = (
            reservation["CapacityReservation"]["CapacityReservationId"],
            instances["Instances"][0]["InstanceId"],
        )
        self._before = self._seen()

    def _seen(self) -> list[tuple[str, str, str]]:
        shown = [(one["kind"], one["id"], str(one["tags"])) for one in self._emulator.held() if one["id"] in self.ids]
        return sorted(shown)

    def untouched(self) -> bool:
        """Whether both are there as they were."""
        return len(self._before) == 2 and self._seen() == self._before


def nothing_left(suite: Suite, decoy: Decoy, *, within: float = GRANTED) -> float:
    """Wait until the World holds the decoy alone and no keeper lives; how long that took, seconds."""
    seconds = suite.nothing_left(but=decoy.ids, within=within)
    # What a process asked for that was killed over it may still come to be.
    until(lambda: not under_way(suite.emulator), GRANTED, "all calls have ended")
    assert [held["id"] for held in suite.emulator.held() if held["id"] not in decoy.ids] == []
    assert decoy.untouched()
    return seconds


def alive(pid: int) -> bool:
    """Whether this process runs, a zombie not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def name_of(number: int) -> str:
    """A signal's name, for the id of a case."""
    return signal.Signals(number).name
