"""What a wait says of itself."""

from __future__ import annotations

from pytest_capacity.keeper.protocol import Event
from pytest_capacity.report.progress import Progress


def lines(progress: Progress, seconds: float) -> list[str]:
    """Return the lines of so many seconds of waiting."""
    return [line.text for _ in range(round(seconds * 10)) if (line := progress.beat())]


def test_a_wait_says_every_ten_seconds_what_for_how_long_and_the_limit() -> None:
    """A wait of 42 s for nodes that boot has four lines, each with what, how long and the limit."""
    progress = Progress(600, 300, quiet=False)
    progress.on_event(Event(at=0, kind="attempt-started", data={"topology": "default", "zone": "z-a"}))
    progress.on_event(Event(at=0, kind="created", data={"kind": "node", "zone": "z-a"}))
    assert lines(progress, 42) == [
        f"capacity: waiting for nodes in z-a to be up, for {seconds}s of at most 10m (--capacity-timeout)"
        for seconds in (10, 20, 30, 40)
    ]


def test_with_q_it_says_so_every_thirty_seconds() -> None:
    """A quiet run has one line in 42 s."""
    progress = Progress(600, 300, quiet=True)
    progress.on_event(Event(at=0, kind="attempt-started", data={"topology": "default", "zone": "z-a"}))
    assert len(lines(progress, 42)) == 1


def test_a_line_that_was_written_ends_the_silence() -> None:
    """Right after another line there is none about waiting."""
    progress = Progress(600, 300, quiet=False)
    assert lines(progress, 9) == []
    progress.written()
    assert lines(progress, 9) == []


def test_a_release_has_its_own_limit_and_its_own_count() -> None:
    """The seconds of the release begin with it."""
    progress = Progress(600, 300, quiet=False)
    progress.on_event(Event(at=0, kind="attempt-started", data={"topology": "default", "zone": "z-a"}))
    lines(progress, 8)
    progress.on_event(Event(at=0, kind="placed", data={}))
    progress.on_event(Event(at=0, kind="releasing", data={"kind": "node", "ids": ["i-1"]}))
    progress.written()
    assert lines(progress, 10) == [
        "capacity: waiting for the cloud to remove nodes, for 10s of at most 5m (release_timeout)"
    ]


def test_a_release_that_is_refused_is_a_release_too() -> None:
    """Nothing is on its way out then, and what is waited for is not what the nodes were waited for."""
    progress = Progress(600, 300, quiet=False)
    progress.on_event(Event(at=0, kind="nodes-ready", data={"count": 3}))
    progress.on_event(Event(at=0, kind="placed", data={}))
    progress.begin_release()
    progress.on_event(Event(at=0, kind="trouble", data={"words": "node n-1 could not be released"}))
    assert lines(progress, 10) == [
        "capacity: waiting for the cloud to remove what the run holds, for 10s of at most 5m (release_timeout)"
    ]
