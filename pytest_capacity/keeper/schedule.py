"""What a keeper does again and again beside everything else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger("pytest_capacity.keeper")


class Task:
    """Something done every so many seconds, on a thread of its own: a call that hangs must not keep the end from being
    noticed. Never twice at once.
    """

    def __init__(self, name: str, every: float, do: Callable[[], None]) -> None:
        self._name = name
        self._every = every
        self._do = do
        self._since = 0.0
        self._thread = threading.Thread()

    def run_if_due(self) -> None:
        """Begin it, if it is time. Quick."""
        if time.monotonic() - self._since > self._every and not self._thread.is_alive():
            self._since = time.monotonic()
            self._thread = threading.Thread(target=self._run, name=f"capacity-{self._name}", daemon=True)
            self._thread.start()

    def run_soon(self) -> None:
        """Let it be time."""
        self._since = 0.0

    def _run(self) -> None:
        try:
            self._do()
        except Exception:  # noqa: BLE001 - the edge of the process: a failed chore is done again, the run goes on.
            _log.exception("%s: a chore failed", self._name)
