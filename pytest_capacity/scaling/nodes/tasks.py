"""The task for a node group: decided once, before the first step, and kept in the journal.

All numbers are absolute, so that another keeper can do the same again. Everything that can be refused without a change
is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends import provider
from pytest_capacity.backends.base import Backend, ScalingStep, scaling_of
from pytest_capacity.backends.pieces import first_fact
from pytest_capacity.engine.clock import Deadline
from pytest_capacity.engine.engine import Engine
from pytest_capacity.errors import ScalingError
from pytest_capacity.model import (
    Held,
    HeldKey,
    Node,
    NodeChange,
    NodeGroup,
    Offer,
    Order,
    Piece,
    Share,
    Topology,
)

T = TypeVar("T")

#: ``skip``: the group is as asked for already.
Step = Literal["grow", "shrink", "replace", "in-place", "storage", "skip"]

_OFFERED: Final[Mapping[Step, ScalingStep]] = {
    "grow": "count",
    "shrink": "count",
    "replace": "replace",
    "in-place": "in-place",
    "storage": "storage",
}

_WORDS: Final[Mapping[ScalingStep, str]] = {
    "count": "change the number of nodes of a group that stands",
    "replace": "replace the nodes of a group that stands",
    "in-place": "give nodes another instance type in place",
    "storage": "grow the disks of nodes",
}


class Seats(Struct, frozen=True):
    """A run's reservation that holds capacity for more or fewer nodes of ``type``: for ``before``, then ``after``."""

    key: HeldKey
    type: str
    before: int
    after: int


class Task(Struct, frozen=True, kw_only=True):
    """All that the steps of one request must know."""

    step: Step
    change: NodeChange
    #: The type of the group before it, and its nodes.
    type: str
    nodes: tuple[Node, ...]
    #: The nodes that go.
    victims: tuple[HeldKey, ...] = ()
    #: Reservations that stand and grow before anything else.
    seats: tuple[Seats, ...] = ()
    #: Those that shrink when nodes are gone; to 0: they go.
    freed: tuple[Seats, ...] = ()
    #: What is made. Of disks that grow, it is the group as it stands: nodes are stopped for it, and awaited again.
    order: Order | None = None
    #: The subjects of the order of which nothing stood before it: what an undo removes.
    mine: tuple[str, ...] = ()


class Standing(Struct, frozen=True):
    """A group as it stands: its nodes, what is held of them, and the order that describes it."""

    nodes: tuple[Node, ...]
    helds: tuple[Held, ...]
    order: Order
    group: NodeGroup


class Planner:
    """Makes tasks. Reads of the cloud are those of `Backend.offers` and of `ScalesNodes`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine.run_state
        self._backend: Backend = engine.backend

    def task(self, change: NodeChange, deadline: Deadline) -> Task:
        """Return what ``change`` takes. Raises `ScalingError`, or the cloud's refusal to be read (`Refused`).

        The attempt of its order is 0: a number is taken when it begins.
        """
        check_numbers(change)
        standing = self.standing(change)
        step = _step(change, standing)
        if step == "skip":
            return Task(step=step, change=change, type=standing.group.instance_type, nodes=standing.nodes)
        self._check_offered(step, change, standing)
        if step == "storage":
            self._check_sizes(change, standing, deadline)
        obstacles = self._obstacles(step, change, standing, deadline)
        if step == "storage":
            return self._storage(change, standing, restart="restart" in obstacles)
        makers: Mapping[Step, Callable[[NodeChange, Standing, Deadline], Task]] = {
            "grow": self._grow,
            "shrink": self._shrink,
            "replace": self._replace,
            "in-place": self._in_place,
        }
        return makers[step](change, standing, deadline)

    def standing(self, change: NodeChange) -> Standing:
        """Return the group as it stands. Raises `ScalingError` where it does not."""
        placed = self._state.placed.get(change.topology)
        if placed is None:
            raise ScalingError(
                f"topology {change.topology!r} is not provisioned, so nothing of it can be changed. Use its nodes first"
            )
        nodes = placed.nodes.get(change.group)
        if not nodes:
            known = ", ".join(placed.nodes) or "none"
            raise ScalingError(f"no group {change.group!r} in topology {change.topology!r}. It has: {known}")
        order, group = self._origin(change)
        by_id = {held.id: held for held in self._state.held() if held.kind == "node"}
        return Standing(nodes, tuple(by_id[node.id] for node in nodes if node.id in by_id), order, group)

    def _origin(self, change: NodeChange) -> tuple[Order, NodeGroup]:
        """Return the newest order that placed or changed the group, and the group in it."""
        for order in reversed(self._state.fulfilled.get(change.topology, [])):
            for group in order.topology.groups:
                if group.name == change.group:
                    return order, replace(group, market=group.market or self._engine.request.market)
        raise ScalingError(
            f"group {change.group!r} was placed by a version of pytest-capacity that does not say how. "
            "Let the run end, and begin another"
        )

    def _check_offered(self, step: Step, change: NodeChange, standing: Standing) -> None:
        _, can = scaling_of(self._backend)
        offered = _OFFERED[step]
        if offered not in can:
            title = provider(self._engine.request.backend).title
            raise ScalingError(f"the backend for {title} cannot {_WORDS[offered]}. Nothing was changed")
        if len(standing.helds) != len(standing.nodes):
            gone = len(standing.nodes) - len(standing.helds)
            raise ScalingError(f"{gone} of the nodes of group {change.group!r} are gone, so it is not changed")

    def _obstacles(self, step: Step, change: NodeChange, standing: Standing, deadline: Deadline) -> set[str]:
        """Return the kinds of obstacles, all of which the test has allowed. Raises `ScalingError` for any other."""
        if step == "in-place":
            _check_market(change, standing)
        backend, _ = scaling_of(self._backend)
        obstacles = self._read(
            f"asked whether group {change.group!r} can be changed",
            lambda: backend.obstacles(change, standing.group, standing.helds),
            deadline,
        )
        found: set[str] = {one.kind for one in obstacles}
        if "restart" in found:
            _check_market(change, standing)
        allowed = {"local-disks"} if change.lose_local_disks else set()
        allowed |= {"restart"} if change.restart else set()
        if against := [one for one in obstacles if one.kind not in allowed]:
            words = "; ".join(one.words for one in against)
            advice = _advice(change, found - allowed)
            raise ScalingError(f"group {change.group!r} is not changed: {words}. Nothing was changed.{advice}")
        return found

    def _read(self, what: str, call: Callable[[], Sequence[T]], deadline: Deadline) -> Sequence[T]:
        return self._engine.alterer.read(what, call, deadline)

    def _grow(self, change: NodeChange, standing: Standing, deadline: Deadline) -> Task:
        more = (change.count or 0) - len(standing.nodes)
        order = self._order(standing, more, {})
        if order.shares:
            order = replace(order, shares=self._more_shares(order, standing, more, deadline))
        order = self._numbered(order, 1 + max(map(number_of, standing.nodes)))
        seats, mine = self._of_plan(order)
        return Task(
            step="grow",
            change=change,
            type=standing.group.instance_type,
            nodes=standing.nodes,
            seats=seats,
            order=order,
            mine=mine,
        )

    def _shrink(self, change: NodeChange, standing: Standing, deadline: Deadline) -> Task:
        victims = _victims(change, standing, self._lent())
        return Task(
            step="shrink",
            change=change,
            type=standing.group.instance_type,
            nodes=standing.nodes,
            victims=tuple(held.key for held in victims),
            freed=self._freed(victims, standing, ()),
        )

    def _replace(self, change: NodeChange, standing: Standing, deadline: Deadline) -> Task:
        count = change.count or len(standing.nodes)
        order = self._moved(change, standing, count, deadline, launch=True)
        seats, mine = self._of_plan(order)
        return Task(
            step="replace",
            change=change,
            type=standing.group.instance_type,
            nodes=standing.nodes,
            victims=tuple(held.key for held in standing.helds),
            seats=seats,
            freed=self._freed(standing.helds, standing, seats),
            order=order,
            mine=mine,
        )

    def _in_place(self, change: NodeChange, standing: Standing, deadline: Deadline) -> Task:
        order = self._moved(change, standing, len(standing.nodes), deadline, launch=False)
        seats, mine = self._of_plan(order)
        return Task(
            step="in-place",
            change=change,
            type=standing.group.instance_type,
            nodes=standing.nodes,
            seats=seats,
            freed=self._freed(standing.helds, standing, seats),
            order=order,
            mine=mine,
        )

    def _storage(self, change: NodeChange, standing: Standing, *, restart: bool) -> Task:
        order = replace(self._order(standing, len(standing.nodes), {}), launch=False) if restart else None
        return Task(step="storage", change=change, type=standing.group.instance_type, nodes=standing.nodes, order=order)

    def _check_sizes(self, change: NodeChange, standing: Standing, deadline: Deadline) -> None:
        """Refuse a size that is not larger than what the disks have. Raises `ScalingError`."""
        (backend, _), wanted = scaling_of(self._backend), change.disk_gb or 0
        sizes = self._read(
            f"asked for the size of the disks of group {change.group!r}",
            lambda: backend.disks(standing.helds),
            deadline,
        )
        named = ", ".join(f"{node.name} {size} GB" for node, size in zip(standing.nodes, sizes, strict=True))
        if not all(sizes):
            raise ScalingError(
                f"not every node of group {change.group!r} has a disk that can grow ({named}). Nothing was changed"
            )
        if wanted < max(sizes):
            raise ScalingError(
                f"{wanted} GB are asked for, and group {change.group!r} has {named}: disks never shrink. "
                "Nothing was changed"
            )
        # Nodes that did not start again after their disks had grown are started by the same request once more.
        if wanted == min(sizes) and not (change.restart and any(map(is_off, standing.helds))):
            raise ScalingError(
                f"group {change.group!r} has disks of {wanted} GB already. Ask for more. Nothing was changed"
            )

    def _order(self, standing: Standing, count: int, facts: Mapping[str, str]) -> Order:
        """Return the group's own order, for ``count`` nodes."""
        order, engine = standing.order, self._engine
        return replace(
            order,
            topology=Topology((replace(standing.group, count=count),), order.topology.name),
            attempt=0,
            series=order.series or order.attempt,
            lease_end=engine.lease_end(),
            hard_end=engine.limit,
            launch=True,
            facts={**_without_first(order.facts), **engine.facts, **facts},
        )

    def _more_shares(self, order: Order, standing: Standing, more: int, deadline: Deadline) -> tuple[Share, ...]:
        """Return where more nodes of a spread group go: each to the zone that has the fewest by then."""
        zones = list(order.placement.zones)
        count = {zone: sum(node.zone == zone for node in standing.nodes) for zone in zones}
        added = dict.fromkeys(zones, 0)
        for _ in range(more):
            added[min(zones, key=lambda zone: count[zone] + added[zone])] += 1
        facts = {share.zone: share.facts for share in order.shares}
        chosen = {zone: number for zone, number in added.items() if number}
        if not chosen.keys() <= facts.keys():
            facts = {zone: offer.facts for zone, offer in self._offers(order, order.topology, deadline).items()}
        return tuple(Share(zone, {standing.group.name: number}, facts[zone]) for zone, number in chosen.items())

    def _moved(self, change: NodeChange, standing: Standing, count: int, deadline: Deadline, *, launch: bool) -> Order:
        """Return an order for the group as another type, where it stands.

        It is of the group's series, so that a network, a placement group or a key pair is the same.
        """
        group = replace(standing.group, instance_type=change.instance_type or "", alternatives=(), count=count)
        part = Topology((group,), change.topology)
        order = self._order(standing, count, {})
        offers = self._offers(order, part, deadline)
        facts = {**offers[order.placement.zone].facts, **self._engine.facts}
        moved = replace(order, topology=part, launch=launch, facts=facts)
        if order.shares:
            zones = [node.zone for node in standing.nodes] if not launch else _in_turn(order, count)
            shares = [Share(zone, {group.name: zones.count(zone)}, offers[zone].facts) for zone in dict.fromkeys(zones)]
            moved = replace(moved, shares=tuple(shares))
        return self._numbered(moved, 0)

    def _numbered(self, order: Order, first: int) -> Order:
        """Return it with a number, at least ``first``, from which on no node stands under its nodes' subjects."""
        (group,) = order.topology.groups
        while True:
            facts = {**order.facts, first_fact(group.name): str(first)} if first else order.facts
            numbered = replace(order, facts=facts)
            nodes = [piece.subject for piece in self._pieces(numbered) if piece.kind == "node"]
            if not any(map(self._state.made, nodes)):
                return numbered
            first += 1

    def _offers(self, order: Order, part: Topology, deadline: Deadline) -> dict[str, Offer]:
        region, (group,) = order.placement.region, part.groups
        found = self._read(
            f"asked what the zones of {region} offer for {group.instance_type}",
            lambda: self._backend.offers(region, part),
            deadline,
        )
        offers = {offer.zone: offer for offer in found}
        for zone in order.placement.zones or (order.placement.zone,):
            offer = offers.get(zone)
            if offer is None or not offer.ok or group.instance_type in offer.lacks:
                why = (offer.why if offer else "") or f"it does not offer {group.instance_type}"
                raise ScalingError(f"{zone} cannot take group {group.name!r}: {why}. Nothing was changed")
        return offers

    def _pieces(self, order: Order) -> list[Piece]:
        return [piece for planned in self._backend.plan(order) for piece in planned]

    def _of_plan(self, order: Order) -> tuple[tuple[Seats, ...], tuple[str, ...]]:
        """Return the reservations that stand and must hold more, and the subjects of which nothing stands."""
        seats: list[Seats] = []
        mine: list[str] = []
        (group,) = order.topology.groups
        for piece in self._pieces(order):
            made = [held for held in self._state.made(piece.subject) if not self._state.accepted(held)]
            if not made:
                mine.append(piece.subject)
            elif piece.kind == "reservation":
                seats += [
                    Seats(held.key, group.instance_type, held.count, held.count + piece.count)
                    for held in made
                    if held.kind == piece.kind
                ]
        return tuple(seats), tuple(mine)

    def _freed(self, victims: Sequence[Held], standing: Standing, grown: Sequence[Seats]) -> tuple[Seats, ...]:
        """Return the run's reservations in which ``victims`` sit, less these, once some have ``grown``."""
        seats: list[Seats] = []
        after = {one.key: one.after for one in grown}
        for held in self._state.held():
            if held.kind == "reservation" and not self._state.accepted(held):
                inside = [
                    one for one in victims if (one.region, one.facts.get("reservation_id")) == (held.region, held.id)
                ]
                if inside:
                    now = after.get(held.key, held.count)
                    seats.append(Seats(held.key, standing.group.instance_type, now, now - len(inside)))
        return tuple(seats)

    def _lent(self) -> dict[str, str]:
        return lent(self._engine)


def lent(engine: Engine) -> dict[str, str]:
    """Return which node (its id) is lent to which test."""
    return {id_: loan.test for loan in list(engine.run_state.loans.values()) for id_ in loan.ids}


def check_numbers(change: NodeChange) -> None:
    """Refuse, before any call, what can never be meant. Raises `ScalingError`."""
    if change.count is None and change.instance_type is None and change.disk_gb is None and not change.remove:
        raise ScalingError(f"{change.target}: nothing to change")
    for name, value in (("count", change.count), ("gb", change.disk_gb)):
        if value is not None and (isinstance(value, bool) or value < 1):
            raise ScalingError(f"{change.target}: {name} is {value!r} and must be a whole number of at least 1")


def check_lent(task: Task, loans: Mapping[str, str]) -> None:
    """Refuse to stop or remove a node that a test has borrowed. Raises `ScalingError`."""
    held = {id_: test for id_, test in loans.items() if id_ in touched(task)}
    if held:
        names = {node.id: node.name for node in task.nodes}
        listed = ", ".join(f"{names.get(id_, id_)} ({test})" for id_, test in held.items())
        raise ScalingError(
            f"nodes of group {task.change.group!r} are lent to tests: {listed}. A node that a test has borrowed is "
            "neither stopped nor removed. Ask again when it is given back, or do not borrow it in the test that asks"
        )


def touched(task: Task) -> tuple[str, ...]:
    """Return the ids of the nodes that are stopped or removed."""
    if task.step == "in-place" or (task.step == "storage" and task.order):
        return tuple(node.id for node in task.nodes)
    return tuple(id_ for _, _, id_ in task.victims)


def reservations_of(task: Task) -> set[HeldKey]:
    """Return the reservations whose counts a task sets."""
    return {seats.key for seats in (*task.seats, *task.freed)}


def is_off(held: Held) -> bool:
    """Return whether a node is stopped."""
    return held.facts.get("power") == "off"


def number_of(node: Node) -> int:
    """Return which of its group a node is: the number at the end of its name."""
    digits = node.name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def _check_market(change: NodeChange, standing: Standing) -> None:
    """Refuse to stop spot nodes. Raises `ScalingError`."""
    if any(node.market == "spot" for node in standing.nodes):
        advice = " Use mode='replace'" if change.disk_gb is None else ""
        raise ScalingError(
            f"group {change.group!r} has spot nodes, which cannot be stopped and started. Nothing was changed.{advice}"
        )


def _advice(change: NodeChange, kinds: Collection[str]) -> str:
    """Return by which words the test allows what is in the way; "" where it cannot."""
    ways = {
        "restart": "restart=True where its nodes may be stopped and started again",
        "local-disks": "lose_local_disks=True where the data may go",
    }
    words = [way for kind, way in ways.items() if kind in kinds]
    if words and change.disk_gb is None:
        return f" Use mode='replace', or {' and '.join(words)}"
    return f" Use {' and '.join(words)}" if words else ""


def _step(change: NodeChange, standing: Standing) -> Step:
    if change.disk_gb is not None:
        return "storage"
    count = len(standing.nodes)
    if change.instance_type not in (None, standing.group.instance_type):
        return "replace" if change.mode == "replace" else "in-place"
    if change.remove or (change.count or count) < count:
        return "shrink"
    return "grow" if (change.count or count) > count else "skip"


def _victims(change: NodeChange, standing: Standing, loans: Mapping[str, str]) -> list[Held]:
    """Return the named nodes, or the youngest that no test has borrowed."""
    helds = {held.id: held for held in standing.helds}
    left = change.count if change.count is not None else len(standing.nodes) - len(change.remove)
    number = len(standing.nodes) - left
    if change.remove:
        by_name = {name: node for node in standing.nodes for name in (node.id, node.name)}
        unknown = [name for name in change.remove if name not in by_name]
        if unknown:
            known = ", ".join(node.name for node in standing.nodes)
            raise ScalingError(f"group {change.group!r} has no node {', '.join(unknown)}. It has: {known}")
        chosen = list({by_name[name].id: by_name[name] for name in change.remove}.values())
        if len(chosen) != number or left < 1:
            wanted = "at least 1" if change.count is None else str(change.count)
            raise ScalingError(
                f"group {change.group!r} has {len(standing.nodes)} nodes: without {len(chosen)} of them it has "
                f"{len(standing.nodes) - len(chosen)}, and {wanted} are asked for"
            )
        return [helds[node.id] for node in chosen]
    free = [node for node in sorted(standing.nodes, key=number_of, reverse=True) if node.id not in loans]
    if len(free) < number:
        tests = ", ".join(sorted({loans[node.id] for node in standing.nodes if node.id in loans}))
        raise ScalingError(
            f"{number} nodes of group {change.group!r} are to go, and only {len(free)} are not lent ({tests}). "
            "A node that a test has borrowed is not removed. Ask again when they are given back"
        )
    return [helds[node.id] for node in free[:number]]


def _in_turn(order: Order, count: int) -> list[str]:
    zones: Collection[str] = order.placement.zones or (order.placement.zone,)
    return [list(zones)[number % len(zones)] for number in range(count)]


def _without_first(facts: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in facts.items() if not key.startswith(first_fact(""))}
