"""The owner's hooks are asked, and not waited for when they cannot answer."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from pytest_capacity.keeper.consulting import Consulting
from pytest_capacity.keeper.peer import Peer
from pytest_capacity.keeper.protocol import Advise, Consult
from pytest_capacity.ladder import Choice, Rung
from pytest_capacity.model import NodeGroup, Topology

TOPOLOGY = Topology((NodeGroup(name="db", count=1, instance_type="i4i.large"),))
RUNGS = [Rung("us-east-1", f"us-east-1{letter}", {"db": Choice("spot", "i4i.large")}) for letter in "abc"]


class Owner:
    """A peer that answers at once, with these numbers; or never."""

    def __init__(self, rungs: tuple[int, ...] | None = None) -> None:
        self.rungs = rungs
        self.advises: tuple[str, ...] = ("ladder",)
        self.asked = threading.Event()

    def send(self, asked: Consult) -> None:
        self.asked.set()
        if self.rungs is not None:
            consulting.take(Advise(number=asked.number, rungs=self.rungs))


owners: list[Peer] = []
consulting = Consulting(lambda: owners)


@pytest.fixture
def complaints() -> list[str]:
    """What is told of hooks; none is there at first."""
    owners.clear()
    told: list[str] = []
    consulting.complain = told.append
    return told


def enter(owner: Owner) -> None:
    """The owner is there."""
    owners.append(cast("Peer", owner))


def test_numbers_that_are_none(complaints: list[str]) -> None:
    """Of what comes, each rung counts once, and no other."""
    enter(Owner((2, 2, 7, -1, 0)))
    assert consulting.rungs(TOPOLOGY, RUNGS) == [RUNGS[2], RUNGS[0]]
    assert complaints == []


def test_an_owner_without_such_a_hook_is_not_asked(complaints: list[str]) -> None:
    """Another one that has it is, whichever came first."""
    without = Owner((1,))
    without.advises = ()
    enter(without)
    assert consulting.rungs(TOPOLOGY, RUNGS) == RUNGS
    enter(Owner((0,)))
    assert consulting.rungs(TOPOLOGY, RUNGS) == [RUNGS[0]]
    assert not without.asked.is_set()


def test_an_owner_that_leaves_is_not_waited_for(complaints: list[str]) -> None:
    """The list stays as it is, soon, and no hook is blamed."""
    owner = Owner()
    enter(owner)

    def leave() -> None:
        owner.asked.wait(60)
        owners.clear()

    threading.Thread(target=leave).start()
    assert consulting.rungs(TOPOLOGY, RUNGS) == RUNGS
    assert complaints == [], "it would be said that the time in which to answer was over"
