"""Beside pytest-timeout, pytest-rerunfailures, pytest-socket and freezegun: one provisioning, and nothing left."""

from __future__ import annotations

from typing import Final

import pytest

from tests.safety.runs import PATIENCE, Suite, creates, provisioned_once, until

#: How long provisioning takes in these tests at least, and a pytest-timeout well below it. Seconds.
BOOT: Final = 9.0
TIMEOUT: Final = "6"


@pytest.fixture
def suite(suite: Suite) -> Suite:
    """Everything that is installed is loaded, as pytest does by itself."""
    return suite.as_installed()


@pytest.mark.matrix
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_below_provisioning(suite: Suite, method: str, workers: str) -> None:
    """The time that provisioning takes never counts, with either method: no test times out."""
    suite.emulator.weather(boot_s=BOOT)
    ended = suite.run(f"--timeout={TIMEOUT}", f"--timeout-method={method}", workers)
    assert ended.code == 0, ended
    assert ended.count("passed") == 3, ended
    provisioned_once(suite, ended)


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_of_a_test_still_counts(suite: Suite, method: str) -> None:
    """A test that hangs after it has its nodes times out all the same, and everything is given back."""
    suite.emulator.weather(boot_s=BOOT)
    suite.write("test_suite.py", "import time\ndef test_hangs(capacity):\n    time.sleep(600)\n")
    ended = suite.run(f"--timeout={TIMEOUT}", f"--timeout-method={method}")
    assert ended.code != 0, ended
    assert "Timeout" in ended.text
    provisioned_once(suite, ended)


def test_timeout_of_a_test_that_waits_for_a_node(suite: Suite) -> None:
    """Waiting for a node that another test has does not count either."""
    suite.write("test_suite.py", _TURNS)
    ended = suite.run("--timeout=7", "-n2", "--dist=load")
    assert ended.code == 0, ended
    assert ended.count("passed") == 3, ended
    provisioned_once(suite, ended)


_TURNS = """
import time
import pytest
@pytest.mark.parametrize("number", range(3))
@pytest.mark.capacity(group="loader")
def test_turn(capacity_node, number):
    time.sleep(4)
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_reruns(suite: Suite, workers: str) -> None:
    """A test that fails is run again on the same nodes; the session fixture is not provisioned twice."""
    suite.write("test_suite.py", _FLAKY)
    ended = suite.run("--reruns=2", workers)
    assert ended.code == 1, ended
    assert ended.count("passed") == 2, ended
    assert ended.count("failed") == 1, ended
    assert ended.count("rerun") == 4, ended
    provisioned_once(suite, ended)


_FLAKY = """
import pathlib
seen = []
def test_second_time(capacity):
    seen.append(capacity.nodes())
    assert len(seen) == 2
    assert seen[0] == seen[1]

def test_never(capacity_nodes):
    assert False

tried = []
def test_with_a_node(capacity_node):
    tried.append(capacity_node)
    assert len(tried) == 2
"""


def test_reruns_of_a_refusal(suite: Suite) -> None:
    """Where there is no capacity each rerun says so at once, and the zones are asked once."""
    # Both groups are asked for before one of them is refused, on a loaded machine too.
    suite.emulator.weather(stock={"us-east-1a": {"*": 0}, "us-east-1b": {"*": 0}}, latency_ms=1000)
    suite.write("test_suite.py", "def test(capacity):\n    pass\n")
    ended = suite.run("--reruns=2")
    assert ended.code == 1, ended
    assert ended.count("rerun") == 2, ended
    assert len(creates(suite.emulator)) == 4, ended
    suite.nothing_left()


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_blocked_sockets(suite: Suite, workers: str) -> None:
    """--disable-socket is for the tests; the keeper's connection stands before and is used through it."""
    suite.write("test_suite.py", _SOCKETS)
    ended = suite.run("--disable-socket", workers)
    assert ended.code == 0, ended
    assert ended.count("passed") == 3, ended
    provisioned_once(suite, ended)


_SOCKETS = """
import socket
import pytest
import pytest_socket

def test_one(capacity):
    assert capacity.nodes("db")

def test_other(capacity_node):
    assert capacity_node.id

def test_it_is_blocked():
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket()
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_frozen_time(suite: Suite, workers: str) -> None:
    """Python's clocks stand still, also monotonic ones, while a fixture waits for nodes and while a node is lent."""
    suite.emulator.weather(boot_s=1)
    suite.write("test_suite.py", _FROZEN)
    ended = suite.run(workers, "--timeout=180")
    assert ended.code == 0, ended
    assert ended.count("passed") == 2, ended
    provisioned_once(suite, ended)


_FROZEN = """
import time
import freezegun
import pytest

@pytest.fixture(scope="session", autouse=True)
def frozen():
    with freezegun.freeze_time("2001-01-01"):
        yield

def test_one(capacity):
    assert time.gmtime().tm_year == 2001
    assert len(capacity.nodes("db")) == 2

@pytest.mark.capacity(group="db", count=2)
def test_two(capacity_node):
    assert len(capacity_node) == 2
"""


def test_frozen_time_that_is_never_thawed(suite: Suite) -> None:
    """A test that leaves Python's clock frozen does not keep the session from ending."""
    suite.write("test_suite.py", _NEVER_THAWED)
    ended = suite.run()
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


_NEVER_THAWED = """
import freezegun
def test(capacity):
    freezegun.freeze_time("2001-01-01").start()
"""


def test_replaced_sleep_and_sockets(suite: Suite) -> None:
    """A test that puts its own time.sleep, select and socket class in place, and leaves them there."""
    suite.write("test_suite.py", _REPLACED)
    ended = suite.run()
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


_REPLACED = """
import select, socket, time
def refuse(*args, **kwargs):
    raise RuntimeError("not here")

def test(monkeypatch, request):
    time.sleep = select.select = socket.create_connection = refuse
    socket.socket = None
    socket.setdefaulttimeout(0.01)
    capacity = request.getfixturevalue("capacity")
    assert len(capacity.nodes("db")) == 2
"""


def test_keeper_dies_behind_replaced_sockets(suite: Suite) -> None:
    """The keeper is killed while a test has sockets, sleep and clock replaced: the next one is started and reached."""
    suite.write("test_suite.py", _KILLS)
    ended = suite.run("--timeout=180")
    assert ended.code == 0, ended
    assert "another one has taken over" in ended.out
    provisioned_once(suite, ended)


_KILLS = """
import os, pathlib, signal, socket, time
import freezegun

def keeper():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"--listener=" in words and os.environ["XDG_STATE_HOME"].encode() in words:
            return int(process.name)

def refuse(*args, **kwargs):
    raise RuntimeError("not here")

def test(capacity, request):
    first = keeper()
    freezegun.freeze_time("2001-01-01").start()
    socket.socket = None
    time.sleep = refuse
    os.kill(first, signal.SIGKILL)
    node = request.getfixturevalue("capacity_node")
    assert node in capacity.nodes()
    assert keeper() != first
"""


def test_logging_and_warnings_as_errors(suite: Suite) -> None:
    """-W error, resource warnings too: nothing of ours warns."""
    ended = suite.run("-W", "error")
    assert ended.code == 0, ended
    assert "Warning" not in ended.text, ended
    provisioned_once(suite, ended)


def test_waiting_shows_what_happens(suite: Suite) -> None:
    """In a serial run the lines come while the fixture waits, not afterwards and not into the captured output."""
    suite.emulator.weather(boot_s=600)
    going = suite.start("--timeout=30")
    until(lambda: "got 2 nodes" in going.written(), PATIENCE, "the lines of the launch")
    assert going.process.poll() is None
    assert "placed after" not in going.written()
    suite.emulator.weather(clock={"advance_s": 600})
    ended = going.wait()
    assert ended.code == 0, ended
    provisioned_once(suite, ended)
