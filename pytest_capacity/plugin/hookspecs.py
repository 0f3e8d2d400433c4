"""Hooks that a conftest.py or another plugin may implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_capacity import Node
    from pytest_capacity.model import Topology


@pytest.hookspec
def pytest_capacity_topologies(config: pytest.Config) -> Mapping[str, Topology] | None:
    """Topologies written in Python, by name; they stand beside those of the configuration file.

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
    """``capacity_node`` gives ``node`` back, whether the test passed or not: remove what the test left there.

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
    """``item`` failed and used ``node``: put into ``path`` what helps to find out why.

    ``console.txt`` and, below ``files/``, what ``collect:`` of the configuration names are there already. Called once
    for each execution of a test that failed, before the node is given back if it was setup or call that failed, in the
    process that ran it, on a thread of its own for each node. All of it has 30 seconds; what is not done by then is
    left to itself. Directories that stay empty are removed. What an implementation raises is told in the report.

    Example::

        def pytest_capacity_collect(node, item, path):
            (path / "processes.txt").write_text(node.run("ps aux", timeout=5).stdout)

    :param node: One of the nodes that the test used.
    :param item: The test.
    :param path: An existing directory for this node.
    :return: What could not be had, in words for the test's report; None if there is nothing to say.
    """
