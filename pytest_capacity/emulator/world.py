"""The World: everything that exists, what it costs, and what the weather lets happen.

Its methods are to be called with `World.lock` held; a wire takes the lock once for a call, so that a call happens as
a whole or not at all. Nothing here sleeps, and nothing here knows HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from pytest_capacity.emulator.calls import Call, as_json
from pytest_capacity.emulator.clock import Clock
from pytest_capacity.emulator.faults import Buckets, Faults
from pytest_capacity.emulator.meter import LEAST_S, Line, Meter
from pytest_capacity.emulator.stock import Room
from pytest_capacity.emulator.things import (
    FOREVER,
    SPOT_TAKEN,
    Instance,
    KeyPair,
    PlacementGroup,
    Reservation,
    ResourceGroup,
    SpotRequest,
)
from pytest_capacity.emulator.weather import Change, Names, SpotPool, Weather

#: How long a machine stays listed after its end (EC2 API reference: "usually less than an hour" or so).
LISTED_S: Final = 3600.0


class Catalogue(Names, Protocol):
    """What the emulated clouds offer."""

    def vcpus(self, type_: str) -> int | None: ...


class World:
    """One World, behind all the wires."""

    def __init__(self, catalogue: Catalogue, wall: Callable[[], float], random_hex: Callable[[int], str]) -> None:
        self.lock = threading.RLock()
        self.catalogue = catalogue
        self._wall = wall
        self._random_hex = random_hex
        #: Told when the World is emptied, so that a wire forgets what it keeps itself.
        self.on_reset: list[Callable[[], None]] = []
        #: Told when machines come, go or may have moved in time. It must not wait for the lock in another thread.
        self.on_turn: list[Callable[[], None]] = []
        #: Operations of the calls that are not answered yet, by a number of each call's own. Outlives a reset.
        self.under_way: dict[int, str] = {}
        self._empty()

    def _empty(self) -> None:
        self.clock = Clock(self._wall)
        self.weather = Weather()
        self.faults = Faults()
        self.buckets = Buckets()
        self.meter = Meter(self.catalogue.vcpus)
        self.instances: dict[str, Instance] = {}
        self.reservations: dict[str, Reservation] = {}
        self.groups: dict[str, PlacementGroup] = {}
        self.key_pairs: dict[str, KeyPair] = {}
        self.spot_requests: dict[str, SpotRequest] = {}
        self.pools: dict[str, ResourceGroup] = {}
        self.tokens: dict[tuple[str, ...], tuple[object, tuple[str, ...]]] = {}
        self.calls: list[Call] = []
        self._number = 0

    # -- the weather ----------------------------------------------------------------------------------------------

    def change(self, change: Change) -> None:
        """Let the weather change, and what happens once happen."""
        if change.reset:
            self._empty()
            for forget in self.on_reset:
                forget()
        self.weather = msgspec.structs.replace(self.weather, **dict(change.parts))
        if "faults" in change.parts:
            self.faults = Faults(self.weather.faults)
        if "throttle" in change.parts:
            self.buckets = Buckets(self.weather.throttle)
        self.clock.advance(change.advance_s)
        self.settle()
        for target in change.reclaim:
            self._reclaim(target)
        self._turn()

    def _turn(self) -> None:
        for told in self.on_turn:
            told()

    def _reclaim(self, target: str | SpotPool) -> None:
        now = self.clock.now()
        for instance in list(self.instances.values()):
            if instance.market != "spot" or instance.state(now) not in ("pending", "running"):
                continue
            if isinstance(target, str):
                hit = instance.id == target
            else:
                pairs = ((target.region, instance.region), (target.zone, instance.zone), (target.type, instance.type))
                hit = all(wanted is None or wanted == got for wanted, got in pairs)
            if hit and instance.taken_at is None:
                instance.taken_at = now + self.weather.reclaim_notice_s
        self.settle()

    def _take(self, instance: Instance, at: float) -> None:
        """The notice is over."""
        words = f"{SPOT_TAKEN}: Spot instance termination"
        self._leave_at(instance, at, SPOT_TAKEN, words, SPOT_TAKEN)

    # -- making and ending ----------------------------------------------------------------------------------------

    def number(self) -> int:
        """The next number in the order of things."""
        self._number += 1
        return self._number

    def new_id(self, prefix: str) -> str:
        """An id as EC2 makes them: a prefix and 17 hexadecimal digits."""
        return f"{prefix}-0{self._random_hex(16)}"

    def room(self) -> Room:
        """What is left, as of now."""
        now = self.clock.now()
        vcpus = self.catalogue.vcpus
        return Room(self.weather, vcpus, self.instances.values(), self.reservations.values(), now)

    def add_reservation(self, reservation: Reservation) -> None:
        """Hold capacity; it bills from the moment it is active."""
        self.reservations[reservation.id] = reservation
        self._bill_reservation(reservation, reservation.active_at)

    def resize(self, reservation: Reservation, count: int) -> None:
        """Hold more or less."""
        reservation.count = count
        self._bill_reservation(reservation, max(self.clock.now(), reservation.active_at))

    def _bill_reservation(self, thing: Reservation, began: float) -> None:
        self.meter.open(
            Line(
                kind="capacity-reservation",
                id=thing.id,
                region=thing.region,
                zone=thing.zone,
                type=thing.type,
                market="on-demand",
                count=thing.count,
                hourly=self.meter.price(thing.type, "on-demand"),
                began=began,
            )
        )

    def end_reservation(self, thing: Reservation, ended_as: str, at: float) -> None:
        """Let the capacity go. Machines inside run on, and bill for themselves from now."""
        thing.ended, thing.ended_as = at, ended_as
        self.meter.close(thing.id, at)
        for instance in self.instances.values():
            if instance.reservation_id == thing.id and at < instance.gone_at:
                instance.reservation_id = None
                self._bill_instance(instance, at)

    def inside(self, reservation: Reservation) -> int:
        """Machines that sit in a reservation; one on its way out still does."""
        now = self.clock.now()
        return sum(1 for one in self.instances.values() if one.reservation_id == reservation.id and one.live(now))

    def add_instance(self, instance: Instance) -> None:
        """Start a machine; it bills from running to leaving, unless it sits in a reservation."""
        self.instances[instance.id] = instance
        strike = self.faults.strike("boot", instance.region, instance.zone, instance.type, instance.market)
        refusal = strike.refusal()
        instance.running_at += strike.delay_s
        if refusal is not None:
            instance.leaving_at = instance.gone_at = instance.running_at
            instance.reason_code = refusal.code
            instance.reason = f"{refusal.code}: {refusal.message}"
            instance.transition = "Server.InternalError" if refusal.code.startswith("Server.") else refusal.code
        elif instance.reservation_id is None:
            self._bill_instance(instance, instance.running_at)
        self._turn()

    def _bill_instance(self, thing: Instance, began: float) -> None:
        began = max(began, thing.running_at)
        if began >= min(thing.leaving_at, thing.stopping_at):
            return
        self.meter.open(
            Line(
                kind="instance",
                id=thing.id,
                region=thing.region,
                zone=thing.zone,
                type=thing.type,
                market=thing.market,
                count=1,
                hourly=self.meter.price(thing.type, thing.market),
                began=began,
                least_s=LEAST_S,
            )
        )

    def leave(self, instance: Instance, code: str, reason: str, transition: str) -> None:
        """Send a machine away. It is gone after ``stop_s`` and stops billing at once."""
        self._leave_at(instance, self.clock.now(), code, reason, transition)

    def _leave_at(self, instance: Instance, at: float, code: str, reason: str, transition: str) -> None:
        if instance.leaving_at <= at:
            return
        instance.leaving_at, instance.gone_at = at, at + self.weather.stop_s
        instance.reason_code, instance.reason, instance.transition = code, reason, transition
        self.meter.close(instance.id, at)
        self._turn()

    def shut_down(self, instance: Instance, at: float) -> None:
        """A machine shut itself down: it is terminated by that, or stops. A stopped one does not bill, and has no
        place any more."""
        code = "Client.InstanceInitiatedShutdown"
        reason = f"{code}: Instance initiated shutdown"
        if instance.ends_by_shutdown:
            self._leave_at(instance, at, code, reason, "")
        elif at < min(instance.leaving_at, instance.stopping_at):
            instance.stopping_at, instance.stopped_at = at, at + self.weather.stop_s
            instance.reason_code, instance.reason, instance.transition = code, reason, ""
            self.meter.close(instance.id, at)
            self._turn()

    def settle(self) -> None:
        """Bring what time alone does up to date: reservations expire, old ends are forgotten."""
        now = self.clock.now()
        for reservation in self.reservations.values():
            end = reservation.end_date
            if reservation.ended is None and end is not None and now >= end:
                self.end_reservation(reservation, "expired", end)
        for instance in self.instances.values():
            if instance.taken_at is not None and now >= instance.taken_at:
                self._take(instance, instance.taken_at)
            if instance.shutdown_at is not None and now >= instance.shutdown_at:
                self.shut_down(instance, instance.shutdown_at)
        for instance in [one for one in self.instances.values() if min(one.gone_at, one.stopped_at) != FOREVER]:
            if now >= min(instance.gone_at, instance.stopped_at):
                instance.reservation_id = None
            if now >= instance.gone_at + LISTED_S:
                del self.instances[instance.id]

    # -- looking --------------------------------------------------------------------------------------------------

    def held(self) -> list[dict[str, Any]]:
        """Everything that bills or blocks, and key pairs, oldest first."""
        self.settle()
        now = self.clock.now()
        return sorted(self._held(now), key=lambda thing: (thing["since"], thing["id"]))

    def _held(self, now: float) -> Iterator[dict[str, Any]]:
        for one in self.instances.values():
            if one.live(now):
                yield _told("instance", one, one.state(now), one.zone, one.type, one.market, 1, one.reservation_id)
        for cr in self.reservations.values():
            if cr.live(now):
                yield _told("capacity-reservation", cr, cr.state(now), cr.zone, cr.type, "on-demand", cr.count, None)
        for group in self.groups.values():
            if group.deleted is None:
                told = _told("placement-group", group, group.state(now), None, None, None, 1, None)
                yield {**told, "name": group.name}
        for pair in self.key_pairs.values():
            told = _told("key-pair", pair, "available", None, None, None, 1, None)
            yield {**told, "name": pair.name}

    def tell(self, calls: bool) -> dict[str, Any]:
        """What ``GET /_world`` answers."""
        told: dict[str, Any] = {
            "now": self.clock.now(),
            "held": self.held(),
            "bill": self.meter.bill(self.clock.now()),
            "weather": msgspec.to_builtins(self.weather),
            "under_way": sorted(self.under_way.values()),
        }
        if calls:
            told["calls"] = as_json(self.calls)
        return told

    def zones_with_stock(self, zones: Sequence[str], type_: str, market: str, count: int) -> list[str]:
        """Those of ``zones`` that could give ``count`` machines now."""
        room = self.room()
        left = {zone: room.stock(zone, type_, market) for zone in zones}
        return [zone for zone, number in left.items() if number is None or number >= count]


def _told(
    kind: str,
    thing: Instance | Reservation | PlacementGroup | KeyPair,
    state: str,
    zone: str | None,
    type_: str | None,
    market: str | None,
    count: int,
    reservation_id: str | None,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": thing.id,
        "region": thing.region,
        "zone": zone,
        "type": type_,
        "market": market,
        "state": state,
        "count": count,
        "since": thing.made,
        "tags": dict(thing.tags),
        "client_token": thing.token,
        "reservation": reservation_id,
    }
