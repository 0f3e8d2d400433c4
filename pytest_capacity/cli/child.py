"""The command that ``run`` runs: a child in a process group of its own, with the terminal, and with our signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

_PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: As a shell says it.
BY_SIGNAL: Final = 128


class Signals:
    """What this process was sent: written down, and passed on to the child while there is one. Never an exception."""

    def __init__(self) -> None:
        self.caught: list[int] = []
        self._group: int | None = None

    def install(self) -> None:
        """Handle the signals whose handler is the default; what is ignored (``nohup``) stays so."""
        for number in _PASSED_ON:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._handle)

    @contextmanager
    def passed_to(self, group: int) -> Iterator[None]:
        """Pass signals to this process group for the time of the block; those too that came while it was started."""
        self._group = group
        try:
            for number in list(self.caught):
                self._send(number)
            yield
        finally:
            self._group = None

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.caught.append(number)
        self._send(number)

    def _send(self, number: int) -> None:
        if self._group is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._group, number)


def run_child(command: Sequence[str], environ: Mapping[str, str], signals: Signals) -> int:
    """Run it to its end; its exit code, or 128 and the number of the signal that ended it.

    On a terminal it is in the foreground, as a shell would put it, so that it may read, and Ctrl-C is its own.
    """
    with _foreground() as (terminal, prepared):
        child = subprocess.Popen(command, env=dict(environ), process_group=prepared)
        group = prepared or child.pid
        with signals.passed_to(group):
            status = _wait(child.pid, group, terminal)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode if child.returncode >= 0 else BY_SIGNAL - child.returncode


def _wait(child: int, group: int, terminal: int | None) -> int:
    """Return the status with which the child ended; on a terminal, stop and go on with it."""
    while True:
        _, status = os.waitpid(child, os.WUNTRACED if terminal is not None else 0)
        if terminal is None or not os.WIFSTOPPED(status):
            return status
        # Ctrl-Z: we stop as well, so that the shell has the terminal; `fg` goes on with both. Where there is no shell
        # above us that could do that, the kernel stops no process by this signal.
        _give(terminal, os.getpgrp())
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        _give(terminal, group)
        os.killpg(group, signal.SIGCONT)


@contextmanager
def _foreground() -> Iterator[tuple[int | None, int]]:
    """Give the terminal to a new process group for the time of the block, if it is ours to give; both, or None and 0.

    The group has the terminal before the child is started in it. A child that began in the background could be stopped
    for reading, and a Ctrl-Z that comes before it is continued would be lost with that.
    """
    terminal = _terminal()
    if terminal is None:
        yield None, 0
        return
    # A group needs a process: this one ends when its input does.
    with subprocess.Popen(("sh", "-c", "read _"), stdin=subprocess.PIPE, process_group=0) as first:
        _give(terminal, first.pid)
        try:
            yield terminal, first.pid
        finally:
            _give(terminal, os.getpgrp())
            first.kill()  # It may have been stopped together with the child.


def _terminal() -> int | None:
    try:
        terminal = sys.stdin.fileno()
        return terminal if os.tcgetpgrp(terminal) == os.getpgrp() else None
    except (OSError, ValueError, AttributeError):
        return None  # There is none, or it is not ours.


def _give(terminal: int, group: int) -> None:
    # Who is in the background and does this is stopped, unless it ignores that.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(terminal, group)
    except OSError:
        pass  # The terminal is gone, or that group is.
    finally:
        signal.signal(signal.SIGTTOU, before)
