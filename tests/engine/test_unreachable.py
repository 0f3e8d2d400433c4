"""An endpoint on this machine at which nothing listens, and a proxy that does not answer: named, and not waited for."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.engine.unreachable import GRACE, hopeless, local_endpoint, proxy
from pytest_capacity.errors import Refused
from pytest_capacity.journal import PassingJournal
from pytest_capacity.model import Diagnosis
from tests.emulated import Emulator
from tests.engine.runs import Bench, MovedClock, request

ANSWER = Diagnosis("back-off", "transient", "EndpointConnectionError", "Could not connect")


@pytest.fixture
def refusing() -> Iterator[str]:
    """A URL of this machine: bound, so that no other process gets the port, and not listened to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_what_only_starts_is_waited_for(refusing: str) -> None:
    """For some seconds; then the port is named, with what can be done about it."""
    clock = MovedClock()
    give_up = local_endpoint(refusing, clock)
    assert give_up(ANSWER) is None
    clock.moved += GRACE - 1
    assert give_up(ANSWER) is None
    clock.moved += 2
    end = give_up(ANSWER)
    assert end is not None
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
    assert give_up(ANSWER) is None
    clock.moved += GRACE - 1
    assert give_up(ANSWER) is None
    clock.moved += 2
    assert give_up(ANSWER) is not None


@pytest.mark.parametrize(
    "url", [None, "", "https://ec2.us-east-1.amazonaws.com", "http://192.0.2.1:9", "http://[::", "x"]
)
def test_other_endpoints_are_not_looked_at(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is on this machine: no connection of ours goes anywhere else."""
    monkeypatch.setattr(socket, "create_connection", lambda *_args, **_kwargs: pytest.fail("connected"))
    clock = MovedClock()
    give_up = local_endpoint(url, clock)
    for _ in range(3):
        assert give_up(ANSWER) is None
        clock.moved += 60


def test_a_run_and_its_plan_end_soon(bench: Bench, emulator: Emulator, refusing: str) -> None:
    """Whatever the SDK calls its error: nothing is said of a status page."""
    wanted = replace(request(emulator), endpoint=refusing)
    words = re.escape(f"nothing listens at {refusing}. Start what should listen there")
    with pytest.raises(Refused, match=words):
        bench.engine(wanted)
    with pytest.raises(Refused, match=words):
        make_plan(wanted, open_backend(wanted), PassingJournal(bench.path), bench.clock)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where a proxy should be: bound, so that no other process gets the port, and not listened to."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
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
    assert give_up(ANSWER) is None
    clock.moved += GRACE - 1
    assert give_up(ANSWER) is None
    clock.moved += 2
    end = give_up(ANSWER)
    assert end is not None
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
    give_up = proxy(url, clock)
    for _ in range(3):
        assert give_up(ANSWER) is None
        clock.moved += 60


def test_a_run_ends_soon(
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
