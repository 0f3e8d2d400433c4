"""Beside pytest-timeout, what only an end in good order can show; the other plugins stand in ``tests/safety``."""

from __future__ import annotations

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import Run


def test_a_timeout_of_the_function_only_is_left_alone(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """func_only: no timer runs in a fixture, and one runs where a test provisions in its own body."""
    pytester.makeini("[pytest]\ntimeout_func_only = true")
    pytester.makeconftest(
        """
        from pytest_capacity import NodeGroup, Topology

        def pytest_capacity_topologies(config):
            return {"late": Topology(groups=(NodeGroup(name="db", count=1, instance_type="c6i.large"),))}
        """
    )
    pytester.makepyfile("def test_it(capacity): assert capacity.topology('late').nodes('db')\n")
    cloud.weather(boot_s=9)
    run_on("-p", "timeout", "--timeout=6").assert_outcomes(passed=1)


def test_a_timeout_counts_again_after_the_wait(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """The timer that was stopped for the wait is set again, and the test that it hits ends the run in good order."""
    pytester.makepyfile("import time\ndef test_it(capacity): time.sleep(600)\n")
    cloud.weather(boot_s=9)
    run_on("-p", "timeout", "--timeout=6", "--timeout-method=signal").assert_outcomes(failed=1)
    assert cloud.held() == []
