"""The plugin's entry point: options, the marker, the fixtures, and the decision whether there is anything to do.

Every pytest run of an environment that has the plugin installed loads this module, so it imports the standard library
and pytest only. Without a backend (``--capacity-backend``, or ``backend:`` in the configuration file) it registers
nothing else. With one, `activation` registers the *runtime*: `session.Controller` in the controller or the only
process, `worker.Worker` in an xdist worker. The fixtures ask the runtime.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, cast

import pytest

from pytest_capacity.plugin.options import DEFAULT_FILE, EMULATOR_FLAG, PREFIX, add_options

if TYPE_CHECKING:
    from pytest_capacity.model import Request, Reservation
    from pytest_capacity.plugin.handle import Capacity
    from pytest_capacity.plugin.runtime import Runtime
    from pytest_capacity.remote.machine import Machine

#: The name under which the runtime is registered with pytest.
RUNTIME: Final = "capacity-runtime"

#: The hooks of `hookspecs`. Few runs have an implementation, and the others need not load what declares them.
HOOKS: Final = frozenset(
    {
        "pytest_capacity_attempt_ended",
        "pytest_capacity_attempt_started",
        "pytest_capacity_collect",
        "pytest_capacity_diagnose",
        "pytest_capacity_ladder",
        "pytest_capacity_node_ready",
        "pytest_capacity_node_returned",
        "pytest_capacity_released",
        "pytest_capacity_reserved",
        "pytest_capacity_topologies",
    }
)

#: The marker, as `pytest --markers` shows it and as usage errors quote it.
SIGNATURE: Final = 'capacity(topology="default", *, group=None, count=1)'


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare flags and ini keys."""
    add_options(parser)


def pytest_plugin_registered(manager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement, once another plugin or a ``conftest.py`` implements one of them."""
    if not HOOKS.isdisjoint(vars(manager.hook)):
        from pytest_capacity.plugin.activation import declare_hooks

        declare_hooks(manager)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Read the arguments once more where a flag without a value has taken a test's path for one."""
    if EMULATOR_FLAG not in args:
        return
    from pytest_capacity.plugin.run_options import take_no_value

    if take_no_value(args):
        # As pytest itself does before this hook: paths among them say which conftest files are loaded first.
        options = copy.copy(early_config.option)
        early_config.known_args_namespace = parser.parse_known_args(args, namespace=options)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the runtime where a backend is chosen."""
    config.addinivalue_line(
        "markers", f"{SIGNATURE}: which nodes `capacity_node` lends to this test, exclusively, across all workers"
    )
    if hasattr(config, "workerinput"):
        if "capacity" in config.workerinput:
            from pytest_capacity.plugin.activation import register_worker

            register_worker(config, config.workerinput["capacity"])
    elif _may_be_chosen(config):
        from pytest_capacity.plugin.activation import activate

        activate(config)


def _may_be_chosen(config: pytest.Config) -> bool:
    """Return whether anything is set that could choose a backend or be wrong. Most runs load no more than this.

    Loops, since a generator expression is a function more to load.
    """
    for name in os.environ:
        if name.startswith(PREFIX):
            return True
    for name in ("capacity_backend", "capacity_config", "capacity_plan", "capacity_when_disabled"):
        if config.getoption(name, None) is not None or config.getini(name):
            return True
    return (config.invocation_params.dir / DEFAULT_FILE).is_file() or (config.rootpath / DEFAULT_FILE).is_file()


@pytest.fixture(scope="session")
def capacity(request: pytest.FixtureRequest) -> Capacity:
    """Return the nodes of this run: reserved and started when the first test asks, shared, released at the end.

    ``capacity.nodes("db")`` is a tuple of nodes, ``capacity.topology("wide")`` the handle of another topology.
    """
    __tracebackhide__ = True
    return _runtime(request).capacity()


@pytest.fixture(scope="session")
def capacity_nodes(request: pytest.FixtureRequest) -> Mapping[str, tuple[Machine, ...]]:
    """Return all nodes of the default topology, by group."""
    __tracebackhide__ = True
    return _runtime(request).default().by_group


@pytest.fixture(scope="session")
def capacity_reservations(request: pytest.FixtureRequest) -> tuple[Reservation, ...]:
    """Return the reservations of the default topology."""
    __tracebackhide__ = True
    return _runtime(request).default().reservations


@pytest.fixture(scope="session")
def capacity_config(request: pytest.FixtureRequest) -> Request:
    """Return what this run asked for, checked and read-only; nothing is provisioned for it."""
    __tracebackhide__ = True
    return _runtime(request).request


@pytest.fixture
def capacity_node(request: pytest.FixtureRequest) -> Iterator[Machine | tuple[Machine, ...]]:
    """Yield one node for this test alone, across all workers; with ``count`` of the marker above 1 a tuple.

    Which: ``@pytest.mark.capacity(topology="default", *, group=None, count=1)``. Tests that ask for more than is free
    wait for it, first come first served.
    """
    __tracebackhide__ = True
    yield from _runtime(request).lend(request.node)


def _runtime(request: pytest.FixtureRequest) -> Runtime:
    __tracebackhide__ = True
    runtime = request.config.pluginmanager.get_plugin(RUNTIME)
    if runtime is None:
        from pytest_capacity.plugin.disabled import stop_test

        stop_test(request.config)
    return cast("Runtime", runtime)
