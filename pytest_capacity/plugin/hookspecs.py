"""Hooks that a conftest.py or another plugin may implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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
