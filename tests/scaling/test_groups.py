"""A run whose tests change its node groups: what they see, and what they leave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulated import IMAGE, Emulator

CLI = (sys.executable, "-c", "import sys; from pytest_capacity.cli import main; sys.exit(main())")

PLUGINS = ("-p", "no:cacheprovider", "-p", "capacity", "-p", "xdist")

CONFIG = f"""
backend: aws
regions: [us-east-1]
zones: [a, b]
project: tests
groups:
  db: {{count: 2, instance_type: c6i.large}}
  loader: {{count: 1, instance_type: c6i.xlarge}}
scaling: {{interval: 1s, timeout: 180s}}
aws: {{image: {{us-east-1: {IMAGE}}}}}
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run pytest in a process of its own, against the emulator."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_pytest(*arguments: str, config: str = CONFIG) -> pytest.RunResult:
        (pytester.path / "capacity.yaml").write_text(config, encoding="utf-8")
        return pytester.runpytest_subprocess(
            *PLUGINS, f"--capacity-endpoint={emulator.url}", "-rA", *arguments, timeout=400
        )

    return run_pytest


SCENARIOS = """
    import pytest
    from pytest_capacity import ScalingError

    def types(capacity):
        return [node.instance_type for node in capacity.nodes("db")]

    def test_horizontal(capacity):
        first = capacity.nodes("db")
        scaled = capacity.scale("db", count=4)
        assert scaled["ops_type"] == "HorizontalScaling" and scaled["count"] == 4
        assert scaled["ops_request_name"] and scaled["ops_request_uid"]
        (request,) = scaled.wait()
        assert request.phase == "Successful" and capacity.status("db").status == "RUNNING"
        assert [node.name for node in capacity.nodes("db")] == ["db-0", "db-1", "db-2", "db-3"]
        assert capacity.nodes("db")[:2] == first
        (reservation,) = [one for one in capacity.reservations if one.instance_type == "c6i.large"]
        assert reservation.count == 4
        capacity.scale("db", remove=[capacity.node("db", 1)]).wait()
        assert [node.name for node in capacity.nodes("db")] == ["db-0", "db-2", "db-3"]
        capacity.scale("db", count=2).wait()
        assert [node.name for node in capacity.nodes("db")] == ["db-0", "db-2"]

    def test_vertical(capacity):
        before = capacity.nodes("db")
        scaled = capacity.resize("db", "c6i.xlarge")
        assert scaled["ops_type"] == "VerticalScaling" and scaled["mode"] == "replace"
        scaled.wait()
        assert types(capacity) == ["c6i.xlarge"] * 2
        assert not {node.id for node in before} & {node.id for node in capacity.nodes("db")}

    def test_in_place(capacity):
        before = [node.id for node in capacity.nodes("db")]
        capacity.resize("db", "c6i.large", mode="in_place").wait()
        assert types(capacity) == ["c6i.large"] * 2
        assert [node.id for node in capacity.nodes("db")] == before

    def test_combined(capacity):
        scaled = capacity.resize("db", "c6i.2xlarge", count=3, mode="in_place")
        assert scaled["ops_types"] == ["HorizontalScaling", "VerticalScaling"]
        with pytest.raises(ScalingError, match="under way"):
            capacity.scale("db", count=5)
        assert [one.outcome for one in scaled.wait()] == ["successful"] * 2
        assert types(capacity) == ["c6i.2xlarge"] * 3

    def test_storage(capacity):
        assert capacity.expand_storage("db", gb=50).wait()[0].kind == "VolumeExpansion"
        with pytest.raises(ScalingError, match="never shrink"):
            capacity.expand_storage("db", gb=20)

    @pytest.mark.parametrize("ask", [
        lambda capacity: capacity.scale("db", count=0),
        lambda capacity: capacity.expand_storage("db", gb=0),
        lambda capacity: capacity.resize("db", "c6i.large", mode="sideways"),
        lambda capacity: capacity.scale("no-group", count=2),
        lambda capacity: capacity.resize("db", "c6g.large", mode="in_place"),
    ])
    def test_refused(capacity, ask):
        before = len(capacity.ops_requests("db"))
        with pytest.raises(ScalingError):
            ask(capacity)
        assert len(capacity.ops_requests("db")) == before

    @pytest.mark.capacity(group="loader")
    def test_borrowed(capacity_node, capacity):
        with pytest.raises(ScalingError, match="lent to tests: loader-0 .*test_borrowed"):
            capacity.resize("loader", "c6i.2xlarge")
        capacity.scale("loader", count=2).wait()
        capacity.scale("loader", count=1).wait()
        assert [node.id for node in capacity.nodes("loader")] == [capacity_node.id]
"""


def test_scenarios(pytester: pytest.Pytester, run: Run, emulator: Emulator) -> None:
    """Each scenario passes, and what is refused is refused; the run leaves nothing, and the command line shows it."""
    pytester.makepyfile(SCENARIOS)
    emulator.weather(boot_s=1.5)  # A test sees that a change is under way.
    result = run(config=f"{CONFIG}test_id: scenarios\n")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["*group/default/db: HorizontalScaling db-horizontal-* successful*"])
    result.stdout.fnmatch_lines(["*receipt: 0 things*"])
    assert emulator.held() == []
    listed = subprocess.run(
        [*CLI, "ops", "ls", "--json", "scenarios"], capture_output=True, text=True, check=True
    ).stdout
    kinds = [(one["kind"], one["outcome"]) for one in json.loads(listed) if one["target"] == "group/default/db"]
    assert kinds == [
        *[("HorizontalScaling", "successful")] * 3,
        *[("VerticalScaling", "successful")] * 2,
        ("HorizontalScaling", "successful"),
        ("VerticalScaling", "successful"),
        ("VolumeExpansion", "successful"),
    ]


#: One worker changes the group; the other, which has had its nodes before, sees what has come of it.
TWO_WORKERS = """
    import pathlib, time
    import pytest

    HERE = pathlib.Path(__file__).parent

    def say(name, text=""):
        spare = HERE / f".{name}"
        spare.write_text(text)
        spare.rename(HERE / name)

    def wait_for(name):
        end = time.monotonic() + 200
        while not (HERE / name).exists():
            assert time.monotonic() < end, name
            time.sleep(0.02)
        return (HERE / name).read_text()

    def names(capacity):
        return ",".join(f"{node.name}={node.id}" for node in capacity.nodes("db"))

    @pytest.mark.xdist_group("one")
    def test_one_asks(capacity):
        names(capacity)
        wait_for("had")
        capacity.scale("db", count=3).wait()
        say("grown", names(capacity))
        wait_for("seen")
        capacity.resize("db", "c6i.xlarge").wait()
        say("resized", names(capacity))
        wait_for("seen-again")

    @pytest.mark.xdist_group("two")
    def test_the_other_sees(capacity, capacity_nodes):
        assert len(capacity.nodes("db")) == len(capacity_nodes["db"]) == 2
        say("had")
        grown = wait_for("grown")
        assert names(capacity) == grown and len(capacity.nodes("db")) == len(capacity_nodes["db"]) == 3
        say("seen")
        resized = wait_for("resized")
        assert names(capacity) == resized != grown
        say("seen-again")

    @pytest.mark.xdist_group("two")
    @pytest.mark.capacity(group="db", count=3)
    def test_as_many_can_be_borrowed(capacity_node):
        assert {node.instance_type for node in capacity_node} == {"c6i.xlarge"}
"""


def test_other_workers_see_new_nodes(pytester: pytest.Pytester, run: Run, emulator: Emulator) -> None:
    """What one worker has changed, another one sees at its next look, and can borrow."""
    pytester.makepyfile(TWO_WORKERS)
    run("-n2", "--dist=loadgroup").assert_outcomes(passed=3)
    assert emulator.held() == []
