"""Hooks that a conftest.py or another plugin may implement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_capacity.ladder import Rung
    from pytest_capacity.model import Attempt, Diagnosis, Reservation, Topology
    from pytest_capacity.remote.machine import Machine as Node


@pytest.hookspec
def pytest_capacity_topologies(config: pytest.Config) -> Mapping[str, Topology] | None:
    """Return topologies written in Python, by name; they stand beside those of the configuration file.

    Called once a run, in the controller (or the only process), when the run is configured: what it returns cannot
    depend on which tests were selected. A name that the file or another implementation uses too is a usage error.
    Called only when a backend is chosen.

    Example, in the ``conftest.py`` of the root directory::

        from pytest_capacity import NodeGroup, Topology

        def pytest_capacity_topologies(config):
            db = NodeGroup(name="db", count=3, instance_type="i4i.large")
            return {"wide": Topology(name="wide", groups=(db,))}

    :param config: pytest's configuration.
    """


@pytest.hookspec
def pytest_capacity_node_returned(node: Node, item: pytest.Item) -> None:
    """Remove what a test left on ``node``, which ``capacity_node`` gives back, whether it passed or not.

    Called in the process that ran the test, when the fixture is torn down: fixtures that use it are torn down already.
    Once for each node. What an implementation raises is an error of the test's teardown, and the node is *suspect*:
    it is not lent again.

    Example::

        def pytest_capacity_node_returned(node, item):
            node.run("sudo systemctl restart db && rm -rf /var/tmp/work")

    :param node: The node, which is still this test's.
    :param item: The test.
    """


@pytest.hookspec
def pytest_capacity_collect(node: Node, item: pytest.Item, path: Path) -> str | None:
    """Put into ``path`` what helps to find out why ``item``, which used ``node``, failed.

    ``console.txt`` and, below ``files/``, what ``collect:`` of the configuration names are there already. Called once
    for each execution of a test that failed, before the node is given back if it was setup or call that failed, in the
    process that ran it, on a thread of its own for each node. All of it has 30 seconds; what is not done by then is
    left to itself. Directories that stay empty are removed. What an implementation raises is shown in the report.

    Example::

        def pytest_capacity_collect(node, item, path):
            (path / "processes.txt").write_text(node.run("ps aux", timeout=5).stdout)

    :param node: One of the nodes that the test used.
    :param item: The test.
    :param path: An existing directory for this node.
    :return: What could not be had, in words for the test's report; None if there is nothing to say.
    """


@pytest.hookspec(firstresult=True)
def pytest_capacity_ladder(config: pytest.Config, topology: Topology, rungs: Sequence[Rung]) -> Sequence[Rung] | None:
    """Put the rungs of a ladder into another order, or leave some out.

    Called before the first attempt of a topology, and before each further round (``retry_until``), in the controller or
    the only process, on a thread of its own. It has ten seconds; without an answer by then, or if it raises, the list
    stays as it is, and the summary says so. The first implementation that returns something decides.

    Example: no on-demand nodes outside of the first zone::

        def pytest_capacity_ladder(config, topology, rungs):
            first = rungs[0].zone
            return [
                rung for rung in rungs
                if rung.zone == first or all(choice.market == "spot" for choice in rung.choices.values())
            ]

    :param config: pytest's configuration.
    :param topology: What is to be placed.
    :param rungs: In the order in which they would be tried while every group is refused each time. Each has
        ``region``, ``zone`` and ``choices``: by the name of the group, its ``market`` and ``instance_type``.
    :return: Some or all of ``rungs``; None leaves them as they are. When a group alone is refused it moves through the
        choices that it has in the rungs of that zone; a choice that none of them has is never made.
    """


@pytest.hookspec(firstresult=True)
def pytest_capacity_diagnose(
    config: pytest.Config, diagnosis: Diagnosis, region: str, zone: str, groups: Sequence[str]
) -> Diagnosis | None:
    """Say what a refusal means, where the table of errors and ``errors:`` do not know it, or know it wrongly.

    Called for each create call that the cloud refused for certain, in the controller or the only process, on a thread
    of its own. It has ten seconds; without an answer by then, or if it raises, the table decides. The first
    implementation that returns something decides.

    Example::

        from msgspec.structs import replace

        def pytest_capacity_diagnose(config, diagnosis, region, zone, groups):
            if diagnosis.code == "HouseRuleDenied":
                return replace(diagnosis, step="move-on", kind="capacity-zone", scope="zone")

    :param config: pytest's configuration.
    :param diagnosis: What the table says: ``step``, ``kind``, ``scope``; and the cloud's ``operation``, ``code``,
        ``words``.
    :param region: Where it was asked.
    :param zone: Its zone.
    :param groups: For which node groups; empty: for all of the topology.
    :return: A diagnosis with another ``step`` (``move-on`` or ``stop``), ``kind`` or ``scope``, in the words of
        `docs/reference/errors.md`; None leaves it as it is.
    """


@pytest.hookspec
def pytest_capacity_attempt_started(config: pytest.Config, topology: str, region: str, zone: str, number: int) -> None:
    """Called when a rung is tried.

    As all hooks that only observe: in the controller or the only process, on one thread of their own, in the order of
    what happened; what they raise is shown, and the run goes on.

    :param config: pytest's configuration.
    :param topology: The name of the topology.
    :param region: The region.
    :param zone: The zone; several, where groups are spread, with ``+`` between them.
    :param number: The attempt's number within the run.
    """


@pytest.hookspec
def pytest_capacity_attempt_ended(config: pytest.Config, attempt: Attempt) -> None:
    """Called when a rung was tried.

    Example: count what is refused::

        def pytest_capacity_attempt_ended(config, attempt):
            if attempt.outcome != "placed":
                statsd.incr(f"capacity.refused.{attempt.zone}.{attempt.code}")

    :param config: pytest's configuration.
    :param attempt: Where, how long (``seconds``), what came of it (``outcome``: placed, no-capacity, quota, failed,
        cancelled), and of a refusal ``group``, ``instance_type``, ``market``, ``reserved``, ``kind``, ``code``,
        ``words``.
    """


@pytest.hookspec
def pytest_capacity_reserved(config: pytest.Config, reservation: Reservation) -> None:
    """Called when the cloud has granted a reservation, which is given back where the rung fails.

    :param config: pytest's configuration.
    :param reservation: Its id, region, zone, instance_type, count.
    """


@pytest.hookspec
def pytest_capacity_node_ready(config: pytest.Config, node: Node) -> None:
    """Called when a node stands, is ready as its group says, and can be used.

    Example::

        def pytest_capacity_node_ready(config, node):
            inventory.add(node.name, node.private_ip)

    :param config: pytest's configuration.
    :param node: The node, as tests get it.
    """


@pytest.hookspec
def pytest_capacity_released(config: pytest.Config, kind: str, ids: Sequence[str]) -> None:
    """Called when the cloud shows no more of these, in no state that bills or blocks.

    :param config: pytest's configuration.
    :param kind: What they were: ``node``, ``reservation``, ``placement-group``, ``key-pair``.
    :param ids: Their ids in the cloud.
    """
