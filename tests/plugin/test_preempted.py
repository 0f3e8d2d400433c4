"""A test whose spot node the cloud took back is preempted, not failed."""

from __future__ import annotations

import pytest

from tests.emulated import IMAGE, Emulator
from tests.plugin.conftest import Run

SPOT = f"""
backend: aws
regions: [us-east-1]
zones: [a]
project: tests
market: spot
groups:
  db: {{count: 2, instance_type: i4i.large}}
  other: {{count: 1, instance_type: c6i.xlarge, market: on-demand}}
aws: {{image: {{us-east-1: {IMAGE}}}}}
"""

#: The first test has its node taken; the others fail, or pass, for reasons of their own.
SUITE = """
import json, os, urllib.request
import pytest

def take_back(node):
    body = json.dumps({"reclaim": [node.id]}).encode()
    headers = {"Authorization": "Bearer testing", "Content-Type": "application/json"}
    request = urllib.request.Request(os.environ["WORLD"] + "/_world", data=body, headers=headers, method="POST")
    urllib.request.urlopen(request).close()

@pytest.mark.capacity(group="db")
def test_taken(capacity_node):
    take_back(capacity_node)
    assert False, "the node does not answer"

@pytest.mark.capacity(group="other")
def test_fails(capacity_node):
    assert False, "a fault of its own"

@pytest.mark.capacity(group="db", count=COUNT)
def test_next(capacity_node):
    pass
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["serial", "n1"])
def test_preempted(
    pytester: pytest.Pytester,
    run_on: Run,
    cloud: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    workers: tuple[str, ...],
) -> None:
    """It has a category of its own and the cloud's reason; other failures are failures; the node is not lent again."""
    monkeypatch.setenv("WORLD", cloud.url)
    pytester.makepyfile(SUITE.replace("COUNT", "2"))
    result = run_on("-v", *workers, config=SPOT)
    last = result.outlines[-1]
    assert "1 failed" in last, last
    assert "1 preempted" in last, last
    assert "1 error" in last, last
    result.stdout.fnmatch_lines(["*PREEMPTED*"])
    result.stdout.fnmatch_lines(["*of which 1 is lost: the cloud took nodes back. Set `on_preempt: replace`*"])
    result.stdout.fnmatch_lines(["*is taken back by aws: Server.SpotInstanceTermination*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert cloud.held() == []


def test_what_fails_later_is_a_failure(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost node that a test did not take excuses it only while the loss is news; one that it took always does."""
    monkeypatch.setenv("WORLD", cloud.url)
    pytester.makepyfile(
        SUITE.partition("@pytest")[0]
        + """
def test_meets_the_loss(capacity, capacity_nodes):
    take_back(capacity_nodes["db"][0])
    assert False
def test_fails_later(capacity):
    assert False
def test_takes_the_lost_one(capacity):
    assert not capacity.nodes("db")
"""
    )
    result = run_on("-rA", config=SPOT)
    last = result.outlines[-1]
    assert "1 failed" in last, last
    assert "2 preempted" in last, last
    result.stdout.fnmatch_lines(["FAILED *::test_fails_later*"])
    assert cloud.held() == []


def test_replaced(pytester: pytest.Pytester, run_on: Run, cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With on_preempt: replace the next test that needs as many nodes waits for the new one, and gets it."""
    monkeypatch.setenv("WORLD", cloud.url)
    pytester.makepyfile(SUITE.replace("COUNT", "2"))
    result = run_on(config=f"{SPOT}on_preempt: replace\n")
    last = result.outlines[-1]
    assert "1 passed" in last, last
    assert "1 preempted" in last, last
    assert len([call for call in cloud.calls("RunInstances") if call["status"] == 200]) == 3
    assert cloud.held() == []


def test_not_to_be_replaced(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next test that needs as many nodes waits until it is known that there is no other, and is told so."""
    monkeypatch.setenv("WORLD", cloud.url)
    dry = '"reclaim": [node.id], "stock": {"us-east-1a": {"spot": {"*": 0}}}'
    pytester.makepyfile(SUITE.replace("COUNT", "2").replace('"reclaim": [node.id]', dry))
    result = run_on(config=f"{SPOT}on_preempt: replace\nfallback: {{spot_to_on_demand: false}}\n")
    last = result.outlines[-1]
    assert "1 error" in last, last
    assert "1 preempted" in last, last
    result.stdout.fnmatch_lines(["*of which 1 is lost: the cloud took nodes back, and had no others*"])
    assert cloud.held() == []
