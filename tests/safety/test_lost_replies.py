"""A create call whose answer is lost: it is not known whether it went through, and nothing of it is doubled or left."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any, Final

import pytest

from tests.safety.phases import (
    PATIENCE,
    Decoy,
    at_most_one_provisioning,
    go_on,
    let_go,
    nothing_left,
    prepare,
    provisionings,
    under_way,
)
from tests.safety.runs import GRANTED, Going, Suite, until

#: One answer to each of the creates, in the order in which they are made.
CREATES: Final = ("CreatePlacementGroup", "CreateCapacityReservation", "RunInstances")

#: For how long a listing may not show what is new. Seconds.
LATE: Final = 4.0

#: The run's limit. Seconds.
DURATION: Final = 30 * 60


def lose(suite: Suite, operation: str, times: int | None = 1) -> None:
    """Let the answers to this call be lost, so often; None: for ever."""
    suite.emulator.weather(faults=[{"operation": operation, "lose_reply": True, "times": times}])


def until_lost(suite: Suite, going: Going, operation: str) -> None:
    """Wait for the first answer that is lost."""
    until(
        lambda: any(call["lost"] for call in suite.emulator.calls(operation)),
        PATIENCE,
        f"an answer to {operation} is lost: {going.written()}",
    )


@pytest.mark.matrix
@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "n2"])
@pytest.mark.parametrize("operation", CREATES)
def test_asked_again(suite: Suite, decoy: Decoy, operation: str, arguments: Sequence[str]) -> None:
    """The same is asked for once more, under the same token or name, and the run goes on with what there is."""
    prepare(suite, placement_group=True)
    lose(suite, operation)
    let_go(suite)
    ended = suite.start(*arguments).wait()
    assert ended.code == 0, (ended, suite.logs())
    assert len(suite.emulator.calls(operation)) - _decoys(operation) == 2, ended
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)


@pytest.mark.parametrize("operation", CREATES)
def test_pytest_is_killed_in_doubt(suite: Suite, decoy: Decoy, operation: str) -> None:
    """SIGKILL of pytest before anybody knows: the keeper asks under the token what there is, and releases it.

    A listing would not tell it: the cloud's is not up to date.
    """
    prepare(suite, placement_group=True)
    lose(suite, operation, times=3)
    suite.emulator.weather(consistency_s=LATE)
    going = suite.start()
    until_lost(suite, going, operation)
    going.kill_group(signal.SIGKILL)
    nothing_left(suite, decoy, within=GRANTED + LATE)
    at_most_one_provisioning(suite.emulator)


def test_a_call_without_a_token_is_waited_for(suite: Suite, decoy: Decoy) -> None:
    """A placement group has no token: were it asked for again while the first call is under way, and released, that
    call would make it anew. So the call that was under way when pytest died ends first."""
    prepare(suite, placement_group=True)
    suite.emulator.hold("CreatePlacementGroup", times=1)
    going = suite.start()
    until(lambda: "CreatePlacementGroup" in under_way(suite.emulator), PATIENCE, f"it is asked for: {going.written()}")
    going.kill_group(signal.SIGKILL)
    suite.until_ending()
    go_on(suite)
    nothing_left(suite, decoy)


@pytest.mark.parametrize("operation", CREATES)
def test_the_keeper_is_killed_in_doubt(suite: Suite, decoy: Decoy, operation: str) -> None:
    """SIGKILL of the keeper before anybody knows: the next one reads the intent, and asks under the same token."""
    prepare(suite, placement_group=True)
    lose(suite, operation, times=2)
    going = suite.start()
    until_lost(suite, going, operation)
    os.kill(suite.keepers()[0], signal.SIGKILL)
    let_go(suite)
    ended = going.wait()
    assert ended.code == 0, (ended, suite.logs())
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)


@pytest.mark.parametrize("operation", ["CreateCapacityReservation", "RunInstances"])
def test_everybody_is_killed_in_doubt(suite: Suite, decoy: Decoy, ec2: Any, operation: str) -> None:
    """pytest and its keeper at once: none is left to release, and the cloud ends what was made by its deadline."""
    suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}}, duration="30m")
    lose(suite, operation, times=None)
    going = suite.start()
    until_lost(suite, going, operation)
    # Stopped first, so that it starts no second keeper.
    going.kill_group(signal.SIGSTOP)
    os.kill(suite.keepers()[0], signal.SIGKILL)
    going.kill_group(signal.SIGKILL)
    until(lambda: not suite.keepers(), PATIENCE, "no keeper lives")
    left = {held["id"] for held in suite.emulator.held()} - set(decoy.ids)
    assert left
    reservations = ec2.describe_capacity_reservations()["CapacityReservations"]
    ours = [one for one in reservations if one["CapacityReservationId"] in left]
    assert [one["EndDateType"] for one in ours] == ["limited"]
    assert (ours[0]["EndDate"] - ours[0]["CreateDate"]).total_seconds() <= DURATION
    # The reservation by its end date, the machines by the timer in them; decoys of no deadline stay.
    suite.emulator.weather(faults=[], clock={"advance_s": DURATION + 3600})
    assert {held["id"] for held in suite.emulator.held()} == set(decoy.ids)


def _decoys(operation: str) -> int:
    return 0 if operation == "CreatePlacementGroup" else 1
