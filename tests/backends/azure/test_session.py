"""Calls of Resource Manager: where they go, what they bear, and what is made of the answers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.errors import diagnose_error
from pytest_capacity.backends.azure.listing import Pace
from pytest_capacity.backends.azure.operations import read_outcome
from pytest_capacity.backends.azure.session import Answer, Arm, ArmError, Throttled
from pytest_capacity.backends.azure.settings import EMULATED_SUBSCRIPTION, EMULATED_TENANT, CloudName
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Held, Request
from tests.backends.azure.runs import SETTINGS, ZONES, request
from tests.emulated import Emulator


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that were looked up or connected to; none but this machine is reached."""
    hosts: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            hosts.append(address[0])
            if address[0] != "127.0.0.1":
                raise ConnectionRefusedError(str(address))
        connect(self, address)

    def looked_up(host: Any, *more: Any, **options: Any) -> Any:
        if host != "127.0.0.1":
            hosts.append(host)
            raise socket.gaierror(f"a test tried to reach {host}")
        return look_up(host, *more, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    return hosts


def as_a_cloud(emulator: Emulator, **settings: Any) -> Request:
    """A request for the emulator as if it were an endpoint of a user: the login is azure-identity's."""
    wanted = {**settings, "subscription": EMULATED_SUBSCRIPTION}
    return request(emulator, emulated=False, settings=replace(SETTINGS, **wanted))


@pytest.mark.parametrize("cloud", ["public", "government", "china"])
def test_an_endpoint_is_not_logged_in_to_at_azure(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tried: list[str], cloud: str
) -> None:
    """Credentials that would log in at Azure are not used for an endpoint that is not Azure's, unless named for it."""
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(name, EMULATED_TENANT)
    with pytest.raises(ConfigError, match="nothing names the login that goes with it: set AZURE_AUTHORITY_HOST"):
        open_backend(as_a_cloud(emulator, cloud=cloud))
    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.ready["clouds"]["azure"]["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", emulator.secret)
    identity = open_backend(as_a_cloud(emulator, cloud=cloud)).whoami()
    assert (identity.account, identity.place, identity.who) == (EMULATED_SUBSCRIPTION, EMULATED_TENANT, "emulated")
    assert set(tried) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("cloud", "endpoint", "login"),
    [
        ("public", "https://management.azure.com", "login.microsoftonline.com"),
        ("government", "https://management.usgovcloudapi.net", "login.microsoftonline.us"),
        ("china", "https://management.chinacloudapi.cn", "login.chinacloudapi.cn"),
    ],
)
def test_each_cloud_has_its_endpoint_and_its_login(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tried: list[str], cloud: CloudName, endpoint: str, login: str
) -> None:
    """azure-identity asks the cloud's own authority for a token for the cloud's own endpoint."""
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(name, EMULATED_TENANT)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    # azure-identity tries again, with pauses.
    monkeypatch.setattr("time.sleep", lambda _: None)
    arm = Arm(replace(as_a_cloud(emulator, cloud=cloud), endpoint=None))
    assert (arm.endpoint, arm._scope) == (endpoint, f"{endpoint}/.default")
    with pytest.raises((ClientAuthenticationError, ServiceRequestError)):
        arm.whoami()
    assert set(tried) == {login}


AZ = """#!/bin/sh
echo "$@" >> "$0.calls"
echo '{"accessToken": "%s", "expires_on": 4102444800}'
"""


def test_the_tenant_is_the_one_that_is_logged_in_to(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tried: list[str], tmp_path: Path
) -> None:
    """The command line is asked for a token of ``azure.tenant``; a subscription of another tenant is refused."""
    az = tmp_path / "az"
    az.write_text(AZ % emulator.secret, encoding="utf-8")
    az.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.test")
    identity = open_backend(as_a_cloud(emulator, tenant=EMULATED_TENANT)).whoami()
    assert (identity.place, identity.who) == (EMULATED_TENANT, "")
    calls = Path(f"{az}.calls").read_text(encoding="utf-8")
    assert f"--tenant {EMULATED_TENANT}" in calls
    other = EMULATED_SUBSCRIPTION
    backend = open_backend(as_a_cloud(emulator, tenant=other))
    with pytest.raises(ArmError, match=f"is of tenant {EMULATED_TENANT}, and azure.tenant is {other}") as refused:
        backend.whoami()
    assert (backend.diagnose(refused.value).kind, backend.diagnose(refused.value).step) == ("auth", "stop")
    assert set(tried) == {"127.0.0.1"}


def test_nothing_reaches_azure(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tried: list[str]) -> None:
    """An emulated run connects to this machine alone, whatever credentials and proxies the environment has."""
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("AZURE_CLIENT_ID", "someone")
    backend = open_backend(request(emulator))
    assert backend.whoami().account == "00000000-0000-4000-8000-000000000001"
    assert "eastus" in backend.regions()
    offers = backend.offers("eastus", request(emulator).topologies["default"])
    assert [offer.zone for offer in offers] == [*ZONES, "eastus-3", "eastus-none"]
    assert [offer.aliases for offer in offers] == [("1",), ("2",), ("3",), ("none",)]
    assert set(tried) == {"127.0.0.1"}


def test_no_proxy_gets_what_is_for_this_machine(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tried: list[str]
) -> None:
    """An endpoint on loopback that the user named is spoken to directly too."""
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    arm = Arm(replace(as_a_cloud(emulator), emulated=True))
    assert not arm._session.trust_env
    near = Arm(as_a_cloud(emulator))
    assert not near._session.trust_env
    assert Arm(replace(as_a_cloud(emulator), endpoint="https://arm.example"))._session.trust_env
    assert tried == []


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
    # Not before the time that Azure has named; what it did not name may be called.
    assert len(emulator.calls("Usage_List")) == 1
    with pytest.raises(ArmError, match="HTTP 429") as again:
        backend.offers("eastus", request(emulator).topologies["default"])
    assert 0.0 < (again.value.retry_after or 0.0) <= 1.0
    assert len(emulator.calls("Usage_List")) == 1
    assert backend.whoami().account == EMULATED_SUBSCRIPTION


def test_a_throttled_call_is_made_when_its_time_has_come() -> None:
    """The wait is Azure's; a refusal without a time, or of another kind, is followed by no wait."""
    now = [100.0]
    throttled = Throttled(lambda: now[0])
    throttled.note(ArmError("a", 429, (), 20.0))
    throttled.note(ArmError("b", 429, ()))
    throttled.note(ArmError("c", 503, (), 20.0))
    for operation in ("b", "c", "d"):
        throttled.check(operation)
    now[0] = 119.0
    with pytest.raises(ArmError) as refused:
        throttled.check("a")
    assert (refused.value.http, refused.value.retry_after) == (429, 1.0)
    now[0] = 120.0
    throttled.check("a")


def test_a_thing_is_looked_at_when_its_time_has_come() -> None:
    """The last answer about a thing counts, also where that names no time."""
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert pace.is_due("x")
    pace.note("x", 7.0)
    now[0] = 106.9
    assert (pace.is_due("x"), pace.is_due("y")) == (False, True)
    now[0] = 107.0
    assert pace.is_due("x")
    pace.note("x", 7.0)
    pace.note("x", 0.0)
    assert pace.is_due("x")


@contextmanager
def storage(asked: list[dict[str, str]]) -> Iterator[str]:
    """A server that has one text, and writes down the headers of who asks for it; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200 if self.path.endswith("sig=good") else 403)
            self.end_headers()
            self.wfile.write(b"the console")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_signed_url_is_given_no_token(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage of the boot diagnostics is another server, and the URL is all that it needs."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.ready["clouds"]["azure"]["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", emulator.secret)
    arm, asked = Arm(as_a_cloud(emulator)), list[dict[str, str]]()
    with storage(asked) as url:
        assert arm.fetch(f"{url}/log?sig=good") == "the console"
        assert arm.fetch(f"{url}/log?sig=old") == ""
        with pytest.raises(ServiceResponseError, match="which is another server"):
            Arm(request(emulator)).fetch(f"{url}/log?sig=good")
    assert len(asked) == 2
    assert all("authorization" not in headers for headers in asked)


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

    emulator.weather(operation_s=60)
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
