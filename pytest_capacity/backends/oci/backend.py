"""The methods of `pytest_capacity.backends.base.Backend`, for OCI."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace
from oci.exceptions import ServiceError

from pytest_capacity.backends.base import ScalingStep, in_order
from pytest_capacity.backends.diagnosis import diagnose_held
from pytest_capacity.backends.oci import forms, reading, scaling
from pytest_capacity.backends.oci.errors import CLOUD, diagnose_error, is_hidden
from pytest_capacity.backends.oci.existing_reservations import Existing
from pytest_capacity.backends.oci.kinds import KINDS, NODE, RELEASE_ORDER, RESERVATION
from pytest_capacity.backends.oci.listing import inventory, look, side_by_side
from pytest_capacity.backends.oci.plan import create_body, plan_rounds
from pytest_capacity.backends.oci.session import COMPUTE, IDENTITY, Answer, Cloud
from pytest_capacity.backends.oci.uses import read_uses
from pytest_capacity.backends.oci.zones import read_offers
from pytest_capacity.backends.stamp import DEADLINE, refuse_unstamped
from pytest_capacity.backends.times import format_time
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
    Request,
    Topology,
    Unread,
)
from pytest_capacity.usage import CloudResource, UseFilter

#: Bytes of a console's history that are requested: all that OCI keeps (1 MB).
_HISTORY: Final = 1048576


class OciBackend:
    """OCI for one `Request`. Opening it makes no call; every method may be used from many threads at once.

    The kinds of pieces are ``reservation``, ``node``, and, where the user names no subnet, ``network`` (the VCN),
    ``gateway``, ``route-table``, ``security-list`` and ``subnet``. One call makes one thing. Nothing here ends by
    itself: OCI has no end date for reservations, and a machine that is shut down from inside is billed on.
    """

    name: str = CLOUD
    batch: Mapping[str, int] = dict.fromkeys(KINDS, 1)
    leased: frozenset[str] = frozenset()
    scaling: frozenset[ScalingStep] = frozenset({"count", "replace", "in-place", "storage"})
    #: What OCI refuses at once is not made; what it takes back later is listed as failed.
    leftovers: frozenset[str] = frozenset()
    #: Of Oracle Linux; Ubuntu's images have ``ubuntu``, which ``ssh: {user: ...}`` sets.
    default_user: str = "opc"

    def __init__(self, request: Request) -> None:
        self._request = request
        self._cloud = Cloud(request)
        self._existing = Existing(request)

    def whoami(self) -> Identity:
        """Return tenancy, user and compartment."""
        return self._cloud.whoami()

    def regions(self) -> Sequence[str]:
        """Return the regions to which the tenancy is subscribed."""
        path = f"/tenancies/{self._cloud.tenancy}/regionSubscriptions"
        answer = self._cloud.get(IDENTITY, self._request.regions[0], "ListRegionSubscriptions", path)
        return sorted(one["regionName"] for one in answer.data if one.get("status") == "READY")

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Return availability domains by name; each of their fault domains, where ``oci.fault_domains`` names some."""
        return read_offers(self._cloud, self._request, self._existing, region, topology)

    def family(self, instance_type: str) -> str:
        """Return the series of a shape, as service limits count it."""
        return forms.family(instance_type)

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """Return the reservation and the network, then the nodes."""
        return plan_rounds(self._request, order)

    def create(self, piece: Piece) -> Sequence[Held]:
        """Make one thing, by one call with the piece's token as ``opc-retry-token`` (valid for 24 hours)."""
        kind = KINDS[piece.kind]
        answer = self._cloud.call(
            kind.service,
            piece.region,
            kind.creating,
            "POST",
            kind.path,
            body=create_body(piece, self._cloud.compartment),
            headers={"opc-retry-token": piece.token},
        )
        made = reading.held(piece.kind, piece.region, answer.data)
        if made.state != "creating" and (made.state != "ready" or piece.kind == NODE):
            # The first look at it has what is not in this answer: a node's addresses, and why a thing went already.
            made = replace(made, state="creating", problem="", problem_code="")
        return [reading.as_piece(made, piece.subject, piece.group, piece.zone, answer.work_request)]

    def change(self, held: Held, to: Change) -> Held:
        """Set the deadline in the stamp, the count of a reservation, or what a node is (`scaling.change_node`).

        Oracle replaces tags and configurations as a whole and drops what is left out, so the thing is read first, all
        of it is sent again, and only if it is still as it was read (``if-match``).
        """
        scaling.check_change(held, to)
        if held.kind == NODE and to.deadline is None:
            return scaling.change_node(self._cloud, self._request, held, to)
        read = self._read(held)
        body: dict[str, Any] = {}
        if to.deadline is not None:
            tags = dict(read.data.get("freeformTags") or {})
            body["freeformTags"] = {**tags, DEADLINE: format_time(to.deadline)}
        if held.kind == RESERVATION:
            body["instanceReservationConfigs"] = scaling.configs_of(self._cloud, self._request, held, read.data, to)
        kind = KINDS[held.kind]
        headers = {"if-match": read.etag} if read.etag else {}
        answer = self._cloud.call(
            kind.service, held.region, f"Update{kind.noun}", "PUT", f"{kind.path}/{held.id}", body=body, headers=headers
        )
        changed = held if to.deadline is None else replace(held, deadline=float(int(to.deadline)))
        return changed if to.count is None else reading.resizing(changed, to.count, answer.work_request)

    def obstacles(self, change: NodeChange, group: NodeGroup, nodes: Sequence[Held]) -> Sequence[Obstacle]:
        """Return what of ``change`` Oracle cannot do, by its lists of shapes."""
        return scaling.obstacles(self._cloud, self._request, change, group, nodes)

    def disks(self, nodes: Sequence[Held]) -> Sequence[int]:
        """Return the sizes of the nodes' boot volumes; 0 while one is being changed."""
        return scaling.disks(self._cloud, nodes)

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return them by one list a kind, region and compartment, all of them at once."""
        places: dict[tuple[str, str, str], list[Held]] = defaultdict(list)
        for held in helds:
            places[held.kind, held.region, held.place or self._cloud.compartment].append(held)

        def ask(place: tuple[str, str, str]) -> list[Held]:
            kind, region, compartment = place
            return look(self._cloud, kind, region, compartment, places[place])

        now = {held.key: held for answer in side_by_side(ask, list(places)) for held in answer}
        return [now[held.key] for held in helds]

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return nodes; then reservations and subnets; then what the subnets used; then the gateway; then the VCN."""
        return in_order(helds, RELEASE_ORDER)

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Delete them; a reservation only if it is still as it was read.

        A thing that is hidden from the delete and from a look at it is ``gone``; one that can be seen and may not be
        deleted raises Oracle's refusal. What has no subject is left alone: ``ValueError``, after the others.
        """
        released = [self._remove(held) if held.subject else held for held in helds]
        refuse_unstamped(helds)
        return released

    def _remove(self, held: Held) -> Held:
        kind = KINDS[held.kind]
        query = {"preserveBootVolume": "false"} if held.kind == NODE else {}
        headers: dict[str, str] = {}
        try:
            if held.kind == RESERVATION:
                headers = {"if-match": self._read(held).etag}
            verb = "Terminate" if held.kind == NODE else "Delete"
            path = f"{kind.path}/{held.id}"
            self._cloud.call(
                kind.service, held.region, f"{verb}{kind.noun}", "DELETE", path, query=query, headers=headers
            )
        except ServiceError as error:
            if not is_hidden(error) or self._is_there(held):
                raise
            return replace(held, state="gone")
        return replace(held, state="leaving")

    def _read(self, held: Held) -> Answer:
        kind = KINDS[held.kind]
        return self._cloud.get(kind.service, held.region, f"Get{kind.noun}", f"{kind.path}/{held.id}")

    def _is_there(self, held: Held) -> bool:
        try:
            answer = self._read(held)
        except ServiceError as error:
            if is_hidden(error):
                return False
            raise
        return reading.held(held.kind, held.region, answer.data).state not in ("leaving", "gone")

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Yield what has the stamp of ``run``, in the compartment of the run and all below it."""
        return inventory(self._cloud, run, self._request.project, regions)

    def uses(self, regions: Sequence[str], wanted: UseFilter) -> Iterator[CloudResource | Unread]:
        """Yield instances and reservations of every run, by our stamp, in the compartment of the run and below it."""
        return read_uses(self._cloud, regions)

    def console(self, held: Held) -> str:
        """Return the console's history: captured by one call, which takes the cloud a moment, and read by another."""
        path = "/instanceConsoleHistories"
        body = {"instanceId": held.id}
        captured = self._cloud.call(COMPUTE, held.region, "CaptureConsoleHistory", "POST", path, body=body).data
        content = self._cloud.get_text(
            COMPUTE, held.region, "GetConsoleHistoryContent", f"{path}/{captured['id']}/data", length=_HISTORY
        )
        self._cloud.call(COMPUTE, held.region, "DeleteConsoleHistory", "DELETE", f"{path}/{captured['id']}")
        return content

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """Return commands of Oracle's command line, in the order in which they work."""
        order = [kind for kinds in RELEASE_ORDER for kind in sorted(kinds)]
        return [self._command(held) for held in sorted(helds, key=lambda held: order.index(held.kind))]

    def _command(self, held: Held) -> str:
        words = ["oci", *KINDS[held.kind].command.split(), held.id, "--region", held.region, "--force"]
        settings = self._cloud.settings
        if settings.profile:
            words += ["--profile", settings.profile]
        if settings.config_file:
            words += ["--config-file", settings.config_file]
        if self._request.endpoint:
            words += ["--endpoint", self._request.endpoint]
        return shlex.join(words)

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """Return None: nothing at OCI ends by itself."""
        return None

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        """Return the diagnosis of a problem, by the rows in `errors.yaml` here."""
        table, market = self._cloud.errors, (piece.market or None) if piece else None
        if isinstance(problem, Held):
            return diagnose_held(table, problem, market)
        return diagnose_error(problem, table, market)
