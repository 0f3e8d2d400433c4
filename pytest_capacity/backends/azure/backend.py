"""The methods of `pytest_capacity.backends.base.Backend`, for Azure Resource Manager."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from pytest_capacity.backends.azure import bodies, events, reading, scaling, sizes
from pytest_capacity.backends.azure.errors import GOING, diagnose_error, is_gone
from pytest_capacity.backends.azure.ids import (
    COMPUTE_VERSION,
    MACHINES,
    RESOURCE_GROUPS,
    RESOURCES_VERSION,
    SUBSCRIPTIONS_VERSION,
    ResourceId,
    canonical,
    tags_of,
    version_of,
)
from pytest_capacity.backends.azure.listing import TYPES, Pace, inventory, look
from pytest_capacity.backends.azure.offers import read_offers
from pytest_capacity.backends.azure.plan import (
    CAPACITY_GROUP,
    FIREWALL,
    NETWORK,
    NODE,
    PLACEMENT_GROUP,
    RESERVATION,
    RESOURCE_GROUP,
    create_body,
    path_of,
    plan_rounds,
)
from pytest_capacity.backends.azure.quotas import read_quotas
from pytest_capacity.backends.azure.session import Answer, Arm, ArmError
from pytest_capacity.backends.azure.settings import section_of
from pytest_capacity.backends.azure.uses import read_uses
from pytest_capacity.backends.base import ScalingStep
from pytest_capacity.backends.diagnosis import diagnose_held
from pytest_capacity.backends.stamp import DEADLINE, PIECE, RUN, refuse_unstamped
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
    Quota,
    Request,
    Subject,
    Topology,
    Unread,
)
from pytest_capacity.usage import CloudResource, UseFilter

#: What waits for what within a resource group. A reservation may be set to 0 under its machines, but not deleted; a
#: card keeps an address and the network; the resource group would take all along, in an order that is not documented.
RELEASE_ORDER: Final = (
    frozenset({NODE}),
    frozenset({RESERVATION, reading.CARD, reading.DISK}),
    frozenset({reading.ADDRESS, CAPACITY_GROUP, NETWORK, PLACEMENT_GROUP}),
    frozenset({FIREWALL}),
    frozenset({RESOURCE_GROUP}),
)
_KINDS: Final = frozenset().union(*RELEASE_ORDER)

#: The answer to a PUT of a machine that is there already, with another key: it is the one of an earlier call.
_THERE: Final = frozenset({"PropertyChangeNotAllowed", "OperationNotAllowed", "Conflict"})


class AzureBackend:
    """Azure for one `Request`. Opening it makes no call; every method may be used from many threads at once.

    Every machine is a piece and one call. Names are Azure's only tokens: the same PUT again gives what the
    first one made.
    """

    name: str = "azure"
    batch: Mapping[str, int] = {}
    #: Azure ends nothing by the clock.
    leased: frozenset[str] = frozenset()
    #: A refused machine may stay in state Failed, with its network interface.
    leftovers: frozenset[str] = frozenset({NODE})
    scaling: frozenset[ScalingStep] = scaling.CAN
    default_user: str = "azureuser"
    notice_command: str = events.COMMAND

    def __init__(self, request: Request) -> None:
        self._request = request
        self._arm = Arm(request)
        self._pace = Pace()
        self._lock = threading.Lock()
        self._spare_key = ""

    def whoami(self) -> Identity:
        """Return the subscription; its tenant is the place."""
        return self._arm.whoami()

    def regions(self) -> Sequence[str]:
        """Return the locations of the subscription."""
        operation = "Microsoft.Resources/subscriptions/locations/read"
        listed = self._arm.pages(operation, self._arm.path("/locations"), SUBSCRIPTIONS_VERSION)
        return sorted(str(one["name"]) for one in listed)

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Return the zones ``eastus-1`` and so on, then ``eastus-none``: a placement without a zone."""
        return read_offers(self._arm, self._request, region, topology)

    def quotas(self, region: str, types: Sequence[str]) -> Sequence[Quota]:
        """Return the region's quotas of vCPUs: of the families of ``types``, of all on-demand and all spot machines."""
        return read_quotas(self._arm, region, types)

    def family(self, instance_type: str) -> str:
        """Return the family of a size, by its name."""
        return sizes.family(instance_type)

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """Return the rounds: resource group; what stands in it; reservations; machines."""
        return plan_rounds(self._request, order)

    def create(self, piece: Piece) -> Sequence[Held]:
        """Make the piece by one PUT; it is accepted, and mostly not ready yet, when this returns."""
        identity = path_of(piece, self._arm.subscription)
        key = piece.spec.get("public_key") or (self._own_key() if piece.kind == NODE else "")
        body = create_body(piece, self._arm.subscription, key)
        operation = f"{TYPES[piece.kind] or RESOURCE_GROUPS}/write"
        try:
            answer = self._arm.call(operation, "PUT", identity, piece.spec["version"], body)
        except ArmError as error:
            found = self._made_before(piece, identity, error)
            if found is None:
                raise
            answer = found
        made = reading.held_of(piece.kind, {"id": identity, "name": "", **answer.body}, piece.region)
        return [self._accepted(made, piece, answer)]

    def _made_before(self, piece: Piece, identity: str, error: ArmError) -> Answer | None:
        """Return the machine that an earlier call of the same name made, where another PUT of it is refused."""
        if piece.kind != NODE or not error.codes & _THERE:
            return None
        try:
            answer = self._arm.call(f"{MACHINES}/read", "GET", identity, COMPUTE_VERSION)
        except ArmError:
            return None
        tags, ours = tags_of(answer.body), piece.spec["body"]["tags"]
        return answer if all(tags.get(key) == ours[key] for key in (RUN, PIECE)) else None

    def _accepted(self, made: Held, piece: Piece, answer: Answer) -> Held:
        self._pace.note(made.id, answer.retry_after)
        facts = {**made.facts, **({"operation": answer.operation} if answer.operation else {})}
        return replace(
            made,
            subject=piece.subject,
            group=piece.group,
            zone=made.zone or piece.zone,
            facts=facts,
            # A machine is read once more for its addresses and its place in the reservation; what failed at once,
            # for the reason.
            state="creating" if made.state == "failed" or piece.kind == NODE else made.state,
            problem="",
            problem_code="",
        )

    def _own_key(self) -> str:
        """Return a public key whose private key is not kept: Azure makes no Linux machine without one."""
        with self._lock:
            if not self._spare_key:
                public = generate_private_key(65537, 2048).public_key()
                self._spare_key = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
            return self._spare_key

    def change(self, held: Held, to: Change) -> Held:
        """Set the deadline, which is a tag; anything else is in `scaling.change`. ``ValueError`` for what cannot be."""
        if to.deadline is None:
            return scaling.change(self._arm, self._pace, held, to)
        if to == Change(deadline=to.deadline):
            tags = {DEADLINE: format_time(to.deadline)}
            path = f"{held.id}/providers/Microsoft.Resources/tags/default"
            self._arm.call("Microsoft.Resources/tags/write", "PATCH", path, RESOURCES_VERSION, bodies.tag_change(tags))
            return replace(held, deadline=float(int(to.deadline)))
        raise ValueError(f"a deadline is changed alone, and {to} was asked for")

    def obstacles(self, change: NodeChange, group: NodeGroup, nodes: Sequence[Held]) -> Sequence[Obstacle]:
        """Return what is in the way of a change in place, by the list of sizes."""
        return scaling.obstacles(self._arm, change, group, nodes)

    def disks(self, nodes: Sequence[Held]) -> Sequence[int]:
        """Return the sizes of their disks, by a list of each resource group."""
        return scaling.disks(self._arm, nodes)

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return them as they are: machines by one list a resource group, the rest by a GET each, side by side."""
        return look(self._arm, self._pace, helds)

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return what may go now in each resource group, and reservations that are not set to 0 yet."""
        found: list[Held] = []
        places: dict[tuple[str, int, str], list[Held]] = {}
        for held in helds:
            subject = Subject.parse(held.subject)
            places.setdefault((subject.topology, subject.series, held.region), []).append(held)
        for some in places.values():
            first = next((kinds for kinds in RELEASE_ORDER if any(held.kind in kinds for held in some)), frozenset())
            for held in some:
                if held.kind in first or held.kind not in _KINDS:
                    # Without machines a reservation need not be set to 0 before it is deleted.
                    found.append(_as_shrunk(held) if RESERVATION in first else held)
                elif _may_shrink(held):
                    found.append(held)
        return found

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Delete each by one call. A reservation that holds capacity is set to 0 first, which ends its bill at once."""
        refuse_unstamped(helds)
        return [self._shrink(held) if _may_shrink(held) else self._delete(held) for held in helds]

    def _shrink(self, held: Held) -> Held:
        try:
            return scaling.resize(self._arm, self._pace, held, 0)
        except ArmError as error:
            if is_gone(error):
                return replace(held, state="gone")
            if diagnose_error(error, self._arm.errors).kind in ("conflict", "invalid"):
                # It cannot be changed as it is: then it goes as it is.
                return replace(held, facts={**held.facts, "capacity": "0"})
            raise

    def _delete(self, held: Held) -> Held:
        type_ = TYPES[held.kind]
        operation = f"{type_ or RESOURCE_GROUPS}/delete"
        # Without it the operating system is shut down first, which takes minutes.
        query = {"forceDeletion": "true"} if held.kind == NODE else {}
        try:
            answer = self._arm.call(operation, "DELETE", held.id, version_of(type_), **query)
        except ArmError as error:
            if error.codes & GOING:
                return replace(held, state="leaving")
            if error.http == 404:
                return replace(held, state="gone")
            raise
        self._pace.note(held.id, answer.retry_after)
        return replace(held, state="leaving" if answer.status == 202 else "gone")

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Yield what has the stamp of ``run`` in the subscription, in every region."""
        return inventory(self._arm, run, self._request.project, self._given_groups())

    def _given_groups(self) -> list[str]:
        given = section_of(self._request).capacity_reservation_group or ""
        return [canonical(given)] if "/" in given else []

    def read_notice(self, held: Held, output: str) -> str:
        """Return what Scheduled Events report of the machine's end."""
        return events.preemption_of(ResourceId.parse(held.id).name, output)

    def uses(self, regions: Sequence[str], wanted: UseFilter) -> Iterator[CloudResource | Unread]:
        """Yield the machines and reservations of every run in these regions, by our stamp."""
        return read_uses(self._arm, regions)

    def console(self, held: Held) -> str:
        """Return the serial console by boot diagnostics: a call for the signed URL, and what is there."""
        operation = f"{MACHINES}/retrieveBootDiagnosticsData/action"
        answer = self._arm.call(operation, "POST", f"{held.id}/retrieveBootDiagnosticsData", COMPUTE_VERSION)
        url = str(answer.body.get("serialConsoleLogBlobUri") or "")
        return self._arm.fetch(url) if url else ""

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """Return commands of the Azure command line, in the order in which Azure lets things go."""
        ranked = sorted(
            helds, key=lambda held: next((n for n, kinds in enumerate(RELEASE_ORDER) if held.kind in kinds), 0)
        )
        return [shlex.join(_removal(held)) for held in ranked]

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """Return None: nothing ends by itself at Azure, and a machine that shuts itself down is billed on."""
        return None

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        """Return the diagnosis of a problem, by the rows in errors.yaml."""
        market = (piece.market or None) if piece else None
        if isinstance(problem, Held):
            return diagnose_held(self._arm.errors, problem, market)
        return diagnose_error(problem, self._arm.errors, market)


def _may_shrink(held: Held) -> bool:
    """Return whether it is a reservation that is set to 0 before it is deleted."""
    return held.kind == RESERVATION and held.state == "ready" and held.facts.get("capacity") != "0"


def _as_shrunk(held: Held) -> Held:
    return replace(held, facts={**held.facts, "capacity": "0"}) if _may_shrink(held) else held


def _removal(held: Held) -> list[str]:
    """Return the command: ``az resource`` needs an api-version for a member, and a resource group is no resource."""
    if held.kind == RESOURCE_GROUP:
        identity = ResourceId.parse(held.id)
        return ["az", "group", "delete", "--yes", "--subscription", identity.subscription, "--name", identity.group]
    if held.kind == NODE:
        return ["az", "vm", "delete", "--yes", "--force-deletion", "true", "--ids", held.id]
    if held.kind == RESERVATION:
        return ["az", "capacity", "reservation", "delete", "--yes", "--ids", held.id]
    return ["az", "resource", "delete", "--ids", held.id]


def open_azure(request: Request) -> AzureBackend:
    """Return the backend of ``request``; no call is made."""
    return AzureBackend(request)
