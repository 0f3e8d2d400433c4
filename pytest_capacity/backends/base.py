"""The protocol between the engine and a cloud (`docs/explanation/design.md`).

A backend makes calls and reads answers. Retrying, falling back, journalling, waiting and pacing are the engine's.
All verbs block; the engine runs them on threads, so a backend must be safe to call from many at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import msgspec
from msgspec import Struct

from pytest_capacity.backends.groups import plain
from pytest_capacity.config.provider import (
    Examples,
    GroupDraft,
    Reader,
    SctKeys,
    SctReading,
    Section,
)
from pytest_capacity.model import (
    Change,
    Diagnosis,
    Held,
    Identity,
    NodeChange,
    NodeGroup,
    Obstacle,
    Offer,
    Order,
    Piece,
    Quota,
    Request,
    Topology,
    Unread,
)
from pytest_capacity.usage import CloudResource, UseFilter

__all__ = [
    "Backend",
    "EndsNodes",
    "Examples",
    "GivesNotice",
    "GroupDraft",
    "ListsUses",
    "Provider",
    "ReadsQuotas",
    "ScalesNodes",
    "ScalingStep",
    "SctKeys",
    "SctReading",
    "Section",
    "by_reservation",
    "in_order",
    "lacking",
    "scaling_of",
]


class Provider(Reader):
    """The first face of a cloud: all that pytest and the command line need, without the SDK.

    One object a process, without state, found by entry point (group ``pytest_capacity.backends``). Its module imports
    the standard library, msgspec, and of this package ``config.fields``, ``config.provider``, ``model`` and ``errors``.
    What reads the configuration is in `Reader`.
    """

    #: The modules that the extra brings; looked for, not imported.
    modules: tuple[str, ...] = ()
    #: Variables that decide which credentials are used: two runs share nodes only where they agree. Never shown.
    credential_variables: tuple[str, ...] = ()
    #: Variables that hold paths: they are made absolute before the keeper starts, which works in ``/``.
    file_variables: tuple[str, ...] = ()
    #: What the names of the SDK's variables begin with: none of them reaches an emulator or an emulated run.
    environment_prefixes: tuple[str, ...] = ()
    #: The key of `Request.settings` that pins the account; "": none does.
    account_key: str = ""
    #: Keys of `Request.settings` that do not shape nodes: two processes may differ in them and share nodes.
    not_shaping: frozenset[str] = frozenset()
    #: What `Request.settings` are, where an earlier version's journal may have them with their defaults.
    settings_type: type[Struct] | None = None
    #: Its rows of the table of errors, and its remedies (`docs/reference/errors.md`); None: it has none.
    errors_file: Path | None = None
    #: What bills on where the keeper's machine is lost, since the cloud ends nothing at a time; "": it does. One
    #: sentence for the header of a run.
    endless: str = ""

    def normal(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `Request.settings` of an earlier version's journal in the form of `read_section`. Pure."""
        return plain(msgspec.convert(settings, self.settings_type)) if self.settings_type else settings

    def endpoint_of(self, request: Request, environ: Mapping[str, str]) -> str | None:
        """Return the URL that the run talks to, where the file, a flag or the environment names one; for the header."""
        return request.endpoint

    def chosen_profile(self, request: Request, environ: Mapping[str, str]) -> str:
        """Return the profile of the SDK's files that the run uses; "" where none is named. For the header."""
        return ""

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """Return ``request`` with what this process's environment decides (a profile), before the keeper starts."""
        return request

    def account_setting(self, request: Request) -> tuple[str, str]:
        """Return the setting that pins the account, and the account; or two empty texts."""
        account = request.settings.get(self.account_key)
        return (f"{self.name}.{self.account_key}", account) if account else ("", "")

    def memory(self, kind: str) -> float | None:
        """Return for how many seconds a refusal of ``kind`` is remembered; None: as the ladder does for every cloud."""
        return None

    def open(self, request: Request) -> Backend:
        """Return the second face, for one request. Imports the SDK and makes no call.

        Raises `ConfigError` for what is wrong; a `ModuleNotFoundError` is left to `open_backend`.
        """
        raise NotImplementedError(f"the provider {self.name!r} opens no backend")


class Backend(Protocol):
    """One cloud, opened for one `Request`. Opening imports the SDK and makes no call.

    A topology in one placement is rounds of pieces (`plan`). The engine makes the pieces of a round side by side
    (`create`), waits until all that they made is ready (`refresh`), and only then begins the next round, whose pieces
    get the ids of what they need. A refusal may come from `create` or later, from `refresh`, as a thing that is
    ``failed``: both are read by `diagnose`. At the end `releasable` says what may go now, `release` asks for it,
    `refresh` and `inventory` confirm that it is gone.
    """

    #: The name of its provider.
    name: str
    #: Who logs in on the nodes by SSH where the user says nothing about it.
    default_user: str
    #: How many things of a kind one call of the cloud takes (1 where it is missing); `release` gets no more at once.
    batch: Mapping[str, int]
    #: Kinds whose deadline the cloud itself enforces and lets us move: each of them is renewed. Of things whose
    #: deadline is only our stamp, one node a region is renewed; one that is fixed at creation is the hard end.
    leased: frozenset[str]
    #: Kinds of which something may exist though their create call was refused. After such a refusal the engine looks
    #: for it by the stamp, and releases it.
    leftovers: frozenset[str]

    def whoami(self) -> Identity:
        """Return whom the credentials belong to. At most one call; raises what the SDK raises."""
        ...

    def regions(self) -> Sequence[str]:
        """Return every region that the account may use."""
        ...

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Return the zones of ``region`` in order of their names, with whether each can take ``topology`` and why not.

        Reads only, side by side, one round. Fails open: what could not be read does not rule a zone out.
        """
        ...

    def family(self, instance_type: str) -> str:
        """Return what shares a quota with ``instance_type``: equal words for types of one quota. Pure."""
        ...

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """Return the whole topology in one placement, as rounds of pieces.

        Pure: the same order gives the same pieces. Subjects are made by `pytest_capacity.model.Subject`, with the
        series of the order (its attempt where that is 0), so that two orders of one series name alike what is alike in
        them. A piece may need what an earlier round makes.

        A group that grows is an order for the nodes that it is to have more, of the series in which the others stand:
        its fact ``backends.pieces.first_fact(GROUP)`` says with which number their names begin. Their pieces then have
        subjects of their own; whatever else of the plan stands already (a reservation of the same shape, a network, a
        key pair) has the subject that it had, and is not made again.
        """
        ...

    def create(self, piece: Piece) -> Sequence[Held]:
        """Make the piece by exactly one mutating call; return when the cloud has accepted it.

        What is returned is ``creating`` or ``ready``. Several things may come of it, of several kinds; `Held.output`
        names each. All have the piece's subject. Raises what the SDK raises; `diagnose` reads it. With the token
        of an earlier call whose answer was lost it gives back what that call made.
        """
        ...

    def change(self, held: Held, to: Change) -> Held:
        """Set what ``to`` names, by one call, to the absolute values that it has.

        A deadline is set where the cloud, or failing that our stamp, keeps it. ``ValueError`` for what cannot be set,
        before any call. Asked for again it changes nothing more: a keeper that adopts the run asks again for what the
        one before it may have asked for. `ScalesNodes` says what else than the deadline is set.
        """
        ...

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return the same things as the cloud has them now, in the same order; in as few calls as it allows.

        What the cloud does not list comes back ``unseen``. A failed one carries the cloud's words in ``problem`` and
        ``problem_code``, or whole in ``parts``.
        """
        ...

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return which of ``helds``, which are all that is still held of a scope, may be asked to go now. Pure.

        See `in_order`.
        """
        ...

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Ask the cloud to remove things of one kind and region, by one call. Idempotent; `refresh` confirms.

        Returns them, in the same order: ``leaving`` or ``gone`` where the cloud has accepted to remove it. In the same
        state as before, with other facts, it is one step nearer, and is asked for again in the next round. Refuses
        (``ValueError``) what does not bear our whole stamp: a held without a subject.
        """
        ...

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Yield everything that bears the stamp of ``run``, gone things left out, in as few calls as the cloud allows.

        The stamp may be tags, or a name. A list over many regions gives what lies in ``regions`` and may give more;
        where it cannot be read, `Unread.region` is empty.
        """
        ...

    def console(self, held: Held) -> str:
        """Return what a node wrote to its console, as far as the cloud has it; empty where it has nothing. One call."""
        ...

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """Return the shell commands with which a person removes these things. Pure."""
        ...

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """Return when it is gone at the latest though nothing removes it, at a cloud's own pace; None: never. Pure.

        A `Piece` is a create call that may or may not have made something.
        """
        ...

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        """Return what an exception of this SDK, or a failed thing, means; ``piece`` is what was being made.

        The piece has the market and the type that were tried: some rows of the table of errors are for one market.
        """
        ...


@runtime_checkable
class GivesNotice(Protocol):
    """A `Backend` of a cloud that announces on a spot node itself, and nowhere else, that it will be taken back.

    Nodes that are reached by SSH are asked, some seconds apart; that of others is noticed only when it has happened.
    """

    #: Run by the user's login shell on the node. It has to end within `engine.preemption.ANSWER` seconds.
    notice_command: str

    def read_notice(self, held: Held, output: str) -> str:
        """Return the cloud's words in ``output`` of the command where the node will be taken back; else "". Pure."""
        ...


@runtime_checkable
class EndsNodes(Protocol):
    """A `Backend` of a cloud that removes nodes when something that they sit in ends.

    Where such an end cannot be moved on, the run is over before it: its tests would lose their nodes.
    """

    #: The kinds of which that is so; all of them are `Backend.leased`.
    ends_nodes: frozenset[str]


@runtime_checkable
class ListsUses(Protocol):
    """A `Backend` of a cloud that says who uses what of it: others' too, and what is booked for later."""

    def uses(self, regions: Sequence[str], wanted: UseFilter) -> Iterator[CloudResource | Unread]:
        """Yield what is used of these regions, or what ``wanted`` asks for; also what is not used, without uses.

        Reads only. What could not be read is `Unread`, and the rest is given.
        """
        ...


@runtime_checkable
class ReadsQuotas(Protocol):
    """A `Backend` that can say beforehand what the quotas of the account allow: for the plan, which only reads."""

    def quotas(self, region: str, types: Sequence[str]) -> Sequence[Quota]:
        """Return the quotas of ``region`` that machines of these types count against, of every market. Reads only.

        Raises what the SDK raises.
        """
        ...


def by_reservation(used: Mapping[tuple[str, str], str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return `Offer.serves`; ``used`` has, by group and type, the existing reservation that serves it."""
    return {id_: tuple(user for user, one in used.items() if one == id_) for id_ in dict.fromkeys(used.values())}


#: What of a node group a cloud can change while it stands. ``count``: more nodes, and fewer. ``replace``: another
#: instance type by new nodes. ``in-place``: another type for the same nodes. ``storage``: larger disks.
ScalingStep = Literal["count", "replace", "in-place", "storage"]


class ScalesNodes(Protocol):
    """A `Backend` of a cloud whose node groups can be changed while they stand (`pytest_capacity.scaling.nodes`).

    The engine does all that is alike: the order of the steps, waiting, asking again, undoing, journalling. It uses, of
    `Backend.change`, in calls of their own:

    - ``Change(count=N, instance_type=T)`` of a reservation of ours, as it grows (before the launch) or shrinks (after
      the nodes are gone): N is the whole, T the type of which it has more or fewer; a cloud whose reservations are for
      one type need not look at T. Then it is looked at (`Backend.refresh`) until it is ``ready`` and its `Held.count`
      is N. ``failed``, or refused: the engine asks for the old count again. One whose last node goes is released.
    - ``Change(running=False)`` of a node: it is looked at until its fact ``power`` is ``off``. Its `Held.state` is not
      read in the meantime, so it may be whatever it is for a node that another has stopped.
    - ``Change(instance_type=T, reservation_id=R)`` of a node that is off. R is the id of a reservation for T that is
      ready (ours; where a change is undone, the one in which it was), or "" where the group is not reserved: then the
      node must not take a place in anybody's. It may be several calls where the cloud has no single one; made again
      after a death in between they do the rest.
    - ``Change(running=True)`` of a node that is off: it is looked at until it is ``ready``; its facts say type and
      reservation.
    - ``Change(disk_gb=N)`` of a node that runs, or, after an obstacle ``restart``, of one that is off: `disks` is asked
      until it says N. A disk that is as large already is left alone.

    What is asked for and is so already is no error (a node that is stopped is stopped once more).
    """

    #: What it can do. Anything else is refused before any call.
    scaling: frozenset[ScalingStep]

    def obstacles(self, change: NodeChange, group: NodeGroup, nodes: Sequence[Held]) -> Sequence[Obstacle]:
        """Return what of ``change`` this cloud cannot do, and why; nothing where it can.

        ``group`` is as it stands (type, market), ``nodes`` are its nodes. Reads only, one round of them at most; called
        before anything is written or changed. For a type: whether it exists, and, where nodes are changed in place,
        whether it is of their architecture and whether they have local disks, whatever ``lose_local_disks`` says. For
        disks that grow only while their nodes are off: ``restart``, whatever the change says of it, and local disks.
        What the engine asks itself: the numbers, spot nodes, nodes that are lent, and whether the zone offers the type.
        Raises what the SDK raises: what cannot be read is not changed.
        """
        ...

    def disks(self, nodes: Sequence[Held]) -> Sequence[int]:
        """Return, for each node, how large the disk is that it starts from, in GB; 0 where it has none that grows.

        Reads only. While a change is under way it is the size before, or 0, until the new size can be used.
        """
        ...


def lacking(backend: object) -> Sequence[str]:
    """Return the names of what a `Backend` must have, and ``backend`` has not, or only as this protocol's own."""
    verbs = {name: member for name, member in vars(Backend).items() if callable(member) and not name.startswith("_")}
    return [
        *(name for name in Backend.__annotations__ if not hasattr(backend, name)),
        *(name for name, own in verbs.items() if getattr(type(backend), name, getattr(backend, name, own)) is own),
    ]


def scaling_of(backend: Backend) -> tuple[ScalesNodes, frozenset[ScalingStep]]:
    """Return a backend as one that scales node groups, and what of that it can do: nothing, where it is none."""
    return cast("ScalesNodes", backend), getattr(backend, "scaling", frozenset())


def in_order(helds: Sequence[Held], order: Sequence[frozenset[str]]) -> Sequence[Held]:
    """Return those of the first set of kinds in ``order`` of which anything is held: a later set waits for it.

    For `Backend.releasable` of a cloud that takes things away kind by kind. A kind that is in no set comes first.
    """
    known = frozenset[str]().union(*order)
    for kinds in (frozenset(held.kind for held in helds) - known, *order):
        found = [held for held in helds if held.kind in kinds]
        if found:
            return found
    return []
