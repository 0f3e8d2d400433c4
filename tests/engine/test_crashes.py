"""A keeper that dies at any boundary, and the one that comes after it."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from pytest_capacity.backends.aws.backend import open_aws
from pytest_capacity.backends.base import Backend
from pytest_capacity.engine import Engine
from pytest_capacity.model import Request
from pytest_capacity.testing import Dying, Killed
from tests.emulated import Emulator
from tests.engine.runs import DB, LOADER, Bench, MovedClock, request, within

pytestmark = pytest.mark.matrix

#: More boundaries than any of these runs has; a run that passes them all ends the table.
MOST = 40

#: Seconds that a life may take.
LONGEST = 240

#: A sample tries every fifth boundary.
STRIDE = 1 if os.environ.get("CAPACITY_MATRIX", "full") == "full" else 5


class Exiting(Dying):
    """The backend, in a process that dies before or after its ``fatal``-th mutating call."""

    def _boundary(self) -> None:
        try:
            super()._boundary()
        except Killed:
            os._exit(137)


class HastyClock(MovedClock):
    """Waits a tenth: what is waited for here is near."""

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        return super().wait(seconds / 10, wake)


class Lives:
    """Processes that share nothing but the journal, forked from one that has the SDK loaded and has made no call."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        bench.clock = HastyClock()
        self._cloud: Any = None

    def live(self, wanted: Request, life: Callable[[Engine], bool], fatal: int = 0) -> int:
        """The exit code of a process that opens an engine and lives: 0, 1 if it says False, 137 if it died."""
        backend = self._backend(wanted)
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status)
        # A life that goes on for ever ends and fails the test, whatever handles this signal in the parent.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST)
        code = 2
        try:
            engine = self._bench.engine(wanted, cast("Backend", Exiting(backend, fatal)))
            code = 0 if life(engine) else 1
        except BaseException:  # noqa: BLE001 - the edge of this process.
            traceback.print_exc()
        finally:
            os._exit(code)

    def _backend(self, wanted: Request) -> Any:
        """One whose clients are built, and unused: connections must not be shared by processes."""
        backend = open_aws(wanted)
        if self._cloud is None:
            self._cloud = backend._cloud
            for service in ("ec2", "sts"):
                self._cloud._client(service, "us-east-1")
        backend._cloud = self._cloud
        return backend


def whole_run(engine: Engine) -> bool:
    """Provision, and give back."""
    engine.provision("default")
    return engine.release(within(60)).clean


def give_back(engine: Engine) -> bool:
    """What a keeper does whose owner is gone."""
    return engine.release(within(60)).clean


def provisions(engine: Engine) -> bool:
    """What a keeper does whose owner lives."""
    return sum(len(nodes) for nodes in engine.provision("default").nodes.values()) == 4


#: The first zone stands; it is dry for one group; a node dies there at boot.
WEATHERS: Mapping[str, Mapping[str, Any]] = {
    "fair": {},
    "half-dry": {"stock": {"us-east-1a": {"c6i.xlarge": 0}}},
    "boot": {
        "boot_s": 0.05,
        "faults": [
            {"operation": "boot", "zone": "us-east-1a", "error": "Server.InsufficientInstanceCapacity", "times": 1}
        ],
    },
}

#: The boundary at which a weather first shows: those before it are those of the fair one.
FIRST: Mapping[str, int] = {"fair": 1, "half-dry": 3, "boot": 9}


@pytest.mark.parametrize("name", WEATHERS)
def test_whoever_comes_after_a_crash_gives_everything_back(bench: Bench, emulator: Emulator, name: str) -> None:
    """Killed before or after any mutating call, the run leaves nothing once the next keeper has released it."""
    lives = Lives(bench)
    for fatal in range(FIRST[name], MOST, STRIDE):
        emulator.reset(**WEATHERS[name])
        wanted = request(emulator, DB, LOADER, run=f"{name}-{fatal}")
        code = lives.live(wanted, whole_run, fatal)
        if code == 137:
            assert lives.live(wanted, give_back) == 0
        assert emulator.held() == [], f"boundary {fatal} of {name}"
        if code != 137:
            assert code == 0
            assert fatal > 8, "hardly any boundary was crossed"
            return
    pytest.fail(f"more than {MOST} boundaries: raise MOST")


@pytest.mark.parametrize("fatal", range(1, 9))
def test_whoever_comes_after_a_crash_goes_on(bench: Bench, emulator: Emulator, fatal: int) -> None:
    """Killed while provisioning, the next keeper takes the attempt up: the same tokens, one set of nodes."""
    lives = Lives(bench)
    wanted = request(emulator, DB, LOADER)
    assert lives.live(wanted, whole_run, fatal) == 137
    assert lives.live(wanted, provisions) == 0
    assert len(emulator.held("instance")) == 4
    assert len(emulator.held("capacity-reservation")) == 2
    assert lives.live(wanted, give_back) == 0
    assert emulator.held() == []


def test_what_stands_is_handed_on(bench: Bench, emulator: Emulator) -> None:
    """A second keeper gives the same nodes without a create call."""
    first = bench.engine().provision("default")
    calls = len(emulator.calls("RunInstances"))
    assert bench.engine().provision("default") == first
    assert len(emulator.calls("RunInstances")) == calls
