"""The verbs of `pytest_capacity.backends.base.Backend`, spoken to Compute Engine."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.base import ScalingStep, in_order
from pytest_capacity.backends.diagnosis import diagnose_held, table_of
from pytest_capacity.backends.gce import listing, operations, reading, types
from pytest_capacity.backends.gce.errors import CLOUD, diagnose_error, market_of
from pytest_capacity.backends.gce.plan import (
    DISK,
    NODE,
    POLICY,
    RESERVATION,
    create_call,
    names_of,
    plan_rounds,
    request_id,
)
from pytest_capacity.backends.gce.quotas import read_quotas
from pytest_capacity.backends.gce.scaling import Changer
from pytest_capacity.backends.gce.session import ApiError, Session
from pytest_capacity.backends.gce.settings import DEFAULT_USER, section_of, settings_of
from pytest_capacity.backends.gce.stamp import read_stamp
from pytest_capacity.backends.gce.uses import read_uses
from pytest_capacity.backends.gce.zones import Once, read_offers
from pytest_capacity.backends.groups import group_of
from pytest_capacity.backends.stamp import refuse_unstamped
from pytest_capacity.backends.times import parse_time
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

#: A reservation cannot be deleted while a machine consumes it, nor a placement policy while either uses it.
_ORDER: Final = (frozenset({NODE}), frozenset({RESERVATION, DISK}), frozenset({POLICY}))

_DELETES: Final[Mapping[str, tuple[str, str]]] = {
    NODE: ("instances.delete", "instance"),
    RESERVATION: ("reservations.delete", "reservation"),
    DISK: ("disks.delete", "disk"),
    POLICY: ("resourcePolicies.delete", "resourcePolicy"),
}

_COLLECTIONS: Final = {NODE: "instances", RESERVATION: "reservations", DISK: "disks", POLICY: "resource-policies"}

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409


class GceBackend:
    """Compute Engine for one `Request`. Opening it makes no call; every verb may be used from many threads at once.

    The kinds of pieces are ``placement-policy``, ``reservation`` and ``node``; an inventory may find a ``disk`` too,
    that its machine has left behind. A call that makes something is answered with an operation; what it makes is
    ``creating`` until `refresh` has seen the operation end, and ``failed`` with all of its errors where it ended so.
    """

    name: str = CLOUD
    default_user: str = DEFAULT_USER
    batch: Mapping[str, int] = {}
    #: `deleteAtTime` and `terminationTime` are enforced, and cannot be changed: they are the hard end from the start.
    leased: frozenset[str] = frozenset()
    #: A bulk insert that failed may leave a machine, and a machine its disk.
    leftovers: frozenset[str] = frozenset({NODE})
    scaling: frozenset[ScalingStep] = frozenset({"count", "replace", "in-place", "storage"})

    def __init__(self, request: Request) -> None:
        self._request = request
        self._settings = section_of(request)
        self._session = Session(request, self._settings)
        self._table = table_of(CLOUD, request.errors)
        self._once = Once()
        self._changer = Changer(self._session, request)

    def whoami(self) -> Identity:
        """Return the project: its number, by which a run is pinned, and its id."""
        answer = self._session.call("projects.get")
        return Identity(
            account=str(answer["id"]),
            who=self._session.who,
            place=str(answer["name"]),
            expires=None if self._request.emulated else self._session.expires,
        )

    def regions(self) -> Sequence[str]:
        """Return the regions that the project may use, by name."""
        pages = self._session.pages("regions.list")
        return sorted(one["name"] for page in pages for one in page.get("items") or () if one.get("status") != "DOWN")

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Return the zones of ``region`` by name; zones and machine types of all regions are read once.

        Raises what the API says for refused credentials, and `Refused` for an image, a network or a listed reservation
        that is not there or fits none of the machines.
        """
        return read_offers(self._session, self._once, self._table, self._request, region, topology)

    def quotas(self, region: str, types: Sequence[str]) -> Sequence[Quota]:
        """Return the region's quotas of vCPUs of the series of ``types``, and of spot machines."""
        return read_quotas(self._session, self._once, self._request, region, types)

    def family(self, instance_type: str) -> str:
        """Return the metric of the quota that the type's vCPUs count against."""
        return types.family(instance_type)

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """Return placement policies, reservations, nodes: each a round, where there is anything in it."""
        return plan_rounds(self._request, order)

    def create(self, piece: Piece) -> Sequence[Held]:
        """Make the piece by one mutating call, with the piece's token as its requestId.

        Raises `OperationFailed` where the answer is an operation that has ended with errors, as one of an earlier call
        with this token.
        """
        method, path, body = create_call(piece)
        try:
            operation = self._session.call(method, path, query={"requestId": request_id(piece.token)}, body=body)
        except ApiError as error:
            # A requestId is kept for an hour or so; the name is there for as long as the thing.
            if error.status != _CONFLICT or not (made := self._made_before(piece)):
                raise
            return made
        if operations.error_parts(operation):
            raise operations.OperationFailed(method, operation)
        return reading.accepted(piece, operation)

    def _made_before(self, piece: Piece) -> list[Held]:
        """Return what an earlier call for ``piece`` has made; empty where not all of it is there, or is ours."""
        wanted = names_of(piece)
        method, key = listing.LISTS[piece.kind]
        filter_ = listing.any_of(f'name="{name}"' for name in wanted)
        found = {}
        for thing in listing.read_list(self._session, method, key, filter_).items:
            stamp = read_stamp(thing)
            if stamp.piece == piece.subject and stamp.run == self._request.run:
                held = reading.READERS[piece.kind](thing)
                found[held.id] = replace(held, group=piece.group, zone=held.zone or piece.zone)
        return [found[name] for name in wanted] if set(wanted) <= found.keys() else []

    def change(self, held: Held, to: Change) -> Held:
        """Set a deadline (a label of a machine), the count of a reservation, or what `ScalesNodes` names of a machine.

        Raise ``ValueError`` for anything else: a reservation's description and ``deleteAtTime`` and a machine's
        ``terminationTime`` are fixed when they are made.
        """
        return self._changer.change(held, to)

    def obstacles(self, change: NodeChange, group: NodeGroup, nodes: Sequence[Held]) -> Sequence[Obstacle]:
        """Return what of ``change`` Compute Engine cannot do with the group. One list at most."""
        return self._changer.obstacles(change, group)

    def disks(self, nodes: Sequence[Held]) -> Sequence[int]:
        """Return the size of the disk that each node starts from, in GB. One list."""
        return self._changer.disks(nodes)

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return the things as listed now: one list a kind, and one of operations where it is needed, all at once."""
        return listing.look(self._session, self._request.run, self._table, helds) if helds else []

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return the machines while there are any, then reservations and disks, then placement policies."""
        return in_order(helds, _ORDER)

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Delete each thing by one call; what is not there any more is ``gone``.

        What has no subject is left alone and named in a ``ValueError``.
        """
        refuse_unstamped(helds, "descriptions and labels")
        return [self._delete(held) for held in helds]

    def _delete(self, held: Held) -> Held:
        method, name = _DELETES[held.kind]
        path = {"region": held.region} if held.kind == POLICY else {"zone": held.zone}
        try:
            self._session.call(method, {**path, name: held.id}, query={"requestId": str(uuid.uuid4())})
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return replace(held, state="gone")
        return replace(held, state="leaving")

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Yield what bears the stamp of ``run``, in every region of the project: four lists, all at once."""
        return listing.inventory(self._session, self._table, run, self._request.project, regions)

    def uses(self, regions: Sequence[str], wanted: UseFilter) -> Iterator[CloudResource | Unread]:
        """Yield the machines and reservations of every run in these regions, by our stamp."""
        return read_uses(self._session, self._table, regions)

    def console(self, held: Held) -> str:
        """Return what the first serial port has given out, of which Compute Engine keeps the last megabyte."""
        answer = self._session.call("instances.getSerialPortOutput", {"zone": held.zone, "instance": held.id})
        return str(answer.get("contents") or "")

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """Return commands of gcloud, one a kind and place."""
        places: dict[tuple[int, str, str], list[str]] = {}
        for held in helds:
            rank = next((number for number, kinds in enumerate(_ORDER) if held.kind in kinds), 0)
            at = held.region if held.kind == POLICY else held.zone
            places.setdefault((rank, held.kind, at), []).append(held.id)
        return [self._command(kind, at, names) for (_, kind, at), names in sorted(places.items())]

    def _command(self, kind: str, at: str, names: Sequence[str]) -> str:
        place = "--region" if kind == POLICY else "--zone"
        words = ["gcloud", "compute", _COLLECTIONS[kind], "delete", *names, place, at, "--quiet"]
        if project := self._settings.project:
            words += ["--project", project]
        command = shlex.join(words)
        if endpoint := self._request.endpoint:
            override = f"{endpoint.rstrip('/')}/compute/v1/"
            return f"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE={shlex.quote(override)} {command}"
        return command

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """Return what was fixed when it was made: a reservation's ``deleteAtTime``, a machine's ``terminationTime``.

        Nothing ends a placement policy or a disk. A machine that has stopped is not ended either.
        """
        if isinstance(thing, Piece):
            fixed = thing.kind == RESERVATION or (thing.kind == NODE and self._has_end(thing))
            return hard_end if fixed else None
        if thing.kind == RESERVATION:
            return thing.deadline if thing.deadline is not None else hard_end
        return parse_time(thing.facts.get(reading.ENDS, "")) if thing.kind == NODE and thing.state != "failed" else None

    def _has_end(self, piece: Piece) -> bool:
        group = group_of(self._request, Subject.parse(piece.subject).topology, piece.group)
        return (settings_of(self._request, group).gce if group else self._settings).self_terminate

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        """Return what it means by the table of Compute Engine and the user's own rows."""
        if isinstance(problem, Held):
            return diagnose_held(self._table, problem, market_of(piece) or _market_of(problem))
        return diagnose_error(problem, self._table, market_of(piece))


def _market_of(held: Held) -> Any:
    return held.facts.get("market") or None
