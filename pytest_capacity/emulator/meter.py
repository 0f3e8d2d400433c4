"""The billing meter: what everything in the World has cost, in money."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

#: USD an hour, on demand. The emulator's own figures, near those of us-east-1, and the same in every region.
PRICES: Final[Mapping[str, float]] = {
    "t3.micro": 0.0104,
    "t3.small": 0.0208,
    "t3.medium": 0.0416,
    "t3.large": 0.0832,
    "c6i.large": 0.085,
    "c6i.xlarge": 0.17,
    "c6i.2xlarge": 0.34,
    "m6i.large": 0.096,
    "m6i.xlarge": 0.192,
    "i4i.large": 0.172,
    "i4i.xlarge": 0.343,
    "i4i.2xlarge": 0.686,
    "i4i.4xlarge": 1.373,
}
#: What a type that is not in the table costs for each of its vCPUs.
PRICE_OF_A_VCPU: Final = 0.05
#: What spot costs, of the on-demand price.
SPOT_SHARE: Final = 0.3
#: EC2 bills a machine by the second, but at least this long.
LEAST_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """``count`` machines' worth of one thing at one price, from ``began`` to ``ended`` (None: still billing)."""

    kind: str
    id: str
    region: str
    zone: str
    type: str
    market: str
    count: int
    hourly: float
    began: float
    least_s: float = 0.0
    ended: float | None = None

    def seconds(self, now: float) -> float:
        """Billed seconds so far. A line that begins later than it ends, or than now, bills nothing."""
        until = now if self.ended is None else min(self.ended, now)
        return max(until - self.began, self.least_s) if until > self.began else 0.0

    def usd(self, now: float) -> float:
        """Money so far."""
        return self.seconds(now) / 3600 * self.hourly * self.count


class Meter:
    """Open and closed lines. A machine inside a reservation has none: the reservation bills, used or not."""

    def __init__(self, vcpus: Callable[[str], int | None]) -> None:
        self._vcpus = vcpus
        self._open: dict[str, Line] = {}
        self._closed: list[Line] = []

    def price(self, type_: str, market: str) -> float:
        """USD for an hour of one machine."""
        hourly = PRICES.get(type_)
        if hourly is None:
            hourly = (self._vcpus(type_) or 2) * PRICE_OF_A_VCPU
        return hourly * SPOT_SHARE if market == "spot" else hourly

    def open(self, line: Line) -> None:
        """Begin to bill; ``line.began`` may lie ahead."""
        self.close(line.id, line.began)
        self._open[line.id] = line

    def close(self, id_: str, at: float) -> None:
        """Stop billing a thing; one that does not bill is left alone."""
        line = self._open.pop(id_, None)
        if line is not None:
            self._closed.append(replace(line, ended=at))

    def bill(self, now: float) -> dict[str, Any]:
        """The sum, and its parts by kind, zone, type and market."""
        parts: dict[tuple[str, str, str, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for line in [*self._closed, *self._open.values()]:
            part = parts[line.kind, line.region, line.zone, line.type, line.market]
            part[0] += line.seconds(now) * line.count
            part[1] += line.usd(now)
        lines = [
            {
                "kind": kind,
                "region": region,
                "zone": zone,
                "type": type_,
                "market": market,
                "machine_seconds": round(seconds, 3),
                "usd": round(usd, 6),
            }
            for (kind, region, zone, type_, market), (seconds, usd) in sorted(parts.items())
        ]
        total = sum(part[1] for part in parts.values())
        return {"usd": round(total, 6), "prices": "the emulator's own, not AWS's", "lines": lines}
