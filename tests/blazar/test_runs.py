"""Whole runs of pytest on the real Blazar, from the configuration to the receipt."""

from __future__ import annotations

import os
import signal

from tests.blazar.lab import until
from tests.blazar.runs import PATIENCE, Suite


def test_a_run_is_placed_and_given_back(suite: Suite) -> None:
    """From the configuration to the receipt: nothing is left, and the run says so."""
    suite.let_go()
    process = suite.start()
    assert process.wait(PATIENCE) == 0, suite.out
    assert "1 passed" in suite.out
    assert "receipt: 0 things" in suite.out
    assert suite.lab.held() == []


def test_a_dry_zone_is_left(suite: Suite) -> None:
    """Another user has every host of the first zone: the run stands in the second, as a whole."""
    suite.lab.weather(dry=("az-a",))
    suite.let_go()
    process = suite.start()
    assert process.wait(PATIENCE) == 0, suite.out
    assert "az-b" in suite.out
    assert suite.lab.held() == []


def test_an_interrupted_run_gives_back(suite: Suite) -> None:
    """Ctrl-C while a test runs."""
    process = suite.start()
    until((suite.path / "at").exists, "a test runs", PATIENCE)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 2, suite.out
    assert suite.lab.held() == []
