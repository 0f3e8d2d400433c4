"""SIGTERM and SIGHUP become one Ctrl-C, so that pytest ends in good order and the run is released and waited for.

pytest leaves these signals to the system, whose default ends the process on the spot (and, in a container's PID 1, does
nothing at all until the SIGKILL comes).
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """The handler of one pytest process. Only where nobody else handles the signal, and only in the main thread."""

    def __init__(self) -> None:
        self._installed: list[signal.Signals] = []
        self._pid = os.getpid()
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

    def restore(self) -> None:
        """Give them back."""
        for number in self._installed:
            # A handler that a test put in our place stays.
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL)
        self._installed.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A child that a test forked, and which is told to end: that is none of our business.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.deaf:
            self.deaf = True
            raise KeyboardInterrupt(f"{signal.Signals(number).name} received")
