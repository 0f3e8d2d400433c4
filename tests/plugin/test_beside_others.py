"""Beside pytest-timeout: its timer leaves fixtures alone. What stands beside other plugins is in ``tests/safety``."""

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
