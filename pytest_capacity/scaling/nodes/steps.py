"""The steps of one request for a node group, and how they are undone.

Each begins with what stands, not with what an earlier call returned, so a keeper that takes them up after another one's
death does what is left. Until the new state is handed over to the tests a failure is undone; after that it is only
reported, with what is left where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from pytest_capacity.backends.base import scaling_of
from pytest_capacity.engine.alter import Alterer
from pytest_capacity.engine.attempt import node_of
from pytest_capacity.engine.clock import Deadline, poll_pause
from pytest_capacity.engine.run_state import RunState
from pytest_capacity.errors import Cancelled, CapacityError, ScalingError
from pytest_capacity.model import Change, Held, HeldKey, Node, Order, Placed, Reservation
from pytest_capacity.scaling.nodes.tasks import Seats, Task, is_off, number_of, reservations_of

#: Says how far it is: what happened, in one word, and the details.
Say = Callable[[str, str], None]

#: How long it is tried to say, after a failure, how large disks are. Seconds.
LOOK_S: Final = 30.0


class Steps:
    """Carries out one task. ``token`` is the request's; the hand-over identifies the alteration by it."""

    def __init__(self, alterer: Alterer, run_state: RunState, task: Task, token: str, say: Say) -> None:
        self._alterer = alterer
        self._state = run_state
        self._task = task
        self._token = token
        self._say = say
        self._change = task.change
        self._group = task.change.group

    def forward(self, deadline: Deadline) -> None:
        """Do what is left to do. Raises `CapacityError`."""
        steps: Mapping[str, Callable[[Deadline], None]] = {
            "grow": self._grow,
            "shrink": self._shrink,
            "replace": self._replace,
            "in-place": self._in_place,
            "storage": self._storage,
        }
        steps[self._task.step](deadline)

    @property
    def handed_over(self) -> bool:
        """Return whether the tests have the new state already, so that it is not undone any more."""
        task = self._task
        if task.step == "shrink":
            # Nodes that are on their way out do not come back.
            return not any(held.key in task.victims and not self._state.accepted(held) for held in self._state.held())
        if task.order is None:
            # Disks of nodes that run: those that have grown are in use at once.
            return True
        attempt = task.order.attempt
        return any(order.attempt == attempt for order in self._state.fulfilled.get(self._change.topology, []))

    def undo(self, deadline: Deadline) -> None:
        """Restore the group to what it was, less disks that have grown. Raises `CapacityError` where it cannot."""
        task = self._task
        if task.step == "shrink":
            self._take_back()
        elif task.step == "in-place":
            self._bring_back(deadline)
        elif task.step == "storage":
            self._run_again(deadline)
        self._remove_made(deadline)
        self._resize(task.seats, deadline, back=True)

    def restored(self) -> str:
        """Return what the group is after `undo`, in words."""
        if self._task.step == "storage":
            return f"Its nodes run, {self._disk_words()}"
        return "The group is as it was before"

    def left(self) -> str:
        """Return what the group is now, which reservations of it there are, and which other nodes, in words."""
        placed = self._state.placed.get(self._change.topology)
        nodes = placed.nodes.get(self._group, ()) if placed else ()
        ids = {node.id for one in self._state.placed.values() for members in one.nodes.values() for node in members}
        keys = {*self._task.victims, *reservations_of(self._task)}
        keys |= {held.key for held in self._state.held(self._task.mine)}
        helds = [held for held in self._state.held() if held.key in keys]
        off = {held.id for held in self._state.held() if is_off(held)}
        stopped = {node.id: ", stopped" if node.id in off else "" for node in nodes}
        words = [f"{node.name} ({node.id}, {node.instance_type}{stopped[node.id]})" for node in nodes]
        parts = [
            f"group {self._group!r} has {', '.join(words) or 'no node'}",
            *([self._disk_words()] if self._task.step == "storage" else []),
            *(f"reservation {held.id} holds {held.count}" for held in helds if held.kind == "reservation"),
            *(f"node {held.id} is still there" for held in helds if held.kind == "node" and held.id not in ids),
        ]
        return f"{'; '.join(parts)}. All of it is released at the run's end"

    def _grow(self, deadline: Deadline) -> None:
        task, order = self._task, self._order
        if self.handed_over:
            return
        self._resize(task.seats, deadline)
        more = sum(group.count for group in order.topology.groups)
        what = f"asked for {more} more nodes of group {self._group!r} in {order.placement.where}"
        part = self._alterer.make(order, what, deadline)
        new = part.nodes.get(self._group, ())
        self._say("NodesReady", ", ".join(f"{node.name} ({node.id})" for node in new))

        def grown(placed: Placed) -> Placed:
            before = placed.nodes.get(self._group, ())
            known = {node.id for node in before}
            nodes = (*before, *(node for node in new if node.id not in known))
            return replace(self._with(placed, nodes), reservations=_merged(placed.reservations, part.reservations))

        self._hand_over(grown, made=True)

    def _shrink(self, deadline: Deadline) -> None:
        task = self._task
        going = {id_ for _, _, id_ in task.victims}
        self._hand_over(
            lambda placed: self._with(
                placed, [node for node in placed.nodes.get(self._group, ()) if node.id not in going]
            )
        )
        self._remove(task.victims, deadline)
        self._resize(task.freed, deadline)
        self._hand_over(lambda placed: placed)

    def _replace(self, deadline: Deadline) -> None:
        task, order = self._task, self._order
        if not self.handed_over:
            (group,) = order.topology.groups
            where = order.placement.where
            what = f"asked for {group.count} nodes of type {group.instance_type} for group {self._group!r} in {where}"
            self._resize(task.seats, deadline)
            part = self._alterer.make(order, what, deadline)
            new = self._renamed(part.nodes.get(self._group, ()))
            self._say("NodesReady", ", ".join(f"{node.name} ({node.id})" for node in new))
            self._hand_over(
                lambda placed: replace(
                    self._with(placed, new), reservations=_merged(placed.reservations, part.reservations)
                ),
                {self._group: group.instance_type},
                made=True,
            )
        self._remove(task.victims, deadline)
        self._resize(task.freed, deadline)
        self._hand_over(lambda placed: placed)

    def _in_place(self, deadline: Deadline) -> None:
        task, order = self._task, self._order
        if not self.handed_over:
            (group,) = order.topology.groups
            where = order.placement.where
            what = f"asked for capacity for {group.count} {group.instance_type} in {where}"
            self._resize(task.seats, deadline)
            part = self._alterer.make(order, what, deadline)
            aims = {(one.region, one.zone): one.id for one in part.reservations}
            if aims:
                self._say("CapacityReserved", ", ".join(aims.values()))
            self._retype(group.instance_type, lambda node: aims.get((node.region, node.zone), ""), deadline)
            now = self._as_they_are(deadline)
            self._hand_over(
                lambda placed: replace(
                    self._with(placed, now), reservations=_merged(placed.reservations, part.reservations)
                ),
                {self._group: group.instance_type},
                made=True,
            )
        self._resize(task.freed, deadline)
        self._hand_over(lambda placed: placed)

    def _storage(self, deadline: Deadline) -> None:
        if self._task.order is None:
            self._grow_disks(self._small(self._helds(), deadline), deadline)
        else:
            # What an earlier keeper requested may be under way.
            nodes = self._alterer.until(self._helds(), _at_rest, deadline)
            self._grow_disks(self._stop(self._small(nodes, deadline), deadline), deadline)
            self._run_again(deadline)

    def _small(self, nodes: Sequence[Held], deadline: Deadline) -> list[Held]:
        """Return those whose disks are to grow yet."""
        wanted = self._change.disk_gb or 0
        return [held for held, size in zip(nodes, self._sizes(nodes, deadline), strict=True) if size < wanted]

    def _grow_disks(self, nodes: Sequence[Held], deadline: Deadline) -> None:
        """Grow the disks of these nodes; return when each has its size."""
        wanted = self._change.disk_gb or 0
        self._set(nodes, lambda _: Change(disk_gb=wanted), deadline)
        self._say("DisksGrowing", _ids(nodes))
        looks = 0
        while self._small(nodes, deadline):
            looks += 1
            deadline.wait(poll_pause(looks))

    def _run_again(self, deadline: Deadline) -> None:
        """Start the nodes that are stopped, and hand over all as they are then."""
        nodes = self._alterer.until(self._helds(), _at_rest, deadline)
        self._start([held for held in nodes if is_off(held)], deadline)
        now = self._as_they_are(deadline)
        self._hand_over(lambda placed: self._with(placed, now))

    def _sizes(self, nodes: Sequence[Held], deadline: Deadline) -> Sequence[int]:
        backend, _ = scaling_of(self._alterer.backend)
        what = f"asked for the size of the disks of group {self._group!r}"
        return self._alterer.read(what, lambda: backend.disks(nodes), deadline) if nodes else ()

    def _disk_words(self) -> str:
        names = {node.id: node.name for node in self._task.nodes}
        nodes = self._helds()
        try:
            found = self._sizes(nodes, self._alterer.deadline(LOOK_S, "the disks could not be looked at"))
        except Cancelled:
            raise
        except CapacityError as error:
            return f"how large their disks are is not known ({error})"
        sizes = [f"{names[held.id]} {size or '?'} GB" for held, size in zip(nodes, found, strict=True)]
        return f"their disks are {', '.join(sizes)}"

    def _retype(self, instance_type: str, aim: Callable[[Held], str], deadline: Deadline) -> None:
        """Change all nodes to that type, in the reservations that they target ("": in none), and start them."""

        def is_so(now: Held) -> bool:
            sits_in = now.facts.get("reservation_id") or ""
            return now.state == "ready" and (now.facts.get("instance_type"), sits_in) == (instance_type, aim(now))

        # What an earlier keeper requested may be under way.
        nodes = self._alterer.until(self._helds(), _at_rest, deadline)
        nodes = self._stop([held for held in nodes if not is_so(held)], deadline)
        self._set(nodes, lambda held: Change(instance_type=instance_type, reservation_id=aim(held)), deadline)
        nodes = self._start(nodes, deadline)
        for held in nodes:
            if not is_so(held):
                sits_in = held.facts.get("reservation_id") or "no reservation"
                raise ScalingError(
                    f"node {held.id} was to be {instance_type} in {aim(held) or 'no reservation'}, and is "
                    f"{held.facts.get('instance_type')} in {sits_in}"
                )
        if nodes:
            self._say("NodesChanged", f"{_ids(nodes)}: {instance_type}")

    def _stop(self, nodes: Sequence[Held], deadline: Deadline) -> list[Held]:
        """Stop those that run; return all, stopped."""
        self._set([held for held in nodes if not is_off(held)], lambda _: Change(running=False), deadline)
        stopped = self._alterer.until(nodes, is_off, deadline) if nodes else []
        if stopped:
            self._say("NodesStopped", _ids(stopped))
        return stopped

    def _start(self, nodes: Sequence[Held], deadline: Deadline) -> list[Held]:
        """Start nodes that are stopped; return them when they run."""
        self._set(nodes, lambda _: Change(running=True), deadline)
        return self._alterer.until(nodes, _runs, deadline, is_off) if nodes else []

    def _set(self, nodes: Sequence[Held], to: Callable[[Held], Change], deadline: Deadline) -> None:
        self._alterer.side_by_side(lambda held: self._alterer.change(held, to(held), deadline), nodes)

    def _bring_back(self, deadline: Deadline) -> None:
        """Restore the nodes' old type, in their old reservations, and start them."""
        before = {node.id: node.reservation_id or "" for node in self._task.nodes}
        self._retype(self._task.type, lambda held: before[held.id], deadline)
        now = self._as_they_are(deadline)
        self._hand_over(lambda placed: self._with(placed, now))

    def _take_back(self) -> None:
        """Return to the tests the nodes that the cloud has not accepted to remove."""
        keys = set(self._task.victims)
        staying = {held.id for held in self._state.held() if held.key in keys and not self._state.accepted(held)}
        back = [node for node in self._task.nodes if node.id in staying]

        def whole(placed: Placed) -> Placed:
            there = [node for node in placed.nodes.get(self._group, ()) if node.id not in staying]
            return self._with(placed, [*there, *back])

        self._hand_over(whole)

    def _renamed(self, new: Sequence[Node]) -> list[Node]:
        """Return the new nodes under the names of the old ones, in their order."""
        names = [node.name for node in self._task.nodes]
        return [replace(node, name=names[n]) if n < len(names) else node for n, node in enumerate(new)]

    def _as_they_are(self, deadline: Deadline) -> tuple[Node, ...]:
        """Return the group's nodes with their types and addresses of now, under the names that they had."""
        names = {node.id: node.name for node in self._task.nodes}
        now = tuple(replace(node_of(held), name=names[held.id]) for held in self._helds())
        part = replace(self._state.placed[self._change.topology], nodes={self._group: now}, reservations=())
        return self._alterer.usable(part, self._order.topology, deadline).nodes[self._group]

    @property
    def _order(self) -> Order:
        assert self._task.order is not None
        return self._task.order

    def _helds(self) -> list[Held]:
        """Return the group's nodes as they are held, in their order."""
        by_id = {held.id: held for held in self._state.held() if held.kind == "node"}
        return [by_id[node.id] for node in self._task.nodes if node.id in by_id]

    def _hand_over(
        self,
        change: Callable[[Placed], Placed],
        types: Mapping[str, str] | None = None,
        *,
        made: bool = False,
    ) -> None:
        self._alterer.hand_over(self._change.topology, change, self._token, types, made=made)

    def _with(self, placed: Placed, nodes: Sequence[Node]) -> Placed:
        return replace(placed, nodes={**placed.nodes, self._group: tuple(sorted(nodes, key=number_of))})

    def _resize(self, all_: Sequence[Seats], deadline: Deadline, *, back: bool = False) -> None:
        """Set each reservation's capacity; one that is to hold nothing is removed."""
        held = {one.key: one for one in self._state.held()}
        for seats in all_:
            reservation, count = held.get(seats.key), seats.before if back else seats.after
            if reservation is None:
                continue
            if count == 0:
                self._alterer.remove([seats.key], deadline)
                self._say("ReservationReleased", reservation.id)
            else:
                self._alterer.set_count(reservation, count, seats.type, deadline)
                self._say("ReservationResized", f"{reservation.id} holds {count}")

    def _remove(self, keys: Sequence[HeldKey], deadline: Deadline) -> None:
        self._alterer.remove(keys, deadline)
        self._say("NodesRemoved", ", ".join(id_ for _, _, id_ in keys))

    def _remove_made(self, deadline: Deadline) -> None:
        if self._task.order and self._task.mine:
            self._alterer.remove_made(self._task.mine, (self._order.placement.region,), deadline)


def _runs(held: Held) -> bool:
    return held.state == "ready"


def _at_rest(held: Held) -> bool:
    """Return whether it is neither being stopped nor started."""
    return _runs(held) or is_off(held)


def _ids(helds: Sequence[Held]) -> str:
    return ", ".join(held.id for held in helds)


def _merged(before: Sequence[Reservation], more: Sequence[Reservation]) -> tuple[Reservation, ...]:
    """Return each reservation once, as it is now."""
    return tuple({one.id: one for one in (*before, *more)}.values())
