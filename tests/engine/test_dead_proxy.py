"""A proxy that does not answer is named, and no reason to wait for a minute."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from pytest_capacity.engine.unreachable import GRACE, hopeless, proxy
from pytest_capacity.errors import Refused
from pytest_capacity.model import Diagnosis
from tests.emulated import Emulator
from tests.engine.runs import Bench, MovedClock, request

ANSWER = Diagnosis("back-off", "transient", "ProxyConnectionError", "Failed to connect to proxy URL")


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
