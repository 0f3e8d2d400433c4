"""Refusals have three parts: what was asked, what was answered and by whom, what to do now."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_capacity.engine import calls
from pytest_capacity.engine.messages import none_able
from pytest_capacity.engine.reach import Reach
from pytest_capacity.errors import Exhausted, Refused
from pytest_capacity.model import Diagnosis, Request
from tests.emulated import Emulator
from tests.engine.runs import DB, Bench, request, within

#: Without a reservation: EC2 names zones where it refuses a launch.
OPEN = replace(DB, reserve=False)


def test_a_denied_launch(bench: Bench, emulator: Emulator) -> None:
    """It names zone, call and group, the cloud's words without a second full stop, and the permission to give."""
    words = "You are not authorized to perform this operation."
    emulator.weather(
        faults=[{"operation": "RunInstances", "type": "i4i.large", "error": "UnauthorizedOperation", "message": words}]
    )
    engine = bench.engine()
    with pytest.raises(Refused) as refused:
        engine.provision("default")
    assert str(refused.value) == (
        "asked for topology 'default' in us-east-1a (RunInstances for group 'db': 3 i4i.large), and aws said "
        "UnauthorizedOperation: You are not authorized to perform this operation. "
        "Allow RunInstances to these credentials: the documentation (docs/how-to/aws.md) lists every permission that "
        "is needed"
    )
    assert engine.release(within(60)).clean


def test_a_quota(bench: Bench, emulator: Emulator) -> None:
    """One of the region leaves no zone of it to try, and the remedy is the quota's."""
    emulator.weather(quota={"us-east-1": {"vcpus": 2}})
    engine = bench.engine()
    with pytest.raises(Exhausted, match=r"us-east-1a reserved .* \(VcpuLimitExceeded\)\nRaise the quota") as refused:
        engine.provision("default")
    assert ".." not in str(refused.value)
    assert {call["zone"] for call in emulator.calls("CreateCapacityReservation")} == {"us-east-1a"}
    assert engine.release(within(60)).clean


def test_without_credentials(bench: Bench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK said itself is not put into the cloud's mouth; each way to give credentials is named."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(Refused, match=r"the SDK said NoCredentialsError: Unable to locate credentials\. ") as refused:
        bench.engine(request(emulator, emulated=False))
    for way in ("AWS_PROFILE", "aws sso login", "role", "--capacity-emulator"):
        assert way in str(refused.value)
    assert emulator.calls() == []


def test_a_reservation_that_is_not_there(bench: Bench, emulator: Emulator) -> None:
    """Our own refusal comes in our own words, not as something that the cloud said."""
    engine = bench.engine(request(emulator, use_reservations=("cr-0123456789abcdef0",)))
    with pytest.raises(Refused, match=r"^use_reservations asks for cr-.*Nothing was created\. Correct the id"):
        engine.provision("default")
    assert emulator.held() == []


def test_a_node_that_is_not_ready() -> None:
    """What it says is followed by how such a node can be looked at, and by no advice for a cloud's refusals."""
    words = "db-0 was not ready (ssh) within 4 s; last: no answer. Check that its image starts an SSH server"
    advice = Reach(request_of("aws"), "ec2-user").advice
    assert advice.startswith("The nodes are released: to look at one, ")
    diagnosis = Diagnosis("stop", "not-ready", "not-ready", words, by="us", remedy=advice)
    error = calls.refused("asked for topology 'default'", "aws", diagnosis)
    assert str(error) == f"asked for topology 'default', and us said not-ready: {words}. {advice}"
    assert "Log in and look" in Reach(request_of("static"), "me").advice


def request_of(backend: str) -> Request:
    return Request(
        run="r", project="p", backend=backend, regions=("us-east-1",), topologies={}, duration_s=1, timeout_s=1
    )


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
