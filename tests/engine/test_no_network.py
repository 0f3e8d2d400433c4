"""A name that does not resolve is no reason to wait for a minute, where the cloud has never answered."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import HttpRequest, RequestsTransport
from botocore.exceptions import EndpointConnectionError
from msgspec.structs import replace

from pytest_capacity.engine.unreachable import NETWORK_GRACE, hopeless
from pytest_capacity.errors import Refused
from pytest_capacity.model import Diagnosis
from tests.emulated import Emulator
from tests.engine.runs import Bench, MovedClock, request

HOST = "ec2.eu-west-1.amazonaws.com"


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and only this machine's own names resolve."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    resolve = socket.getaddrinfo

    def near_only(host: Any, *arguments: Any, **named: Any) -> Any:
        if host in ("127.0.0.1", "localhost"):
            return resolve(host, *arguments, **named)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", near_only)


def words_of(library: str) -> str:
    """The words for it: of EC2's SDK, of `requests` (GCE, OCI, OpenStack), and what is inside of these (Azure)."""
    if library == "botocore":
        return str(EndpointConnectionError(endpoint_url=f"https://{HOST}/"))
    if library == "requests":
        with pytest.raises(requests.ConnectionError) as caught:
            requests.get(f"https://{HOST}/", timeout=5)
        return str(caught.value)
    with pytest.raises(ServiceRequestError) as told:
        RequestsTransport(connection_timeout=5).send(HttpRequest("GET", f"https://{HOST}/"))
    return str(told.value)


@pytest.mark.parametrize("url", [None, f"https://{HOST}"])
@pytest.mark.parametrize("library", ["botocore", "requests", "azure-core"])
def test_a_name_that_does_not_resolve_is_named(url: str | None, library: str) -> None:
    """After some seconds in which the network may be coming up, by the host that was asked."""
    answer = Diagnosis("back-off", "transient", "x", words_of(library))
    clock = MovedClock()
    give_up = hopeless(url, clock)
    assert give_up(answer) is None
    clock.moved += NETWORK_GRACE - 1
    assert give_up(answer) is None
    clock.moved += 2
    end = give_up(answer)
    assert end is not None
    assert (end.step, end.words) == ("stop", f"could not resolve {HOST}: there is no network, or no such host")


def test_a_name_that_resolves_again_is_asked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was a moment's failure counts from the beginning the next time."""
    answer = Diagnosis("back-off", "transient", "x", f"https://{HOST}/")
    clock = MovedClock()
    give_up = hopeless(None, clock)
    assert give_up(answer) is None
    clock.moved += NETWORK_GRACE + 1
    with monkeypatch.context() as there:
        there.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        assert give_up(answer) is None
    assert give_up(answer) is None


def test_names_are_the_business_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one that listens, it resolves them."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        clock = MovedClock()
        give_up = hopeless(None, clock)
        for _ in range(3):
            assert give_up(Diagnosis("back-off", "transient", "x", f"https://{HOST}/")) is None
            clock.moved += 60


class _FastClock(MovedClock):
    """A second passes at each look."""

    def now(self) -> float:
        self.moved += 1.0
        return super().now()


def test_a_run_ends_soon(bench: Bench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own error, on a run that would go to a cloud: the host is named, and not a status page."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    bench.clock = _FastClock()
    wanted = replace(request(emulator), endpoint="http://cloud.invalid", emulated=False)
    with pytest.raises(Refused, match=r"could not resolve cloud\.invalid: there is no network") as caught:
        bench.engine(wanted)
    assert "status page" not in str(caught.value)
