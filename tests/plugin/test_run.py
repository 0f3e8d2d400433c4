"""Whole runs against the emulated cloud: fixtures, lines, summary, and nothing left."""

from __future__ import annotations

import sys

import pytest

from tests.emulated import IMAGE, Emulator
from tests.plugin.conftest import Run

USES_ALL = """
    import pytest

    def test_handle(capacity):
        db = capacity.nodes("db")
        assert len(db) == 2 and len(capacity.nodes()) == 3
        assert capacity.node("loader").instance_type == "c6i.xlarge"
        assert (capacity.region, capacity.zone) == ("us-east-1", db[0].zone)
        assert set(capacity.groups) == {"db", "loader"}
        assert capacity.run_id == capacity.config.run
        assert repr(capacity) == f"<Capacity 'default' of run {capacity.run_id}>"

    def test_mapping(capacity_nodes, capacity_reservations):
        reserved = {one.id for one in capacity_reservations}
        assert {node.reservation_id for nodes in capacity_nodes.values() for node in nodes} == reserved
        with pytest.raises(TypeError):
            capacity_nodes["db"] = ()

    @pytest.mark.capacity(group="db")
    def test_one(capacity_node):
        assert capacity_node.group == "db"

    @pytest.mark.capacity(group="db", count=2)
    def test_two(capacity_node):
        assert len({node.id for node in capacity_node}) == 2

    def test_any(capacity_node):
        assert capacity_node.id
"""


@pytest.mark.parametrize("workers", ["-n2", "-pno:xdist"])
def test_fixtures_give_the_nodes_that_the_file_asks_for(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, workers: str
) -> None:
    """One provisioning for all processes; header, live lines and summary are shown; nothing is left."""
    pytester.makepyfile(USES_ALL)
    cloud.weather(stock={"us-east-1a": {"i4i.large": 0}})
    result = run_on(workers)
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            "capacity: aws us-east-1, endpoint http://127.0.0.1:*, run *",
            "capacity: keeper log */pytest-capacity/logs/*.log",
            "*capacity: account 123456789012*",
            "*capacity: default: attempt 1 in us-east-1a (reserved on-demand i4i.large, reserved on-demand c6i.xlarge)",
            "capacity:   us-east-1a: no reservation: InsufficientInstanceCapacity: *",
            "capacity:   us-east-1a: no-capacity*",
            "capacity: default: attempt 2 in us-east-1b (*",
            "capacity:   us-east-1b: asking for node*",
            "capacity:   us-east-1b: placed*",
            "capacity: releasing *",
            "=* capacity =*",
            "#  ZONE  *MARKET  *TYPE  *OUTCOME  *TIME  *THE CLOUD SAID",
            "1  us-east-1a  on-demand  yes  *i4i.large  *capacity-zone  * s  InsufficientInstanceCapacity: *",
            "2  us-east-1b  on-demand  yes  *i4i.large, c6i.xlarge  placed  * s",
            "db: i-* i4i.large on-demand in us-east-1b, *, in cr-*",
            "loader: i-* c6i.xlarge *",
            "receipt: 0 things bearing run * are left (us-east-1 read)",
        ]
    )
    assert cloud.held() == []
    assert len([call for call in cloud.calls("RunInstances") if call["status"] == 200]) == 2


def test_quiet_runs_show_the_receipt_alone(pytester: pytest.Pytester, run_on: Run) -> None:
    """-q: no live lines, no attempts; where and as whom, since there is no header."""
    pytester.makepyfile("def test_it(capacity): pass")
    result = run_on("-q")
    result.stdout.fnmatch_lines(
        ["aws us-east-1, endpoint http://127.0.0.1:*, account 123456789012", "receipt: 0 things *"]
    )
    result.stdout.no_fnmatch_line("capacity:*")
    result.stdout.no_fnmatch_line("attempt*")


def test_emulated_runs_say_so_twice(pytester: pytest.Pytester, run: Run) -> None:
    """In the header and in the summary; and that the emulator starts, where it does not run before collection ends."""
    pytester.makepyfile("def test_it(capacity): pass")
    late = pytester.path / "late-python"
    late.write_text(f'#!/bin/sh\nsleep 3\nexec {sys.executable} "$@"\n')
    late.chmod(0o755)
    result = run("--capacity-emulator", f"--capacity-keeper-python={late}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["capacity: starting the emulator", "capacity: account 123456789012*"])
    said = [line for line in result.outlines if line.endswith("EMULATED: no cloud is used, nothing is billed")]
    assert said == [f"capacity: {said[-1]}", said[-1]]


def test_a_node_that_is_not_there_is_named(pytester: pytest.Pytester, run_on: Run) -> None:
    """An unknown group, topology or index says what there is; so does, in a worker, a marker that asks for too much."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_capacity import CapacityError

        def test_handle(capacity):
            with pytest.raises(CapacityError, match="no group 'x' in topology 'default'. It has: db, loader"):
                capacity.nodes("x")
            with pytest.raises(CapacityError, match="no node 2 in group 'db'. It has 2"):
                capacity.node("db", 2)
            with pytest.raises(CapacityError, match="no topology 'wide' is configured. There are: default"):
                capacity.topology("wide")

        @pytest.mark.capacity("wide")
        def test_topology(capacity_node): pass

        @pytest.mark.capacity(group="db", count=3)
        def test_count(capacity_node): pass
        """
    )
    result = run_on("-n1")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines_random(["capacity: no topology 'wide' is configured*", "capacity: *3*db*"])


def test_quiet_runs_show_why_nothing_could_be_had(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """-q --tb=no hides every error of a test; the attempts, or why there was none, still stand at the end."""
    pytester.makepyfile("def test_it(capacity): pass")
    cloud.weather(stock={zone: {"i4i.large": 0} for zone in ("us-east-1a", "us-east-1b")})
    dry = run_on("-q", "--tb=no")
    dry.stdout.fnmatch_lines(["=* capacity =*", "1 *InsufficientInstanceCapacity*", "2 *", "to change: *"])
    cloud.reset(faults=[{"operation": "GetCallerIdentity", "error": "InvalidClientTokenId"}])
    refused = run_on("-q", "--tb=no")
    refused.stdout.fnmatch_lines(["=* capacity =*", "*InvalidClientTokenId*", "receipt: nothing was asked for"])


def test_topologies_are_provisioned_when_they_are_used(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """Of two topologies, neither called default, only the one that a test uses is asked for."""
    two = f"""
backend: aws
regions: [us-east-1]
topologies:
  one: {{groups: {{db: {{count: 2, instance_type: i4i.large}}}}}}
  other: {{groups: {{loader: {{count: 1, instance_type: c6i.xlarge}}}}}}
aws: {{image: {{us-east-1: {IMAGE}}}}}
"""
    pytester.makepyfile(
        """
        import pytest
        from pytest_capacity import CapacityError

        def test_it(capacity):
            assert len(capacity.topology("other").nodes()) == 1
            with pytest.raises(CapacityError, match="no topology 'default'"):
                capacity.nodes()

        def test_nodes(capacity_nodes): pass
        def test_reservations(capacity_reservations): pass
        def test_handle(capacity):
            capacity.nodes()
        """
    )
    result = run_on(config=two)
    result.assert_outcomes(passed=1, failed=1, errors=2)
    remedy = "no topology 'default' is configured. There are: one, other. Name one: capacity.topology(\"one\"), *"
    result.stdout.fnmatch_lines([f"capacity: {remedy}", f"capacity: {remedy}", f"E * {remedy}"])
    result.stdout.no_fnmatch_line("*plugin/*.py:*")
    result.stdout.fnmatch_lines(["other/loader: i-*"])
    assert len(cloud.calls("RunInstances")) == 1


def test_the_account_is_named_once(pytester: pytest.Pytester, run: Run) -> None:
    """With workers it comes by an event, and where the run waits for it by its answer: shown by the first of them."""
    pytester.makepyfile("def test_it(capacity): pass")
    (pytester.path / "fair.yaml").write_text("stop_s: 0\n")
    result = run("-n1", "--capacity-emulator=fair.yaml")
    result.assert_outcomes(passed=1)
    assert result.stdout.str().count("capacity: account ") == 1
