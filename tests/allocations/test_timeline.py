"""The timeline: bars lie where their times are."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_capacity.allocations import Allocation, Allocations, Resource
from pytest_capacity.allocations.web.timeline import WIDTH, timeline

ONE = Allocation(resource="i-1", reservation="cr-1", lease="run", run="run", since=1000.0, until=1500.0)
HOST = Resource(id="i-1", kind="node", backend="aws", region="r1")


def test_bars_lie_where_their_times_are() -> None:
    """From the begin to the end that is sure; from there, paler, to the latest end."""
    found = [Allocations(resource=HOST, allocations=(replace(ONE, renewable_until=2000.0),))]
    made = timeline(found, 1250.0)
    (bar,) = made.bars[0]
    assert (bar.x, bar.width, bar.more) == (0.0, WIDTH / 2, WIDTH / 2)
    assert made.now == WIDTH / 4
    assert (made.marks[0].x, made.marks[-1].x) == (0.0, WIDTH)


def test_a_window_cuts_its_bars() -> None:
    """What reaches beyond the window ends at its border; now may lie outside."""
    made = timeline([Allocations(resource=HOST, allocations=(ONE,))], 9000.0, 1250.0, 2250.0)
    (bar,) = made.bars[0]
    assert (bar.x, bar.width) == (0.0, WIDTH / 4)
    assert made.now is None


def test_nothing_and_an_instant_have_a_timeline() -> None:
    """No division by the width of nothing; an allocation that ended at once still has a bar."""
    assert timeline([], 5.0).bars == ()
    (bar,) = timeline([Allocations(resource=HOST, allocations=(replace(ONE, ended=1000.0),))], 1000.0).bars[0]
    assert bar.width > 0
