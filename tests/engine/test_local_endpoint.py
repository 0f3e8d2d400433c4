"""An endpoint on this machine at which nothing listens is no reason to wait for a minute."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.engine.dry_run import make_plan
from pytest_capacity.engine.unreachable import GRACE, local_endpoint
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
