"""Scheduled Events: what a spot machine is told of its end, read on the machine itself by SSH."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.events import preemption_of
from pytest_capacity.backends.base import GivesNotice
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.engine.preemption import NOTICES, Preemption
from pytest_capacity.engine.reach import Reach
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.journal import Journal
from pytest_capacity.keeper import emulated
from pytest_capacity.keeper.places import Places
from pytest_capacity.keeper.run import run_keys
from pytest_capacity.model import Node, Ssh
from pytest_capacity.remote.connection import close
from pytest_capacity.remote.machine import Machine
from tests.backends.azure.runs import DB, LOADER, REGION, SIZE, URN, request
from tests.backends.azure.test_kills import environment
from tests.emulated import Emulator
from tests.emulator.azure.conftest import SUBSCRIPTION
from tests.engine.runs import within
from tests.safety.phases import TESTS, let_go
from tests.safety.runs import PATIENCE, suite_in, until

PATH = "/metadata/scheduledevents?api-version=2020-07-01"


def document(*resources: str, **changes: Any) -> dict[str, Any]:
    """The document with one event, in the form of Azure's documentation."""
    event = {
        "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": list(resources),
        "EventStatus": "Scheduled",
        "NotBefore": "Mon, 11 Apr 2022 22:26:58 GMT",
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
        **changes,
    }
    return {"DocumentIncarnation": 1, "Events": [event]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(document("DB-0")), "Preempt: Scheduled not before Mon, 11 Apr 2022 22:26:58 GMT"),
        (json.dumps(document("x", "db-0", EventStatus="Started", NotBefore="")), "Preempt: Started"),
        (json.dumps(document("db-1")), ""),
        (json.dumps(document("db-0", EventType="Reboot")), ""),
        (json.dumps({"DocumentIncarnation": 1, "Events": []}), ""),
        (json.dumps({"error": "Bad request. Required metadata header not specified"}), ""),
        (json.dumps([1]), ""),
        ("<html>a proxy's page</html>", ""),
    ],
)
def test_what_the_events_say(text: str, words: str) -> None:
    """Only `Preempt`, only of this machine; whatever else answers there says nothing."""
    assert preemption_of("db-0", text) == words


@contextmanager
def metadata_service(answer: Callable[[], dict[str, Any]]) -> Iterator[tuple[int, list[str]]]:
    """Answers as the metadata service does, which wants its header; its port, and who asked (the User-Agent)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["User-Agent"])
            good = self.path == PATH and self.headers.get("Metadata") == "true"
            body = json.dumps(answer()).encode()
            self.send_response(200 if good else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


class StoppedClock(SystemClock):
    """Stands until it is moved, however long the calls take that are made meanwhile."""

    def __init__(self) -> None:
        self.at = time.time()

    def now(self) -> float:
        return self.at


def test_a_spot_node_is_asked_by_ssh(emulator: Emulator, tmp_path: Path) -> None:
    """Each spot node, once in ten seconds, by real curl; the one that is told of its end is lost before it is gone.

    The node's curl is led to a service of this machine by its user's `.curlrc`.
    """
    spot = replace(DB, count=2, market="spot", reserve=False)
    wanted = request(emulator, spot, LOADER, ssh=Ssh())
    journal = Journal(tmp_path / "journal")
    clock = SystemClock()
    run_state = RunState(journal, wanted.run, clock)
    run_state.intend("run-started", data={"started": time.time(), "nonce": "n"})
    backend = open_backend(wanted)
    assert isinstance(backend, GivesNotice)
    keys = run_keys(wanted, Places.of(wanted.run, str(tmp_path / "journal")))
    engine = Engine(
        wanted, backend, run_state, clock, Reach(wanted, backend.default_user, keys, emulated.locator(wanted.endpoint))
    )
    nodes: tuple[Node, ...] = ()
    try:
        engine.open()
        placed = engine.provision("default")
        nodes = placed.nodes["db"]
        doomed = nodes[1]
        told = document(doomed.id.rpartition("/")[2])
        with metadata_service(lambda: told) as (port, asked):
            for node in (*nodes, *placed.nodes["loader"]):
                rule = f'connect-to = "169.254.169.254:80:127.0.0.1:{port}"\n'
                Machine.of(node).run("cat > .curlrc", input=rule)
            engine.preemption.look()
            assert (asked, run_state.preempted) == ([], {})
            stopped = StoppedClock()
            watch = Preemption(backend, run_state, stopped)
            watch.look()
            assert len(asked) == 2
            assert all(who.startswith("curl/") for who in asked)
            assert list(run_state.preempted) == [doomed.id]
            assert "will be taken back by azure: Preempt: Scheduled not before Mon" in run_state.preempted[doomed.id]
            watch.look()
            assert len(asked) == 2
            stopped.at += NOTICES
            watch.look()
            assert len(asked) == 3
        # A node that does not answer says nothing.
        stopped.at += NOTICES
        watch.look()
        assert list(run_state.preempted) == [doomed.id]
        assert engine.release(within(60)).clean
    finally:
        close((*nodes, *placed.nodes["loader"]))
        engine.close()
        journal.close()
    assert emulator.held() == []


def test_a_keeper_hears_it_of_the_node(tmp_path: Path, emulator_process: Emulator) -> None:
    """In a whole run: the keeper asks the node by SSH, and both say that it will go while it still stands."""
    emulator = emulator_process
    emulator.renew()

    def told() -> dict[str, Any]:
        return document(*(str(held["id"]).rpartition("/")[2] for held in emulator.held("virtualMachines")))

    with suite_in(tmp_path, emulator) as suite, metadata_service(told) as (port, asked):
        # It has to be there before the keeper asks, and is: a node is used when this has succeeded on it.
        ready = f"echo 'connect-to = \"169.254.169.254:80:127.0.0.1:{port}\"' > .curlrc"
        group = {"count": 1, "instance_type": SIZE, "market": "spot", "ready": ready}
        section = {"subscription": SUBSCRIPTION, "image": URN}
        suite.configure({"db": group}, backend="azure", regions=[REGION], zones=["1"], aws=None, ssh={}, azure=section)
        suite.write("test_suite.py", TESTS)
        going = suite.start(env=dict(environment(suite.emulator)))
        words = "will be taken back by azure: Preempt: Scheduled not before Mon"
        # pytest itself shows it when the test has ended.
        until(lambda: words in suite.logs(), PATIENCE, words)
        assert emulator.calls("VirtualMachines_Delete") == [], going.written()
        let_go(suite)
        ended = going.wait()
        assert words in ended.out
        assert all(who.startswith("curl/") for who in asked)
        assert "nothing at Azure ends by itself" in ended.out
        assert "receipt: 0 things" in ended.text
        suite.nothing_left()
