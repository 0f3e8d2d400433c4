"""The owner of a run: pytest's controller, or its only process.

It starts the keeper and watches it. When it dies the owner starts another at the same socket, which adopts the
run from the journal, and calls that were in flight are sent again: each of them may be. A third one only releases.
"""

from __future__ import annotations

import math
import os
import secrets
import subprocess
import threading
from typing import Final, Literal, TypeVar

from msgspec.structs import replace

from pytest_capacity.errors import (
    CapacityError,
    ChangedSession,
    Ending,
    InUse,
    KeeperError,
    OtherCredentials,
    OtherVersion,
    Silent,
)
from pytest_capacity.keeper import places, protocol
from pytest_capacity.keeper.client import BEAT, Advisor, Beat, Connection, Listener, expect, pause, within
from pytest_capacity.keeper.joining import credentials_of
from pytest_capacity.keeper.protocol import Answer, Call
from pytest_capacity.keeper.sessions import LIVES, Record, Session
from pytest_capacity.keeper.spawn import KeeperArgs, SpawnOptions, last_lines, spawn
from pytest_capacity.model import Identity, Receipt, Request

#: What the keeper refuses is shown at the line of the test that asked; `--full-trace` shows how it got there.
__tracebackhide__ = True

A = TypeVar("A", bound=Answer)

#: How long the owner, having said goodbye, waits for the keeper's process to end. Seconds.
FAREWELL: Final = 2.0

#: How long the owner, at a second Ctrl-C, waits for the keeper to say what is held. Seconds.
ASKING: Final = 5.0

#: How long the keeper of a session that is to be joined may take to say who it is. Seconds.
JOINING: Final = 15.0


class Owner:
    """Owns a run: starts its keeper, or joins the session's, and without an owner the run ends, unless it is kept."""

    def __init__(
        self,
        request: Request,
        options: SpawnOptions,
        on_event: Listener,
        *,
        rebuild: bool = False,
        advisor: Advisor | None = None,
        advises: tuple[protocol.Topic, ...] = (),
        whole: bool = False,
    ) -> None:
        self.request = request
        #: Our own name, which no other process has; the names of our workers begin with it.
        self.name: Final = f"{os.getpid()}-{secrets.token_hex(3)}"
        self._options = options
        self._on_event = on_event
        self._rebuild = rebuild
        self._advisor = advisor
        self._advises = advises
        self._whole = whole
        self._credentials = credentials_of(os.environ, request) if request.session else ""
        self._account: str | None = None
        self._session = Session(request.session) if request.session else None
        self._places = places.Places.of(request.run, request.journal)
        self.log = self._places.log
        self.path = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._changed = threading.Condition()
        self._own_run: Final = request.run
        #: The keepers of this run that died while this process was connected to them; and that any process saw die.
        self.deaths = self._fallen = 0
        #: Whether the session's keeper had died before we came, and only this process takes up what it held.
        self._took_over = False
        self._closed = False
        self._over = False
        #: What ended the run, and how many things it left.
        self._why = ""
        self._left = False
        self._fault: CapacityError | None = None
        #: Whether a keeper that takes the place of one that died may be reached and not know yet what we wish.
        self._replacing = False
        #: Sends the next keeper what the last one knew.
        self._telling: threading.Thread | None = None
        self.answer: protocol.Started | None = None
        #: The session as it stood when it was joined.
        self.found: protocol.Description | None = None
        self._identity_fault: BaseException | None = None
        self._identity_known = threading.Event()
        self._pid = os.getpid()

    @property
    def run(self) -> str:
        """The run's id; a session's own, once it was joined."""
        return self.request.run

    @property
    def pid(self) -> int:
        """The keeper's process id; 0 before the start."""
        return self._connection.welcome.pid if self._connection else 0

    @property
    def ready(self) -> bool:
        """Whether the keeper has said who we are to the cloud, or why not."""
        return self._identity_known.is_set()

    @property
    def joined(self) -> bool:
        """Whether the session's keeper was there before us."""
        return self._session is not None and self._connection is not None and self._process is None

    def start(self) -> None:
        """Spawn the keeper, or join the session's, and tell it what the run wants. Waits for the answer only to join.

        Raises `KeeperError`; and where a session has other nodes, another account or another version,
        `ChangedSession` or `KeeperError` with both values.
        """
        self._open()
        if self.joined or self._took_over:
            self._join()
        threading.Thread(target=self._look_up, name="capacity-identity", daemon=True).start()

    def _join(self) -> None:
        """Refuse a session whose nodes are not those asked for, or, if the user says so, have them built anew."""
        for _ in range(3):
            try:
                if not self.joined and not self._took_over:
                    return
                self._ask_to_join()
            except OtherCredentials:
                from pytest_capacity.keeper.oneshot import whoami  # Rarely needed.

                self._account = whoami(self.request, self._options.python)
            except ChangedSession:
                if not self._rebuild:
                    raise
                self._retire()
            else:
                return

    def _ask_to_join(self) -> None:
        assert self._connection is not None
        if self.joined:
            self.found = self._describe(self._connection)
        answer = self._connection.call(self._start_call(), protocol.Started)
        # A keeper that takes the run over knows nothing of it before `Start`.
        self.found = self.found or self._describe(self._connection)
        self.answer = answer

    def _describe(self, connection: Connection) -> protocol.Description:
        found = connection.call(protocol.Describe(), protocol.Description)
        return replace(found, owners=tuple(pid for pid in found.owners if pid != self._pid))

    def _retire(self) -> None:
        """Have the session's nodes released, and begin anew. Raises `InUse`."""
        assert self._connection is not None
        old = self._connection
        if self.found and self.found.owners:
            users = ", ".join(map(str, self.found.owners))
            raise InUse(
                f"session {self.request.session!r} cannot be rebuilt: process {users} uses its nodes. "
                "Wait for its end, or name another session (--capacity-session)"
            )
        old.watch(lambda: None)  # That it ends now is what we ask for, and no death.
        answer = old.ask(protocol.Release(now=True))
        if isinstance(answer, protocol.Staying):
            raise InUse(
                f"session {self.request.session!r} cannot be rebuilt: another process has just joined it. "
                "Wait for its end, or name another session (--capacity-session)"
            )
        expect(answer, protocol.Settled)
        old.close()
        self._over = False  # The events so far are of the end of the run that was there before.
        self._open()

    def identity(self, *, timeout: float, beat: Beat | None = None) -> Identity | None:
        """Return the account, waited for ``timeout`` seconds; None: not known yet. Raise what the keeper answered."""
        for _ in range(max(1, round(timeout / BEAT))):
            if self._identity_known.wait(BEAT):
                break
            if beat:
                beat()
        if self._identity_fault:
            raise self._identity_fault
        return self.answer.identity if self.answer and self._identity_known.is_set() else None

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

    def release(
        self, *, failed: bool = False, now: bool = False, beat: Beat | None = None
    ) -> Receipt | protocol.Staying:
        """Have done with the run: everything is given back; what the cloud still lists.

        A session that others use, or that is kept, stays. ``failed``: tests failed; ``now``: it is not to be kept.
        """
        while True:
            connection = self._current(beat)
            self._await_telling(beat)
            try:
                answer = connection.call(protocol.Release(failed=failed, now=now), Answer, beat=beat)
            except KeeperError:
                if not connection.lost:
                    raise
                continue  # Cut off by the keeper's death: the next one is asked.
            if isinstance(answer, protocol.Staying):
                self._left = True
                return answer
            return expect(answer, protocol.Settled).receipt

    def held(self) -> protocol.Holding | None:
        """Return what is held, by the journal; None when the keeper does not say so in time (`ASKING`)."""
        try:
            return within(ASKING, lambda: self.call(protocol.Status(), protocol.Holding))
        except (CapacityError, TimeoutError):
            return None

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
            if not self._left:
                # On a thread: a wait with a timeout sleeps by Python's clock, which a test may have frozen or replaced.
                ending = threading.Thread(target=self._process.wait, name="capacity-keeper-end", daemon=True)
                ending.start()
                ending.join(timeout=FAREWELL)
                if not ending.is_alive() and not self._session:
                    places.remove_socket(self.path)
            if self._process.returncode is None:
                # It is at work on its own; it is not our child to wait for any more.
                self._process.returncode = 0

    def _look_up(self) -> None:
        try:
            self.answer = self.answer or self.call(self._start_call(), protocol.Started)
        except BaseException as error:  # noqa: BLE001 - raised again by `identity`.
            self._identity_fault = error
        self._identity_known.set()

    def _start_call(self) -> protocol.Start:
        return protocol.Start(
            request=self.request,
            scenario=self._options.scenario,
            deaths=self._fallen,
            credentials=self._credentials,
            account=self._account,
            advises=self._advises,
            whole=self._whole,
        )

    def _open(self, *, again: bool = False) -> None:
        """Start a keeper and connect to it, or, in a session, connect to the one that there is.

        ``again``: the one to which we were connected died.
        """
        if self._session is None:
            self._fallen = self.deaths
            self._begin(self.path or places.new_socket())
            return
        with self._session.elected():
            record = self._session.read()
            if again and (record is None or record.run != self.run):
                self._finish_release()
            elif record is None or self._enter(record) == "ending":
                self._switch_run(self._own_run)
                self._fallen = 0
                self._took_over = False
                self._begin(places.new_socket())
            elif self._connection is None or self._connection.lost:
                # Its keeper died, and no other has taken its place: what it held is taken up.
                self._switch_run(record.run, record.journal)
                self._fallen = record.deaths + 1
                self._took_over = not again
                self._begin(places.same_socket(record.socket))

    def _finish_release(self) -> None:
        """Start a keeper that goes on where ours died while it gave everything back, or join that of another."""
        try:
            connection = self._connect(self.path, JOINING)
        except Silent:
            raise
        except KeeperError:
            self._fallen = LIVES
            self._begin(places.same_socket(self.path), over=True)
        else:
            self._process = None
            self._attach(connection)

    def _switch_run(self, run: str, journal: str = "") -> None:
        self.request = replace(self.request, run=run)
        self._places = places.Places.of(run, journal or self.request.journal)
        self.log = self._places.log

    def _enter(self, record: Record) -> Literal["entered", "ending", "dead"]:
        """Connect to the session's keeper."""
        try:
            connection = self._connect(record.socket, JOINING)
        except Ending:
            return "ending"
        except (OtherVersion, Silent):
            raise
        except KeeperError:
            return "dead"
        self._switch_run(record.run, record.journal)
        # The one who wrote the record may have died before it could name the keeper that it had started.
        self._fallen = connection.welcome.deaths
        self._process = None
        self.path = record.socket
        self._attach(connection)
        return "entered"

    def _begin(self, path: str, *, over: bool = False) -> None:
        """Start a keeper that listens at ``path``; the session's, in the time of our election, unless it is over."""
        self.path = path
        post = KeeperArgs(
            run=self.run,
            places=self._places,
            socket=path,
            parent=os.getpid(),
            session=self._session.name if self._session and not over else None,
            deaths=self._fallen,
            adopt=over,
            outlive_job=self._options.outlive_job,
        )
        self._process = spawn(post, self._options.python)
        if self._session and not over:
            self._session.write(post.record(self._process.pid))
        try:
            connection = self._connect(path)
        except KeeperError as error:
            raise KeeperError(f"{error}. The keeper's log {self.log} ends:\n{last_lines(self.log)}") from error
        self._attach(connection)

    def _connect(self, path: str, patience: float = math.inf) -> Connection:
        return Connection(path, "owner", self.name, on_event=self._hear, advisor=self._advisor, patience=patience)

    def _attach(self, connection: Connection) -> None:
        with self._changed:
            closed = self._closed
            if not closed:
                self._connection = connection
                self._changed.notify_all()
        if closed:
            # `close` came while this keeper was started: it releases by the journal once its owner is gone.
            connection.close()
        else:
            connection.watch(self._lost)

    def _hear(self, event: protocol.Event) -> None:
        if event.kind == "run-ended":
            self._over = True
            self._why = f"{event.data.get('why')} ({event.data.get('left')} things are left)"
        self._on_event(event)

    def _lost(self) -> None:
        """Start another keeper where ours died: on the reader's thread of the connection that ended."""
        with self._changed:
            if self._closed or self._fault or self._left:
                return
            self.deaths += 1
            again = self._fallen < LIVES
        if self._over and again:
            self._give_up(f"the keeper has ended this run: {self._why}. Its log: {self.log}")
            return
        if not again:
            # Why they died stands in the log.
            words = f"the keeper has ended this run: {self._why}" if self._over else "the keeper died once more"
            self._give_up(self._with_log(words))
            return
        try:
            if self._process:
                self._process.kill()  # What closed its socket has no business any more.
                self._process.wait()
            self._replacing = True
            self._open(again=True)
            if not self._closed:
                self._tell()
        except Exception as error:  # noqa: BLE001 - the edge of this thread: callers must not wait for ever for a keeper.
            self._give_up(self._with_log(str(error) if isinstance(error, CapacityError) else repr(error)))
        finally:
            self._replacing = False

    def _with_log(self, why: str) -> str:
        return f"{why}. Its log {self.log} ends:\n{last_lines(self.log)}"

    def _give_up(self, why: str) -> None:
        with self._changed:
            self._fault = KeeperError(why)
            self._changed.notify_all()
        # Borrowers look for a new keeper as long as there is a place for its socket.
        places.remove_socket(self.path)

    def _tell(self) -> None:
        self._telling = threading.Thread(target=self._start_again, name="capacity-adoption", daemon=True)
        self._telling.start()

    def _await_telling(self, beat: Beat | None) -> None:
        # Before it knows what we wish, a keeper would release what is to be kept; one that hangs is not waited for.
        for _ in range(round(JOINING / BEAT)):
            replacing, telling = self._replacing, self._telling  # In this order: `_lost` sets them in the other one.
            if telling is not None and telling.is_alive():
                telling.join(BEAT)
            elif replacing:
                pause(BEAT)
            else:
                return
            if beat:
                beat()

    def _start_again(self) -> None:
        connection = self._connection
        try:
            if connection:
                connection.call(self._start_call(), protocol.Started)
        except Exception:  # noqa: BLE001 - the next call raises it; a lost keeper is started again elsewhere.
            pass

    def _current(self, beat: Beat | None) -> Connection:
        """Return a connection that is not known to be lost; waits while a new keeper is being started."""
        if os.getpid() != self._pid and self._connection:
            return self._connection  # A forked child: no thread of it would learn of a new keeper, so it does not wait.
        while True:
            with self._changed:
                if self._fault:
                    raise self._fault
                if self._closed:
                    raise KeeperError("this run is over")
                if self._connection and not self._connection.lost:
                    return self._connection
            pause(BEAT)
            if beat:
                beat()
