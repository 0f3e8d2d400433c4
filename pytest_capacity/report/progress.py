"""What a run waits for, so that no wait is silent. Counted in beats of the waiting thread: a test may freeze clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.config.durations import format_duration
from pytest_capacity.keeper.client import BEAT
from pytest_capacity.keeper.protocol import Event
from pytest_capacity.report.render import Line

#: Seconds between two lines of a wait; with ``-q``.
EVERY_S: Final = 10.0
EVERY_QUIET_S: Final = 30.0


class Progress:
    """The state of one wait, fed with the journal's events.

    It begins with `attempt-started` or `releasing` and ends with `placed` or `run-ended`. `beat` is called about ten
    times a second by the thread that waits, and returns a line when nothing has been written for too long.
    """

    def __init__(self, provision_s: float, release_s: float, *, quiet: bool) -> None:
        """Set the limits: ``provision_s`` and ``release_s`` are how long either is waited for, in seconds."""
        self._limits = {"provision": provision_s, "release": release_s}
        self._every = round((EVERY_QUIET_S if quiet else EVERY_S) / BEAT)
        self._phase = "provision"
        self._what = "the first answer of the cloud"
        #: Beats.
        self._waited = 0
        self._silent = 0
        self.waiting = False

    def on_event(self, event: Event) -> None:
        """Note what is waited for now."""
        if event.kind in ("placed", "run-ended"):
            self.waiting = False
            return
        say = _WAITS.get(event.kind)
        if say is None:
            return
        phase = "release" if event.kind in ("releasing", "gone") else "provision"
        if not self.waiting or phase != self._phase:
            self._phase, self._waited, self.waiting = phase, 0, True
        self._what = say(event.data) or self._what

    def begin_release(self) -> None:
        """Note that everything is to go: the first event of that comes only once the cloud has accepted a release."""
        self._phase, self._waited, self._what = "release", 0, "the cloud to remove what the run holds"

    def written(self) -> None:
        """Note that a line was written, so the silence ended."""
        self._silent = 0

    def beat(self) -> Line | None:
        """Count one beat; return what is waited for, how long already, and how long at most, when it is time."""
        self._waited += 1
        self._silent += 1
        if self._silent < self._every:
            return None
        self._silent = 0
        limit = format_duration(self._limits[self._phase])
        setting = "--capacity-timeout" if self._phase == "provision" else "release_timeout"
        waited = format_duration(self._waited * BEAT)
        return Line(f"capacity: waiting for {self._what}, for {waited} of at most {limit} ({setting})")


def _where(data: Mapping[str, Any]) -> str:
    return str(data.get("zone") or data.get("region") or "the cloud")


_WAITS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "attempt-started": lambda data: f"topology {data.get('topology', 'default')} in {_where(data)}",
    "intent": lambda data: (
        f"{_where(data)} to give {data.get('kind', 'thing')} {data.get('instance_type', '')}".rstrip()
    ),
    "created": lambda data: f"{data.get('kind', 'thing')}s in {_where(data)} to be up",
    "nodes-ready": lambda _: "nodes to be ready as their group's `ready` says",
    "node-ready": lambda _: "the other nodes to be ready as their group's `ready` says",
    "unknown": lambda data: f"a clear answer about {data.get('kind', 'thing')} in {_where(data)}",
    "unread": lambda data: f"{_where(data)} to say what it offers",
    "attempt-ended": lambda data: "the next placement" if data.get("outcome") != "placed" else "",
    "changed": lambda data: "",
    "releasing": lambda data: f"the cloud to remove {data.get('kind', 'thing')}s",
    "gone": lambda _: "the cloud to remove the rest",
}
