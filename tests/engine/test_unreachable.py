"""An endpoint on this machine at which nothing listens, a proxy that does not answer, a name without an address.

Each is named, and not waited for.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import HttpRequest, RequestsTransport
from botocore.exceptions import EndpointConnectionError
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.engine.unreachable import GRACE, NETWORK_GRACE, hopeless, local_endpoint, proxy
from pytest_capacity.errors import Refused
from pytest_capacity.journal import PassingJournal
from pytest_capacity.model import Diagnosis
from tests.emulated import Emulator
from tests.engine.runs import Bench, MovedClock, request

ANSWER = Diagnosis("back-off", "transient", "EndpointConnectionError", "Could not connect")
HOST = "ec2.eu-west-1.amazonaws.com"

GiveUp = Callable[[Diagnosis], Diagnosis | None]


def end_after(grace: float, give_up: GiveUp, clock: MovedClock, answer: Diagnosis = ANSWER) -> Diagnosis:
    """What is said once ``grace`` is over, and not before."""
    assert give_up(answer) is None
    clock.moved += grace - 1
    assert give_up(answer) is None
    clock.moved += 2
    end = give_up(answer)
    assert end is not None
    return end


def never_ends(give_up: GiveUp, clock: MovedClock, answer: Diagnosis = ANSWER) -> None:
    """However long it takes, it is asked again."""
    for _ in range(3):
        assert give_up(answer) is None
        clock.moved += 60


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None but that of the test."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def refusing() -> Iterator[str]:
    """A URL of this machine: bound, so that no other process gets the port, and not listened to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_what_only_starts_is_waited_for(refusing: str) -> None:
    """For some seconds; then the port is named, with what can be done about it."""
    clock = MovedClock()
    end = end_after(GRACE, local_endpoint(refusing, clock), clock)
    assert (end.step, end.words) == ("stop", f"nothing listens at {refusing}")
    assert end.remedy.startswith("Start what should listen there, or correct the endpoint")


def test_it_counts_from_the_last_time_that_something_listened() -> None:
    """What listened and went away may only be starting again."""
    clock = MovedClock()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        give_up = local_endpoint(f"http://localhost:{bound.getsockname()[1]}", clock)
        assert give_up(ANSWER) is None
        clock.moved += GRACE + 1
        bound.listen()
        assert give_up(ANSWER) is None
    end_after(GRACE, give_up, clock)


@pytest.mark.parametrize(
    "url", [None, "", "https://ec2.us-east-1.amazonaws.com", "http://192.0.2.1:9", "http://[::", "x"]
)
def test_other_endpoints_are_not_looked_at(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is on this machine: no connection of ours goes anywhere else."""
    monkeypatch.setattr(socket, "create_connection", lambda *_args, **_kwargs: pytest.fail("connected"))
    clock = MovedClock()
    never_ends(local_endpoint(url, clock), clock)


def test_a_run_and_its_plan_end_soon(bench: Bench, emulator: Emulator, refusing: str) -> None:
    """Whatever the SDK calls its error: nothing is said of a status page."""
    wanted = replace(request(emulator), endpoint=refusing)
    words = re.escape(f"nothing listens at {refusing}. Start what should listen there")
    with pytest.raises(Refused, match=words):
        bench.engine(wanted)
    with pytest.raises(Refused, match=words):
        make_plan(wanted, open_backend(wanted), PassingJournal(bench.path), bench.clock)


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """Where a proxy should be: bound, so that no other process gets the port, and not listened to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def url_of(port: socket.socket) -> str:
    """The proxy, with a password."""
    return f"http://me:hush@127.0.0.1:{port.getsockname()[1]}"


@pytest.mark.parametrize("url", [None, "https://ec2.us-east-1.amazonaws.com"])
def test_a_dead_proxy_is_named(url: str | None, port: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds in which it may be starting; never with the password in its URL."""
    monkeypatch.setenv("HTTPS_PROXY", url_of(port))
    clock = MovedClock()
    give_up = hopeless(url, clock)
    end = end_after(GRACE, give_up, clock)
    assert (end.step, end.words) == ("stop", f"the proxy 127.0.0.1:{port.getsockname()[1]} does not answer")
    assert "HTTPS_PROXY" in end.remedy
    assert "NO_PROXY" in end.remedy
    port.listen()
    assert give_up(ANSWER) is None


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        (None, {}),
        ("http://127.0.0.1:1", {"HTTP_PROXY": "dead"}),
        ("http://localhost:1", {"HTTP_PROXY": "dead"}),
        ("https://cloud.example", {"HTTPS_PROXY": "dead", "NO_PROXY": ".example"}),
        ("https://cloud.example", {"HTTP_PROXY": "dead"}),
    ],
    ids=["none", "loopback", "localhost", "no_proxy", "other scheme"],
)
def test_what_goes_through_no_proxy_is_asked_again(
    url: str | None, variables: dict[str, str], port: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is not looked at then."""
    for name in variables:
        monkeypatch.setenv(name, url_of(port) if variables[name] == "dead" else variables[name])
    clock = MovedClock()
    never_ends(proxy(url, clock), clock)


def test_a_run_behind_a_dead_proxy_ends_soon(
    bench: Bench, emulator: Emulator, port: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own error, on a run that would go to a cloud: not a word of a status page, and none of a password."""
    monkeypatch.setenv("HTTP_PROXY", url_of(port))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    wanted = replace(request(emulator), endpoint="http://cloud.invalid", emulated=False)
    number = port.getsockname()[1]
    with pytest.raises(Refused, match=re.escape(f"the proxy 127.0.0.1:{number} does not answer. Correct")) as caught:
        bench.engine(wanted)
    assert "hush" not in str(caught.value)
    assert "status page" not in str(caught.value)


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine's own names resolve."""
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


@pytest.mark.usefixtures("no_names")
@pytest.mark.parametrize("url", [None, f"https://{HOST}"])
@pytest.mark.parametrize("library", ["botocore", "requests", "azure-core"])
def test_a_name_that_does_not_resolve_is_named(url: str | None, library: str) -> None:
    """After some seconds in which the network may be coming up, by the host that was asked."""
    answer = Diagnosis("back-off", "transient", "x", words_of(library))
    clock = MovedClock()
    end = end_after(NETWORK_GRACE, hopeless(url, clock), clock, answer)
    assert (end.step, end.words) == ("stop", f"could not resolve {HOST}: there is no network, or no such host")


@pytest.mark.usefixtures("no_names")
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


@pytest.mark.usefixtures("no_names")
def test_names_are_the_business_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one that listens, it resolves them."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        clock = MovedClock()
        never_ends(hopeless(None, clock), clock, Diagnosis("back-off", "transient", "x", f"https://{HOST}/"))


class _FastClock(MovedClock):
    """A second passes at each look."""

    def now(self) -> float:
        self.moved += 1.0
        return super().now()


@pytest.mark.usefixtures("no_names")
def test_a_run_without_network_ends_soon(bench: Bench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own error, on a run that would go to a cloud: the host is named, and not a status page."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    bench.clock = _FastClock()
    wanted = replace(request(emulator), endpoint="http://cloud.invalid", emulated=False)
    with pytest.raises(Refused, match=r"could not resolve cloud\.invalid: there is no network") as caught:
        bench.engine(wanted)
    assert "status page" not in str(caught.value)
