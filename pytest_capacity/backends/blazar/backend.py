"""The methods of `pytest_capacity.backends.base.Backend`, for Blazar and Nova."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.base import in_order
from pytest_capacity.backends.blazar import hosts, plan, reading, stamp
from pytest_capacity.backends.blazar.errors import CLOUD, diagnose_error
from pytest_capacity.backends.blazar.plan import LEASE, NODE, RESERVATION, server_body
from pytest_capacity.backends.blazar.session import COMPUTE, LONG, ApiError, Region
from pytest_capacity.backends.blazar.session import RESERVATION as BLAZAR
from pytest_capacity.backends.blazar.settings import DEFAULT_USER, section_of, settings_of
from pytest_capacity.backends.blazar.usage import node_use, read_uses
from pytest_capacity.backends.blazar.zones import read_offers
from pytest_capacity.backends.diagnosis import diagnose_held, table_of
from pytest_capacity.backends.stamp import refuse_unstamped
from pytest_capacity.model import Change, Diagnosis, Held, Identity, Offer, Order, Piece, Request, Topology, Unread
from pytest_capacity.usage import CloudResource, UseFilter

#: Blazar deletes the servers of a lease that is deleted, and waits for them: they go before it. Its reservations go
#: with it.
_ORDER: Final = (frozenset({NODE}), frozenset({LEASE}), frozenset({RESERVATION}))

_NOT_FOUND: Final = 404

#: A search for things of one name.
_Search = Callable[[], Sequence[Mapping[str, Any]]]


class BlazarBackend:
    """OpenStack for one `Request`. Opening it makes no call; every method may be used from many threads at once.

    A topology is one ``lease`` with one ``reservation`` for each group, then the groups' ``node`` s. A lease starts now
    and is ``creating`` until Blazar has made it active. It ends by itself: Blazar then deletes the servers in it.
    Neither Blazar nor Nova has tokens, so before each create call what an earlier one made is looked for by name.
    """

    name: str = CLOUD
    default_user: str = DEFAULT_USER
    batch: Mapping[str, int] = {}
    #: Its end is Blazar's own, and can be moved while it stands; the reservations in it go along.
    leased: frozenset[str] = frozenset({LEASE})
    #: Blazar then has the servers in it deleted.
    ends_nodes: frozenset[str] = leased
    #: A lease that cannot start stays, in state ERROR; servers for which Nova finds no host, too.
    leftovers: frozenset[str] = frozenset({LEASE, NODE})

    def __init__(self, request: Request) -> None:
        self._request = request
        self._settings = section_of(request)
        self._table = table_of(CLOUD, request.errors)
        self._lock = threading.Lock()
        self._regions: dict[str, Region] = {}

    def whoami(self) -> Identity:
        """Return the project, by which a run is pinned, and the user; one call for a token."""
        region = self._region(self.regions()[0])
        return Identity(account=region.project, who=region.who)

    def regions(self) -> Sequence[str]:
        """Return the regions of the request: which others clouds.yaml has is no matter of one's credentials."""
        return self._request.regions

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Return Nova's zones by name; without a flavor, or without a host that Blazar may reserve, they cannot."""
        groups = [settings_of(self._request, group) for group in topology.groups]
        return read_offers(self._region(region), groups)

    def family(self, instance_type: str) -> str:
        """Return the same for all: quotas are of cores, memory and instances, whatever the flavor."""
        return "cores"

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """Return the lease, then the servers: each a round, where there is anything in it."""
        return plan.plan_rounds(self._request, order)

    def create(self, piece: Piece) -> Sequence[Held]:
        """Make one mutating call, after a search for what an earlier call for the same token made."""
        region = self._region(piece.region)
        return self._create_lease(region, piece) if piece.kind == LEASE else self._create_nodes(region, piece)

    def _create_lease(self, region: Region, piece: Piece) -> list[Held]:
        name = piece.spec["name"]

        def find() -> list[Mapping[str, Any]]:
            return [one for one in self._leases(region) if one["name"] == name and one["status"] != "TERMINATED"]

        def make() -> list[Mapping[str, Any]]:
            return [region.call(BLAZAR, "POST", "/leases", body=piece.spec, timeout=LONG)["lease"]]

        return self._lease_things(region, _found_or_made(find, make)[0], piece)

    def _lease_things(self, region: Region, lease: Mapping[str, Any], piece: Piece | None) -> list[Held]:
        subject = piece.subject if piece else self._subject_of(lease)
        groups = self._groups(subject, piece)
        spec = piece.spec["reservations"] if piece else ()
        found = hosts.hosts_of(region, lease["id"])
        return reading.lease_things(lease, region.name, subject, groups, found, spec)

    def _subject_of(self, lease: Mapping[str, Any]) -> str:
        name = stamp.read_lease_name(lease["name"])
        return name.subject if name and name.is_of(self._request.run) else ""

    def _groups(self, subject: str, piece: Piece | None = None) -> list[tuple[str, str]]:
        """Return name and type of the groups that a lease is for, in the order of its reservations."""
        topology = self._request.topologies.get(subject.partition("/")[0])
        every = [settings_of(self._request, group) for group in topology.groups] if topology else []
        if piece is None:
            return [(group.name, group.group.instance_type) for group in every if group.reserve]
        types = {group.name: group.group.instance_type for group in every}
        return [(name, piece.instance_type or types.get(name, "")) for name in piece.groups]

    def _create_nodes(self, region: Region, piece: Piece) -> list[Held]:
        name = piece.spec["server"]["name"]

        def find() -> Sequence[Mapping[str, Any]]:
            return self._servers(region, name)

        def make() -> Sequence[Mapping[str, Any]]:
            region.call(COMPUTE, "POST", "/servers", body=server_body(piece, self._server_group(region, piece)))
            # The answer names one of them only.
            return find()

        servers = _found_or_made(find, make)
        # Two calls for one name, as after a keeper's death, leave servers without a host beside those that have the
        # place. They bear the stamp, and go with the run.
        good = [server for server in servers if server["status"] != "ERROR"]
        return [self._node(one, region, piece.zone) for one in (good if len(good) >= piece.count else servers)]

    def _server_group(self, region: Region, piece: Piece) -> str:
        """Return the server group that Blazar made for a reservation with an affinity."""
        lease = piece.inputs.get(LEASE, "")
        if piece.spec["affinity"] is None or not lease or piece.spec["reservation"] != "virtual:instance":
            return ""
        found = region.call(BLAZAR, "GET", f"/leases/{lease}")["lease"]["reservations"]
        wanted = set(piece.inputs.values())
        return next((one.get("server_group_id") or "" for one in found if one["id"] in wanted), "")

    def _node(self, server: Mapping[str, Any], region: Region, zone: str = "") -> Held:
        held = reading.server_thing(server, region.name, zone)
        flavor = held.facts.get("flavor", "")
        # A reservation of instances is a separate flavor, with the reservation's id.
        facts = {key: value for key, value in held.facts.items() if key != "flavor"}
        if "reservation_id" not in facts and plan.is_id(flavor) and self._reserves(held):
            facts["reservation_id"] = flavor
        return replace(held, facts=facts)

    def _reserves(self, held: Held) -> bool:
        topology = self._request.topologies.get(held.subject.partition("/")[0])
        groups = [settings_of(self._request, group) for group in topology.groups] if topology else []
        return any(group.reserve for group in groups if group.name == held.group)

    def change(self, held: Held, to: Change) -> Held:
        """Move a lease's end, or the deadline in a server's metadata. Raise ``ValueError`` for anything else.

        A lease is never shrunk: Blazar refuses it for one that is active.
        """
        if to.deadline is None or to != Change(deadline=to.deadline) or held.kind == RESERVATION:
            raise ValueError(f"{held.kind} {held.id}: Blazar cannot change {to}")
        region = self._region(held.region)
        if held.kind == NODE:
            body = {"metadata": {stamp.DEADLINE: str(int(to.deadline))}}
            region.call(COMPUTE, "POST", f"/servers/{held.id}/metadata", body=body)
            return replace(held, deadline=float(int(to.deadline)))
        end = plan.whole_minute(to.deadline)
        if held.deadline is not None and end < held.deadline:
            raise ValueError(f"lease {held.id} is never ended earlier than {plan.date(held.deadline)}, as it was asked")
        region.call(BLAZAR, "PUT", f"/leases/{held.id}", body={"end_date": plan.date(end)}, timeout=LONG)
        return replace(held, deadline=end)

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Read one list of leases and one of servers a region, and one of the hosts if a reservation is among them."""
        seen: dict[tuple[str, str, str], Held] = {}
        for name in dict.fromkeys(held.region for held in helds):
            region = self._region(name)
            kinds = {held.kind for held in helds if held.region == name}
            found = [self._node(one, region) for one in self._servers(region)] if NODE in kinds else []
            if kinds & {LEASE, RESERVATION}:
                found += self._known_leases(region, helds)
            seen.update({held.key: held for held in found})
        return [_seen(held, seen.get(held.key)) for held in helds]

    def _known_leases(self, region: Region, helds: Sequence[Held]) -> list[Held]:
        wanted = {held.id if held.kind == LEASE else held.facts.get("lease_id", "") for held in helds}
        leases = [one for one in self._leases(region) if one["id"] in wanted]
        if not leases:
            return []
        on = hosts.hosts_of(region, leases[0]["id"] if len(leases) == 1 else "")
        return [
            thing
            for lease in leases
            for thing in reading.lease_things(lease, region.name, self._subject_of(lease), (), on)
        ]

    def releasable(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Return the servers while there are any, then the lease, with which its reservations go."""
        return in_order(helds, _ORDER)

    def release(self, helds: Sequence[Held]) -> Sequence[Held]:
        """Release by one call; what no longer exists is ``gone``. A reservation is deleted with its lease."""
        refuse_unstamped(helds, "names and metadata")
        return [self._delete(held) for held in helds]

    def _delete(self, held: Held) -> Held:
        region = self._region(held.region)
        lease = held.id if held.kind == LEASE else held.facts.get("lease_id", "")
        try:
            if held.kind == NODE:
                region.call(COMPUTE, "DELETE", f"/servers/{held.id}")
            else:
                region.call(BLAZAR, "DELETE", f"/leases/{lease}", timeout=LONG)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return replace(held, state="gone")
        # Blazar answers when all of a lease is gone; Nova when it has begun.
        return replace(held, state="leaving" if held.kind == NODE else "gone")

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Yield what has the stamp of ``run``: two lists a region."""
        for name in regions:
            region = self._region(name)
            for kind, read in ((LEASE, self._inventory_leases), (NODE, self._inventory_servers)):
                try:
                    found = read(region, run)
                except Exception as error:  # noqa: BLE001 - any error of the SDK is reported, and the rest read.
                    yield Unread(name, kind, str(error))
                else:
                    yield from (held for held in found if held.state != "gone")

    def _inventory_leases(self, region: Region, run: str) -> list[Held]:
        found = []
        for lease in self._leases(region):
            name = stamp.read_lease_name(lease["name"])
            if name and name.is_of(run):
                groups = self._groups(name.subject)
                found += reading.lease_things(lease, region.name, name.subject, groups, {})
        return found

    def _inventory_servers(self, region: Region, run: str) -> list[Held]:
        servers = self._servers(region, stamp.server_prefix(run))
        return [self._node(one, region) for one in servers if one.get("metadata", {}).get(stamp.RUN) == run]

    def console(self, held: Held) -> str:
        """Return the end of what a server wrote to its console."""
        body = {"os-getConsoleOutput": {"length": 1000}}
        answer = self._region(held.region).call(COMPUTE, "POST", f"/servers/{held.id}/action", body=body)
        return str(answer.get("output") or "")

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """Return commands of the ``openstack`` client: servers first, then leases."""
        cloud = ["--os-cloud", self._settings.cloud] if self._settings.cloud else []
        commands = []
        for kind, words in ((NODE, ["server", "delete"]), (LEASE, ["reservation", "lease", "delete"])):
            for region in dict.fromkeys(held.region for held in helds):
                ids = [held.id for held in helds if held.kind == kind and held.region == region]
                place = ["--os-region-name", region.rpartition("/")[2]]
                commands += [shlex.join(["openstack", *cloud, *place, *words, *ids])] if ids else []
        # They go with their lease; a shell comment states this.
        return commands + [
            f"# reservation {held.id} goes with lease {held.facts.get('lease_id', '')}"
            for held in helds
            if held.kind == RESERVATION
        ]

    def uses(self, regions: Sequence[str], wanted: UseFilter) -> Iterator[CloudResource | Unread]:
        """Yield Blazar's hosts and leases, of all users, and this project's servers that have a stamp of ours."""
        for name in regions:
            region = self._region(name)
            for kind, read in (("lease", read_uses), (NODE, self._server_uses)):
                try:
                    yield from read(region, wanted)
                except Exception as error:  # noqa: BLE001 - any error of the SDK is reported, and the rest read.
                    yield Unread(name, kind, str(error))

    def _server_uses(self, region: Region, _: UseFilter) -> Iterator[CloudResource]:
        servers = [one for one in self._servers(region, stamp.NAMES) if one.get("metadata", {}).get(stamp.RUN)]
        reservations = (
            {one["id"] for lease in self._leases(region) for one in lease["reservations"]} if servers else set()
        )
        for server in servers:
            yield node_use(server, region.name, reservations)

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """Return the lease's end, with which its reservations and the servers in it go. Nothing ends other servers."""
        if isinstance(thing, Piece):
            return hard_end if thing.kind == LEASE or thing.needs else None
        if thing.kind in (LEASE, RESERVATION):
            return thing.deadline if thing.deadline is not None else hard_end
        return hard_end if thing.facts.get("reservation_id") else None

    def diagnose(self, problem: Exception | Held, piece: Piece | None = None) -> Diagnosis:
        """Return what it means by the table of OpenStack and the user's own rows."""
        market = piece.market or None if piece is not None else None
        if isinstance(problem, Held):
            return diagnose_held(self._table, problem, market)
        return diagnose_error(problem, self._table, market)

    def _region(self, name: str) -> Region:
        with self._lock:
            if name not in self._regions:
                self._regions[name] = Region(name, self._request, self._settings)
            return self._regions[name]

    def _leases(self, region: Region) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = region.call(BLAZAR, "GET", "/leases")["leases"]
        return found

    def _servers(self, region: Region, begins: str = "") -> list[dict[str, Any]]:
        """Return the servers whose names begin so, page after page; without a prefix those of this run."""
        begins = begins or stamp.server_prefix(self._request.run)
        found: list[dict[str, Any]] = []
        query = {"name": f"^{begins}", "limit": "500"}
        while True:
            page: list[dict[str, Any]] = region.call(COMPUTE, "GET", "/servers/detail", query=query)["servers"]
            found += [one for one in page if one["name"].startswith(begins)]
            if len(page) < 500:
                return found
            query["marker"] = page[-1]["id"]


def _found_or_made(find: _Search, make: _Search) -> Sequence[Mapping[str, Any]]:
    """Return what ``find`` finds; where that is nothing, what ``make`` makes.

    A call of a keeper that has died may end only now, and take the hosts. Names are no tokens: hosts are counted before
    the name is looked at. So a refusal counts only where nothing of the name is there after it.
    """
    found = find()
    if found:
        return found
    try:
        return make()
    except ApiError:
        found = find()
        if not found:
            raise
        return found


def _seen(held: Held, now: Held | None) -> Held:
    """Return ``held`` as it is now; what is not in a list stays."""
    if now is None:
        return replace(held, state="unseen")
    facts = {**held.facts, **now.facts}
    return replace(
        held,
        state=now.state,
        deadline=now.deadline if held.kind != NODE else held.deadline,
        problem=now.problem,
        problem_code=now.problem_code,
        parts=now.parts,
        facts=facts,
    )
