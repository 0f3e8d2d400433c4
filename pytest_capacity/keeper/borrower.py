"""A borrower: an xdist worker, which uses a run that another process owns."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.client import BEAT, Beat, Connection, Listener, pause
from pytest_capacity.keeper.protocol import Answer, Call
from pytest_capacity.keeper.spawn import last_lines

A = TypeVar("A", bound=Answer)


class Borrower:
    """Uses a run that another process owns."""

    def __init__(self, path: str, name: str, on_event: Listener | None = None) -> None:
        """``on_event`` is called, on a thread of its own, when nodes have come or gone."""
        self._on_event = on_event
        self._path = path
        self._name = name
        self._past = 0
        self._connection = Connection(path, "borrower", name, on_event=on_event)

    @property
    def deaths(self) -> int:
        """How many keepers of this run are gone, each of which this process was connected to."""
        return self._past + self._connection.lost

    def call(self, message: Call, answer: type[A], *, beat: Beat | None = None) -> A:
        """Ask the keeper; after its death, ask the next one. Raises what it answers, and `KeeperError`."""
        while True:
            connection = self._connection
            try:
                return connection.call(message, answer, beat=beat)
            except KeeperError:
                if not connection.lost:
                    raise
            self._reconnect(beat)

    def _reconnect(self, beat: Beat | None) -> None:
        for _ in range(round(protocol.COMING_BACK / BEAT)):
            try:
                connection = Connection(self._path, "borrower", self._name, on_event=self._on_event)
            except KeeperError:
                if not Path(self._path).parent.exists():
                    break  # The owner has given up.
                pause(BEAT)
            else:
                self._past += 1
                self._connection = connection
                return
            if beat:
                beat()
        log = self._connection.welcome.log
        raise KeeperError(f"the keeper is gone and no other took its place. Its log {log} ends:\n{last_lines(log)}")

    def close(self) -> None:
        """Say goodbye."""
        self._connection.close()
