"""Waiting for a cloud does not count against pytest-timeout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


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
