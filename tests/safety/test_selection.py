"""What is selected decides what is provisioned: nothing where no test asks, once for the first that does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.safety.runs import Suite, creates, provisioned_nothing, provisioned_once


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("--collect-only",), 0, id="collect-only"),
        pytest.param(("--fixtures",), 0, id="fixtures"),
        pytest.param(("--fixtures-per-test",), 0, id="fixtures-per-test"),
        pytest.param(("--markers",), 0, id="markers"),
        pytest.param(("--help",), 0, id="help"),
        pytest.param(("--version",), 0, id="version"),
        pytest.param(("--cache-show",), 0, id="cache-show"),
    ],
)
def test_only_looking(suite: Suite, arguments: Sequence[str], code: int) -> None:
    """Nothing runs: no keeper is started, no file is made, the cloud gets no call."""
    ended = suite.run(*arguments)
    assert ended.code == code, ended
    assert suite.emulator.calls() == []
    assert list(suite.state.iterdir()) == []
    provisioned_nothing(suite, ended)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("-k", "nothing"), 5, id="k-nothing"),
        pytest.param(("-k", "test_other"), 0, id="k-other"),
        pytest.param(("-n2", "-k", "test_other"), 0, id="n2-k-other"),
        pytest.param(("no_such_file.py",), 4, id="no-such-file"),
    ],
)
def test_nobody_asks(suite: Suite, arguments: Sequence[str], code: int) -> None:
    """No selected test uses capacity: nothing is created, and the session ends as it would without the plugin."""
    ended = suite.run(*arguments)
    assert ended.code == code, ended
    provisioned_nothing(suite, ended)


def test_setup_only(suite: Suite) -> None:
    """--setup-only runs fixtures, so it provisions, and gives back."""
    ended = suite.run("--setup-only")
    assert ended.code == 0, ended
    provisioned_once(suite, ended)


_FIRST_FAILS = """
import pytest
def test_bad(capacity):
    assert False
def test_good(capacity):
    pass
def test_also_bad(capacity_nodes):
    assert False
"""


@pytest.mark.parametrize(
    ("arguments", "failed", "passed"),
    [
        pytest.param(("-x",), 1, 0, id="x"),
        pytest.param(("--maxfail=2",), 2, 1, id="maxfail-2"),
        pytest.param(("--exitfirst", "-n1"), 1, 0, id="x-n1"),
    ],
)
def test_stops_early(suite: Suite, arguments: Sequence[str], failed: int, passed: int) -> None:
    """-x and --maxfail end the session in the middle; what stands is given back."""
    suite.write("test_suite.py", _FIRST_FAILS)
    ended = suite.run(*arguments)
    assert ended.code in (1, 2), ended
    assert (ended.count("failed"), ended.count("passed")) == (failed, passed), ended
    assert "receipt: 0 things" in ended.text, ended
    provisioned_once(suite, ended)


def test_last_failed(suite: Suite) -> None:
    """--lf runs what failed, on a provisioning of its own; each run holds nothing afterwards."""
    suite.write("test_suite.py", _FIRST_FAILS)
    first = suite.run()
    provisioned_once(suite, first)
    assert (first.count("failed"), first.count("passed")) == (2, 1), first
    suite.emulator.reset()
    remembered = json.loads((suite.tests / ".pytest_cache/v/cache/lastfailed").read_text())
    assert sorted(remembered) == ["test_suite.py::test_also_bad", "test_suite.py::test_bad"]
    again = suite.run("--lf", "-v")
    assert (again.count("failed"), again.count("passed")) == (2, 0), again
    provisioned_once(suite, again)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_exit_in_a_test(suite: Suite, workers: str) -> None:
    """pytest.exit in a test keeps its return code and ends the session; everything is given back."""
    suite.write("test_suite.py", "import pytest\ndef test(capacity):\n    pytest.exit('enough', returncode=3)\n")
    ended = suite.run(workers)
    assert ended.code in ((3,) if workers == "-n0" else (1, 2, 3)), ended
    provisioned_once(suite, ended)


def test_exit_while_configuring(suite: Suite) -> None:
    """A conftest that breaks after us: the keeper that was started is told, and nothing was created."""
    suite.write("conftest.py", "def pytest_collection_modifyitems():\n    raise RuntimeError('broken')\n")
    ended = suite.run()
    assert ended.code == 3, ended
    provisioned_nothing(suite, ended)


def test_os_exit_in_a_test(suite: Suite) -> None:
    """os._exit in a serial test skips every hook of pytest; the keeper gives back by itself."""
    suite.write("test_suite.py", "import os\ndef test(capacity):\n    os._exit(7)\n")
    ended = suite.run()
    assert ended.code == 7, ended
    provisioned_once(suite, ended)


_TOPOLOGIES = """
from pytest_capacity import NodeGroup, Topology

def pytest_capacity_topologies(config):
    one = NodeGroup(name="one", count=1, instance_type="m6i.large")
    other = NodeGroup(name="other", count=2, instance_type="c6i.large", reserve=False)
    return {"small": Topology((one,)), "bare": Topology((other,), name="ignored"), "unused": Topology((one, other))}
"""

_USES_TOPOLOGIES = """
import pytest

def test_default(capacity):
    assert capacity.groups == ("db", "loader")
    assert len(capacity.topology("small").nodes("one")) == 1

@pytest.mark.capacity("small", group="one")
def test_small(capacity_node):
    assert capacity_node.instance_type == "m6i.large"
    assert capacity_node.reservation_id

@pytest.mark.capacity("bare", count=2)
def test_bare(capacity_node):
    assert {node.reservation_id for node in capacity_node} == {None}
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_topologies_in_python(suite: Suite, workers: str) -> None:
    """Topologies of the hook stand beside the file's; each is provisioned once when it is asked for, or never."""
    suite.write("conftest.py", _TOPOLOGIES)
    suite.write("test_suite.py", _USES_TOPOLOGIES)
    ended = suite.run(workers)
    assert ended.code == 0, ended
    suite.nothing_left()
    made = [(call["operation"], call["type"]) for call in creates(suite.emulator)]
    assert sorted(made) == [
        ("CreateCapacityReservation", "c6i.xlarge"),
        ("CreateCapacityReservation", "i4i.large"),
        ("CreateCapacityReservation", "m6i.large"),
        ("RunInstances", "c6i.large"),
        ("RunInstances", "c6i.xlarge"),
        ("RunInstances", "i4i.large"),
        ("RunInstances", "m6i.large"),
    ], ended


def test_topology_that_fails_leaves_the_others(suite: Suite) -> None:
    """One topology finds no capacity: its tests say so, those of the other run."""
    suite.write("conftest.py", _TOPOLOGIES)
    suite.write("test_suite.py", _USES_TOPOLOGIES)
    suite.emulator.weather(stock={f"us-east-1{letter}": {"c6i.large": 1} for letter in "ab"})
    ended = suite.run()
    assert (ended.count("passed"), ended.count("error")) == (2, 1), ended
    assert "no capacity for topology 'bare'" in ended.out
    suite.nothing_left()


_LENDING = """
import json, os, pathlib, time
import pytest

LOG = pathlib.Path({log!r})

@pytest.mark.parametrize("number", range(12))
@pytest.mark.capacity(group="db")
def test_single(capacity_node, number):
    use([capacity_node])

@pytest.mark.parametrize("number", range(4))
@pytest.mark.capacity(group="db", count=2)
def test_pair(capacity_node, number):
    use(capacity_node)

def use(nodes):
    began = time.monotonic()
    time.sleep(0.05)
    line = json.dumps([began, time.monotonic(), [node.id for node in nodes]]) + "\\n"
    with LOG.open("a") as log:
        log.write(line)
"""


def test_no_node_is_lent_twice_at_a_time(suite: Suite) -> None:
    """Three workers borrow one or two of three nodes: no two loans of one node ever overlap, and all are served."""
    log = suite.path / "loans"
    suite.configure(groups={"db": {"count": 3, "instance_type": "i4i.large"}})
    suite.write("test_suite.py", _LENDING.format(log=str(log)))
    ended = suite.run("-n3")
    assert ended.code == 0, ended
    suite.nothing_left()
    loans = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(loans) == 16
    for node in {node for _, _, nodes in loans for node in nodes}:
        mine = sorted((began, end) for began, end, nodes in loans if node in nodes)
        assert all(end <= began for (_, end), (began, _) in pairwise(mine)), (node, mine)
    assert len(creates(suite.emulator)) == 2


_ORDER = """
import pathlib, time
import pytest
from pytest_capacity.keeper import protocol

HERE = pathlib.Path({here!r})

def wait_for(name):
    end = time.monotonic() + 200
    while not (HERE / name).exists():
        assert time.monotonic() < end
        time.sleep(0.02)

@pytest.fixture
def first(monkeypatch):
    send = protocol.send

    def note(connection, message):
        send(connection, message)
        if isinstance(message, protocol.Borrow):
            (HERE / "pair-comes").touch()

    monkeypatch.setattr(protocol, "send", note)

@pytest.fixture
def after_the_pair():
    wait_for("pair-comes")
    time.sleep(1.5)
    (HERE / "single-comes").touch()

@pytest.mark.capacity(group="db")
def test_a_holds_one(capacity_node):
    (HERE / "held").touch()
    wait_for("single-comes")
    time.sleep(1)

@pytest.fixture
def when_held():
    wait_for("held")

@pytest.mark.capacity(group="db", count=2)
def test_b_wants_both(when_held, first, capacity_node):
    (HERE / "pair").write_text(repr(time.monotonic()))
    time.sleep(0.2)

@pytest.mark.capacity(group="db")
def test_c_wants_one_later(after_the_pair, capacity_node):
    (HERE / "single").write_text(repr(time.monotonic()))
"""


def test_first_come_first_served(suite: Suite) -> None:
    """Who wants two nodes and came first is not overtaken by one who wants the single node that is free."""
    suite.configure(groups={"db": {"count": 2, "instance_type": "i4i.large"}})
    suite.write("test_suite.py", _ORDER.format(here=str(suite.path)))
    ended = suite.run("-n3", "--dist=load")
    assert ended.code == 0, ended
    assert float((suite.path / "pair").read_text()) < float((suite.path / "single").read_text()), ended
    suite.nothing_left()


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_more_than_there_is(suite: Suite, workers: str) -> None:
    """A marker that asks for what the topology does not have is refused before anything is asked of the cloud."""
    suite.write("test_suite.py", _TOO_MANY)
    ended = suite.run(workers)
    assert ended.code == (4 if workers == "-n0" else 1), ended
    assert "test_suite.py::test_three" in ended.text
    assert "count=3 asks for 3 nodes at once, and group 'db' of topology 'default' has 2" in ended.text
    assert "no group 'nope' in topology 'default'. It has: db, loader" in ended.text
    assert "Traceback" not in ended.text
    suite.nothing_left()


_TOO_MANY = """
import pytest
@pytest.mark.capacity(group="db", count=3)
def test_three(capacity_node):
    pass
@pytest.mark.capacity(group="nope")
def test_nope(capacity_node):
    pass
@pytest.mark.capacity(group="db", count=2)
def test_two(capacity_node):
    assert len(capacity_node) == 2
"""
