"""What Azure has of ours: by id (`look`), and by the stamp (`inventory`)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from azure.core.exceptions import AzureError
from msgspec.structs import replace

from pytest_capacity.backends.azure import reading
from pytest_capacity.backends.azure.errors import diagnose_error, is_gone
from pytest_capacity.backends.azure.ids import (
    ADDRESSES,
    CARDS,
    COMPUTE_VERSION,
    DISKS,
    GROUPS,
    MACHINES,
    MEMBERS,
    RESOURCE_GROUPS,
    RESOURCES_VERSION,
    ResourceId,
    canonical,
    tags_of,
    version_of,
)
from pytest_capacity.backends.azure.operations import poll
from pytest_capacity.backends.azure.plan import CAPACITY_GROUP, NODE, RESERVATION, RESOURCE_GROUP, TYPE_OF
from pytest_capacity.backends.azure.session import Arm, ArmError
from pytest_capacity.backends.azure.stamp import read_stamp, tag_value
from pytest_capacity.backends.stamp import PIECE, RUN, owned
from pytest_capacity.model import Held, Unread

#: Calls side by side of one refresh or inventory.
WIDTH: Final = 24

_RESOURCES: Final = "Microsoft.Resources/subscriptions/resources/read"

Item = TypeVar("Item")
Result = TypeVar("Result")

#: The type of a resource by the kind of a thing, of those too that are only found when they were left behind.
TYPES: Final = {kind: type_ for type_, kind in reading.KIND_OF.items()}


def side_by_side(make: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``make`` of each of ``items``, all at once; raise the first error of any."""
    if len(items) < 2:
        return [make(item) for item in items]
    with ThreadPoolExecutor(min(WIDTH, len(items)), thread_name_prefix="azure") as pool:
        return list(pool.map(make, items))


class Pace:
    """When each operation may be polled again, by the last answer about it (``Retry-After``)."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._due: dict[str, float] = {}

    def note(self, identity: str, seconds: float) -> None:
        """Record that a thing need not be read for so many seconds; this replaces what was recorded before."""
        self._due[identity] = self._now() + seconds

    def is_due(self, identity: str) -> bool:
        """Return whether it is time to read a thing again."""
        return self._due.get(identity, 0.0) <= self._now()


def look(arm: Arm, pace: Pace, helds: Sequence[Held]) -> list[Held]:
    """Return ``helds`` as Azure has them now: machines by one list a resource group, others by a GET each.

    What is being made or removed is not read before the time that Azure's last answer about it named.
    """
    places: dict[str, list[Held]] = defaultdict(list)
    for held in helds:
        if held.state not in ("creating", "leaving") or pace.is_due(held.id):
            places[ResourceId.parse(held.id).group if held.kind == NODE else held.id].append(held)
    answers = side_by_side(lambda some: _look(arm, pace, some), list(places.values()))
    now = {held.key: held for some in answers for held in some}
    return [now.get(held.key, held) for held in helds]


def _look(arm: Arm, pace: Pace, helds: Sequence[Held]) -> list[Held]:
    if helds[0].kind == NODE:
        listed = _machines(arm, ResourceId.parse(helds[0].id).group)
        seen = [_compared(held, listed.get(held.id)) for held in helds]
        seen = side_by_side(lambda held: _powered(arm, held), seen)
    else:
        seen = [_compared(helds[0], _resource(arm, helds[0]))]
    seen = side_by_side(lambda held: _explained(arm, pace, held), seen)
    return _with_addresses(arm, seen) if helds[0].kind == NODE else seen


def _compared(before: Held, answer: Mapping[str, Any] | None) -> Held:
    if answer is not None:
        now = reading.merged(before, reading.held_of(before.kind, answer, before.region, before.state))
        if before.state == "ready" and now.state == "leaving":
            return _evicted(now)
        return now
    if before.state == "ready" and before.facts.get("market") == "spot":
        return _evicted(replace(before, state="gone"))
    return replace(before, state="gone" if before.state == "leaving" else "unseen")


def _powered(arm: Arm, held: Held) -> Held:
    """Return it with whether it runs, where it was deallocated once."""
    if reading.CHANGED not in held.facts or held.state not in ("creating", "ready", "failed"):
        return held
    answer = _resource(arm, held, {"$expand": "instanceView"})
    return held if answer is None else reading.powered(held, answer)


def _evicted(held: Held) -> Held:
    """Return a spot machine that goes without a call of ours as evicted: Azure deletes those (policy Delete)."""
    if held.facts.get("market") != "spot":
        return held
    words = f"the spot machine is {held.state}, and the run has not asked for that: Azure has evicted it"
    return replace(held, problem_code=reading.EVICTED, problem=words)


def _explained(arm: Arm, pace: Pace, held: Held) -> Held:
    """Return it with the reason, where it failed or is missing, from its operation and its instance view."""
    if held.state not in ("failed", "unseen") or held.parts:
        return held
    url = held.facts.get("operation", "")
    outcome = poll(arm, url) if url else None
    if outcome and outcome.state == "failed":
        return replace(held, state="failed", parts=outcome.parts)
    if outcome and outcome.state == "running" and held.state == "unseen":
        pace.note(held.id, outcome.retry_after)
        return replace(held, state="creating")
    if held.state == "failed" and held.kind in (NODE, RESERVATION):
        answer = _resource(arm, held, {"$expand": "instanceView"}) or {}
        return replace(held, parts=reading.view_parts(answer))
    return held


def _resource(arm: Arm, held: Held, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """Return the answer to one GET; None where the thing does not exist."""
    type_ = TYPES[held.kind]
    try:
        return arm.get(f"{type_ or RESOURCE_GROUPS}/read", held.id, version_of(type_), **query or {})
    except ArmError as error:
        if error.http == 404:
            return None
        raise


def _machines(arm: Arm, group: str) -> dict[str, dict[str, Any]]:
    """Return the machines of a resource group by id; none where the group does not exist."""
    return {canonical(answer["id"]): answer for answer in of_group(arm, group, MACHINES)}


def of_group(arm: Arm, group: str, type_: str) -> list[dict[str, Any]]:
    """Return the resources of a type in the resource group with that name; none where it is not there."""
    path = arm.path(f"/resourceGroups/{group}/providers/{type_}")
    try:
        return list(arm.pages(f"{type_}/read", path, version_of(type_)))
    except ArmError as error:
        if is_gone(error):
            return []
        raise


def members_of(arm: Arm, group: str) -> list[dict[str, Any]]:
    """Return the members of the capacity reservation group with that id; none where it is not there."""
    try:
        return list(arm.pages(f"{MEMBERS}/read", f"{group}/capacityReservations", COMPUTE_VERSION))
    except ArmError as error:
        if is_gone(error):
            return []
        raise


def allocated(arm: Arm, group: str) -> dict[str, str]:
    """Return, by machine, the member of the group that it is in: the group's instance view has it, in one call.

    A group may be named by more machines than it has room for; those beyond are in no member.
    """
    answer = arm.get(f"{GROUPS}/read", group, COMPUTE_VERSION, **{"$expand": "instanceView"})
    view = (answer.get("properties") or {}).get("instanceView") or {}
    found: dict[str, str] = {}
    for member in view.get("capacityReservations") or ():
        used = (member.get("utilizationInfo") or {}).get("virtualMachinesAllocated") or ()
        identity = canonical(f"{group}/capacityReservations/{member['name']}")
        found |= {canonical(machine["id"]): identity for machine in used}
    return found


def _with_addresses(arm: Arm, nodes: Sequence[Held]) -> list[Held]:
    """Return ready machines with their addresses and the reservation that each is in, looked up once."""
    new = [held for held in nodes if held.state == "ready" and "private_ip" not in held.facts]
    if not new:
        return list(nodes)
    group = ResourceId.parse(new[0].id).group
    groups = sorted({held.facts["capacity_group"] for held in new if held.facts.get("capacity_group")})
    reads: list[Callable[[], dict[str, Any]]] = [lambda: _cards(arm, group)]
    reads += [lambda one=one: allocated(arm, one) for one in groups]  # type: ignore[misc]
    answers = side_by_side(lambda read: read(), reads)
    cards, seats = answers[0], {machine: seat for one in answers[1:] for machine, seat in one.items()}
    addresses = _addresses(arm, group) if any("public" in card for card in cards.values()) else {}
    found = {held.id: _facts_of(held, cards.get(held.id, {}), addresses, seats) for held in new}
    return [replace(held, facts={**held.facts, **found.get(held.id, {})}) for held in nodes]


def _facts_of(
    held: Held, card: Mapping[str, str], addresses: Mapping[str, str], seats: Mapping[str, str]
) -> dict[str, str]:
    facts = {
        "private_ip": card.get("private", ""),
        "public_ip": addresses.get(card.get("public", ""), ""),
        "reservation_id": seats.get(held.id, ""),
    }
    return {key: value for key, value in facts.items() if value}


def _cards(arm: Arm, group: str) -> dict[str, Any]:
    """Return, by machine, the private address of its network interface, and the id of its public one."""
    found: dict[str, Any] = {}
    for card in of_group(arm, group, CARDS):
        properties = card.get("properties") or {}
        machine = (properties.get("virtualMachine") or {}).get("id")
        for one in (properties.get("ipConfigurations") or ())[:1]:
            inside = one.get("properties") or {}
            public = (inside.get("publicIPAddress") or {}).get("id")
            if machine:
                facts = {"private": str(inside.get("privateIPAddress", ""))}
                found[canonical(machine)] = facts | ({"public": canonical(public)} if public else {})
    return found


def _addresses(arm: Arm, group: str) -> dict[str, str]:
    listed = of_group(arm, group, ADDRESSES)
    return {canonical(one["id"]): str((one.get("properties") or {}).get("ipAddress", "")) for one in listed}


def inventory(arm: Arm, run: str, project: str, given: Iterable[str]) -> Iterator[Held | Unread]:
    """Yield what has the stamp of ``run`` in the whole subscription, whatever its region.

    The resource groups with our tag, and what Azure lists in each of them; anything elsewhere with our tag; our
    members of the ``given`` capacity reservation groups. What is in a resource group of ours is ours, though Azure
    made it (a disk has no tags of ours).
    """
    mark = {"$filter": f"tagName eq '{RUN}' and tagValue eq '{run}'"}
    owner = Owner(run, project)
    reads: dict[str, Callable[[], list[dict[str, Any]]]] = {
        RESOURCE_GROUP: lambda: list(
            arm.pages(f"{RESOURCE_GROUPS}/read", arm.path("/resourcegroups"), RESOURCES_VERSION, **mark)
        ),
        "everything": lambda: list(arm.pages(_RESOURCES, arm.path("/resources"), RESOURCES_VERSION, **mark)),
        **{group: lambda group=group: members_of(arm, group) for group in given},  # type: ignore[misc]
    }
    answers = dict(zip(reads, side_by_side(lambda read: _tried(arm, read), list(reads.values())), strict=True))
    yield from (
        Unread("", kind if kind in TYPES else "everything", one)
        for kind, one in answers.items()
        if isinstance(one, str)
    )
    groups = [group for group in _listed(answers[RESOURCE_GROUP]) if read_stamp(tags_of(group)).run == run]
    seen: set[str] = set()
    for found in side_by_side(lambda group: _contents(arm, owner, group), groups):
        for one in found:
            if isinstance(one, Held):
                seen.add(one.id)
            yield one
    inside = {canonical(group["id"]) for group in groups}
    others = [one for kind, answer in answers.items() if kind != RESOURCE_GROUP for one in _listed(answer)]
    for answer in others:
        identity = ResourceId.parse(answer["id"])
        kind = reading.KIND_OF.get(identity.type)
        home = str(replace(identity, type="", name="", parent=""))
        if (
            kind is None
            or home in inside
            or str(identity) in seen
            or kind in (reading.CARD, reading.ADDRESS, reading.DISK)
        ):
            continue
        seen.add(str(identity))
        held = owner.owned(reading.held_of(kind, answer), tags_of(answer))
        if held and held.state != "gone":
            yield held


class Owner:
    """The run and the project whose stamp is looked for."""

    def __init__(self, run: str, project: str) -> None:
        self._run = run
        self._project = tag_value(project)

    def owned(self, held: Held, tags: Mapping[str, str]) -> Held | None:
        """Return ``held`` if it has the run's tag; without a subject if it does not have the whole stamp."""
        return owned(held, read_stamp(tags), self._run, self._project)


def _tried(arm: Arm, read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]] | str:
    try:
        return read()
    except (ArmError, AzureError) as error:
        found = diagnose_error(error, arm.errors)
        return f"{found.code}: {found.words}"


def _listed(answer: list[dict[str, Any]] | str) -> list[dict[str, Any]]:
    return [] if isinstance(answer, str) else answer


def _contents(arm: Arm, owner: Owner, group: Mapping[str, Any]) -> list[Held | Unread]:
    """Return a resource group of ours and what is in it."""
    whole = owner.owned(reading.held_of(RESOURCE_GROUP, group), tags_of(group))
    if whole is None or not whole.subject:
        return [whole] if whole else []
    name = ResourceId.parse(whole.id).group
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="azure") as pool:
            asked = pool.submit(_resources, arm, name)
            machines = _machines(arm, name)
            listed = asked.result()
        nodes = [reading.held_of(NODE, answer) for answer in machines.values()]
        pieces = {tags_of(answer).get(PIECE) for answer in machines.values()}
        found = [*nodes, *_left_behind(listed, pieces, machines), *_kept(listed)]
        capacity = [held for held in found if held.kind == CAPACITY_GROUP]
        for held, answers in zip(capacity, side_by_side(lambda one: members_of(arm, one.id), capacity), strict=True):
            # A member may have no tags (Azure once took none): it is its group's.
            found += [_of_capacity_group(held, answer) for answer in answers]
    except (ArmError, AzureError) as error:
        read = diagnose_error(error, arm.errors)
        return [whole, Unread(whole.region, "everything", f"{read.code}: {read.words}")]
    return [whole, *(replace(held, subject=held.subject or whole.subject) for held in found if held.state != "gone")]


def _resources(arm: Arm, group: str) -> list[dict[str, Any]]:
    path = arm.path(f"/resourceGroups/{group}/resources")
    query = {"$expand": "provisioningState"}
    try:
        return list(arm.pages(_RESOURCES, path, RESOURCES_VERSION, **query))
    except ArmError as error:
        if is_gone(error):
            return []
        raise


def _kept(listed: Iterable[Mapping[str, Any]]) -> Iterator[Held]:
    """Yield what pieces of ours are, except machines and members, which are listed by their own provider."""
    kinds = {type_: kind for kind, type_ in TYPE_OF.items() if kind not in (NODE, RESERVATION, RESOURCE_GROUP)}
    for answer in listed:
        kind = kinds.get(ResourceId.parse(answer["id"]).type)
        if kind:
            yield reading.held_of(kind, _with_state(answer))


def _left_behind(
    listed: Iterable[Mapping[str, Any]], pieces: set[str | None], machines: Mapping[str, Any]
) -> Iterator[Held]:
    """Yield network interfaces, addresses and disks without the machine with which they would be deleted."""
    for answer in listed:
        type_ = ResourceId.parse(answer["id"]).type
        tags = tags_of(answer)
        if type_ in (CARDS, ADDRESSES) and tags.get(PIECE) not in pieces:
            yield reading.held_of(reading.KIND_OF[type_], _with_state(answer))
        elif type_ == DISKS and _owner(answer) not in machines:
            yield replace(reading.held_of(reading.DISK, _with_state(answer)))


def _owner(answer: Mapping[str, Any]) -> str:
    owner = answer.get("managedBy")
    return canonical(owner) if owner else ""


def _with_state(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource of a list of all types, where its state stands beside its properties."""
    state = answer.get("provisioningState")
    return {**answer, "properties": {"provisioningState": state}} if state else dict(answer)


def _of_capacity_group(group: Held, answer: Mapping[str, Any]) -> Held:
    held = reading.held_of(RESERVATION, answer, group.region)
    return held if held.subject else replace(held, subject=group.subject, deadline=group.deadline)
