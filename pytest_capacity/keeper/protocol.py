"""The messages between pytest and the keeper.

A frame is four bytes of length (big endian) and a JSON object. A peer sends calls, each with a number; the
keeper answers each call once, under that number, in any order, and sends events to owners at any time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct, field

from pytest_capacity.databases import DatabaseChange
from pytest_capacity.ladder import Rung
from pytest_capacity.model import (
    Attempt,
    Diagnosis,
    Held,
    Identity,
    Node,
    NodeChange,
    Placed,
    Receipt,
    Request,
    Unread,
)
from pytest_capacity.scaling.model import OpsRequest, TargetState
from pytest_capacity.usage import UseFilter
from pytest_capacity.version import __version__

#: Both ends must be of one version; a keeper on another interpreter may have another one installed.
VERSION: Final = 6

#: Larger frames are refused: nothing that we say is near it.
MAX_FRAME: Final = 16 * 1024 * 1024

_LENGTH: Final = struct.Struct(">I")

#: How long a borrower looks for a new keeper after its own has died; the new one waits a little longer for it. Seconds.
COMING_BACK: Final = 20.0

#: What an owner may be asked: in which order to climb, and what a refusal means.
Topic = Literal["ladder", "diagnose"]

#: How long the keeper waits for what an owner advises. Seconds.
ADVISING: Final = 10.0

#: An owner keeps the keeper alive; a borrower only uses nodes; a visitor (the command line) looks and gives orders.
Role = Literal["owner", "borrower", "visitor"]


class Call(Struct, frozen=True, kw_only=True, tag_field="call"):
    """What pytest says."""

    id: int = 0


class Hello(Call, frozen=True, tag="hello"):
    """First of all: who we are. Answered by `Welcome`."""

    role: Role
    name: str


class Start(Call, frozen=True, tag="start"):
    """An owner says what the run wants. Nothing is created; the SDK is loaded and the account looked up beside it.

    Answered by `Started` when the account is known, or by `Failed`. ``deaths`` counts this run's keepers that died:
    the second adopts what the first one held, the third only releases it. ``scenario`` is the emulator's file.

    A second owner (of a named session) says it too: its request must ask for what stands (`ChangedSession`), with
    credentials of the same account. ``credentials`` is a mark of these; where the mark is another one the keeper
    answers `OtherCredentials`, and asks for their ``account``.
    """

    request: Request
    scenario: str | None = None
    deaths: int = 0
    credentials: str = ""
    account: str | None = None
    #: What this owner wants to be asked (`Consult`).
    advises: tuple[Topic, ...] = ()
    #: Whether it wants events whole, with the things in them.
    whole: bool = False


class Advise(Call, frozen=True, tag="advise"):
    """The answer to the `Consult` of that number, from the process of the hooks. Not answered itself.

    ``rungs`` are places in the list that was sent. What is None is as it was; ``fault`` says what a hook raised.
    """

    number: int
    rungs: tuple[int, ...] | None = None
    diagnosis: Diagnosis | None = None
    fault: str = ""


class Ask(Call, frozen=True, tag="ask"):
    """Provision this topology, or join those who wait for it. Answered by `Ready` or `Failed`."""

    topology: str
    launch: bool = True


class Borrow(Call, frozen=True, tag="borrow"):
    """Lend ``count`` nodes of ``group`` (None: of any group) at once, first come first served. Answered by `Lent`."""

    #: The borrower's own name for this loan; a call that is sent again after a keeper's death has the same.
    key: str
    topology: str
    group: str | None
    count: int
    test: str


class GiveBack(Call, frozen=True, tag="give-back"):
    """The test is over. ``suspect``: the ids of those nodes that must not be lent again. Answered by `Done`."""

    key: str
    suspect: tuple[str, ...] = ()


class Stop(Call, frozen=True, tag="stop"):
    """An owner is about to end the run: finish the call in flight and provision nothing more. Not waited for."""


class Release(Call, frozen=True, tag="release"):
    """An owner has done with the run: release everything and say what the cloud still lists. Answered by `Settled`.

    Where others use the session too, or it is to be kept, nothing is released: then `Staying` is the answer, and the
    owner has left. ``failed``: tests failed, or were interrupted. ``now``: keep nothing. A visitor may say it as well;
    while owners are there it needs ``force``.
    """

    failed: bool = False
    now: bool = False
    force: bool = False


class Extend(Call, frozen=True, tag="extend"):
    """Let the run last until then (epoch seconds); where it is kept, keep it until then. Answered by `Extended`."""

    until: float


class Describe(Call, frozen=True, tag="describe"):
    """What run this is, for whom, until when. Asks no cloud. Answered by `Description`."""


class ReadConsole(Call, frozen=True, tag="read-console"):
    """What this node (its id) wrote to its console, as the cloud has it. Answered by `Console`."""

    node: str


class FindPreempted(Call, frozen=True, tag="find-preempted"):
    """Look now whether the cloud takes spot nodes back. Answered by `Preempted`."""


class PatchDatabase(Call, frozen=True, tag="patch-database"):
    """Change a database, of the run or any other in its cluster. Answered by `OpsAnswer` at once, or by `Failed`."""

    change: DatabaseChange


class ScaleNodes(Call, frozen=True, tag="scale-nodes"):
    """Change a node group of the run. Answered by `OpsAnswer` at once, or by `Failed`."""

    change: NodeChange


class AskDatabase(Call, frozen=True, tag="ask-database"):
    """Provision a database of ``databases:``, or wait for it. Answered by `DatabaseReady` or `Failed`."""

    key: str


class WaitOps(Call, frozen=True, tag="wait-ops"):
    """Wait until these requests (their tokens) have ended, for so many seconds at most. Answered by `OpsAnswer`."""

    tokens: tuple[str, ...]
    timeout_s: float


class ListOps(Call, frozen=True, tag="list-ops"):
    """The run's operation requests, of one target or of all. Makes no call. Answered by `OpsAnswer`."""

    target: str = ""


class NoteUses(Call, frozen=True, tag="note-uses"):
    """Read who uses what of the cloud, and take it into the index of the allocation view. Answered by `UsesNoted`."""

    wanted: UseFilter


class Status(Call, frozen=True, tag="status"):
    """What is held now, without asking the cloud. Answered by `Holding`."""


class CancelRun(Call, frozen=True, tag="cancel-run"):
    """Find whatever bears the stamp of ``run`` in every region, and release it. Answered by `Settled`."""

    run: str


class Bye(Call, frozen=True, tag="bye"):
    """The peer is leaving. Not answered."""


class Answer(Struct, frozen=True, kw_only=True, tag_field="answer"):
    """What the keeper says; ``id`` is the call's, 0 for an event."""

    id: int = 0


class Welcome(Answer, frozen=True, tag="welcome"):
    run: str
    pid: int
    log: str
    #: How many keepers of this run died before this one.
    deaths: int = 0
    version: int = VERSION
    package: str = __version__


class Started(Answer, frozen=True, tag="started"):
    """``joined``: the run stood already; ``drift`` says what this owner asked for differently and does not get."""

    identity: Identity
    joined: bool = False
    drift: tuple[str, ...] = ()


class Ready(Answer, frozen=True, tag="ready"):
    placed: Placed


class Lent(Answer, frozen=True, tag="lent"):
    nodes: tuple[Node, ...]


class Done(Answer, frozen=True, tag="done"):
    pass


class Settled(Answer, frozen=True, tag="settled"):
    receipt: Receipt


class Staying(Answer, frozen=True, tag="staying"):
    """Nothing was released: ``others`` use the session on, or its nodes are kept ``until`` then (epoch seconds).

    ``limit``: it cannot be extended beyond that.
    """

    others: int = 0
    until: float | None = None
    limit: float | None = None
    placed: tuple[Placed, ...] = ()
    #: As of a `Receipt`, of all processes of the session so far.
    attempts: tuple[Attempt, ...] = ()
    changes: tuple[str, ...] = ()


class Extended(Answer, frozen=True, tag="extended"):
    """``hard_end``: nothing lasts longer than that; ``kept_until``: where the run is kept for its next owner."""

    hard_end: float
    kept_until: float | None = None


class Description(Answer, frozen=True, tag="description"):
    """A run, its owners (process ids), and how long it may last. Times in epoch seconds."""

    request: Request
    started: float
    hard_end: float
    limit: float
    owners: tuple[int, ...] = ()
    kept_until: float | None = None
    placed: tuple[Placed, ...] = ()
    identity: Identity | None = None
    ending: bool = False


class Console(Answer, frozen=True, tag="console"):
    text: str


class Preempted(Answer, frozen=True, tag="preempted"):
    """All spot nodes of the run that were taken back so far: the cloud's words, by id."""

    nodes: Mapping[str, str]


class OpsAnswer(Answer, frozen=True, tag="ops"):
    """Operation requests as they are now, and what their targets are in."""

    requests: tuple[OpsRequest, ...] = ()
    targets: tuple[TargetState, ...] = ()


class DatabaseReady(Answer, frozen=True, tag="database-ready"):
    engine: str
    namespace: str
    name: str


class UsesNoted(Answer, frozen=True, tag="uses-noted"):
    """What could not be read."""

    unread: tuple[Unread, ...] = ()


class Holding(Answer, frozen=True, tag="holding"):
    """What the journal says is held, until when without a release, and the commands that remove it by hand.

    ``unanswered`` create calls may have made more; ``until`` bounds that too. ``endless`` are the ids of what nothing
    but a removal ends.
    """

    held: tuple[Held, ...]
    until: float | None = None
    endless: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    unanswered: int = 0


class Failed(Answer, frozen=True, tag="failed"):
    """``error`` is the name of a class in `pytest_capacity.errors`."""

    error: str
    message: str


class Consult(Answer, frozen=True, tag="consult"):
    """What a hook may decide; sent to one owner that advises, which answers by `Advise`, soon or never."""

    number: int
    topic: Topic
    topology: str
    rungs: tuple[Rung, ...] = ()
    diagnosis: Diagnosis | None = None
    region: str = ""
    zone: str = ""
    #: The groups that were refused something.
    groups: tuple[str, ...] = ()


class Event(Answer, frozen=True, tag="event"):
    """One step of the journal, as it happens, to owners; ``placed``, that nodes have come or gone, to borrowers too.

    ``kind`` as in `pytest_capacity.journal`.
    """

    at: float
    kind: str
    subject: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


# Each message is a class directly below one of the two.
_call_decoder: Final[msgspec.json.Decoder[Call]] = msgspec.json.Decoder(reduce(or_, Call.__subclasses__()))
_answer_decoder: Final[msgspec.json.Decoder[Answer]] = msgspec.json.Decoder(reduce(or_, Answer.__subclasses__()))
_encoder: Final = msgspec.json.Encoder()


class Wire(Protocol):
    """The part of a socket that we use."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


def send(wire: Wire, message: Call | Answer) -> None:
    """Write one frame. Raises `OSError` when the other end is gone."""
    body = _encoder.encode(message)
    wire.sendall(_LENGTH.pack(len(body)) + body)


def receive_call(wire: Wire) -> Call:
    """Read one call. Raises `EOFError` at the end, `OSError`, and `msgspec.DecodeError` for what is no call."""
    return _call_decoder.decode(_frame(wire))


def receive_answer(wire: Wire) -> Answer:
    """Read one answer; raises as `receive_call` does."""
    return _answer_decoder.decode(_frame(wire))


def _frame(wire: Wire) -> bytes:
    (size,) = _LENGTH.unpack(_exactly(wire, _LENGTH.size))
    if size > MAX_FRAME:
        raise EOFError(f"a frame of {size} bytes is none of ours")
    return _exactly(wire, size)


def _exactly(wire: Wire, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = wire.recv(min(size, 65536))
        if not part:
            raise EOFError("the other end closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
