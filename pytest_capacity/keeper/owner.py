"""The two who speak with a keeper: its owner (pytest's controller, or its only process) and a borrower (a worker).

The owner starts the keeper and watches it. When it dies the owner starts another at the same socket, which adopts the
run from the journal, and calls that were in flight are sent again: each of them may be. A third one only releases.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper import places, protocol
from pytest_capacity.keeper.client import BEAT, Connection, Listener
from pytest_capacity.keeper.protocol import Answer, Call
from pytest_capacity.keeper.spawn import SpawnOptions, last_lines, spawn
from pytest_capacity.model import Identity, Receipt, Request

A = TypeVar("A", bound=Answer)
Beat = Callable[[], None]

#: So many keepers may die; the next one only releases.
LIVES: Final = 2

#: How long the owner, having said goodbye, waits for the keeper's process to end. Seconds.
FAREWELL: Final = 2.0

_never: Final = threading.Lock()
_never.acquire()


def _pause(seconds: float) -> None:
    # A lock's timeout runs by the kernel's clock; a test may have frozen Python's, or replaced time.sleep.
    _never.acquire(timeout=seconds)


class Owner:
    """Owns a run: starts its keeper, and everything of the run ends with this process."""

    def __init__(self, request: Request, options: SpawnOptions, on_event: Listener) -> None:
        self.run: Final = request.run
        self._request = request
        self._options = options
        self._on_event = on_event
        self._directory = places.socket_dir()
        self._places = places.Places.of(request.run, request.journal)
        self.path: Final = str(Path(self._directory) / "keeper")
        self.log: Final = self._places.log
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._changed = threading.Condition()
        self._deaths = 0
        self._closed = False
        self._over = False
        self._fault: KeeperError | None = None
        self._started: threading.Thread | None = None
        self._identity: Identity | None = None
        self._identity_fault: BaseException | None = None
        self._identity_known = threading.Event()
        self._pid = os.getpid()

    @property
    def deaths(self) -> int:
        """How many keepers of this run are gone, each of which this process was connected to."""
        return self._deaths

    @property
    def pid(self) -> int:
        """The keeper's process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def ready(self) -> bool:
        """Whether the keeper has said who we are to the cloud, or why not."""
        return self._identity_known.is_set()

    def start(self) -> None:
        """Spawn the keeper and tell it what the run wants, without waiting for anything. Raises `KeeperError`."""
        self._open()
        self._started = threading.Thread(target=self._look_up, name="capacity-identity", daemon=True)
        self._started.start()

    def identity(self, *, timeout: float, beat: Beat | None = None) -> Identity | None:
        """The account, waited for at most ``timeout`` seconds; None: not known yet. Raises what the keeper answered."""
        for _ in range(max(1, round(timeout / BEAT))):
            if self._identity_known.wait(BEAT):
                break
            if beat:
                beat()
        if self._identity_fault:
            raise self._identity_fault
        return self._identity

    def call(self, message: Call, answer: type[A], *, beat: Beat | None = None) -> A:
        """Ask the keeper; a call that its death cut off is sent to the next one.

        Raises what the keeper answers, and `KeeperError` with the end of its log after the second death.
        """
        while True:
            connection = self._current(beat)
            try:
                return connection.call(message, answer, beat=beat)
            except KeeperError:
                if not connection.lost:
                    raise

    def stop(self) -> None:
        """Tell the keeper that the run is about to end, so that nothing more is asked for. Returns at once."""
        if self._connection:
            self._connection.tell(protocol.Stop())

    def release(self, *, beat: Beat | None = None) -> Receipt:
        """End the run: everything is given back; what the cloud still lists."""
        return self.call(protocol.Release(), protocol.Settled, beat=beat).receipt

    def held(self) -> protocol.Holding | None:
        """What is held, by the journal; None when the keeper does not say so within two seconds."""
        found: list[protocol.Holding] = []

        def ask() -> None:
            with contextlib.suppress(KeeperError):  # Nobody to ask.
                found.append(self.call(protocol.Status(), protocol.Holding))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(timeout=2)
        return found[0] if found else None

    def close(self) -> None:
        """Say goodbye; the keeper releases what there is and goes by itself. Does nothing in a forked child."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._connection:
            self._connection.close()
        if self._process:
            # On a thread: a wait with a timeout sleeps by Python's clock, which a test may have frozen or replaced.
            ending = threading.Thread(target=self._process.wait, name="capacity-keeper-end", daemon=True)
            ending.start()
            ending.join(timeout=FAREWELL)
            if ending.is_alive():
                # It is at work on its own; it is not our child to wait for any more.
                self._process.returncode = 0
                return
        places.remove_dir(self._directory)

    def _look_up(self) -> None:
        try:
            self._identity = self.call(self._start_call(), protocol.Started).identity
        except BaseException as error:  # noqa: BLE001 - handed on to whoever asks.
            self._identity_fault = error
        self._identity_known.set()

    def _start_call(self) -> protocol.Start:
        return protocol.Start(request=self._request, scenario=self._options.scenario, deaths=self._deaths)

    def _open(self) -> None:
        self._process = spawn(self.run, self._places, self.path, self._options)
        try:
            connection = Connection(self.path, "owner", "main", on_event=self._hear)
        except KeeperError as error:
            raise KeeperError(f"{error}. The keeper's log {self.log} ends:\n{last_lines(self.log)}") from error
        with self._changed:
            self._connection = connection
            self._changed.notify_all()
        connection.watch(self._lost)

    def _hear(self, event: protocol.Event) -> None:
        if event.kind == "run-ended":
            self._over = True
        self._on_event(event)

    def _lost(self) -> None:
        """The keeper died, or ended the run: on the reader's thread of the connection that ended."""
        with self._changed:
            if self._closed or self._fault:
                return
            self._deaths += 1
            again = self._deaths <= LIVES
        if self._over or not again:
            self._give_up("the keeper has ended this run" if self._over else "the keeper died once more")
            return
        try:
            if self._process:
                self._process.kill()  # What closed its socket has no business any more.
                self._process.wait()
            self._open()
            self._tell()
        except KeeperError as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        with self._changed:
            self._fault = KeeperError(f"{why}. Its log {self.log} ends:\n{last_lines(self.log)}")
            self._changed.notify_all()
        # Borrowers look for a new keeper as long as there is a place for its socket.
        places.remove_dir(self._directory)

    def _tell(self) -> None:
        threading.Thread(target=self._start_again, name="capacity-adoption", daemon=True).start()

    def _start_again(self) -> None:
        connection = self._connection
        try:
            if connection:
                connection.call(self._start_call(), protocol.Started)
        except Exception:  # noqa: BLE001 - whoever asks next hears of it; a lost keeper is started again elsewhere.
            pass

    def _current(self, beat: Beat | None) -> Connection:
        """A connection that is not known to be lost; waits while a new keeper is being started."""
        while True:
            with self._changed:
                if self._fault:
                    raise self._fault
                if self._closed:
                    raise KeeperError("this run is over")
                if self._connection and not self._connection.lost:
                    return self._connection
            _pause(BEAT)
            if beat:
                beat()


class Borrower:
    """Uses a run that another process owns."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._name = name
        self._past = 0
        self._connection = Connection(path, "borrower", name)

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
                connection = Connection(self._path, "borrower", self._name)
            except KeeperError:
                if not Path(self._path).parent.exists():
                    break  # The owner has given up.
                _pause(BEAT)
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
