"""The keeper: one run's process. It lives while an owner lives, then releases everything, and exits.

Its main thread waits for the end and keeps the leases; each connection has its threads, and each call that may take
long gets one of its own. Who is there, and what the end of an owner means, is the business of `peers`.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from pytest_capacity import errors
from pytest_capacity.backends.wording import wording
from pytest_capacity.engine.clock import SystemClock
from pytest_capacity.errors import CapacityError
from pytest_capacity.journal import Entry
from pytest_capacity.keeper import guard, protocol
from pytest_capacity.keeper.consulting import Consulting
from pytest_capacity.keeper.joining import drift
from pytest_capacity.keeper.peer import Peer
from pytest_capacity.keeper.peers import Peers
from pytest_capacity.keeper.places import remove_socket
from pytest_capacity.keeper.protocol import COMING_BACK, Answer, Call
from pytest_capacity.keeper.run import Run, request_of
from pytest_capacity.keeper.schedule import Task
from pytest_capacity.keeper.sessions import LIVES, Session
from pytest_capacity.keeper.spawn import KeeperArgs, last_lines
from pytest_capacity.model import Receipt

_log: Final = logging.getLogger("pytest_capacity.keeper")

#: How long a keeper without a connection waits for its first owner. Seconds.
FIRST_OWNER: Final = 60.0

#: How often leases are looked at. Seconds.
CHORES: Final = 20.0

#: How often spot nodes are looked at: clouds say 30 seconds to two minutes ahead what they take back. Seconds.
WATCH: Final = 5.0

#: How often it is asked whether it is time to look at operation requests (``scaling: {interval: ...}``). Seconds.
SCALING: Final = 0.5

#: How long an owner has to take its receipt, and then to hang up. Seconds.
FAREWELL: Final = 2.0

#: How long a keeper may go on after its owner where a CI system would kill it (``capacity_outlive_job``). Seconds.
OUTLIVE: Final = 120.0


class Server:
    """Answers calls until it is over. The `CallHandler` of its peers."""

    def __init__(self, listener: socket.socket, post: KeeperArgs) -> None:
        self._listener = listener
        self._post = post
        self._name = post.run
        self._places = post.places
        self._clock = SystemClock()
        self._session = Session(post.session) if post.session else None
        #: The threads of those who wait for the receipt.
        self._farewells: list[threading.Thread] = []
        self._over = threading.Event()
        self._why = ""
        self._there = Peers(self._over, self.end, self._keep, shared=self._session is not None)
        #: Set once an owner has said what the run wants: a worker may be back before it after a keeper's death.
        self._begun = threading.Event()
        self._settled = threading.Event()
        self._receipt: Receipt | None = None
        self._run: Run | None = None
        self._run_lock = threading.Lock()
        self._failure: CapacityError | None = None
        #: What errors go through: they name the keys that the run's file can have.
        self._worded: Callable[[str], str] = str
        self._deaths = post.deaths if post.adopt else 0
        self._guard = guard.Guard(post)
        self._preemption = Task("preemption", WATCH, lambda: self._the_run().watch_preemption())
        self._advice = Consulting(self._there.owners)
        self._began = time.monotonic()

    def serve(self) -> int:
        """Serve until the run is over and everything is given back; return the exit status."""
        _log.info("keeper %d of run %s on Python %s", os.getpid(), self._name, platform.python_version())
        threading.Thread(target=self._accept, name="capacity-accept", daemon=True).start()
        if self._post.adopt:
            self._take_over()
        chores = (
            Task("leases", CHORES, lambda: self._the_run().chores({peer.name for peer in self._there.everybody()})),
            Task("scaling", SCALING, self._scale),
            self._preemption,
        )
        while not self._over.wait(1.0):
            self._expect_an_owner()
            if self._run is None:
                continue
            self._run.engine.watch_credentials()
            for chore in chores:
                chore.run_if_due()
            if why := self._run.over():
                self._run.warn(f"this run is over: {why}")
                self.end(why)
            self._there.end_if_overdue(self._clock.now())
        if self._session:
            self._session.clear(self._name, os.getpid())  # A process that comes now begins a run of its own.
        self._listener.close()
        left = self._release()
        for farewell in self._farewells:
            farewell.join(FAREWELL)  # Who waits for the receipt must have it before we hang up.
        if self._farewells and self._there.owners():
            self._there.no_owner.wait(FAREWELL)  # Who has it hangs up first: our hanging up would look like a death.
        for peer in self._there.everybody():
            peer.finish(2.0)
        # An owner that left at a second Ctrl-C, or was killed, does not remove it.
        remove_socket(self._post.socket)
        _log.info("over, %d left", left)
        return 1 if left else 0

    def end(self, why: str) -> None:
        """Release and exit; safe from a signal handler."""
        if not self._over.is_set():
            _log.info("ending: %s", why)
            self._why = why
        self._over.set()

    def greet(self, peer: Peer, call: protocol.Hello) -> Answer:
        """Let a peer in, if it is one of our own user's, and comes in time."""
        peer.name, peer.role = call.name, call.role
        if peer.uid not in (os.getuid(), 0):
            return protocol.Failed(error="KeeperError", message="this keeper belongs to another user")
        if not self._there.enter(peer):
            return protocol.Failed(error="Ending", message=f"run {self._name} is ending ({self._why})")
        return protocol.Welcome(
            run=self._name, pid=os.getpid(), log=self._places.log, deaths=self._post.deaths if self._session else 0
        )

    def handle(self, peer: Peer, call: Call) -> None:
        """Answer ``call``, on a thread of its own."""
        if isinstance(call, protocol.Advise):
            self._advice.take(call)
            return
        answers: Mapping[type, Callable[[Peer, Any], Answer]] = {
            protocol.Start: self._start,
            protocol.Ask: self._ask,
            protocol.Borrow: self._borrow,
            protocol.GiveBack: self._give_back,
            protocol.Stop: self._stop,
            protocol.Release: self._leave,
            protocol.Extend: self._extend,
            protocol.Describe: self._describe,
            protocol.ReadConsole: self._read_console,
            protocol.FindPreempted: self._find_preempted,
            protocol.PatchDatabase: self._change,
            protocol.ScaleNodes: self._change,
            protocol.AskDatabase: self._ask_database,
            protocol.WaitOps: self._ops,
            protocol.ListOps: self._ops,
            protocol.NoteUses: self._note_uses,
            protocol.Status: self._status,
            protocol.CancelRun: self._cancel_run,
        }
        answer = answers.get(type(call))
        if answer:
            thread = threading.Thread(target=self._answer, args=(peer, call, answer), daemon=True)
            if isinstance(call, protocol.Release):
                self._farewells.append(thread)
            thread.start()

    def lost(self, peer: Peer, *, crashed: bool) -> None:
        """Forget a peer; with the last owner all is over, unless it is to be kept."""
        self._there.lost(peer, crashed=crashed)
        if self._run and not self._over.is_set():
            self._run.loans.borrower_gone(peer.name, suspect=crashed)

    def _answer(self, peer: Peer, call: Call, answer: Callable[[Peer, Any], Answer]) -> None:
        try:
            peer.send(answer(peer, call), call)
        except CapacityError as error:
            peer.send(protocol.Failed(error=type(error).__name__, message=self._worded(str(error))), call)
        except Exception as error:  # noqa: BLE001 - the edge of the process: no caller waits for ever on a fault of ours.
            _log.exception("%s failed", type(call).__name__)
            words = f"the keeper failed on {type(call).__name__}: {error!r}. Its log: {self._places.log}"
            peer.send(protocol.Failed(error="KeeperError", message=words), call)

    def _start(self, peer: Peer, call: protocol.Start) -> Answer:
        _owners_only(peer)
        peer.advises, peer.whole = call.advises, call.whole
        first = self._open(call, peer)
        run = self._the_run()
        if not first or self._deaths:
            run.admit(call)
        if not first:
            run.resume()
        identity = run.identity()
        if call.account and call.account != identity.account:
            raise errors.ChangedSession(
                f"session {self._post.session!r} has its nodes in account {identity.account}, and these credentials "
                f"are of account {call.account}. Use the same credentials, or name another session (--capacity-session)"
            )
        if self._deaths >= LIVES:
            self.end("two keepers of this run died, so this one only releases")
        elif self._there.admit(peer, call.request):
            run.note_kept(None)
        return protocol.Started(identity=identity, joined=not first, drift=tuple(drift(run.request, call.request)))

    def _open(self, call: protocol.Start, peer: Peer) -> bool:
        """Begin the run, or adopt it, unless that was done; return whether it was done now."""
        with self._run_lock:
            if self._run or self._failure:
                return False
            self._deaths = call.deaths
            self._worded = wording(call.request)
            try:
                self._run = self._open_run(call, peer.pid)
                # Who adopts it may yet be refused; what was kept is kept on then.
                self._there.kept_until = self._run.kept_until
            except CapacityError as error:
                self._failure = error
            finally:
                self._begun.set()
            return True

    def _open_run(self, call: protocol.Start, owner: int) -> Run:
        return Run.open(call, self._places, owner, self._clock, self._push, self._advice, socket=self._post.socket)

    def _take_over(self) -> None:
        """Go on as the journal has it: the keeper of a kept session died, and there is no owner to say so."""
        with self._run_lock:
            self._run = self._orphaned(self._deaths)
            if self._run:
                self._worded = wording(self._run.request)
                # Not kept, it was in use: its owners come back, those that live.
                until = self._run.kept_until
                self._there.kept_until = self._clock.now() + COMING_BACK if until is None else until
            self._begun.set()
        if self._run is None or self._deaths >= LIVES:
            self.end("the keeper of this session died")
        else:
            self._start_guard()

    def _keep(self, peer: Peer, *, failed: bool) -> float | None:
        """Return until when the run is kept after its last owner; None: not at all. Quick: in the lock of `Peers`."""
        wanted = peer.wish
        if self._run is None or wanted is None or self._deaths >= LIVES or not self._run.stands:
            return None
        if wanted.keep == "never" or (wanted.keep == "failed" and not failed):
            return None
        until = self._run.keep(wanted.keep_s)
        self._start_guard()
        return until

    def _start_guard(self) -> None:
        try:
            self._guard.start()
        except CapacityError as error:
            # What is kept is released in time by us, too.
            _log.error("no process guards what is kept: %s", error)

    def _ask(self, _: Peer, call: protocol.Ask) -> Answer:
        run = self._the_run()
        self._still_on()
        return protocol.Ready(placed=run.ask(call.topology, launch=call.launch))

    def _borrow(self, peer: Peer, call: protocol.Borrow) -> Answer:
        run = self._the_run()
        self._still_on()
        placed = run.ask(call.topology)
        return protocol.Lent(nodes=run.loans.lend(call, peer.name, placed, lambda: peer in self._there.everybody()))

    def _give_back(self, _: Peer, call: protocol.GiveBack) -> Answer:
        self._the_run().loans.give_back(call.key, suspect=call.suspect)
        return protocol.Done()

    def _stop(self, peer: Peer, _: protocol.Stop) -> Answer:
        _owners_only(peer)
        run = self._the_run()
        if self._there.is_alone(peer):
            run.stop()
        return protocol.Done()

    def _extend(self, _: Peer, call: protocol.Extend) -> Answer:
        run = self._the_run()
        self._still_on()
        run.extend(call.until)
        kept = self._there.extend(call.until)
        if kept is not None:
            run.note_kept(kept)
        return protocol.Extended(hard_end=run.engine.hard_end, kept_until=kept)

    def _describe(self, _: Peer, __: protocol.Describe) -> Answer:
        description = self._the_run().describe()
        owners = tuple(sorted(owner.pid for owner in self._there.owners()))
        return msgspec.structs.replace(
            description, owners=owners, kept_until=self._there.kept_until, ending=self._over.is_set()
        )

    def _read_console(self, _: Peer, call: protocol.ReadConsole) -> Answer:
        return protocol.Console(text=self._the_run().engine.console(call.node))

    def _find_preempted(self, _: Peer, __: protocol.FindPreempted) -> Answer:
        known = self._the_run().preempted()
        self._preemption.run_soon()
        return protocol.Preempted(nodes=known)

    def _change(self, _: Peer, call: protocol.PatchDatabase | protocol.ScaleNodes) -> Answer:
        scaling = self._the_run().scaling
        self._still_on()
        if isinstance(call, protocol.PatchDatabase):
            requests = scaling.patch(call.change)
        else:
            requests = scaling.scale(call.change)
        return protocol.OpsAnswer(requests=requests, targets=(scaling.status(call.change.target),))

    def _ask_database(self, _: Peer, call: protocol.AskDatabase) -> Answer:
        run = self._the_run()
        self._still_on()
        engine, namespace, name = run.scaling.database(call.key)
        return protocol.DatabaseReady(engine=engine, namespace=namespace, name=name)

    def _ops(self, _: Peer, call: protocol.WaitOps | protocol.ListOps) -> Answer:
        scaling = self._the_run().scaling
        if isinstance(call, protocol.WaitOps):
            requests = scaling.wait(call.tokens, call.timeout_s)
        else:
            requests = scaling.state.of_target(call.target) if call.target else scaling.state.all()
        targets = dict.fromkeys(request.target for request in requests)
        return protocol.OpsAnswer(requests=requests, targets=tuple(map(scaling.status, targets)))

    def _note_uses(self, _: Peer, call: protocol.NoteUses) -> Answer:
        return protocol.UsesNoted(unread=self._the_run().note_uses(call.wanted))

    def _status(self, _: Peer, __: protocol.Status) -> Answer:
        return self._run.holding() if self._run else protocol.Holding(held=())

    def _cancel_run(self, peer: Peer, call: protocol.CancelRun) -> Answer:
        _owners_only(peer)
        return protocol.Settled(receipt=self._the_run().cancel_other(call.run))

    def _leave(self, peer: Peer, call: protocol.Release) -> Answer:
        """Let an owner go that has done with the run, or end it by a visitor's order."""
        if peer.role == "borrower":
            _owners_only(peer)
        self._begun.wait(FIRST_OWNER)  # What an earlier keeper held must be known to be released.
        if peer.role == "owner":
            staying = self._there.leave(peer, failed=call.failed, keep=not call.now)
            if staying:
                return self._run.told(staying) if self._run else staying
        else:
            self._there.clear(f"run {self._name}", force=call.force)
        self._settled.wait()
        if self._receipt is None and self._failure is not None and self._deaths:
            raise self._failure  # There is something to give back, and it could not even be looked at.
        return protocol.Settled(receipt=self._receipt or Receipt(run=self._name, asked=False))

    def _the_run(self) -> Run:
        self._begun.wait(FIRST_OWNER)
        with self._run_lock:
            if self._failure:
                raise self._failure
            if self._run is None:
                raise errors.KeeperError("no owner has started this run")
            return self._run

    def _still_on(self) -> None:
        if self._deaths >= LIVES:
            tail = last_lines(self._places.log)
            raise errors.KeeperError(f"the keeper of this run died twice; its log {self._places.log} ends:\n{tail}")
        if self._over.is_set():
            raise errors.Cancelled(f"the run is ending ({self._why}), so nothing more is provisioned")

    def _release(self) -> int:
        """Give everything back; go on as long as anything could still bill. Returns how much is left."""
        with self._run_lock:
            run = self._run or self._orphaned(1)
        if run is None:
            self._settled.set()
            return 0
        began = time.monotonic()
        patience = OUTLIVE if self._post.outlive_job else run.engine.request.release_timeout_s
        receipt = run.release(lambda: time.monotonic() - began > patience)
        self._receipt = receipt
        self._settled.set()
        while not receipt.clean and not self._post.outlive_job and not run.all_expired():
            receipt = run.release(run.all_expired)
        run.note_left(receipt)
        run.close(receipt, self._why)
        return len(receipt.left)

    def _orphaned(self, deaths: int) -> Run | None:
        """Return the run of an owner that died before it could say what there is to release; None: there is none."""
        if self._failure is not None:
            return None
        try:
            request = request_of(self._name, self._places, self._clock)
            if request is None:
                return None
            return self._open_run(protocol.Start(request=request, deaths=max(1, deaths)), os.getpid())
        except CapacityError as error:
            self._failure = error
            _log.error("what an earlier keeper of this run held cannot be released: %s", error)
            return None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # Closed: it is over.
            try:
                Peer(connection, self).start()
            except OSError:
                connection.close()  # Gone before we looked.

    def _expect_an_owner(self) -> None:
        if self._there.owners() or self._there.had_owners or self._post.adopt:
            return
        if os.getppid() != self._post.parent:
            self.end("the process that started this keeper is gone, and no owner came")
        elif time.monotonic() - self._began > FIRST_OWNER:
            self.end("no owner came")

    def _scale(self) -> None:
        self._the_run().scaling.look()

    def _push(self, entry: Entry) -> None:
        """Tell owners, and the log, what happened."""
        plain = {name: value for name, value in entry.data.items() if not _bulky(value)}
        _log.info("%s %s %s", entry.kind, entry.subject, plain)
        event = protocol.Event(at=entry.at, kind=entry.kind, subject=entry.subject, data=plain)
        for owner in self._there.owners():
            owner.send(msgspec.structs.replace(event, data=entry.data) if owner.whole else event)
        if entry.kind == "placed" and "alteration" in entry.data:
            # Who has the nodes in hand must learn that others have come, or that some are gone.
            for peer in self._there.everybody():
                if peer.role == "borrower":
                    peer.send(event)


def _owners_only(peer: Peer) -> None:
    if peer.role != "owner":
        raise errors.KeeperError(f"{peer.name} does not own this run, so it cannot begin or end it")


def _bulky(value: object) -> bool:
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)
