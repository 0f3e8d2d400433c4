"""The run's own view of the journal: what it holds, what is in doubt, what was placed.

A `RunState` is folded from the journal's events, the old ones when a keeper adopts a run and the new ones as they are
written, so that a second keeper has the same state as the first one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from pytest_capacity.engine.clock import Clock
from pytest_capacity.errors import JournalError
from pytest_capacity.journal import Entry, Journal
from pytest_capacity.ladder import MEMORY_LIMIT, Refusal
from pytest_capacity.model import Attempt, Held, HeldKey, Identity, Need, Order, Piece, Placed, Subject

Listener = Callable[[Entry], None]


class Loan(Struct, frozen=True):
    """Nodes lent to one test. ``key`` is the borrower's own, the same for every repeated request."""

    key: str
    borrower: str
    test: str
    topology: str
    ids: tuple[str, ...]


class Alteration(Struct, frozen=True, kw_only=True):
    """A change of a node group that is under way, so that another keeper can finish or undo it."""

    #: That of its operation request.
    token: str
    topology: str
    group: str
    #: Nodes that it stops or removes, by id: no test gets them meanwhile, and it is no loss that they do not run.
    ids: tuple[str, ...] = ()
    #: By which it makes what it needs; None: it makes nothing.
    order: Order | None = None
    #: What is to be done, which only `pytest_capacity.scaling.nodes` reads.
    task: Mapping[str, Any] = {}
    #: Why it is being undone; "": it is not.
    undo: str = ""


class RunState:
    """The things that one run holds. All methods may be called from any thread."""

    def __init__(self, journal: Journal, run: str, clock: Clock) -> None:
        self.run = run
        #: What is written for the user goes through this: it names the keys that the user's file can have.
        self.worded: Callable[[str], str] = str
        self._journal = journal
        self._clock = clock
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []
        #: That it fails is no news: it was reported, or the run has ended and its journal is closed.
        self._journal_failed = False
        #: The highest attempt number used under this run id.
        self.tried = 0
        #: Definite refusals so far, by subject: each ended a logical create.
        self.refusals: dict[str, int] = {}
        self.forget()
        for entry in journal.events(run):
            self._apply(entry)
        self.uncertain.update(self.doubts)  # The keeper that wrote these intents died before it could write an answer.

    def forget(self) -> None:
        """Reset the state, as after the run's end."""
        self.helds: dict[HeldKey, Held] = {}
        self.born: dict[HeldKey, float] = {}
        self.leaving: set[HeldKey] = set()
        self.doubts: dict[str, Piece] = {}
        #: When each doubt was last asked about; one that stands from an earlier keeper is as old as its intent.
        self.asked: dict[str, float] = {}
        #: Subjects of doubts with a call behind them whose answer was lost: only some answers end these.
        self.uncertain: set[str] = set()
        #: Under way, by topology: until the attempt has failed, or what it made is handed over.
        self.orders: dict[str, Order] = {}
        #: By which what stands was placed, by topology: the whole, and then what was replaced.
        self.fulfilled: dict[str, list[Order]] = {}
        #: Changes of node groups that are under way, by token; and the ended ones: what failed, in words, "" for none.
        self.alterations: dict[str, Alteration] = {}
        self.altered: dict[str, str] = {}
        #: The instance types of groups that have been given another one since they were placed, by topology and group.
        self.types: dict[tuple[str, str], str] = {}
        self.attempts: list[Attempt] = []
        self.placed: dict[str, Placed] = {}
        self.suspects: set[str] = set()
        #: Spot nodes that the cloud has taken back, with its words, by id.
        self.preempted: dict[str, str] = {}
        #: Loans not given back, by key.
        self.loans: dict[str, Loan] = {}
        self.troubles: list[str] = []
        #: What came out otherwise than first asked for, in words.
        self.changes: list[str] = []
        self.identity: Identity | None = None
        self.emulator: str | None = None
        #: The file with its secret.
        self.emulator_secret_file = ""
        self.started: float | None = None
        #: A mark of the credentials with which the run began.
        self.credentials = ""
        #: Where `extend` has moved the run's hard end; None: nowhere.
        self.hard_end: float | None = None
        #: Until when the run is kept though it has no owner; None: it has one, or is not kept.
        self.kept_until: float | None = None
        #: Distinguishes this run from an earlier one of the same id.
        self.nonce = ""
        #: The request as the run began, as plain data.
        self.request: Any = None
        #: Regions in which something was asked for; the receipt reads all of them.
        self.regions: set[str] = set()

    def of(self, run: str) -> RunState:
        """Return the state of another run in the same journal, with the same listeners."""
        other = RunState(self._journal, run, self._clock)
        other._listeners = self._listeners
        other.worded = self.worded
        return other

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every event from now on, on the thread that writes it."""
        self._listeners.append(listener)

    def intend(self, kind: str, subject: str = "", data: Any = None) -> None:
        """Write an event that must be on disk before what it announces is done. Raises `JournalError`."""
        self._publish(self._journal.write(self.run, kind, subject, data))

    def note(self, kind: str, subject: str = "", data: Any = None) -> None:
        """Write an event about what has happened anyway. A journal that fails now is reported, once, and no more.

        After the end of the run its journal is closed: what comes late is published alone.
        """
        try:
            entry = self._journal.write(self.run, kind, subject, data)
        except JournalError as error:
            plain = msgspec.to_builtins({} if data is None else data)
            entry = Entry(0, self._clock.now(), self.run, kind, subject, plain)
            if not self._journal_failed:
                self._journal_failed = True
                self._publish(Entry(0, self._clock.now(), self.run, "trouble", "", {"words": str(error)}))
        self._journal_failed |= kind == "run-ended"
        self._publish(entry)

    def trouble(self, words: str) -> None:
        """Record what the user must read; once, however often it comes up."""
        words = self.worded(words)
        if words not in self.troubles:
            self.note("trouble", data={"words": words})

    def warn(self, words: str) -> bool:
        """Record a warning for tests as well as the user: their nodes go early. Once; return whether it was now."""
        words = self.worded(words)
        if words in self.troubles:
            return False
        self.note("ending", data={"words": words})
        return True

    @property
    def live(self) -> bool:
        """Return whether the run has begun and not ended."""
        return self.started is not None

    def refused_lately(self, cloud: str) -> list[tuple[float, Refusal]]:
        """Return what this ``cloud`` refused to any run of the journal lately, and when. Empty where it fails."""
        try:
            entries = self._journal.attempts_since(self._clock.now() - MEMORY_LIMIT)
        except JournalError:
            return []
        return [
            (entry.at, refusal) for entry in entries if entry.data.get("cloud") == cloud for refusal in _refusals(entry)
        ]

    def next_attempt(self) -> int:
        """Return the number of the next attempt; none is used twice under one run id, not even by a later run."""
        with self._lock:
            self.tried += 1
            return self.tried

    def held(self, subjects: Iterable[str] | None = None) -> list[Held]:
        """Return what the run holds: all of it, or what came of these subjects."""
        with self._lock:
            wanted = None if subjects is None else set(subjects)
            return [held for held in self.helds.values() if wanted is None or held.subject in wanted]

    def made(self, subject: str) -> list[Held]:
        """Return what came of one piece."""
        return self.held([subject])

    def altering(self) -> frozenset[str]:
        """Return the ids of nodes that are being stopped or removed on purpose."""
        with self._lock:
            return frozenset(id_ for one in self.alterations.values() for id_ in one.ids)

    def doubtful(self) -> list[Piece]:
        """Return the pieces whose create call has an intent and no answer."""
        with self._lock:
            return list(self.doubts.values())

    def subjects(self) -> list[str]:
        """Return the subjects of what is held, and of what may exist."""
        return [held.subject for held in self.held()] + [piece.subject for piece in self.doubtful()]

    def refused(self, kinds: Collection[str]) -> list[str]:
        """Return the subjects of pieces of these kinds of which a create call was refused."""
        return [subject for subject in list(self.refusals) if Subject.parse(subject).kind in kinds]

    def settle(self, subject: str) -> None:
        """Record that the outcome of the create call is known."""
        self.doubts.pop(subject, None)
        self.asked.pop(subject, None)
        self.uncertain.discard(subject)

    def accepted(self, held: Held) -> bool:
        """Return whether the cloud has accepted to remove this."""
        with self._lock:
            return held.key in self.leaving

    def standing(self) -> tuple[Held, ...]:
        """Return what is held; what the cloud has accepted to remove is leaving, though it was not looked at since."""
        return tuple(
            msgspec.structs.replace(held, state="leaving")
            if self.accepted(held) and held.state in ("creating", "ready")
            else held
            for held in self.held()
        )

    def age(self, held: Held) -> float:
        """Return how long ago this was made, in seconds; of what this journal does not know that, very long."""
        return self._clock.now() - self.born.get(held.key, 0.0)

    def note_releasing(self, helds: Sequence[Held]) -> None:
        """Write that the cloud has accepted to remove these, which are of one kind and region."""
        self.note("releasing", helds[0].subject, _named(helds))

    def note_gone(self, helds: Iterable[Held]) -> None:
        """Write that the cloud no longer has these in a state that bills or blocks."""
        for alike in by_kind_and_region(helds):
            self.note("gone", data=_named(alike))

    def _publish(self, entry: Entry) -> None:
        with self._lock:
            self._apply(entry)
        for listener in self._listeners:
            listener(entry)

    def _apply(self, entry: Entry) -> None:
        fold = _FOLDS.get(entry.kind)
        if fold:
            fold(self, entry)


def by_kind_and_region(helds: Iterable[Held]) -> list[list[Held]]:
    """Return them in lists, each of one kind and region."""
    key = attrgetter("kind", "region")
    return [list(alike) for _, alike in groupby(sorted(helds, key=key), key=key)]


def _named(helds: Sequence[Held]) -> dict[str, object]:
    """Return things of one kind and region, for an event."""
    return {"kind": helds[0].kind, "region": helds[0].region, "ids": [held.id for held in helds]}


def _keys(run_state: RunState, entry: Entry) -> list[HeldKey]:
    """Return which of the run's things an event names. One of a version before may lack region and kind."""
    ids, kind, region = entry.data.get("ids", [entry.data.get("id")]), entry.data.get("kind"), entry.data.get("region")
    return [key for key in run_state.helds if key[2] in ids and kind in (None, key[0]) and region in (None, key[1])]


def _piece(plain: Mapping[str, Any]) -> Piece:
    """Return a piece as an intent has it. A version before wrote subjects as needs, and inputs by subject."""
    if any(isinstance(need, str) for need in plain.get("needs", ())):
        kinds = {need: Subject.parse(need).kind for need in plain["needs"]}
        needs = [Need(kind, need) for need, kind in kinds.items()]
        inputs = {kinds.get(need, need): id_ for need, id_ in plain.get("inputs", {}).items()}
        plain = {**plain, "needs": msgspec.to_builtins(needs), "inputs": inputs}
    return msgspec.convert(plain, Piece)


def _refusals(entry: Entry) -> list[Refusal]:
    """Return those of an attempt of any run; none where another version wrote what this one cannot read."""
    try:
        return msgspec.convert(entry.data.get("refusals", []), list[Refusal])
    except msgspec.ValidationError:
        return []


def _started(run_state: RunState, entry: Entry) -> None:
    """Begin the run. What an earlier one of its id left behind is still the run's, and nothing else of it is."""
    helds, born, leaving, doubts = run_state.helds, run_state.born, run_state.leaving, run_state.doubts
    asked, regions, identity = run_state.asked, run_state.regions, run_state.identity
    run_state.forget()
    run_state.helds, run_state.born, run_state.leaving, run_state.doubts = helds, born, leaving, doubts
    run_state.asked, run_state.regions = asked, regions
    run_state.uncertain = set(doubts)
    if helds or doubts:
        run_state.identity = identity
    run_state.started = float(entry.data.get("started", entry.at))
    run_state.nonce = entry.data.get("nonce", "")
    run_state.request = entry.data.get("request")
    run_state.credentials = entry.data.get("credentials", "")


def _identity(run_state: RunState, entry: Entry) -> None:
    run_state.identity = msgspec.convert(entry.data, Identity)


def _emulator(run_state: RunState, entry: Entry) -> None:
    run_state.emulator = entry.data["url"]
    run_state.emulator_secret_file = entry.data.get("secret_file", "")


def _attempt_started(run_state: RunState, entry: Entry) -> None:
    order = msgspec.convert(entry.data["order"], Order)
    run_state.orders[order.topology.name] = order
    run_state.tried = max(run_state.tried, order.attempt)
    run_state.regions.add(order.placement.region)


def _intent(run_state: RunState, entry: Entry) -> None:
    piece = _piece(entry.data["piece"])
    run_state.doubts[piece.subject] = piece
    run_state.asked[piece.subject] = entry.at
    run_state.regions.add(piece.region)


def _created(run_state: RunState, entry: Entry) -> None:
    run_state.settle(entry.subject)
    for held in msgspec.convert(entry.data["held"], list[Held]):
        run_state.helds[held.key] = held
        run_state.born.setdefault(held.key, entry.at)


def _refused(run_state: RunState, entry: Entry) -> None:
    run_state.settle(entry.subject)
    run_state.refusals[entry.subject] = run_state.refusals.get(entry.subject, 0) + 1


def _unknown(run_state: RunState, entry: Entry) -> None:
    run_state.uncertain.add(entry.subject)
    if entry.data.get("step") == "ask-again":  # Anything else was refused, this time: it made nothing new.
        run_state.asked[entry.subject] = entry.at


def _state(run_state: RunState, entry: Entry) -> None:
    for held in msgspec.convert(entry.data["held"], list[Held]):
        if held.key in run_state.helds:
            run_state.helds[held.key] = held


def _attempt_ended(run_state: RunState, entry: Entry) -> None:
    attempt = msgspec.convert(entry.data["attempt"], Attempt)
    # A keeper that died before it handed over what stood has the next one end the same attempt once more.
    run_state.attempts = [*(one for one in run_state.attempts if one.number != attempt.number), attempt]
    if attempt.outcome != "placed":
        run_state.orders.pop(attempt.topology, None)


def _placed(run_state: RunState, entry: Entry) -> None:
    placed = msgspec.convert(entry.data["placed"], Placed)
    run_state.placed[placed.topology] = placed
    if "alteration" in entry.data:
        alteration = run_state.alterations.get(entry.data["alteration"])
        order = alteration.order if alteration and entry.data.get("made") else None
    else:
        order = run_state.orders.pop(placed.topology, None)
    if order:
        run_state.fulfilled.setdefault(placed.topology, []).append(order)
    for group, type_ in entry.data.get("types", {}).items():
        run_state.types[placed.topology, group] = type_


def _alteration_started(run_state: RunState, entry: Entry) -> None:
    alteration = msgspec.convert(entry.data["alteration"], Alteration)
    run_state.alterations[alteration.token] = alteration
    if alteration.order:
        run_state.tried = max(run_state.tried, alteration.order.attempt)
        run_state.regions.add(alteration.order.placement.region)


def _alteration_undoing(run_state: RunState, entry: Entry) -> None:
    alteration = run_state.alterations.get(entry.data["token"])
    if alteration:
        run_state.alterations[alteration.token] = msgspec.structs.replace(alteration, undo=entry.data["words"])


def _alteration_ended(run_state: RunState, entry: Entry) -> None:
    run_state.alterations.pop(entry.data["token"], None)
    run_state.altered[entry.data["token"]] = entry.data["words"]


def _releasing(run_state: RunState, entry: Entry) -> None:
    run_state.leaving.update(_keys(run_state, entry))


def _gone(run_state: RunState, entry: Entry) -> None:
    for key in _keys(run_state, entry):
        run_state.helds.pop(key, None)
        run_state.leaving.discard(key)


def _renewed(run_state: RunState, entry: Entry) -> None:
    for key in _keys(run_state, entry):
        run_state.helds[key] = msgspec.structs.replace(run_state.helds[key], deadline=entry.data["deadline"])


def _lent(run_state: RunState, entry: Entry) -> None:
    loan = msgspec.convert(entry.data["loan"], Loan)
    run_state.loans[loan.key] = loan


def _returned(run_state: RunState, entry: Entry) -> None:
    run_state.loans.pop(entry.data["key"], None)


def _suspect(run_state: RunState, entry: Entry) -> None:
    run_state.suspects.update(entry.data["ids"])


def _preempted(run_state: RunState, entry: Entry) -> None:
    run_state.preempted[entry.data["id"]] = entry.data["words"]
    run_state.changes.append(entry.data["words"])


def _trouble(run_state: RunState, entry: Entry) -> None:
    run_state.troubles.append(entry.data["words"])


def _changed(run_state: RunState, entry: Entry) -> None:
    run_state.changes.append(entry.data["words"])


def _kept(run_state: RunState, entry: Entry) -> None:
    run_state.kept_until = entry.data["until"]


def _extended(run_state: RunState, entry: Entry) -> None:
    # Of two that come at once the later one counts, in whatever order they were written: the end never moves back.
    run_state.hard_end = max(run_state.hard_end or 0.0, entry.data["hard_end"])


def _run_ended(run_state: RunState, entry: Entry) -> None:
    if not entry.data.get("left"):
        run_state.forget()


_FOLDS: Mapping[str, Callable[[RunState, Entry], None]] = {
    "run-started": _started,
    "identity": _identity,
    "emulator": _emulator,
    "attempt-started": _attempt_started,
    "intent": _intent,
    "created": _created,
    "refused": _refused,
    "unknown": _unknown,
    "state": _state,
    "attempt-ended": _attempt_ended,
    "placed": _placed,
    "alteration-started": _alteration_started,
    "alteration-undoing": _alteration_undoing,
    "alteration-ended": _alteration_ended,
    "releasing": _releasing,
    "gone": _gone,
    "renewed": _renewed,
    "lent": _lent,
    "returned": _returned,
    "suspect": _suspect,
    "preempted": _preempted,
    "trouble": _trouble,
    "ending": _trouble,
    "changed": _changed,
    "kept": _kept,
    "extended": _extended,
    "run-ended": _run_ended,
}
