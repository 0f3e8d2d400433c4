"""Beside the plugins that meddle with time, sockets and reruns: provisioned once, and waiting counts against nobody."""

from __future__ import annotations

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import Run


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_waiting_does_not_count_against_a_timeout(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, method: str, workers: str
) -> None:
    """A timeout that is shorter than provisioning hits the slow test only."""
    pytester.makepyfile("def test_it(capacity): pass\ndef test_again(capacity_node): pass\n")
    cloud.weather(boot_s=3)
    run_on(workers, "--timeout=1.5", f"--timeout-method={method}").assert_outcomes(passed=2)
    assert len(cloud.calls("RunInstances")) == 2


def test_a_timeout_counts_again_after_the_wait(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """The timer that was stopped for the wait is set again."""
    pytester.makepyfile("import time\ndef test_it(capacity): time.sleep(60)\n")
    cloud.weather(boot_s=1)
    result = run_on("--timeout=1", "--timeout-method=signal")
    result.assert_outcomes(failed=1)
    assert cloud.held() == []


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
    cloud.weather(boot_s=2)
    run_on("--timeout=1.5").assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_sockets_may_be_forbidden(pytester: pytest.Pytester, run_on: Run, workers: str) -> None:
    """pytest-socket: the connection was made before."""
    pytester.makepyfile("def test_it(capacity): pass\ndef test_again(capacity_node): pass\n")
    run_on(workers, "--disable-socket").assert_outcomes(passed=2)


def test_time_may_be_frozen(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """freezegun: the wait ends all the same."""
    pytest.importorskip("freezegun")
    pytester.makepyfile(
        """
        import freezegun, pytest

        @pytest.fixture(scope="session", autouse=True)
        def frozen():
            with freezegun.freeze_time("2001-01-01"):
                yield

        def test_it(capacity, capacity_node): pass
        """
    )
    run_on().assert_outcomes(passed=1)
    assert cloud.held() == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_reruns_provision_once(pytester: pytest.Pytester, run_on: Run, cloud: Emulator, workers: str) -> None:
    """pytest-rerunfailures sets session fixtures up again; the nodes are the same."""
    pytester.makepyfile(
        """
        seen = []

        def test_it(capacity, capacity_node):
            seen.append({node.id for node in capacity.nodes()})
            assert len(seen) == 3
            assert seen[0] == seen[1] == seen[2]
        """
    )
    result = run_on(workers, "--reruns=2")
    result.stdout.fnmatch_lines(["*1 passed, 2 rerun*"])
    assert len(cloud.calls("RunInstances")) == 2


@pytest.mark.parametrize("dist", ["loadgroup", "each", "loadscope"])
def test_however_tests_are_distributed(pytester: pytest.Pytester, run_on: Run, cloud: Emulator, dist: str) -> None:
    """One provisioning, whoever asks first."""
    pytester.makepyfile("def test_it(capacity): pass\ndef test_again(capacity): pass\n")
    assert run_on("-n2", f"--dist={dist}").ret == pytest.ExitCode.OK
    assert len(cloud.calls("RunInstances")) == 2
    assert cloud.held() == []


def test_the_first_failure_may_end_the_run(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """-x: released all the same, and the failure's exit status stays."""
    pytester.makepyfile("def test_it(capacity): assert 0\ndef test_again(capacity): pass\n")
    result = run_on("-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    assert cloud.held() == []
