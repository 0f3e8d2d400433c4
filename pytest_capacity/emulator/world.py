"""The World: everything that exists, what it costs, and what the weather lets happen.

Its methods are to be called with `World.lock` held; the server holds it for the whole of a call, so that a call happens
as a whole or not at all. Nothing here sleeps, and nothing here depends on HTTP or a cloud.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from pytest_capacity.emulator.calls import Call
from pytest_capacity.emulator.catalogue import Catalogue, Names, Place
from pytest_capacity.emulator.clock import Clock
from pytest_capacity.emulator.faults import Buckets, Faults
from pytest_capacity.emulator.meter import Line, Meter
from pytest_capacity.emulator.refusal import (
    AlreadyExists,
    NotFound,
    Refusal,
    StaleVersion,
    TokenReused,
    WrongState,
)
from pytest_capacity.emulator.stock import Room
from pytest_capacity.emulator.things import FOREVER, Cause, Machine, Operation, Other, Reservation, Thing
from pytest_capacity.emulator.weather import Change, SpotPool, Weather, region_of, zone_of

#: How long a machine stays listed after its end ("usually less than an hour", as one vendor documents it).
LISTED_S: Final = 3600.0

T = TypeVar("T", bound=Thing)


class World:
    """One World, behind all the faces.

    `add_cloud` gives it what a face offers. A face then makes things with `add_machine`, `add_reservation` and `add`,
    asks `room` what is left, and begins with `begin` what takes time. `settle` lets happen what is due.
    """

    def __init__(self, wall: Callable[[], float], random_hex: Callable[[int], str]) -> None:
        self.lock = threading.RLock()
        #: What each cloud offers, by the cloud's name.
        self.catalogues: dict[str, Catalogue] = {}
        self.names = Names(self.catalogues)
        self._wall = wall
        self._random_hex = random_hex
        #: This emulator, as opposed to another one that had the same port.
        self.identity = random_hex(16)
        #: Called when the World is emptied, so that a face forgets what it keeps itself.
        self.on_reset: list[Callable[[], None]] = []
        #: What faces hold that are no `Thing`s of ours, in the form of `held`.
        self.also_held: list[Callable[[], list[dict[str, Any]]]] = []
        #: Called when machines come, go or may have moved in time. It must not wait for the lock in another thread.
        self.on_turn: list[Callable[[], None]] = []
        #: Operations of the calls that are not answered yet, by a number of each call's own. Outlives a reset.
        self.under_way: dict[int, str] = {}
        self.faults = Faults()
        self._empty()

    def _empty(self) -> None:
        self.clock = Clock(self._wall)
        self.weather = Weather()
        self._replace_faults()
        self.buckets = Buckets()
        self.meter = Meter()
        self.machines: dict[str, Machine] = {}
        self.reservations: dict[str, Reservation] = {}
        self.operations: dict[str, Operation] = {}
        self.others: dict[str, Other] = {}
        self.tokens: dict[tuple[str, ...], tuple[object, tuple[str, ...]]] = {}
        self.calls: list[Call] = []
        self._number = 0
        self._places()

    def add_cloud(self, name: str, catalogue: Catalogue) -> None:
        """Allow the weather to name what a cloud offers."""
        self.catalogues[name] = catalogue

    def change(self, change: Change) -> None:
        """Change the weather, and apply what happens once."""
        if change.reset:
            self._empty()
            for forget in self.on_reset:
                forget()
        weather = msgspec.structs.replace(self.weather, **dict(change.parts))
        self.weather = weather
        for cloud, values in change.own.items():
            for key, value in values.items():
                self.set_own(cloud, key, value)
        self._places()
        if "faults" in change.parts:
            self._replace_faults()
        if "throttle" in change.parts:
            throttle = self.weather.throttle
            self.buckets = Buckets({region_of("throttle", key, self.names): one for key, one in throttle.items()})
        self.clock.advance(change.advance_s)
        self.settle()
        for target in change.reclaim:
            self._reclaim(target)
        self._turn()

    def _replace_faults(self) -> None:
        self.faults.lift()
        self.faults = Faults(self.weather.faults)

    def set_own(self, cloud: str, key: str, value: object) -> None:
        """Change one key of a cloud's own weather, by a call of that cloud."""
        own = {**self.weather.own, cloud: {**self.weather.own.get(cloud, {}), key: value}}
        self.weather = msgspec.structs.replace(self.weather, own=own)

    def _places(self) -> None:
        weather = self.weather
        self._stock = {zone_of("stock", key, self.names): pools for key, pools in weather.stock.items()}
        self._quota = {region_of("quota", key, self.names): limits for key, limits in weather.quota.items()}
        self._lacking = {
            zone_of("offerings", key, self.names): frozenset(one.exclude) for key, one in weather.offerings.items()
        }
        self._no_images = {
            region_of("images", key, self.names): frozenset(one.exclude) for key, one in weather.images.items()
        }

    def seconds(self, name: str, cloud: str) -> float:
        """Return a time of the weather, such as ``boot_s``, for a cloud."""
        return self.weather.of(name, cloud)

    def lacks_type(self, place: Place, type_: str) -> bool:
        """Return whether the weather takes a type away from a zone."""
        return type_ in self._lacking.get(place, ())

    def lacks_image(self, place: Place, image: str) -> bool:
        """Return whether the weather takes an image away from a region."""
        return image in self._no_images.get(place, ())

    def _turn(self) -> None:
        for call in self.on_turn:
            call()

    def _reclaim(self, target: str | SpotPool) -> None:
        now = self.clock.now()
        for machine in list(self.machines.values()):
            if machine.market != "spot" or machine.stage(now) not in ("starting", "running"):
                continue
            if isinstance(target, str):
                hit = target in (machine.id, machine.name)
            else:
                pairs = (
                    (target.cloud, machine.cloud),
                    (target.region, machine.region),
                    (target.zone, machine.zone),
                    (target.type, machine.type),
                )
                hit = all(wanted is None or wanted == got for wanted, got in pairs)
            if hit and machine.taken_at is None:
                machine.taken_at = now + self.seconds("reclaim_notice_s", machine.cloud)
        self.settle()

    def _take(self, machine: Machine, at: float) -> None:
        """End a spot machine whose notice is over, or stop it where its cloud does that."""
        if machine.ends_when_taken:
            self._leave_at(machine, at, "preempted")
        else:
            machine.taken_at = None
            self._stop_at(machine, at, "preempted")

    def number(self) -> int:
        """Return the next number in the order of things."""
        self._number += 1
        return self._number

    def hex(self, digits: int) -> str:
        """Return random hexadecimal digits, to make an id of."""
        return self._random_hex(digits + digits % 2)[:digits]

    def born(self, cloud: str) -> dict[str, Any]:
        """Return the arguments that each new thing takes: ``Machine(**world.born("x"), id=..., ...)``."""
        now = self.clock.now()
        seen = now + self.seconds("consistency_s", cloud)
        return {"cloud": cloud, "number": self.number(), "made": now, "visible_at": seen}

    def once(self, key: Sequence[str], meaning: object, make: Callable[[], Sequence[str]]) -> Sequence[str]:
        """Make things once for an idempotency token, and return their ids; the same ids when it comes again.

        ``key`` ends with the token; ``meaning`` is what must be the same again, else `TokenReused` is raised. A call
        that is refused uses up no token.
        """
        known = self.tokens.get(tuple(key))
        if known is None:
            ids = make()
            self.tokens[tuple(key)] = (meaning, tuple(ids))
            return ids
        if known[0] != meaning:
            raise TokenReused(key[-1])
        return known[1]

    def room(self) -> Room:
        """Return what is left, as of now."""
        taken = self.machines.values(), self.reservations.values()
        return Room(self.catalogues, self._stock, self._quota, *taken, self.clock.now())

    def limits(self, place: Place) -> Mapping[str, float | None]:
        """Return the quota that the weather sets for a region, or for all of a cloud."""
        return self._quota.get(place, {})

    def free_seats(self, reservation: Reservation) -> list[Reservation]:
        """Return the reservation once for each free seat in it; none while it is not active."""
        if reservation.ended is not None or self.clock.now() < reservation.active_at:
            return []
        return [reservation] * (reservation.count - self.inside(reservation))

    def inside(self, reservation: Reservation) -> int:
        """Return how many machines sit in a reservation; one being removed still does, a stopped one does not."""
        now = self.clock.now()
        return sum(1 for one in self.machines.values() if one.reservation_id == reservation.id and one.occupies(now))

    def add_reservation(self, reservation: Reservation) -> None:
        """Add a reservation; it bills from the moment it is active. The caller has called `Room.check`."""
        self.reservations[reservation.id] = reservation
        if reservation.error is None:
            self._bill_reservation(reservation, reservation.active_at)

    def resize(self, reservation: Reservation, count: int) -> None:
        """Change the capacity that it holds."""
        reservation.count = count
        reservation.version += 1
        self._bill_reservation(reservation, max(self.clock.now(), reservation.active_at))

    def _bill_reservation(self, thing: Reservation, began: float) -> None:
        self._bill(thing, thing.type, "on-demand", thing.count, began)

    def end_reservation(self, thing: Reservation, ended_as: str, at: float | None = None) -> None:
        """End the reservation of capacity. Machines inside run on, and are billed separately from now."""
        at = self.clock.now() if at is None else at
        thing.ended, thing.ended_as = at, ended_as
        self.meter.close(thing.id, at)
        for machine in self.machines.values():
            if machine.reservation_id == thing.id and at < machine.gone_at:
                machine.reservation_id = None
                self._bill_machine(machine, at)

    def add_machine(self, machine: Machine) -> None:
        """Start a machine; it bills from running to leaving, unless it sits in a reservation.

        The caller has called `Room.seats`. A ``boot`` fault of the weather ends it when it should run.
        """
        self.machines[machine.id] = machine
        strike = self.faults.strike(machine.cloud, "boot", machine.region, machine.zone, machine.type, machine.market)
        machine.running_at += strike.delay_s
        if strike.error is not None and strike.error.error is not None:
            self.fail(machine, strike.refusal() or strike.late())
        elif machine.error is not None:
            self.fail(machine, machine.error)
        elif machine.reservation_id is None:
            self._bill_machine(machine, machine.running_at)
        self._turn()

    def fail(self, machine: Machine, error: Refusal | None) -> None:
        """End a new machine at the time when it should start to run; it bills nothing."""
        machine.error, machine.cause = error, "failed"
        machine.leaving_at = machine.gone_at = machine.running_at
        self.meter.close(machine.id, self.clock.now())

    def _bill_machine(self, thing: Machine, began: float) -> None:
        began = max(began, thing.running_at)
        if began < min(thing.leaving_at, thing.stopping_at):
            self._bill(thing, thing.type, thing.market, 1, began, self.catalogues[thing.cloud].least_s)

    def _bill(self, thing: Thing, type_: str, market: str, count: int, began: float, least_s: float = 0.0) -> None:
        self.meter.open(
            Line(
                kind=thing.kind,
                id=thing.id,
                cloud=thing.cloud,
                region=thing.region,
                zone=thing.zone,
                type=type_,
                market=market,
                count=count,
                hourly=thing.hourly if isinstance(thing, Other) else self.catalogues[thing.cloud].price(type_, market),
                began=began,
                least_s=least_s,
            )
        )

    def leave(self, machine: Machine, cause: Cause = "call") -> None:
        """Send a machine away. It is gone after ``stop_s`` and stops billing at once."""
        self._leave_at(machine, self.clock.now(), cause)

    def _leave_at(self, machine: Machine, at: float, cause: Cause) -> None:
        if machine.leaving_at <= at:
            return
        machine.leaving_at, machine.gone_at = at, at + self.seconds("stop_s", machine.cloud)
        machine.cause = cause
        self.meter.close(machine.id, at)
        self._turn()

    def stop(self, machine: Machine, cause: Cause = "call") -> None:
        """Stop a machine. It is stopped after ``stop_s``; then it has no place any more, and it bills nothing."""
        self._stop_at(machine, self.clock.now(), cause)

    def _stop_at(self, machine: Machine, at: float, cause: Cause) -> None:
        if at >= min(machine.leaving_at, machine.stopping_at):
            return
        machine.stopping_at, machine.stopped_at = at, at + self.seconds("stop_s", machine.cloud)
        machine.cause = cause
        self.meter.close(machine.id, at)
        self._turn()

    def start(self, machine: Machine, reservation: Reservation | None = None) -> None:
        """Start a stopped machine again, in a seat of a reservation or outside.

        Raise `WrongState` if it is not stopped, `OverQuota`, `NoStock` or `ReservationFull` if it has no place.
        """
        now = self.clock.now()
        if machine.stage(now) != "stopped":
            raise WrongState(machine.kind, machine.name or machine.id, machine.state(now))
        place = Place(machine.cloud, machine.region, machine.zone)
        reserved = [] if reservation is None else self.free_seats(reservation)
        self.room().seats(place, machine.type, machine.market, 1, 1, reserved, only_reserved=reservation is not None)
        machine.stopping_at = machine.stopped_at = FOREVER
        machine.cause, machine.shutdown_at = "", None
        machine.running_at = now + self.seconds("boot_s", machine.cloud)
        machine.reservation_id = None if reservation is None else reservation.id
        machine.version += 1
        if reservation is None:
            self._bill_machine(machine, machine.running_at)
        self._turn()

    def change_type(self, machine: Machine, type_: str) -> None:
        """Change the type of a stopped machine. Raise `WrongState` if it is not stopped."""
        now = self.clock.now()
        if machine.stage(now) != "stopped":
            raise WrongState(machine.kind, machine.name or machine.id, machine.state(now))
        machine.type = type_
        machine.version += 1

    def shut_down(self, machine: Machine, at: float) -> None:
        """Shut a machine down from inside: it is removed by that, or stops."""
        if machine.ends_by_shutdown:
            self._leave_at(machine, at, "shutdown")
        else:
            self._stop_at(machine, at, "shutdown")

    def add(self, thing: Other) -> None:
        """Add a thing; it bills from now if it has a price."""
        self.others[thing.id] = thing
        if thing.hourly:
            self._bill(thing, "", "", 1, thing.made)

    def reprice(self, thing: Other, hourly: float) -> None:
        """Set what a thing costs to ``hourly`` from now on."""
        thing.hourly = hourly
        self._bill(thing, "", "", 1, self.clock.now())

    def remove(self, thing: Other, *, forget: bool = True) -> None:
        """Remove a thing; without ``forget`` it stays known, as deleted."""
        thing.removed = self.clock.now()
        self.meter.close(thing.id, thing.removed)
        if forget:
            self.others.pop(thing.id, None)

    def of(self, type_: type[T], cloud: str, region: str | None = None, kind: str | None = None) -> list[T]:
        """Return the live things of a class, by region and kind where they are given, in the order of making."""
        now = self.clock.now()
        return [
            one
            for one in self.everything()
            if isinstance(one, type_)
            and one.cloud == cloud
            and one.live(now)
            and region in (None, one.region)
            and kind in (None, one.kind)
        ]

    def everything(self) -> Iterator[Thing]:
        """Yield machines, reservations and things of other kinds, also those that are gone and still known."""
        yield from self.machines.values()
        yield from self.reservations.values()
        yield from self.others.values()

    def get(self, id_: str) -> Thing | None:
        """Return a thing by its id, live or not."""
        return self.machines.get(id_) or self.reservations.get(id_) or self.others.get(id_)

    def need(self, id_: str, kind: str) -> Thing:
        """Return a live thing of a kind by its id. Raise `NotFound`."""
        found = self.get(id_)
        if found is None or found.kind != kind or not found.live(self.clock.now()):
            raise NotFound(kind, id_)
        return found

    def check_new(self, id_: str, kind: str, name: str) -> None:
        """Raise `AlreadyExists` if something exists under an id that is made of a name."""
        found = self.get(id_)
        if found is not None and found.live(self.clock.now()):
            raise AlreadyExists(kind, name)

    def check_version(self, thing: Thing, expected: str | None) -> None:
        """Raise `StaleVersion` if a conditional change names another version; None and ``*`` name any."""
        if expected not in (None, "*", str(thing.version)):
            raise StaleVersion(thing.kind, thing.name or thing.id, str(expected), str(thing.version))

    def contents(self, container: str) -> list[Thing]:
        """Return the live things that go with a container, those in containers inside it too."""
        now = self.clock.now()
        found = [one for one in self.everything() if one.container == container and one.live(now)]
        return found + [inner for one in found for inner in self.contents(one.id)]

    def remove_contents(self, container: str) -> None:
        """Remove what goes with a container: machines leave, reservations end, the rest is gone."""
        for one in self.contents(container):
            if isinstance(one, Machine):
                self.leave(one)
            elif isinstance(one, Reservation):
                self.end_reservation(one, "cancelled")
            elif isinstance(one, Other):
                self.remove(one)

    def begin(self, operation: Operation) -> Operation:
        """Begin an operation. One that takes no time ends at once."""
        self.operations[operation.id] = operation
        self._end_operation(operation, self.clock.now())
        return operation

    def _end_operation(self, operation: Operation, now: float) -> None:
        if operation.ended or now < operation.done_at:
            return
        operation.ended = True
        operation.version += 1
        if operation.then is not None:
            operation.then(operation)

    def settle(self) -> None:
        """Apply the changes that are due by time alone."""
        now = self.clock.now()
        for operation in sorted(self.operations.values(), key=lambda one: one.done_at):
            self._end_operation(operation, now)
        for reservation in self.reservations.values():
            end = reservation.end_date
            if reservation.ended is None and reservation.error is not None and now >= reservation.active_at:
                self.end_reservation(reservation, "failed", reservation.active_at)
            if reservation.ended is None and end is not None and now >= end:
                self.end_reservation(reservation, "expired", end)
        for machine in self.machines.values():
            if machine.taken_at is not None and now >= machine.taken_at:
                self._take(machine, machine.taken_at)
            if machine.shutdown_at is not None and now >= machine.shutdown_at:
                self.shut_down(machine, machine.shutdown_at)
        for machine in [one for one in self.machines.values() if min(one.gone_at, one.stopped_at) != FOREVER]:
            if now >= min(machine.gone_at, machine.stopped_at):
                machine.reservation_id = None
            if now >= machine.gone_at + LISTED_S:
                del self.machines[machine.id]
