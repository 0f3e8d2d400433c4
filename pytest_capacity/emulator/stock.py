"""How much a zone has left, and how much an account may still use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pytest_capacity.emulator.things import Instance, Reservation
from pytest_capacity.emulator.weather import Quota, Weather


class Room:
    """The machines that are taken, seen against the weather, at one moment. Reservations count in full; a machine
    inside a reservation does not count again."""

    def __init__(
        self,
        weather: Weather,
        vcpus: Callable[[str], int | None],
        instances: Iterable[Instance],
        reservations: Iterable[Reservation],
        now: float,
    ) -> None:
        self._weather = weather
        self._vcpus = vcpus
        self._taken: list[tuple[str, str, str, str, int]] = [
            (thing.region, thing.zone, thing.type, "on-demand", thing.count)
            for thing in reservations
            if thing.live(now)
        ]
        self._taken += [
            (thing.region, thing.zone, thing.type, thing.market, 1)
            for thing in instances
            if thing.occupies(now) and thing.reservation_id is None
        ]

    def stock(self, zone: str, type_: str, market: str) -> int | None:
        """Machines that the zone could still give; None: plenty. ``"*"`` speaks for each type that is not named."""
        pools: Mapping[str, object] = self._weather.stock.get(zone, {})
        if market == "spot":
            spot = pools.get("spot", {})
            pools = spot if isinstance(spot, Mapping) else {}
        limit = pools.get(type_, pools.get("*"))
        if not isinstance(limit, int):
            return None
        taken = sum(count for _, z, t, m, count in self._taken if (z, t, m) == (zone, type_, market))
        return max(0, limit - taken)

    def quota(self, region: str, type_: str, market: str) -> int | None:
        """Machines of this type that the account may still have in the region; None: plenty."""
        quota = self._weather.quota.get(region, Quota())
        limit = quota.spot_vcpus if market == "spot" else quota.vcpus
        if limit is None:
            return None
        taken = sum(count * (self._vcpus(t) or 0) for r, _, t, m, count in self._taken if (r, m) == (region, market))
        return max(0, limit - taken) // max(1, self._vcpus(type_) or 1)
