"""What the plugin does once something of its own is set: it looks for a backend, and registers the runtime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_capacity.plugin import RUNTIME
from pytest_capacity.plugin.settings import Settings, is_chosen, mistyped

if TYPE_CHECKING:
    from pytest_capacity.plugin.runtime import Runtime


def activate(config: pytest.Config) -> None:
    """Register the runtime of a controller, or of the only process, where a backend is chosen.

    Raise `pytest.UsageError` for what is set and cannot be. What only informs (``--help``) reads no configuration.
    """
    if any(config.getoption(name, False) for name in ("help", "markers", "version")):
        return
    settings = Settings(config, os.environ)
    settings.choice("when_disabled", ("error", "skip"))
    faults = mistyped(os.environ)
    plan = settings.truth("plan", default=False)
    if is_chosen(config, settings):
        if faults:
            # A region that is ignored costs money elsewhere.
            raise pytest.UsageError("capacity: " + "\n  ".join(faults))
        declare_hooks(config.pluginmanager)
        _set_up(config, settings, plan=plan)
    elif plan:
        from pytest_capacity.plugin.disabled import nothing_to_plan

        raise nothing_to_plan(config, settings)
    for fault in faults:
        config.issue_config_time_warning(pytest.PytestConfigWarning(f"capacity: {fault}"), stacklevel=2)


def declare_hooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement, unless they are declared already."""
    declared = getattr(pluginmanager.hook, "pytest_capacity_topologies", None)
    if declared is None or not declared.has_spec():
        from pytest_capacity.plugin import hookspecs

        pluginmanager.add_hookspecs(hookspecs)


def register_worker(config: pytest.Config, handed_over: Any) -> None:
    """Register the runtime of an xdist worker, with what its controller gives it."""
    from pytest_capacity.plugin.worker import Worker

    declare_hooks(config.pluginmanager)
    _register(config, Worker(config, handed_over))


def _set_up(config: pytest.Config, settings: Settings, *, plan: bool) -> None:
    """Register the runtime of a controller or of the only process. With ``plan`` it only looks."""
    from pytest_capacity.plugin.session import Controller

    if plan:
        from pytest_capacity.plugin.dry_run import stay_alone

        stay_alone(config)
    runtime = Controller(config, settings, looking_only=plan)
    _register(config, runtime)
    if plan or config.getoption("setupplan", False):
        from pytest_capacity.plugin.dry_run import DryRun

        planning = DryRun(config, runtime.request, runtime.options, only=plan)
        config.pluginmanager.register(planning, f"{RUNTIME}-planning")


def _register(config: pytest.Config, runtime: Runtime) -> None:
    config.pluginmanager.register(runtime, RUNTIME)
    from pytest_capacity.plugin.collect import Collection
    from pytest_capacity.plugin.preempted import Preempted

    config.pluginmanager.register(runtime.uses, f"{RUNTIME}-uses")
    config.pluginmanager.register(Collection(runtime), f"{RUNTIME}-collection")
    config.pluginmanager.register(Preempted(runtime), f"{RUNTIME}-preempted")
