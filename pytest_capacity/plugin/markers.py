"""``@pytest.mark.capacity``: what a test wants to borrow."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import pytest

from pytest_capacity.model import DEFAULT_TOPOLOGY
from pytest_capacity.plugin import SIGNATURE


class Wanted(NamedTuple):
    """The marker's arguments, checked."""

    topology: str = DEFAULT_TOPOLOGY
    group: str | None = None
    count: int = 1


def _marker(topology: str = DEFAULT_TOPOLOGY, *, group: str | None = None, count: int = 1) -> Wanted:
    return Wanted(topology, group, count)


def wanted(item: pytest.Item) -> Wanted:
    """What ``item`` wants to borrow: its closest marker, or one node of any group of the default topology.

    Raises `pytest.UsageError` that names the test, the fault and the signature.
    """
    mark = item.get_closest_marker("capacity")
    if mark is None:
        return Wanted()
    try:
        bound = inspect.signature(_marker).bind(*mark.args, **mark.kwargs)
    except TypeError as error:
        raise _misused(item, str(error)) from None
    asked = _marker(*bound.args, **bound.kwargs)
    fault = _fault(asked)
    if fault:
        raise _misused(item, fault)
    return asked


def _fault(asked: Wanted) -> str:
    if not isinstance(asked.topology, str):
        return f"topology is {asked.topology!r}: write its name"
    if asked.group is not None and not isinstance(asked.group, str):
        return f"group is {asked.group!r}: write its name, or leave it out for any group"
    if not isinstance(asked.count, int) or isinstance(asked.count, bool) or asked.count < 1:
        return f"count is {asked.count!r}: write a whole number from 1 up"
    return ""


def _misused(item: pytest.Item, fault: str) -> pytest.UsageError:
    return pytest.UsageError(f"{item.nodeid}: marker `capacity`: {fault}. Its signature is {SIGNATURE}")
