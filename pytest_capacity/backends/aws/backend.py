"""The verbs of `pytest_capacity.backends.base.Backend`, spoken to EC2."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ProfileNotFound
from msgspec.structs import replace

from pytest_capacity.backends.aws import changes, reading, types
from pytest_capacity.backends.aws.errors import CLOUD, code_of, diagnose_error, encoded_reason
from pytest_capacity.backends.aws.existing_reservations import Listed
from pytest_capacity.backends.aws.listing import (
    KINDS,
    KINDS_WITH_KEYS,
    inventory,
    look,
    name_of,
    read_uses,
    things,
    where,
)
from pytest_capacity.backends.aws.plan import (
    KEY_PAIR,
    NODE,
    PLACEMENT_GROUP,
    RESERVATION,
    create_parameters,
    plan_rounds,
)
from pytest_capacity.backends.aws.quotas import read_quotas
from pytest_capacity.backends.aws.reads import Known
from pytest_capacity.backends.aws.session import Cloud
from pytest_capacity.backends.aws.settings import section_of, settings_of
from pytest_capacity.backends.aws.stamp import read_stamp
from pytest_capacity.backends.aws.zones import read_offers
from pytest_capacity.backends.base import ScalingStep, in_order
from pytest_capacity.backends.diagnosis import diagnose_held
from pytest_capacity.backends.groups import group_of
from pytest_capacity.backends.stamp import DEADLINE, PIECE, RUN, refuse_unstamped
from pytest_capacity.backends.times import format_time
from pytest_capacity.errors import ConfigError
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
    Subject,
    Topology,
    Unread,
)
from pytest_capacity.usage import CloudResource, UseFilter

#: A reservation may be cancelled under running nodes, which run on, and a key pair deleted, since the nodes have had
#: their key at the launch; a placement group must be empty of nodes and reservations.
RELEASE_ORDER: Final = (frozenset({NODE, RESERVATION, KEY_PAIR}), frozenset({PLACEMENT_GROUP}))

#: A reservation ends within an hour of its EndDate (EC2 API, CreateCapacityReservation). Seconds.
OVERTIME: Final = 3600.0


class _Named(NamedTuple):
    """A kind of thing that EC2 knows by its name: the parameter, the filter, and what a second one is refused with."""

    parameter: str
    filter: str
    duplicate: str


_NAMED: Final = {
    PLACEMENT_GROUP: _Named("GroupName", "group-name", "InvalidPlacementGroup.Duplicate"),
    KEY_PAIR: _Named("KeyName", "key-name", "InvalidKeyPair.Duplicate"),
}


class _Removal(NamedTuple):
    """How a thing is removed that goes by a call of its own: by the API, and by the command line."""

    operation: str
    parameter: str
    command: str
    option: str


_REMOVALS: Final = {
    RESERVATION: _Removal(
        "cancel_capacity_reservation",
        "CapacityReservationId",
        "cancel-capacity-reservation",
        "--capacity-reservation-id",
    ),
    KEY_PAIR: _Removal("delete_key_pair", "KeyPairId", "delete-key-pair", "--key-pair-id"),
    PLACEMENT_GROUP: _Removal("delete_placement_group", "GroupName", "delete-placement-group", "--group-name"),
}


class AwsBackend:
    """EC2 for one `Request`. Opening it makes no call; every verb may be used from many threads at once.

    The kinds of pieces are ``placement-group``, ``key-pair``, ``reservation`` and ``node``. One RunInstances makes all
    nodes of a group, so `create` gives one `Held` a node, all with the subject of their piece.
    """

    name: str = CLOUD
    batch: Mapping[str, int] = {NODE: 500, RESERVATION: 1, PLACEMENT_GROUP: 1, KEY_PAIR: 1}
    leased: frozenset[str] = frozenset({RESERVATION})
    #: EC2 makes nothing by a call that it refuses.
    leftovers: frozenset[str] = frozenset()
    scaling: frozenset[ScalingStep] = changes.CAN
    #: Of Amazon's own images; others have others (``ubuntu``, ``admin``), which ``ssh: {user: ...}`` says.
    default_user: str = "ec2-user"

    def __init__(self, request: Request) -> None:
        self._request = request
        self._cloud = Cloud(request)
        self._listed = Listed(request)
        #: What a region and a topology are known for so far, while some of it must be asked again.
        self._known: dict[tuple[str, str], Known] = {}
        #: Whether key pairs are listed: not every account lets us, so only those are asked who can have one of ours.
        self._has_key_pairs = _may_make_key_pairs(request)

    def whoami(self) -> Identity:
        """Return the account by STS, and when credentials end that are not renewed."""
        return self._cloud.whoami()

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Return zones by name: state, types, networks, images, keys and listed reservations decide.

        One round of calls.
        Raises the SDK's error for refused credentials and for an unknown image, `Refused` for a reservation that no
        region of the run has, and for images that their machines cannot boot. Where a region accepts no credentials,
        another is asked why: it may not be enabled, or not exist.
        """
        known = self._known.setdefault((region, topology.name), {})
        try:
            offers = read_offers(self._cloud, self._request, self._listed, region, topology, known)
        except (ClientError, EndpointConnectionError) as problem:
            raise self._cloud.why_closed(problem, region) from problem
        self._known.pop((region, topology.name), None)
        return offers

    def quotas(self, region: str, types: Sequence[str]) -> Sequence[Quota]:
        """vCPUs by family and market, with what machines and reservations of the account count against them."""
        return read_quotas(self._cloud, region, types)

    def family(self, instance_type: str) -> str:
        """Return the quota of On-Demand vCPUs; those of Spot are cut alike."""
        return types.family(instance_type)

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """Return placement group, reservations, nodes: each a round, where there is anything in it.

        Raises `Refused` for user data that a machine of that platform would not read.
        """
        return plan_rounds(self._request, order)

    def create(self, piece: Piece) -> Sequence[Held]:
        """Make one mutating call. A thing that an old token gives back dead comes as ``failed`` or ``gone``."""
        operation, parameters = create_parameters(piece)
        if piece.kind in _NAMED:
            made = [self._create_named(piece, operation, parameters)]
        else:
            answer = self._cloud.ec2(piece.region, operation, **parameters)
            if piece.kind == RESERVATION:
                made = [reading.reservation(piece.region, answer["CapacityReservation"])]
            else:
                made = [reading.node(piece.region, instance, "creating") for instance in answer["Instances"]]
        return [_as_piece(held, piece) for held in made]

    def _create_named(self, piece: Piece, operation: str, parameters: Mapping[str, Any]) -> Held:
        """Make it, by its name: it takes no token. One of that name is ours if it bears run and piece."""
        named = _NAMED[piece.kind]
        self._has_key_pairs = self._has_key_pairs or piece.kind == KEY_PAIR
        try:
            answer = self._cloud.ec2(piece.region, operation, **parameters)
        except ClientError as error:
            if code_of(error) != named.duplicate:
                raise
            there = things(self._cloud, piece.region, piece.kind, where(named.filter, parameters[named.parameter]))
            found = _made_before(there, parameters)
            if found is None:
                raise
        else:
            # The answer about a key pair is the thing itself, and that about a placement group holds it.
            made = answer.get("PlacementGroup", answer)
            found = {"Tags": parameters["TagSpecifications"][0]["Tags"], **made}
        return reading.READERS[piece.kind](piece.region, found)

    def change(self, held: Held, to: Change) -> Held:
        """Set the end of a reservation at EC2; of anything else the stamp, since EC2 ends nothing else by the clock.

        What else of a thing is changed is in `changes.change`; for anything else ``ValueError``.
        """
        if to.deadline is None:
            return changes.change(self._cloud, held, to)
        if to != Change(deadline=to.deadline):
            raise ValueError(f"a deadline is changed alone, and {to} was asked for")
        time = format_time(to.deadline)
        if held.kind == RESERVATION:
            self._cloud.ec2(
                held.region,
                "modify_capacity_reservation",
                CapacityReservationId=held.id,
                EndDateType="limited",
                EndDate=time,
            )
        else:
            resource = held.facts.get("group_id") or held.id
            tags = [{"Key": DEADLINE, "Value": time}]
            self._cloud.ec2(held.region, "create_tags", Resources=[resource], Tags=tags)
        return replace(held, deadline=float(int(to.deadline)))

    def obstacles(self, change: NodeChange, group: NodeGroup, nodes: Sequence[Held]) -> Sequence[Obstacle]:
        """Read, for a change in place, DescribeInstanceTypes."""
        return changes.obstacles(self._cloud, change, group, nodes)

    def disks(self, nodes: Sequence[Held]) -> Sequence[int]:
        """Return the sizes of the root volumes, by DescribeVolumes."""
        return changes.disks(self._cloud, nodes)

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Make one describe a kind and region, all of them at once."""
        places: dict[tuple[str, str], list[Held]] = defaultdict(list)
        for held in helds:
            places[held.kind, held.region].append(held)

        def ask(at: tuple[str, str]) -> list[Held]:
            return look(self._cloud, self._request.run, *at, places[at])

        with ThreadPoolExecutor(max(1, len(places)), thread_name_prefix="refresh") as pool:
            now = {held.key: held for answer in pool.map(ask, places) for held in answer}
        return [now[held.key] for held in helds]

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return nodes, reservations and key pairs; once these are gone, the placement groups."""
        return in_order(helds, RELEASE_ORDER)

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Make one call for all of them. Raise EC2's "not found" too: the caller knows how young they are.

        What has no subject is left alone and named in a ``ValueError``, after the others were asked for.
        """
        ours = [held for held in helds if held.subject]
        gone = self._remove(ours[0].kind, ours[0].region, ours) if ours else frozenset()
        refuse_unstamped(helds)
        return [replace(held, state="gone" if held.id in gone else "leaving") for held in helds]

    def _remove(self, kind: str, region: str, helds: Sequence[Held]) -> frozenset[str]:
        """Ask for them; return the ids of those that are gone already by EC2's answer."""
        if kind == NODE:
            answer = self._cloud.ec2(region, "terminate_instances", InstanceIds=[held.id for held in helds])
            nodes = answer.get("TerminatingInstances", ())
            return frozenset(node["InstanceId"] for node in nodes if node["CurrentState"]["Name"] == "terminated")
        # A key pair of an earlier run of this id may be the first that we learn of.
        self._has_key_pairs = self._has_key_pairs or kind == KEY_PAIR
        removal = _REMOVALS[kind]
        for held in helds:
            self._cloud.ec2(region, removal.operation, **{removal.parameter: _known_as(held)})
        return frozenset()

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Return what bears the stamp of ``run``: three reads a region, all at once; see `listing.inventory`.

        A fourth, of key pairs, where the run can have one: our own if it uses SSH, and any other.
        """
        kinds = KINDS_WITH_KEYS if self._has_key_pairs or run != self._request.run else KINDS
        return inventory(self._cloud, run, self._request.project, regions, kinds)

    def regions(self) -> Sequence[str]:
        """Return the regions that are enabled for the account, by name."""
        answer = self._cloud.ec2(self._cloud.home, "describe_regions")
        return sorted(region["RegionName"] for region in answer["Regions"])

    def uses(self, regions: Sequence[str], wanted: UseFilter) -> Iterator[CloudResource | Unread]:
        """Yield the instances and reservations of every run in these regions, by our stamp."""
        return read_uses(self._cloud, regions)

    def console(self, held: Held) -> str:
        """Call GetConsoleOutput: EC2 keeps the last 64 KB, and has them a while after the machine wrote them."""
        # Not `Latest`, which only machines on the Nitro system have. The SDK has decoded it.
        return self._cloud.ec2(held.region, "get_console_output", InstanceId=held.id).get("Output") or ""

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """Return commands of the AWS command line."""
        commands: list[str] = []
        nodes: dict[str, list[str]] = defaultdict(list)
        for held in sorted(helds, key=lambda held: held.kind == PLACEMENT_GROUP):
            if held.kind == NODE:
                nodes[held.region].append(held.id)
            else:
                removal = _REMOVALS[held.kind]
                commands.append(self._command(removal.command, held.region, removal.option, _known_as(held)))
        ends = [self._command("terminate-instances", region, "--instance-ids", *ids) for region, ids in nodes.items()]
        return ends + commands

    def _command(self, verb: str, region: str, *arguments: str) -> str:
        words = ["aws", "ec2", verb, "--region", region]
        if profile := section_of(self._request).profile:
            words += ["--profile", profile]
        if self._request.endpoint:
            words += ["--endpoint-url", self._request.endpoint]
        return shlex.join([*words, *arguments])

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """Return EC2's end of a reservation; a node with our timer, unless stopped, ends at the hard end.

        Nothing ends a placement group or a key pair, and that is said though neither costs anything: after "bound to
        end by 12:00" a user does not look again.
        """
        if thing.kind == RESERVATION:
            lease_end = thing.deadline if isinstance(thing, Held) else None
            return (hard_end if lease_end is None else lease_end) + OVERTIME
        stopped = isinstance(thing, Held) and thing.state == "failed"
        return hard_end if thing.kind == NODE and not stopped and self._has_timer(thing) else None

    def _has_timer(self, node: Held | Piece) -> bool:
        group = group_of(self._request, Subject.parse(node.subject).topology, node.group)
        aws = settings_of(self._request, group).aws if group else section_of(self._request)
        return aws.self_terminate

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        """Return what the rows of errors.yaml say."""
        table, market = self._cloud.errors, (piece.market or None) if piece else None
        if isinstance(problem, Held):
            return diagnose_held(table, problem, market)
        found = diagnose_error(problem, table, market, self._decoded(encoded_reason(problem), piece))
        if found.kind != "auth" or isinstance(problem, ClientError) or not (of := self._cloud.described):
            return found
        # What is wrong before the first call is a setting of a profile: the SDK's words seldom say which.
        return replace(found, words=f"{found.words.rstrip('. ')} ({of})")

    def _decoded(self, encoded: str, piece: Piece | None) -> str:
        """Return what an encoded authorization message says; "" where there is none, or it may not be decoded."""
        if not encoded:
            return ""
        region = piece.region if piece else self._cloud.home
        try:
            answer = self._cloud.call("sts", region, "decode_authorization_message", EncodedMessage=encoded)
        except (ClientError, BotoCoreError):
            return ""
        return str(answer.get("DecodedMessage", ""))


def _may_make_key_pairs(request: Request) -> bool:
    """Return whether the run can have a key pair: it uses SSH, without a key of the user's, in some group."""
    if request.ssh is None or request.ssh.key is not None:
        return False
    groups = [group for topology in request.topologies.values() for group in topology.groups]
    return any(not settings_of(request, group).aws.key_name for group in groups)


def _made_before(listed: Iterable[Mapping[str, Any]], parameters: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return which of what is ``listed`` an earlier call made: the one with run and piece of their stamp."""
    wanted = {tag["Key"]: tag["Value"] for tag in parameters["TagSpecifications"][0]["Tags"]}
    for thing in listed:
        stamp = read_stamp(thing.get("Tags", ()))
        if (stamp.run, stamp.piece) == (wanted[RUN], wanted[PIECE]):
            return thing
    return None


def _as_piece(held: Held, piece: Piece) -> Held:
    return replace(held, subject=piece.subject, group=piece.group, zone=held.zone or piece.zone)


def _known_as(held: Held) -> str:
    """Return that by which EC2 removes it."""
    return name_of(held) if held.kind == PLACEMENT_GROUP else held.id


def open_aws(request: Request) -> AwsBackend:
    """Return the backend of ``request``; no call is made.

    Raises `ConfigError` for an emulated run without an endpoint, and for a profile that the SDK's files do not have.
    """
    try:
        return AwsBackend(request)
    except ProfileNotFound as error:
        raise ConfigError(
            [
                f"aws.profile: {error}. Correct aws.profile or AWS_PROFILE, or add the profile to the SDK's files "
                "(AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE)"
            ]
        ) from error
