"""Calls of Resource Manager: where they go, what they bear, and what is made of the answers."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.errors import diagnose_error
from pytest_capacity.backends.azure.operations import read_outcome
from pytest_capacity.backends.azure.session import Answer, Arm, ArmError
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Held
from tests.backends.azure.runs import ZONES, request
from tests.emulated import Emulator


def test_nothing_reaches_azure(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulated run connects to this machine alone, whatever credentials and proxies the environment has."""
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("AZURE_CLIENT_ID", "someone")
    tried: list[Any] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        tried.append(address)
        if isinstance(address, tuple) and address[0] != "127.0.0.1":
            raise ConnectionRefusedError(str(address))
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    backend = open_backend(request(emulator))
    assert backend.whoami().account == "00000000-0000-4000-8000-000000000001"
    assert "eastus" in backend.regions()
    offers = backend.offers("eastus", request(emulator).topologies["default"])
    assert [offer.zone for offer in offers] == [*ZONES, "eastus-3", "eastus-none"]
    assert [offer.aliases for offer in offers] == [("1",), ("2",), ("3",), ("none",)]
    assert {address[0] for address in tried} == {"127.0.0.1"}


def test_a_call_is_made_once(emulator: Emulator) -> None:
    """What fails is told; no library repeats it behind the engine's back."""
    emulator.weather(faults=[{"operation": "Subscriptions_Get", "error": "InternalServerError", "http": 503}])
    with pytest.raises(ArmError) as failed:
        open_backend(request(emulator)).whoami()
    assert len(emulator.calls("Subscriptions_Get")) == 1
    assert diagnose_error(failed.value).step == "ask-again"


def test_a_lost_reply_is_an_unknown_outcome(emulator: Emulator) -> None:
    """A connection that is closed says nothing of the call; one that was refused says that it was never made."""
    emulator.weather(faults=[{"operation": "Subscriptions_Get", "lose_reply": True}])
    with pytest.raises((ServiceResponseError, ServiceRequestError)) as lost:
        open_backend(request(emulator)).whoami()
    assert diagnose_error(lost.value).step == "ask-again"
    with pytest.raises(ServiceRequestError) as refused:
        open_backend(replace(request(emulator), endpoint="http://127.0.0.1:1")).whoami()
    assert diagnose_error(refused.value).step == "back-off"


def test_a_throttled_call_is_told_as_one(emulator: Emulator) -> None:
    """The outer code of a throttled call is one of many meanings; the inner one counts."""
    emulator.weather(throttle={"azure/eastus": {"read": {"burst": 0, "per_second": 0}}})
    backend = open_backend(request(emulator))
    with pytest.raises(ArmError) as refused:
        backend.offers("eastus", request(emulator).topologies["default"])
    found = backend.diagnose(refused.value)
    assert (found.kind, found.step, found.code) == ("throttle", "back-off", "TooManyRequests")
    assert refused.value.retry_after == 1.0


def test_the_token_goes_nowhere_else(emulator: Emulator) -> None:
    """A link that an answer gives is followed on the endpoint's own server only."""
    arm = Arm(request(emulator))
    for url in ("http://127.0.0.1:1/x", "https://management.azure.com.evil.example/x"):
        with pytest.raises(ServiceResponseError, match="which is another server"):
            arm.follow(url)
    assert not emulator.calls()


def test_wrong_credentials_are_told_as_those(emulator: Emulator, secret_file: Any) -> None:
    """Refused credentials end the run."""
    secret_file.write_text("guessed", encoding="utf-8")
    backend = open_backend(request(emulator))
    with pytest.raises(ArmError) as refused:
        backend.whoami()
    assert backend.diagnose(refused.value).kind == "auth"


def test_a_run_needs_a_subscription() -> None:
    """Without a subscription there is nothing to call."""
    from pytest_capacity.model import Request, Topology

    bare = Request(
        backend="azure",
        run="r",
        project="p",
        topologies={"default": Topology(())},
        regions=("eastus",),
        duration_s=1.0,
        timeout_s=1.0,
    )
    with pytest.raises(ConfigError, match=r"azure\.subscription is not set"):
        open_backend(bare)
    with pytest.raises(ConfigError, match="an emulated run has no endpoint"):
        open_backend(replace(bare, emulated=True))


@pytest.mark.parametrize(
    ("answer", "state", "codes"),
    [
        (Answer(200, {"status": "InProgress"}, "", 7.0), "running", []),
        (Answer(200, {"status": "Succeeded"}), "succeeded", []),
        (Answer(202, {}, "", 7.0), "running", []),
        (Answer(200, {"properties": {}}), "succeeded", []),
        (Answer(204, {}), "succeeded", []),
        (Answer(200, {"status": "Canceled"}), "failed", ["Canceled"]),
        (
            Answer(200, {"status": "Failed", "error": {"code": "ZonalAllocationFailed", "message": "no"}}),
            "failed",
            ["ZonalAllocationFailed"],
        ),
        (
            Answer(
                200,
                {
                    "status": "Failed",
                    "error": {
                        "code": "Conflict",
                        "message": '{"error": {"code": "AllocationFailed", "message": "no"}}',
                    },
                },
            ),
            "failed",
            ["Conflict", "AllocationFailed"],
        ),
    ],
)
def test_both_ways_of_polling_are_read(answer: Answer, state: str, codes: list[str]) -> None:
    """A status in the body, or the status of HTTP; and every code of a failure, however deep."""
    outcome = read_outcome(answer)
    assert outcome.state == state
    assert [part.code for part in outcome.parts if part.code] == codes
    assert outcome.retry_after == answer.retry_after


def test_azure_says_when_to_look_again(emulator: Emulator) -> None:
    """What is being made is not looked at before the time that Azure has named."""
    from tests.backends.azure.test_bodies import pieces

    emulator.weather(operation_s=5)
    asked = request(emulator)
    backend = open_backend(asked)
    group, network = (next(one for one in pieces(asked) if one.kind == kind) for kind in ("resource-group", "network"))
    backend.create(group)
    (made,) = backend.create(network)
    assert (made.state, bool(made.facts["operation"])) == ("creating", True)
    before = len(emulator.calls())
    assert backend.refresh([made]) == [made]
    assert len(emulator.calls()) == before


def test_what_does_not_bear_the_stamp_is_left_alone(emulator: Emulator) -> None:
    """A thing without a subject is not ours to remove."""
    backend = open_backend(request(emulator))
    stranger = Held(kind="node", id="/subscriptions/s/resourceGroups/g", region="eastus", zone="", state="ready")
    with pytest.raises(ValueError, match="do not bear our whole stamp"):
        backend.release([stranger])
    assert not emulator.calls()
