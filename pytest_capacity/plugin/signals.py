"""SIGTERM and SIGHUP become one Ctrl-C, so that pytest finishes its session and the run is released and waited for.

pytest leaves these signals to the system, whose default ends the process on the spot (and, in a container's PID 1, does
nothing at all until the SIGKILL comes). A second Ctrl-C while pytest writes down the first one is kept for the release.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """The handler of one pytest process. Only where the handler is the default, and only in the main thread."""

    def __init__(self) -> None:
        self._installed: list[signal.Signals] = []
        self._pid = os.getpid()
        self._masks = threading.local()
        #: Set once the run is being released anyway: signals have nothing left to say.
        self.deaf = False

    def install(self) -> None:
        """Take the signals whose handling is the system's default. Under ``nohup`` SIGHUP is ignored, and stays so."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._handle)
                self._installed.append(number)
        if self._installed:
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
            )

    def _before_fork(self) -> None:
        # Python forgets what a child is sent before it has its bearings; blocked, it waits in the kernel.
        if self._installed:
            self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._installed)

    def _after_fork(self) -> None:
        before = self._masks.__dict__.pop("before", None)
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _after_fork_in_child(self) -> None:
        if os.getpid() != self._pid and threading.current_thread() is threading.main_thread():
            self.restore()
        self._after_fork()

    def restore(self) -> None:
        """Give them back."""
        for number in self._installed:
            # A handler that a test put in our place stays.
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL)
        self._installed.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A child that a test forked, and which gets a signal to end: that is none of our business.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.deaf:
            self.deaf = True
            raise KeyboardInterrupt(f"{signal.Signals(number).name} received")


class Pending:
    """Counts Ctrl-C, and raises none, from the first one until the session's end begins.

    In this time, a second or so, pytest renders the traceback of the first; a second one there ends pytest with a
    traceback of its own, before it has written its summary. Only where Ctrl-C is handled in Python's own way.
    """

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._held = False
        self._spare = 0

    def hold(self, *, certain: bool) -> None:
        """Begin. Unless it is ``certain`` that the session ends, one Ctrl-C is kept back, and the next one raised."""
        self._spare = -1 if certain else 1
        if self._held or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._held = True

    def let_go(self) -> None:
        """Raise Ctrl-C again."""
        if self._held and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._held = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._spare == 0:
            signal.default_int_handler(number, frame)
        self._spare -= 1
        self._count()
