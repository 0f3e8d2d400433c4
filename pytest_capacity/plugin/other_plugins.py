"""Beside other plugins: pytest-timeout, whose timers must not count the wait for a cloud, and pyfakefs.

pyfakefs puts its own ``os``, ``pathlib`` and ``open`` into every module, so that key files are not there, and a library
that is first imported meanwhile finds no metadata of itself: paramiko seems not to be installed. So what a node needs
is imported before, and pyfakefs is told to leave it alone, by the sets that its documentation names for that.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import pytest

#: Packages that reach nodes and keeper, and read files of this machine.
_OURS: Final = ("pytest_capacity", "paramiko", "cryptography", "testinfra")

_PATCHER: Final = "pyfakefs.fake_filesystem_unittest"


def keep_real_files(*, ssh: bool) -> None:
    """Let what uses nodes keep the real file system, if pyfakefs is loaded. Before a fixture of a test is set up.

    ``ssh``: the run's nodes are reached by SSH.
    """
    patcher = getattr(sys.modules.get(_PATCHER), "Patcher", None)
    if patcher is None:
        return
    if ssh:
        remote = import_module("pytest_capacity.remote")
        for module in pkgutil.iter_modules(remote.__path__, f"{remote.__name__}."):
            import_module(module.name)
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in _OURS}
    patcher.SKIPMODULES.update(loaded.values())
    # By name for `open`, which is a builtin: pyfakefs looks there who calls it.
    patcher.SKIPNAMES.update(loaded)


@contextmanager
def unhurried(item: pytest.Item | None, *, in_call: bool) -> Iterator[None]:
    """Stop the timer of ``item`` for the time of the block, and start it afresh after it.

    ``in_call``: the test's own body is running, where a ``func_only`` timer runs too. Without this, a timeout shorter
    than provisioning fails the first test and every later one (method "signal") or ends the worker (method "thread").
    """
    settings = _settings(item, in_call=in_call)
    if item is None or settings is None:
        yield
        return
    item.ihook.pytest_timeout_cancel_timer(item=item)
    try:
        yield
    finally:
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


def _settings(item: pytest.Item | None, *, in_call: bool) -> Any:
    """Return what pytest-timeout says about a timer that is running now; None where there is none."""
    plugin = item.config.pluginmanager.get_plugin("timeout") if item else None
    # pytest-timeout has no public way to ask; without this function there is nothing to set again.
    settings_of = getattr(plugin, "_get_item_settings", None)
    settings = settings_of(item) if settings_of else None
    if settings is None or not settings.timeout or settings.timeout <= 0:
        return None
    return settings if in_call or not settings.func_only else None
