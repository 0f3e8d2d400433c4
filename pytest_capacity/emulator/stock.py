"""The stock that a zone has left, and the quota that an account may still use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_capacity.emulator.catalogue import Catalogue, Place
from pytest_capacity.emulator.refusal import NoStock, OverQuota, ReservationFull
from pytest_capacity.emulator.things import Machine, Reservation

#: What a scenario says of one zone: a number for each type, and a mapping of types to numbers for ``spot``.
Pools = Mapping[str, int | Mapping[str, int]]


class Room:
    """The use, compared with stock and quota, at one time.

    Reservations count in full; a machine inside a reservation does not count again.
    """

    def __init__(
        self,
        catalogues: Mapping[str, Catalogue],
        stock: Mapping[Place, Pools],
        quota: Mapping[Place, Mapping[str, float | None]],
        machines: Iterable[Machine],
        reservations: Iterable[Reservation],
        now: float,
    ) -> None:
        self._catalogues = catalogues
        self._stock = stock
        self._quota = quota
        self._taken: list[tuple[Place, str, str, int]] = [
            (Place(thing.cloud, thing.region, thing.zone), thing.type, "on-demand", thing.count)
            for thing in reservations
            if thing.live(now)
        ]
        self._taken += [
            (Place(thing.cloud, thing.region, thing.zone), thing.type, thing.market, 1)
            for thing in machines
            if thing.occupies(now) and thing.reservation_id is None
        ]

    def stock(self, place: Place, type_: str, market: str) -> int | None:
        """Return how many machines the zone could still give; None: plenty. ``*`` is each type that is not named."""
        pools: Mapping[str, object] = self._stock.get(place, {})
        if market == "spot":
            spot = pools.get("spot", {})
            pools = spot if isinstance(spot, Mapping) else {}
        limit = pools.get(type_, pools.get("*"))
        if not isinstance(limit, int):
            return None
        taken = sum(count for at, t, m, count in self._taken if (at, t, m) == (place, type_, market))
        return max(0, limit - taken)

    def used(self, cloud: str, region: str, metric: str) -> float:
        """Return how much of a metric is used in a region, or, without one, in all regions of the cloud."""
        uses = self._catalogues[cloud].uses
        return sum(
            count * uses(type_, market).get(metric, 0)
            for at, type_, market, count in self._taken
            if at.cloud == cloud and region in ("", at.region)
        )

    def quota(self, cloud: str, region: str, type_: str, market: str) -> OverQuota | None:
        """Return the refusal by the limit that leaves the fewest machines; None if there is no limit.

        Its ``left`` is how many are still allowed: compare that with how many are wanted.
        """
        found: list[OverQuota] = []
        for metric, each in self._catalogues[cloud].uses(type_, market).items():
            for place in (Place(cloud, region), Place(cloud)):
                limit = self._quota.get(place, {}).get(metric)
                if limit is None or each <= 0:
                    continue
                used = self.used(cloud, place.region, metric)
                left = int(max(0, limit - used) // each)
                found.append(OverQuota(place.region, metric, limit, market, used=used, wanted=each, left=left))
        return min(found, key=lambda one: one.left, default=None)

    def check(self, place: Place, type_: str, market: str, count: int) -> None:
        """Raise `OverQuota` or `NoStock` if ``count`` more machines than quota or stock allow are wanted."""
        over = self.quota(place.cloud, place.region, type_, market)
        if over is not None and over.left < count:
            raise over
        left = self.stock(place, type_, market)
        if left is not None and left < count:
            zones = [zone for zone in self._catalogues[place.cloud].zones_of(place.region) if zone != place.zone]
            others = self.zones_with_stock(place, zones, type_, market, count)
            raise NoStock(place.zone, type_, market, count, others, left)

    def seats(
        self,
        place: Place,
        type_: str,
        market: str,
        least: int,
        most: int,
        reserved: Iterable[Reservation] = (),
        only_reserved: bool = False,
    ) -> list[Reservation | None]:
        """Return one entry for each machine that can be had: the reservation that it sits in, or None.

        ``reserved`` has a reservation once for each free seat in it (`World.free_seats`). As many as there are, at most
        ``most``; fewer than ``least`` raise `ReservationFull`, `OverQuota` or `NoStock`.
        """
        seats: list[Reservation | None] = list[Reservation | None](reserved)[:most]
        if only_reserved:
            if len(seats) < least:
                raise ReservationFull(next((one.id for one in seats if one is not None), ""), least, len(seats))
            return seats
        free = most - len(seats)
        over = self.quota(place.cloud, place.region, type_, market)
        left = self.stock(place, type_, market)
        if over is not None and len(seats) + min(free, over.left) < least:
            raise over
        if left is not None and len(seats) + min(free, left) < least:
            self.check(place, type_, market, least - len(seats))
        for limit in (None if over is None else over.left, left):
            free = free if limit is None else min(free, limit)
        return [*seats, *[None] * free]

    def zones_with_stock(self, place: Place, zones: Iterable[str], type_: str, market: str, count: int) -> list[str]:
        """Return those of ``zones`` (of the region of ``place``) that could give ``count`` machines now."""
        left = {zone: self.stock(Place(place.cloud, place.region, zone), type_, market) for zone in zones}
        return [zone for zone, number in left.items() if number is None or number >= count]
