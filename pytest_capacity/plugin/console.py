"""Writes lines to pytest's terminal, past any capture, from any thread."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, cast

import pytest

from pytest_capacity.keeper.client import BEAT, pause
from pytest_capacity.keeper.protocol import Event
from pytest_capacity.report.progress import Progress
from pytest_capacity.report.render import Line, live
from pytest_capacity.text import fold_all

if TYPE_CHECKING:
    from _pytest.capture import CaptureManager


def width_of(config: pytest.Config) -> int | None:
    """Return the columns of pytest's terminal; None where it writes to a file or a pipe."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return None
    return config.get_terminal_writer().fullwidth if reporter.isatty or "COLUMNS" in os.environ else None


def folded(lines: Iterable[Line], columns: int | None) -> Iterator[Line]:
    """Yield lines that are no wider than ``columns``."""
    for line in lines:
        for text in fold_all(line.text.splitlines() or [""], columns):
            yield Line(text, line.colour)


class Console:
    """Live lines and errors.

    In a serial run events wait in a queue until the main thread has a moment (`beat`), because a line that another
    thread writes ends up in a test's captured output. In an xdist controller nothing is captured, and they are written
    as they come.
    """

    def __init__(self, config: pytest.Config, *, at_once: bool, provision_s: float, release_s: float) -> None:
        self._config = config
        self._at_once = at_once
        self._events: deque[Event] = deque()
        self._lock = threading.Lock()
        self._quiet = config.get_verbosity() < 0
        self._progress = Progress(provision_s, release_s, quiet=self._quiet)
        self._watcher: threading.Thread | None = None

    def on_event(self, event: Event) -> None:
        """Take an event from the reader thread."""
        self._progress.on_event(event)
        if self._at_once:
            self._show([event])
            self._watch()
        else:
            self._events.append(event)

    def beat(self) -> None:
        """Write what has come since, and now and then what is waited for; for the main thread while it waits."""
        # Of those that come meanwhile, the next beat shows what is left.
        if events := [self._events.popleft() for _ in range(len(self._events))]:
            self._show(events)
        elif line := self._progress.beat():
            self._write([line])

    def begin_release(self) -> None:
        """Say of a wait from now on that it is for the release."""
        self._progress.begin_release()

    def _watch(self) -> None:
        """Have a thread say what is waited for: an xdist controller's main thread waits for its workers, not for us."""
        if self._progress.waiting and (self._watcher is None or not self._watcher.is_alive()):
            self._watcher = threading.Thread(target=self._beat_on, name="capacity-progress", daemon=True)
            self._watcher.start()

    def _beat_on(self) -> None:
        while self._progress.waiting:
            pause(BEAT)
            if line := self._progress.beat():
                self._write([line])

    def say(self, text: str, colour: str = "") -> None:
        """Write a line, quiet or not."""
        self._write([Line(text, colour)])

    def say_all(self, lines: Iterable[Line]) -> None:
        """Write lines, quiet or not."""
        self._write(list(lines))

    def _show(self, events: Iterable[Event]) -> None:
        lines = [line for line in map(live, events) if line and (not self._quiet or line.colour == "red")]
        if lines:
            self._write(lines)

    def _write(self, lines: Iterable[Line]) -> None:
        self._progress.written()
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        # `pytest | head` closes the terminal under us; that must not end the reader thread, nor a release.
        with suppress(OSError, ValueError), self._lock, self._uncaptured():
            if reporter:
                reporter.ensure_newline()
                # After live lines the reporter does not know that it has written a test's letter.
                if self._config.get_terminal_writer().width_of_current_line:
                    reporter.write("\n")
            for line in folded(lines, width_of(self._config)):
                if reporter:
                    reporter.write_line(line.text, **line.markup)
                elif line.colour == "red":
                    print(line.text, file=sys.__stderr__)
            if reporter:
                reporter.flush()

    def _uncaptured(self) -> AbstractContextManager[None]:
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if self._at_once or capture is None:
            return nullcontext()
        return cast("CaptureManager", capture).global_and_fixture_disabled()
