"""The stock that a zone has left, and the quota that an account may still use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_capacity.emulator.catalogue import Catalogue, Place
from pytest_capacity.emulator.refusal import OverQuota
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
