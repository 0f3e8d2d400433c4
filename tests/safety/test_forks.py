"""A test leaves a daemon behind, which holds a copy of every socket of its process: the run ends all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.safety.phases import PATIENCE, PRELUDE, Decoy, alive, let_go, nothing_left, prepare, provisionings, said
from tests.safety.runs import Suite, until

#: How each kind of daemon comes to be; it says its process id and sleeps for longer than the test of it takes.
DAEMONS: Final = {
    "os-fork": """
def leave_a_daemon():
    if os.fork() == 0:
        os.setsid()
        live()
""",
    "multiprocessing": """
def double_fork():
    os.setsid()
    if os.fork() == 0:
        live()
    os._exit(0)

def leave_a_daemon():
    child = multiprocessing.get_context("fork").Process(target=double_fork)
    child.start()
    child.join()
""",
    # Below Python, which is told nothing of it: no hook of os.register_at_fork runs.
    "c-fork": """
def leave_a_daemon():
    libc = ctypes.PyDLL(None)
    # With a request for the interpreter's lock pending, the child would wait for a thread that it does not have.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    time.sleep(0.05)
    if libc.fork() == 0:
        libc.setsid()
        live()
    sys.setswitchinterval(interval)
""",
}

TESTS: Final = (
    PRELUDE
    + """
import contextlib, ctypes, multiprocessing, signal, sys

def live():
    # As a daemon does; with a worker's pipes open, xdist itself would not see that the worker is gone.
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"):
                os.close(number)
    say("daemon", os.getpid())
    time.sleep(600)
    os._exit(0)
"""
)

WAITS: Final = """
def test_forks(capacity_node):
    leave_a_daemon()
    wait_for("daemon")
    say("forked")
    wait_for("go")
"""

CRASHES: Final = """
def test_forks(capacity_node):
    leave_a_daemon()
    wait_for("daemon")
    os.kill(os.getpid(), signal.SIGKILL)

def test_next(capacity_node):
    pass
"""


@pytest.fixture(params=DAEMONS)
def daemon(request: pytest.FixtureRequest, suite: Suite) -> Iterator[str]:
    """The source of `leave_a_daemon`; the daemon that it left is ended after the test."""
    yield DAEMONS[request.param]
    with suppress(ProcessLookupError, TypeError):
        os.kill(int(said(suite, "daemon") or "none"), signal.SIGKILL)


def daemon_lives(suite: Suite) -> bool:
    """Whether the daemon runs, and holds sockets that are not its own."""
    pid = said(suite, "daemon")
    if pid is None or not alive(int(pid)):
        return False
    return any(str(entry.readlink()).startswith("socket:") for entry in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "n2"])
def test_pytest_is_killed(suite: Suite, decoy: Decoy, daemon: str, arguments: tuple[str, ...]) -> None:
    """SIGKILL: the keeper does not wait for the daemon, which holds a copy of its owner's socket open."""
    prepare(suite, tests=TESTS + daemon + WAITS)
    going = suite.start(*arguments)
    until(lambda: said(suite, "forked") is not None, PATIENCE, f"the test has forked: {going.written()}")
    going.kill_group(signal.SIGKILL)
    nothing_left(suite, decoy)
    assert daemon_lives(suite)


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "n2"])
def test_pytest_ends(suite: Suite, decoy: Decoy, daemon: str, arguments: tuple[str, ...]) -> None:
    """A normal end: neither pytest nor its keeper waits for the daemon."""
    prepare(suite, tests=TESTS + daemon + WAITS)
    let_go(suite)
    ended = suite.start(*arguments).wait(PATIENCE)
    assert ended.code == 0, ended
    assert "receipt: 0 things" in ended.text, ended
    nothing_left(suite, decoy)
    assert daemon_lives(suite)


def test_a_worker_forks_and_crashes(suite: Suite, decoy: Decoy, daemon: str) -> None:
    """Its only node is suspect at once, though the daemon lives: the next test does not wait for it."""
    prepare(suite, count=1, tests=TESTS + daemon + CRASHES)
    ended = suite.start("-n1").wait(PATIENCE)
    assert "of which 1 is suspect" in ended.text, ended
    assert provisionings(suite.emulator) == (1, 1), ended
    nothing_left(suite, decoy)
    assert daemon_lives(suite)
