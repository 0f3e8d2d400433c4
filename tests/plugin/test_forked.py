"""A process that a test forked asks the keeper, too."""

from __future__ import annotations

import pytest

from tests.emulated import Emulator
from tests.plugin.conftest import Run

FORKS = """
import multiprocessing

def ask(handle, answers):
    answers.put(len(handle.nodes("db")))

def in_a_child(handle):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=ask, args=(handle, answers))
    child.start()
    child.join(120)
    assert child.exitcode == 0
    return answers.get(timeout=60)

def test_the_parent_has_asked(capacity):
    assert len(capacity.nodes("db")) == 2
    assert in_a_child(capacity) == 2

def test_the_child_asks_first(capacity):
    assert in_a_child(capacity.topology("second")) == 2
"""

CONFIG = """
backend: aws
regions: [us-east-1]
zones: [a]
topologies:
  default: {groups: {db: {count: 2, instance_type: i4i.large}}}
  second: {groups: {db: {count: 2, instance_type: c6i.xlarge}}}
aws: {image: {us-east-1: ami-12c6146b}}
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_forked_child_asks_over_a_connection_of_its_own(
    pytester: pytest.Pytester, run_on: Run, cloud: Emulator, workers: tuple[str, ...]
) -> None:
    """Neither what stands already nor what is provisioned by the child makes it wait for ever, and nothing is left."""
    pytester.makepyfile(FORKS)
    result = run_on(*workers, config=CONFIG)
    result.assert_outcomes(passed=2)
    assert cloud.held() == []


def test_every_test_in_a_process_of_its_own(pytester: pytest.Pytester, run_on: Run, cloud: Emulator) -> None:
    """What ``--forked`` does: a session fixture's body runs in the child alone, in each anew."""
    pytester.makeconftest(
        """
import os
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    pid = os.fork()
    if pid == 0:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        os._exit(0 if all(report.passed for report in reports) else 1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    (item.config.rootpath / item.name).touch()
    return True
"""
    )
    pytester.makepyfile(
        """
def test_one(capacity):
    assert len(capacity.nodes("db")) == 2

def test_two(capacity_node):
    assert capacity_node.id
"""
    )
    run_on()
    assert (pytester.path / "test_one").exists()
    assert (pytester.path / "test_two").exists()
    assert cloud.held() == []
