"""``@pytest.mark.capacity``: what a test wants to borrow."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from pytest_capacity.model import DEFAULT_TOPOLOGY
from pytest_capacity.plugin import SIGNATURE


@dataclass(frozen=True)
class Wanted:
    """The marker's arguments, checked."""

    topology: str = DEFAULT_TOPOLOGY
    group: str | None = None
    count: int = 1


def _marker(topology: object = DEFAULT_TOPOLOGY, *, group: object = None, count: object = 1) -> Wanted:
    """Return the marker's signature, `SIGNATURE`. Raises `TypeError`, for ``bind`` raises that too."""
    if not isinstance(topology, str):
        raise TypeError(f"topology is {topology!r}: write its name")
    if group is not None and not isinstance(group, str):
        raise TypeError(f"group is {group!r}: write its name, or leave it out for any group")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise TypeError(f"count is {count!r}: write a whole number from 1 up")
    return Wanted(topology, group, count)


def wanted(item: pytest.Item) -> Wanted:
    """Return what ``item`` wants to borrow: its closest marker, or one node of any group of the default topology.

    Raises `pytest.UsageError` that names the test, the fault and the signature.
    """
    mark = item.get_closest_marker("capacity")
    if mark is None:
        return Wanted()
    try:
        bound = inspect.signature(_marker).bind(*mark.args, **mark.kwargs)
        return _marker(*bound.args, **bound.kwargs)
    except TypeError as error:
        raise pytest.UsageError(f"{name_of(item)}: marker `capacity`: {error}. Its signature is {SIGNATURE}") from None


def name_of(item: pytest.Item) -> str:
    """Return the test without its parameters: what is wrong with its marker is wrong once."""
    return item.nodeid.partition("[")[0]


def may_ask(item: pytest.Item) -> bool:
    """Return whether the test's marker names what it borrows."""
    return item.get_closest_marker("capacity") is not None or "capacity_node" in getattr(item, "fixturenames", ())
