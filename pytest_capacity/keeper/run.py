"""What a keeper keeps: the run's lock, journal, engine and loans, opened once an owner says what the run wants."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from msgspec.structs import asdict, replace

from pytest_capacity.backends import open_backend, provider
from pytest_capacity.engine import Engine
from pytest_capacity.engine.clock import Clock
from pytest_capacity.engine.reach import KeyFiles, Reach
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.engine.usage import open_runs, read_usage
from pytest_capacity.errors import CapacityError, ChangedSession, JournalError, KeeperError, OtherCredentials
from pytest_capacity.journal import Entry, Journal, LostJournal
from pytest_capacity.keeper import emulated
from pytest_capacity.keeper.clusters import scaling_of
from pytest_capacity.keeper.consulting import Consulting
from pytest_capacity.keeper.joining import continued, differences, read_request
from pytest_capacity.keeper.loans import Loans
from pytest_capacity.keeper.places import Places, key_files, prune
from pytest_capacity.keeper.protocol import COMING_BACK, Description, Holding, Start, Staying
from pytest_capacity.keeper.spawn import collect_garbage
from pytest_capacity.model import Identity, Placed, Receipt, Request, Unread
from pytest_capacity.remote.keys import make_key_pair
from pytest_capacity.usage import UseFilter

#: How much longer than it looks for us we wait for a borrower. Seconds.
GRACE: Final = 10.0


class Run:
    """One run, as its keeper holds it."""

    def __init__(
        self,
        call: Start,
        places: Places,
        owner: int,
        clock: Clock,
        run_state: RunState,
        journal: Journal,
        lock: FileLock,
        advice: Consulting,
    ) -> None:
        """Open the SDK, and the run's emulator, if it wants one of its own."""
        #: As its first owner asked for it.
        self.request = call.request
        self._run_state = run_state
        self._journal = journal
        self._lock = lock
        self._clock = clock
        self._places = places
        #: Marks of credentials that are known to be of the run's account (`protocol.Start.credentials`).
        self.credentials = {call.credentials, run_state.credentials}
        #: Borrowers that an earlier keeper had, and since when each is awaited.
        self._returning = {loan.borrower: time.monotonic() for loan in run_state.loans.values()}
        request = self._with_emulator(call.scenario, owner)
        backend = open_backend(request)
        reach = Reach(request, backend.default_user, run_keys(request, places), emulated.locator(request.endpoint))
        advice.complain = run_state.trouble
        which = emulated.identify(request.endpoint)
        self.engine = Engine(request, backend, run_state, clock, reach, advice, which)
        self.loans = Loans(run_state, replaces=request.on_preempt == "replace")
        #: Its databases, and the operation requests of these and of its node groups.
        self.scaling = scaling_of(request, self.engine, run_state, journal, clock, self.loans)
        self._identity: Future[Identity] = Future()
        threading.Thread(target=self._look_up, name="capacity-identity", daemon=True).start()

    def _with_emulator(self, scenario: str | None, owner: int) -> Request:
        """Return the request with the endpoint of the run's emulator, if it is to have one of its own."""
        request, run_state = self.request, self._run_state
        if request.emulated:
            emulated.isolate()
        if not request.emulated or request.endpoint is not None:
            return request
        # The emulator of a session must outlive its first owner.
        lives_with = os.getpid() if request.session else owner
        if run_state.emulator is None:
            started = emulated.start(lives_with, scenario, self._places.log)
            run_state.note("emulator", data=asdict(started))
        else:
            emulated.use(run_state.emulator_secret_file)
            if request.session:
                emulated.own(run_state.emulator, lives_with)
        return replace(request, endpoint=run_state.emulator)

    @staticmethod
    def open(
        call: Start,
        places: Places,
        owner: int,
        clock: Clock,
        push: Callable[[Entry], None],
        advice: Consulting,
        *,
        socket: str = "",
    ) -> Run:
        """Take the run's lock, open its journal, import the SDK. No cloud call is waited for.

        The first keeper of a run begins it; what an earlier run of the same id left behind is released beside it. A
        later keeper adopts what the one before it held, even where the journal cannot be used any more: then it can
        only release what the cloud lists. Raises `JournalError` (and then nothing is ever created), `KeeperError` when
        another keeper has the run, and `ConfigError` when the SDK is missing.
        """
        request = call.request
        adopts = call.deaths > 0
        lock = _take(places.lock, request.run)
        prune(places, clock.now())
        try:
            journal = Journal(Path(places.journal))
            run_state = RunState(journal, request.run, clock)
        except JournalError as error:
            if not adopts:
                raise
            journal = LostJournal(error)
            run_state = RunState(journal, request.run, clock)
        run_state.listen(push)
        if adopts and run_state.request:
            request = continued(read_request(run_state.request), request)
            call = replace(call, request=request)
        if adopts and (run_state.live or journal.set_aside):
            run_state.note("adopted", data=_who(call, clock, socket))
        else:
            run_state.intend("run-started", data=_who(call, clock, socket))
        if journal.aside:
            run_state.trouble(
                f"the journal {places.journal} was damaged, and is kept as {journal.aside.name} beside it; "
                "what it knew is looked up in the cloud"
            )
        if adopts or journal.set_aside:
            # What a keeper that died wrote last may be lost; a listing finds what it made.
            run_state.regions.update(request.regions)
        try:
            return Run(call, places, owner, clock, run_state, journal, lock, advice)
        except CapacityError:
            if not adopts and not run_state.held() and not run_state.doubtful():
                run_state.note("run-ended", data={"left": 0})  # Or it would be listed as one that is under way.
            raise

    def _look_up(self) -> None:
        try:
            self._identity.set_result(self.engine.open())
        except BaseException as error:  # noqa: BLE001 - raised again, whole, by what asks for the identity.
            self._identity.set_exception(error)
        finally:
            collect_garbage()

    def identity(self) -> Identity:
        """Return the account; waits until it is known. Raises `Refused` when the cloud does not know us."""
        return self._identity.result()

    def ask(self, topology: str, *, launch: bool = True) -> Placed:
        """Provision; nothing is created before the account is known."""
        self.identity()
        return self.engine.provision(topology, launch=launch)

    def admit(self, call: Start) -> None:
        """Let another process join. Raises `ChangedSession` with both values, or `OtherCredentials`."""
        found = differences(self.request, call.request)
        if found:
            listed = "\n".join(f"  {line}" for line in found)
            raise ChangedSession(
                f"session {self.request.session!r} has other nodes than this process asks for:\n{listed}\n"
                "Make the two alike, pass --capacity-rebuild to have them released and built anew, "
                "or name another session (--capacity-session)"
            )
        if call.account:
            self.credentials.add(call.credentials)
        elif call.credentials not in self.credentials:
            raise OtherCredentials("these credentials are not those with which the session began")

    def resume(self) -> None:
        """Provision again for an owner that has come: whatever those before it received or sent, it may have nodes."""
        self.engine.resume()
        self.scaling.resume()

    def keep(self, seconds: float) -> float:
        """Keep what stands, for so long at most; until when."""
        until = min(self._clock.now() + seconds, self.engine.hard_end)
        self.note_kept(until)
        return until

    def note_kept(self, until: float | None) -> None:
        """Remember until when it is kept (None: an owner is there again): another keeper goes on with that."""
        self._run_state.note("kept", data={"until": until})

    def extend(self, until: float) -> None:
        """Let the run last until then."""
        self.engine.extend(until)
        try:
            self.scaling.extend(self.engine.hard_end)
        except CapacityError as error:
            self._run_state.trouble(f"the new end could not be written to the databases: {error}")

    def note_uses(self, wanted: UseFilter) -> tuple[Unread, ...]:
        """Read who uses what of the cloud, for the allocation view of this journal; what could not be read.

        Raises `JournalError`.
        """
        from pytest_capacity.allocations import open_cloud_view  # What most runs never ask for.

        request = self.request
        runs = open_runs(self._journal, request.backend)
        found = read_usage(self.engine.backend, request.regions, runs, wanted)
        with open_cloud_view(self._places.journal, now=self._clock.now) as view:
            view.note(request.backend, found.resources, found.whole(request.regions, wanted))
        return found.unread

    @property
    def stands(self) -> bool:
        """Whether any topology does, or a database."""
        return bool(self._run_state.placed) or self.scaling.stands

    @property
    def placed(self) -> tuple[Placed, ...]:
        """What stands."""
        return tuple(self._run_state.placed.values())

    @property
    def kept_until(self) -> float | None:
        """Until when the journal says that it is kept."""
        return self._run_state.kept_until

    def describe(self) -> Description:
        """Return what run this is; who is there is for the server to add."""
        return Description(
            request=self.request,
            started=self._run_state.started or 0.0,
            hard_end=self.engine.hard_end,
            limit=self.engine.limit,
            placed=self.placed,
            identity=self._identity.result() if self._identity.done() and not self._identity.exception() else None,
        )

    def told(self, staying: Staying) -> Staying:
        """Return ``staying`` with what an owner that leaves is to know of the run."""
        run_state = self._run_state
        return replace(
            staying,
            placed=self.placed,
            limit=self.engine.limit,
            attempts=tuple(run_state.attempts),
            changes=tuple(run_state.changes),
        )

    def chores(self, present: set[str]) -> None:
        """Keep the leases. After an adoption, borrowers that are not ``present`` again in time are given up."""
        self.engine.renew()
        for borrower, since in list(self._returning.items()):
            if borrower in present:
                del self._returning[borrower]
            elif time.monotonic() - since > COMING_BACK + GRACE:
                del self._returning[borrower]
                self.loans.borrower_gone(borrower, suspect=True)

    def watch_preemption(self) -> None:
        """Notice spot nodes that the cloud takes back; where that is wished, replace them."""
        if self.engine.watch_preemption():
            self.loans.look_again()

    def preempted(self) -> Mapping[str, str]:
        """Return what the cloud has taken back of this run's nodes, by id, with its words. Looks now."""
        self.engine.preemption.look()
        self.loans.look_again()
        return dict(self._run_state.preempted)

    def over(self) -> str:
        """Return why the run's time is over; "": it is not."""
        now = self._clock.now()
        if now >= self.engine.hard_end:
            return "it reached its hard end, as `duration` (--capacity-duration) sets it"
        return "a lease that its nodes end with could not be extended" if now >= self.engine.over_at else ""

    def holding(self) -> Holding:
        """Return what is held, by the journal."""
        helds = self._run_state.standing()
        ends = self.engine.ends(helds)
        databases = self.scaling.held
        return Holding(
            held=(*helds, *databases),
            until=ends.until,
            endless=(*ends.endless, *(held.id for held in databases)),
            by_hand=(*self.engine.backend.by_hand(helds), *self.scaling.by_hand(databases)),
            unanswered=len(self._run_state.doubtful()),
        )

    def stop(self) -> None:
        """Provision nothing more, from the next boundary between calls on."""
        self.engine.stop.set()
        self.scaling.stop()

    def release(self, until: Callable[[], bool]) -> Receipt:
        """Give everything back."""
        self.loans.close()
        # Databases and nodes go side by side: both take minutes.
        with ThreadPoolExecutor(1, "capacity-databases") as beside:
            databases = beside.submit(self.scaling.release, until)
            receipt = self.engine.release(until)
            return self.scaling.receipt(receipt, *databases.result())

    def cancel_other(self, run: str) -> Receipt:
        """Find and release what another run left (the seeds' ``cancel_all_regions``)."""
        self.identity()
        return self.engine.cancel_other(run, self.engine.request.release_timeout_s)

    def all_expired(self) -> bool:
        """Return whether all that could not be released has ended by itself, or never will."""
        return self._clock.now() > self.engine.give_up_at()

    def note_left(self, receipt: Receipt) -> None:
        """Write what is left now that its release is given up: where it is, and how a person removes it."""
        things = [f"{held.kind} {held.id} in {held.zone or held.region}" for held in receipt.left]
        unread = [f"{part.kind} in {part.region or 'every region'} (unread: {part.why})" for part in receipt.unread]
        if things or unread:
            by_hand = f". Remove it by hand: {'; '.join(receipt.by_hand)}" if receipt.by_hand else ""
            self._run_state.trouble(f"given up, and still there: {', '.join(things + unread)}{by_hand}")

    def warn(self, words: str) -> None:
        """Warn the user and the tests that run: what they use goes now."""
        self._run_state.warn(words)

    def close(self, receipt: Receipt, why: str) -> None:
        """Write the run's end, and let go of journal and lock."""
        left = len(receipt.left) + len(receipt.unread) + receipt.unanswered
        self._run_state.note("run-ended", data={"left": left, "why": why})
        self.engine.close()
        self._journal.close()
        if receipt.clean:
            for path in key_files(self._lock.lock_file):
                Path(path).unlink(missing_ok=True)
        self._lock.release()


def request_of(run: str, places: Places, clock: Clock) -> Request | None:
    """Return the request of a run that an earlier keeper held and that is not ended; None if there is none."""
    if not Path(places.journal).exists():
        return None
    with closing(Journal(Path(places.journal))) as journal:
        found = RunState(journal, run, clock).request
    return None if found is None else read_request(found)


def run_keys(request: Request, places: Places) -> KeyFiles:
    """Return the run's key pair, made if the user has none, and where its nodes' host keys are written.

    Machines of the user's own are known to the user's own SSH.
    """
    private, known_hosts = key_files(places.lock)
    if request.ssh is None or provider(request.backend).owns_machines:
        return KeyFiles("", None, None)
    if request.ssh.key:
        return KeyFiles("", None, known_hosts)
    return KeyFiles(make_key_pair(Path(private)), private, known_hosts)


def _take(path: str, run: str) -> FileLock:
    """Return the run's lock, for as long as this process lives."""
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=5)
    except Timeout:
        raise KeeperError(
            f"run {run!r} has a keeper already (its lock {path} is taken). Give this run another test_id, or wait"
        ) from None
    except OSError as error:
        raise JournalError(f"the lock {path} cannot be taken: {error}. Make its directory writable") from error
    return lock


def _who(call: Start, clock: Clock, socket: str) -> dict[str, object]:
    request = call.request
    return {
        "credentials": call.credentials,
        "socket": socket,
        "run": request.run,
        "project": request.project,
        "pid": os.getpid(),
        "host": platform.node(),
        "boot": _boot_id(),
        "started": clock.now(),
        "nonce": secrets.token_hex(6),
        "request": request,
    }


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""  # macOS: the lock alone decides.
