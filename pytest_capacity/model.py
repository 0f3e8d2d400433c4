"""What the rooms talk about: frozen values, no behaviour to speak of. What is wanted to stand is in
`topology`, how a refusal is read in `classification`.

Times are seconds since the epoch (UTC, ``float``); durations are seconds. Every class here travels as
JSON: over the keeper's socket and into the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from pytest_capacity.classification import EXHAUSTION as EXHAUSTION
from pytest_capacity.classification import SCOPES as SCOPES
from pytest_capacity.classification import Diagnosis as Diagnosis
from pytest_capacity.classification import ErrorPart as ErrorPart
from pytest_capacity.classification import ErrorRow as ErrorRow
from pytest_capacity.classification import Kind as Kind
from pytest_capacity.classification import Scope as Scope
from pytest_capacity.classification import Step as Step
from pytest_capacity.databases import Database, KubernetesSettings, ScalingSettings
from pytest_capacity.topology import AXES as AXES
from pytest_capacity.topology import DEFAULT_TOPOLOGY as DEFAULT_TOPOLOGY
from pytest_capacity.topology import Axis as Axis
from pytest_capacity.topology import Fallback as Fallback
from pytest_capacity.topology import Host as Host
from pytest_capacity.topology import Market as Market
from pytest_capacity.topology import NodeGroup as NodeGroup
from pytest_capacity.topology import Ssh as Ssh
from pytest_capacity.topology import Topology as Topology

#: What a thing in a cloud can be in, whatever the cloud calls it. ``unseen``: asked for, and the cloud did not list it.
State = Literal["creating", "ready", "failed", "leaving", "gone", "unseen"]

#: The kind, region and id of a thing.
HeldKey = tuple[str, str, str]


class Request(Struct, frozen=True, kw_only=True):
    """A checked configuration: what one run wants. Made by `pytest_capacity.config`."""

    backend: str
    run: str
    project: str
    topologies: Mapping[str, Topology]
    #: All of the run, those that a topology has for itself too.
    regions: tuple[str, ...]
    #: As the user wrote them: letters, names or zone ids; empty: every zone that offers all the types.
    zones: tuple[str, ...] = ()
    #: Whether on-demand groups that do not say so themselves are reserved.
    reserve: bool = True
    market: Market = "on-demand"
    use_reservations: tuple[str, ...] = ()
    fallback: Fallback = field(default_factory=Fallback)
    #: ``zone``: all groups of a topology in one zone. ``region``: each group's nodes over the zones in turn. ``none``:
    #: nothing of a topology moves by itself, so zones and regions are fallen back along by a single node only.
    colocate: Literal["zone", "region", "none"] = "zone"
    #: How long the ladder is gone round again when nothing was to be had; 0: once.
    retry_until_s: float = 0.0
    #: What becomes of a spot node that the cloud takes back during the run.
    on_preempt: Literal["fail", "replace"] = "fail"
    duration_s: float
    timeout_s: float
    #: How long the end of the run waits for the cloud to have removed everything, before it reports what is left.
    release_timeout_s: float = 300.0
    endpoint: str | None = None
    emulated: bool = False
    #: USD an hour by instance type, as the user gave them.
    prices: Mapping[str, float] = field(default_factory=dict)
    #: What the section of the backend says (``<backend>:``), checked: plain data, which only the backend reads.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: None: nodes are not reached by SSH, and no key pair is made.
    ssh: Ssh | None = None
    #: Paths that are fetched from the nodes that a failed test used; globs as the node's shell reads them.
    collect: tuple[str, ...] = ()
    #: The name under which several processes share the nodes, and under which they are kept; None: this run alone.
    session: str | None = None
    #: When the nodes are kept after the last process of the session, and for how long.
    keep: Literal["never", "failed", "always"] = "never"
    keep_s: float = 1800.0
    #: How long the run may last with every ``extend``; at least ``duration_s``.
    limit_s: float = 0.0
    #: The user's rows of the table of errors, asked before our own.
    errors: tuple[ErrorRow, ...] = ()
    #: The journal's file; None: the one in the user's state directory.
    journal: str | None = None
    #: The databases that are provisioned for the run, by the name that tests use.
    databases: Mapping[str, Database] = field(default_factory=dict)
    #: Whose keys the file has: ours, or those of scylla-cluster-tests. Advice names these.
    dialect: Literal["own", "sct"] = "own"
    #: The cluster that has the databases.
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    scaling: ScalingSettings = field(default_factory=ScalingSettings)


class Placement(Struct, frozen=True):
    """Where a topology goes: a region and a zone (its name in this account).

    ``zones`` are all of them where the groups are spread (``colocate: region``); the first one is ``zone``.
    """

    region: str
    zone: str
    zones: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Its zone; of several all, as one word, with ``+`` between them."""
        return "+".join(self.zones or (self.zone,))


class Offer(Struct, frozen=True):
    """What one zone says to a topology before anything is created. ``facts`` is the backend's own memory for `plan`."""

    region: str
    zone: str
    ok: bool
    #: Every other spelling under which the user may name the zone: ``a``, ``use1-az2``, ``1``.
    aliases: tuple[str, ...] = ()
    #: Why not, in words for the user; empty when ``ok``.
    why: str = ""
    #: What kind of refusal it is, where it is one of capacity or quota (`EXHAUSTION`).
    kind: str = ""
    #: Types among those asked for (alternatives too) that the zone does not have.
    lacks: tuple[str, ...] = ()
    #: This zone holds capacity that the user told us to use: try it first.
    preferred: bool = False
    #: Which group, as which type, each reservation serves that the user named; never as spot.
    serves: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    #: Why others that the user named serve nothing here, in words.
    unused: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


class Quota(Struct, frozen=True, kw_only=True):
    """A quota of the account in one region and market, and what machines of each type count against it."""

    region: str
    market: Market
    #: The cloud's name for it, and what it counts: ``vCPUs``.
    name: str
    unit: str
    limit: float
    #: What is in use; None: that could not be read.
    used: float | None = None
    counts: Mapping[str, float] = field(default_factory=dict)


class Share(Struct, frozen=True):
    """What one zone has of a topology that is spread over several: nodes by group (none left out), and its facts."""

    zone: str
    counts: Mapping[str, int]
    facts: Mapping[str, str] = field(default_factory=dict)


class Order(Struct, frozen=True, kw_only=True):
    """One topology in one placement: all that `Backend.plan` needs, so that a second keeper can plan the same again.

    The groups of ``topology`` are those of this rung: their ``instance_type``, ``market`` and ``reserve`` are what is
    asked for now, whatever else would do.
    """

    run: str
    project: str
    topology: Topology
    placement: Placement
    attempt: int
    #: The attempt that this one goes on with, whose subjects its pieces bear: what stands of it stays. 0: it is new.
    series: int = 0
    #: Until when the first lease runs.
    lease_end: float
    hard_end: float
    #: False: reservations only (the seeds' ``CapacityReservation.reserve``).
    launch: bool = True
    #: Tells two runs of the same id apart, in tokens and names: an id may be used again (``test_id:``).
    nonce: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    #: Where the groups are spread: by zone, how many nodes of each group and the facts of that zone.
    shares: tuple[Share, ...] = ()

    @property
    def unique_run(self) -> str:
        """The run for tokens, which a cloud remembers for longer than a run lasts."""
        return f"{self.run}/{self.nonce}"


class Subject(Struct, frozen=True):
    """The name of a piece for the life of the run, and of all that the piece becomes in a cloud.

    As text it is ``topology/series/zone/kind/label``. Journal and
    stamps hold the text. The label is the backend's, and may hold slashes; the other parts may not.
    """

    topology: str
    series: int
    zone: str
    kind: str
    label: str = ""

    def __str__(self) -> str:
        return f"{self.topology}/{self.series}/{self.zone}/{self.kind}/{self.label}"

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Return the subject that ``text`` is. Parts that a text which is no subject lacks are empty, or 0."""
        topology, series, zone, kind, label = (text.split("/", 4) + [""] * 4)[:5]
        return cls(topology, int(series) if series.isdecimal() else 0, zone, kind, label)


class Need(Struct, frozen=True):
    """What must exist before a piece can be made: the thing of ``kind`` that the piece ``subject`` makes.

    ``output`` says which one, where that piece makes several (`Held.output`).
    """

    kind: str
    subject: str
    output: str = ""

    @property
    def key(self) -> str:
        """Under which its id stands in `Piece.inputs`: ``kind``, or ``kind#output``."""
        return f"{self.kind}#{self.output}" if self.output else self.kind


class Change(Struct, frozen=True, kw_only=True):
    """What a thing is to become, as absolute values. None: as it is."""

    deadline: float | None = None
    #: Of a reservation: for how many nodes it is to hold capacity, of all types that it is for.
    count: int | None = None
    #: Of a node that is stopped; always with ``reservation_id``. Of a reservation, beside ``count``: the type of the
    #: nodes of which there are to be more or fewer, where a cloud's reservation is for several types.
    instance_type: str | None = None
    #: Of a node: the least size of the disk that `backends.base.ScalesNodes.disks` speaks of.
    disk_gb: int | None = None
    #: Of a node: False stops it, so that it takes up no capacity and can be changed; True starts it again.
    running: bool | None = None
    #: Of a node that is stopped: the id of the reservation, of ours, in which it sits from its next start on. "": none.
    reservation_id: str | None = None


#: How a node group gets another instance type: by new nodes, after which the old ones go; or by stopping the nodes,
#: changing them and starting them again.
ResizeMode = Literal["replace", "in_place"]


class NodeChange(Struct, frozen=True, kw_only=True):
    """What a test wants of a node group that stands. What is None stays."""

    topology: str
    group: str
    count: int | None = None
    #: Names or ids of the nodes that go where the group becomes smaller; empty: the youngest.
    remove: tuple[str, ...] = ()
    instance_type: str | None = None
    mode: ResizeMode = "replace"
    #: Whether nodes may be stopped that have disks of their machine, which lose what is on them.
    lose_local_disks: bool = False
    disk_gb: int | None = None
    #: Whether nodes may be stopped, and started again, where their disks do not grow while they run.
    restart: bool = False
    #: The caller's own: a call that is sent again after a keeper's death has the same, and makes nothing twice.
    key: str = ""

    @property
    def target(self) -> str:
        """Return the group's name in the journal: ``group/default/db``."""
        return f"group/{self.topology}/{self.group}"


class Obstacle(Struct, frozen=True):
    """Why a cloud cannot change a node group as asked. ``words`` go into a message, and begin with what is wrong."""

    #: ``local-disks``: what is on the nodes' own disks would be lost; ``restart``: nodes that run must be stopped for
    #: it. The test may allow both (`NodeChange.lose_local_disks`, `NodeChange.restart`).
    kind: Literal["unknown-type", "architecture", "local-disks", "restart", "unsupported"]
    words: str


class Piece(Struct, frozen=True, kw_only=True):
    """A thing, or several, to be made by exactly one mutating call.

    ``subject`` is the text of a `Subject`; ``spec`` is the call's parameters in the cloud's own words, less token and
    ids of other pieces; those come in ``inputs``. ``token`` is a seed: where a cloud wants another form of token or a
    name, the backend derives it from this one (`pytest_capacity.backends.tokens`).
    """

    kind: str
    subject: str
    region: str
    zone: str
    token: str
    count: int = 1
    group: str | None = None
    #: The groups that it is for, where these are several; empty: ``group``, or all of the topology.
    groups: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    #: What is asked for, where the piece is a node or is for nodes: by these rows of the table of errors are chosen.
    instance_type: str = ""
    market: Market | Literal[""] = ""
    needs: tuple[Need, ...] = ()
    #: The id of an existing reservation, not ours, that the nodes made by this piece must sit in.
    consumes: str | None = None
    #: What the run's summary says of it, once the topology is placed: where a cloud makes another thing than the words
    #: of the configuration suggest. Pieces with equal notes are spoken of once.
    note: str = ""
    #: The ids of ``needs`` by `Need.key`, filled in by the engine when all of them are ready.
    inputs: Mapping[str, str] = field(default_factory=dict)


class Held(Struct, frozen=True, kw_only=True):
    """A thing that exists (or existed) in a cloud and is ours. ``id`` is one of its kind and region: see ``key``.

    ``facts`` of a node: name, instance_type, market, private_ip, public_ip, reservation_id (the reservation that it
    sits in, by the cloud's word), incarnation (what differs when the cloud has put another machine in its place under
    the same id), power (``off`` once it is stopped, and can be changed and started); of a reservation: instance_type,
    available. All strings.
    """

    kind: str
    id: str
    region: str
    zone: str
    state: State
    subject: str = ""
    group: str | None = None
    count: int = 1
    #: When the cloud itself ends it, or what its stamp says, whichever is later.
    deadline: float | None = None
    #: The cloud's words about why it failed.
    problem: str = ""
    #: Its code, where the cloud gave one.
    problem_code: str = ""
    #: Why it failed, whole, where the cloud said more than that.
    parts: tuple[ErrorPart, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    #: Which of the things that its piece made it is, where there are several: as `Need.output` asks for it.
    output: str = ""
    #: Where it is above the region: a project, a resource group, a compartment.
    place: str = ""

    @property
    def key(self) -> HeldKey:
        """What tells it from every other thing: its kind, its region, and its id there."""
        return self.kind, self.region, self.id


class Unread(Struct, frozen=True):
    """A part of an inventory that could not be read; never to be taken for empty.

    An empty ``region`` is all of them; the kind ``everything`` is all kinds.
    """

    region: str
    kind: str
    why: str


class Identity(Struct, frozen=True):
    """Who we are to the cloud."""

    account: str
    who: str = ""
    profile: str = ""
    #: The place above the region: a project, a subscription, a compartment. The run is pinned to it as to the account.
    place: str = ""
    #: When the credentials end, where that is known.
    expires: float | None = None


class Access(Struct, frozen=True, kw_only=True):
    """How a node is reached by SSH. ``key`` and ``known_hosts`` are files on this machine.

    ``known_hosts`` is the run's own: a host key that is met first is written there, and held against from then on.
    """

    address: str
    user: str
    port: int = 22
    #: None: what the agent and ``~/.ssh`` have.
    key: str | None = None
    known_hosts: str | None = None
    bastion: str | None = None
    #: Whether the node is still there after a run that failed: kept, or the user's own.
    stays: bool = False


class Node(Struct, frozen=True, kw_only=True):
    """One running machine."""

    id: str
    name: str
    group: str
    region: str
    zone: str
    market: Market
    instance_type: str
    private_ip: str | None = None
    public_ip: str | None = None
    reservation_id: str | None = None
    #: None: the run does not use SSH.
    access: Access | None = None


class Reservation(Struct, frozen=True, kw_only=True):
    """Capacity held in one zone for one instance type."""

    id: str
    region: str
    zone: str
    instance_type: str
    count: int


class Attempt(Struct, frozen=True, kw_only=True):
    """One rung tried: when, how long, what came of it."""

    number: int
    topology: str
    region: str
    zone: str
    started: float
    seconds: float
    #: placed | no-capacity | quota | failed | cancelled
    outcome: str
    code: str = ""
    words: str = ""
    #: What the refusal was of, where it was of something: groups, their types and markets, and whether a reservation
    #: was asked for. Of the whole attempt where that failed, or nothing did, with no group.
    group: str = ""
    instance_type: str = ""
    market: str = ""
    reserved: bool = False
    #: The table's word for the refusal, how far it reaches, and what the user can do about it.
    kind: str = ""
    scope: str = ""
    remedy: str = ""


class Placed(Struct, frozen=True, kw_only=True):
    """A topology that stands: its nodes by group, its reservations."""

    topology: str
    region: str
    zone: str
    nodes: Mapping[str, tuple[Node, ...]]
    reservations: tuple[Reservation, ...]
    #: The number of the attempt that placed it.
    attempt: int = 0


class Receipt(Struct, frozen=True, kw_only=True):
    """What the cloud says is left at the end of a run: nothing, one hopes.

    ``left`` bears the run's stamp and is in a state that bills or blocks; ``unread`` could not be looked at.
    """

    run: str
    left: tuple[Held, ...] = ()
    unread: tuple[Unread, ...] = ()
    #: Create calls of which it is still not known whether they made something.
    unanswered: int = 0
    #: The regions that were listed.
    regions: tuple[str, ...] = ()
    #: What came out otherwise than first asked for: another market, a region without capacity.
    changes: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    placed: tuple[Placed, ...] = ()
    #: Words for the user about what went wrong at the end (a release refused, credentials expired).
    troubles: tuple[str, ...] = ()
    #: When the last of what ends by itself is gone, and the ids of what nothing but a removal ends.
    until: float | None = None
    endless: tuple[str, ...] = ()
    #: The commands that remove what is left, for a person to run.
    by_hand: tuple[str, ...] = ()
    #: False: the run asked for nothing, so there was nothing to list.
    asked: bool = True

    @property
    def clean(self) -> bool:
        """Nothing left, nothing in doubt, and everything read."""
        return not self.left and not self.unread and not self.unanswered
