"""How soon nothing is held: 5 s after the blow, where the cloud answers at once and machines stop at once."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.emulated import Emulator
from tests.safety.phases import let_go, prepare, reach
from tests.safety.runs import PROMISED, suite_in

#: A loaded machine may be late now and then; what waits where nothing has to be waited for is late every time.
TRIES = 10


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
def test_nothing_is_held_five_seconds_later(tmp_path: Path, emulator_process: Emulator, number: signal.Signals) -> None:
    """Killed while its tests run, serial: the World is empty and the keeper gone in the promised time."""
    for attempt in range(1, TRIES + 1):
        with suite_in(tmp_path / str(attempt), emulator_process) as suite:
            prepare(suite)
            going = suite.start()
            reach(suite, going, "testing")
            assert suite.emulator.held()
            struck = time.monotonic()
            going.kill_group(number)
            let_go(suite)
            going.wait()
            suite.nothing_left()
            if time.monotonic() - struck < PROMISED:
                return
    raise AssertionError(f"the release took {PROMISED:g} s and more, {TRIES} times out of {TRIES}")
