"""One session, several processes: one set of nodes, until the last one is out, or for as long as it is kept."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

import pytest

from pytest_capacity.errors import InUse, Refused
from pytest_capacity.keeper import protocol
from tests.emulated import IMAGE, ROOT, SECRET
from tests.safety.gate import Gate
from tests.safety.runs import GRANTED, PATIENCE, Suite, launches, until
from tests.safety.sessions import SESSION, Sharers


@pytest.fixture(name="sharers")
def _sharers(suite: Suite) -> Sharers:
    return Sharers(suite)


def test_the_last_one_out_releases(sharers: Sharers) -> None:
    """Two at once have the same nodes; the first one's end leaves them to the other, and says so."""
    one = sharers.start("one")
    nodes = sharers.await_nodes("one", one)
    two = sharers.start("two")
    assert sharers.await_nodes("two", two) == nodes
    sharers.let_go("one")
    ended = one.wait()
    assert ended.code == 0, ended
    assert "session dev: 2 nodes stay, since 1 other process uses it; the last one releases" in ended.out, ended
    assert sharers.instances() == nodes
    sharers.let_go("two")
    ended = two.wait()
    assert "receipt: 0 things" in ended.out, ended
    assert f"shared with process {one.pid}" in ended.out, ended
    assert len(launches(sharers.suite.emulator)) == 1
    sharers.suite.nothing_left()
    assert sharers.record is None


def test_all_at_once_elect_one(sharers: Sharers) -> None:
    """Five that start in the same moment have one keeper and one provisioning, with workers or without."""
    names = [f"p{number}" for number in range(5)]
    going = {name: sharers.start(name, *(["-n1"] if name == "p0" else [])) for name in names}
    nodes = {tuple(sharers.await_nodes(name, going[name])) for name in names}
    assert len(nodes) == 1
    assert len(sharers.suite.keepers()) == 1
    sharers.let_go(*names)
    ended = [going[name].wait() for name in names]
    assert [one.code for one in ended] == [0] * 5, ended
    assert len(launches(sharers.suite.emulator)) == 1
    sharers.suite.nothing_left()


def test_no_node_is_lent_to_two_processes(sharers: Sharers) -> None:
    """Workers of different processes have the same names, and never the same node."""
    sharers.suite.write(
        "test_suite.py",
        """
import os, pathlib, time, pytest

HERE = pathlib.Path(__file__).parent

# A worker that collects has a controller that uses the session.
(HERE / f"here-{os.environ['ME']}").touch()

@pytest.fixture
def both():
    end = time.monotonic() + 200
    while len(list(HERE.glob("here-*"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)

@pytest.mark.parametrize("number", range(6))
def test_alone(both, capacity_node, number):
    mark = pathlib.Path(__file__).with_name(f"lent-{capacity_node.id}")
    descriptor = os.open(mark, os.O_CREAT | os.O_EXCL)
    time.sleep(0.05)
    os.close(descriptor)
    mark.unlink()
""",
    )
    going = [sharers.start(name, "-n2") for name in ("one", "two")]
    ended = [one.wait() for one in going]
    assert [one.code for one in ended] == [0, 0], ended
    assert [one.count("passed") for one in ended] == [6, 6]
    assert len(launches(sharers.suite.emulator)) == 1
    sharers.suite.nothing_left()


def test_kept_nodes_are_used_again(sharers: Sharers) -> None:
    """The next run has the same nodes, with no call that makes anything; the header tells how old they are."""
    first = sharers.run("one", "--capacity-keep=5m")
    assert first.code == 0, first
    assert re.search(r"session dev: 2 nodes kept until [\d-]+ [\d:]+ UTC \((5m|4m\d+s)\), then released", first.out), (
        first
    )
    for command in ("pytest-capacity extend dev 1h", "pytest-capacity release dev"):
        assert command in first.out, first
    kept = sharers.instances()
    second = sharers.run("two")
    assert second.code == 0, second
    assert sharers.nodes("one") == sharers.nodes("two") == kept
    assert re.search(r"session dev: joined, [\dms]+ old, 2 nodes, was kept until", second.out), second
    assert len(launches(sharers.suite.emulator)) == 1
    assert "receipt: 0 things" in second.out, second
    sharers.suite.nothing_left()


def test_a_keep_ends_by_itself(sharers: Sharers) -> None:
    """No process joins: everything is given back by the keeper itself."""
    ended = sharers.run("one", "--capacity-keep=15s")
    assert ended.code == 0, ended
    until_ = sharers.kept_until()
    assert len(sharers.instances()) == 2
    sharers.suite.nothing_left(within=15 + GRANTED)
    assert time.time() >= until_
    assert sharers.record is None


def test_kept_only_when_failed(sharers: Sharers) -> None:
    """``keep: failed``: a run that passes releases; one that fails leaves its nodes to be looked at."""
    sharers.suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}}, keep="failed")
    passed = sharers.run("one")
    assert "receipt: 0 things" in passed.out, passed
    sharers.suite.write("fail-two", "")
    failed = sharers.run("two")
    assert failed.code == 1, failed
    assert "2 nodes kept until" in failed.out, failed
    third = sharers.run("three")
    assert sharers.nodes("three") == sharers.nodes("two")
    assert "receipt: 0 things" in third.out, third
    sharers.suite.nothing_left()


def test_an_interrupted_run_is_kept(sharers: Sharers) -> None:
    """Ctrl-C is a way to end that asks to look at it again; the nodes that stand are kept."""
    one = sharers.start("one", "--capacity-keep=5m")
    nodes = sharers.await_nodes("one", one)
    one.kill(2)
    ended = one.wait()
    assert ended.code == 2, ended
    assert "2 nodes kept until" in ended.out, ended
    after = sharers.run("two")
    assert after.code == 0, after
    assert sharers.nodes("two") == nodes
    sharers.suite.nothing_left()


def test_nothing_that_stands_is_nothing_to_keep(sharers: Sharers) -> None:
    """A run that got no capacity leaves no keeper behind."""
    sharers.suite.emulator.weather(stock={"us-east-1a": {"*": 0}, "us-east-1b": {"*": 0}})
    ended = sharers.run("one", "--capacity-keep=5m")
    assert ended.code == 1, ended
    assert "receipt: 0 things" in ended.out, ended
    sharers.suite.nothing_left()


def test_another_topology_is_refused(sharers: Sharers) -> None:
    """With both values; and nothing is changed for those who use the session."""
    one = sharers.start("one")
    sharers.await_nodes("one", one)
    sharers.suite.configure({"db": {"count": 3, "instance_type": "i4i.large"}})
    refused = sharers.run("two")
    assert refused.code == 4, refused
    assert "default/db.count: 2; asked: 3" in refused.text, refused
    assert "--capacity-rebuild" in refused.text, refused
    busy = sharers.run("three", "--capacity-rebuild")
    assert busy.code == 4, busy
    assert f"cannot be rebuilt: process {one.pid} uses its nodes" in busy.text, busy
    sharers.let_go("one")
    assert one.wait().code == 0
    sharers.suite.nothing_left()


def test_kept_nodes_survive_a_refusal(sharers: Sharers) -> None:
    """A process that may not join takes nothing away; told to rebuild, it has them released and built anew."""
    sharers.run("one", "--capacity-keep=5m")
    kept = sharers.instances()
    sharers.suite.configure({"db": {"count": 3, "instance_type": "i4i.large"}})
    refused = sharers.run("two")
    assert refused.code == 4, refused
    assert sharers.instances() == kept
    rebuilt = sharers.run("three", "--capacity-rebuild")
    assert rebuilt.code == 0, rebuilt
    assert len(sharers.nodes("three") or []) == 3
    assert not set(sharers.nodes("three") or []) & set(kept)
    sharers.suite.nothing_left()


def test_drift_is_shown(sharers: Sharers) -> None:
    """What is asked for otherwise and does not change the nodes is said, with both values."""
    sharers.run("one", "--capacity-keep=5m")
    ended = sharers.run("two", "--capacity-duration=45m")
    assert ended.code == 0, ended
    assert "drift: duration: 5400.0; asked: 2700.0" in ended.out, ended
    sharers.suite.nothing_left()


@pytest.fixture(name="gate")
def _gate(suite: Suite) -> Iterator[Gate]:
    gate = Gate(suite.emulator.url)
    yield gate
    gate.close()


def test_credentials_of_another_account_are_refused(sharers: Sharers, gate: Gate) -> None:
    """With both accounts. Other keys of the same account may join."""
    sharers.suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}}, endpoint=gate.url)
    gate.accounts["AKIAFOREIGN"] = "999999999999"
    secret = {"AWS_SECRET_ACCESS_KEY": SECRET}
    first = sharers.run("one", "--capacity-keep=5m", endpoint=False, env={"AWS_ACCESS_KEY_ID": "AKIAONE", **secret})
    assert first.code == 0, first
    other = sharers.run("two", endpoint=False, env={"AWS_ACCESS_KEY_ID": "AKIAFOREIGN", **secret})
    assert other.code == 4, other
    assert "account 123456789012, and these credentials are of account 999999999999" in other.text, other
    same = sharers.run("three", endpoint=False, env={"AWS_ACCESS_KEY_ID": "AKIATWO", **secret})
    assert same.code == 0, same
    assert sharers.nodes("three") == sharers.nodes("one")
    sharers.suite.nothing_left()


def test_another_version_is_refused(sharers: Sharers) -> None:
    """With both versions."""
    sharers.run("one", "--capacity-keep=5m")
    other = sharers.suite.path / "other"
    shutil.copytree(ROOT / "pytest_capacity", other / "pytest_capacity", ignore=shutil.ignore_patterns("__pycache__"))
    init = other / "pytest_capacity" / "version.py"
    text = init.read_text()
    assert '"0.1.0"' in text
    init.write_text(text.replace('"0.1.0"', '"0.1.1"'))
    refused = sharers.run("two", env={"PYTHONPATH": str(other)})
    assert refused.code == 4, refused
    assert "is pytest-capacity 0.1.0" in refused.text, refused
    assert "this process has 0.1.1" in refused.text, refused
    assert sharers.run("three").code == 0
    sharers.suite.nothing_left()


def test_a_visitor_extends_what_is_kept(sharers: Sharers) -> None:
    """Up to the limit, beyond which the keeper refuses, and says why."""
    sharers.suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}}, limits={"duration": "2h"})
    sharers.run("one", "--capacity-keep=15s")
    first = sharers.kept_until()
    visitor = sharers.visit()
    until_ = time.time() + 6000  # Beyond `duration`, within the limit.
    extended = visitor.call(protocol.Extend(until=until_), protocol.Extended)
    assert (extended.kept_until, extended.hard_end) == (until_, until_)
    with pytest.raises(Refused, match=r"limits\.duration"):
        visitor.call(protocol.Extend(until=time.time() + 3 * 3600), protocol.Extended)
    until(lambda: time.time() > first + 1, PATIENCE, "the first end is past")
    assert len(sharers.instances()) == 2
    assert visitor.call(protocol.Release(), protocol.Settled).receipt.clean
    visitor.close()
    sharers.suite.nothing_left()


def test_a_visitor_may_not_take_what_is_used(sharers: Sharers) -> None:
    """Unless by force; then the tests that are left say why they have no nodes."""
    one = sharers.start("one")
    sharers.await_nodes("one", one)
    visitor = sharers.visit()
    with pytest.raises(InUse, match=f"in use by process {one.pid}.*--force"):
        visitor.call(protocol.Release(), protocol.Settled)
    assert len(sharers.instances()) == 2
    assert visitor.call(protocol.Release(force=True), protocol.Settled).receipt.clean
    visitor.close()
    sharers.let_go("one")
    ended = one.wait()
    assert ended.code == 1, ended
    assert "another process asked for the release" in ended.text, ended
    sharers.suite.nothing_left()


def test_the_sessions_files_are_private(sharers: Sharers) -> None:
    """0600, in a directory of 0700."""
    sharers.run("one", "--capacity-keep=5m")
    folder = sharers.suite.state / "pytest-capacity" / "sessions"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (folder / f"{SESSION}.json").exists()
    sharers.visit().call(protocol.Release(), protocol.Settled)
    sharers.suite.nothing_left()


def test_a_session_with_a_run_id_of_its_own(sharers: Sharers) -> None:
    """``test_id:`` is the id of every run of the session, one after the other."""
    sharers.suite.configure({"db": {"count": 2, "instance_type": "i4i.large"}}, test_id="nightly")
    for name in ("one", "two"):
        ended = sharers.run(name, "--capacity-keep=1s")
        assert ended.code == 0, ended
        sharers.suite.nothing_left()


def test_two_sessions_share_nothing(sharers: Sharers) -> None:
    """Another name is another set of nodes."""
    one = sharers.start("one")
    nodes = sharers.await_nodes("one", one)
    sharers.let_go("two")
    two = sharers.start("two", "--capacity-session=other").wait()
    assert two.code == 0, two
    assert not set(sharers.nodes("two") or []) & set(nodes)
    sharers.let_go("one")
    assert one.wait().code == 0
    sharers.suite.nothing_left()


def test_images_are_part_of_what_is_asked(sharers: Sharers) -> None:
    """Another image is another machine, whatever the groups say."""
    sharers.run("one", "--capacity-keep=5m")
    sharers.suite.configure(
        {"db": {"count": 2, "instance_type": "i4i.large"}}, aws={"image": {"us-east-1": IMAGE}, "public_ip": True}
    )
    ended = sharers.run("two")
    assert ended.code == 4, ended
    assert "aws.public_ip: null; asked: true" in ended.text, ended
    sharers.visit().call(protocol.Release(), protocol.Settled)
    sharers.suite.nothing_left()
