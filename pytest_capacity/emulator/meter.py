"""The billing meter: what everything in the World has cost, in money."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Line:
    """``count`` machines' worth of one thing at one price, from ``began`` to ``ended`` (None: still billing)."""

    kind: str
    id: str
    cloud: str
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
        """Return billed seconds so far. A line that begins later than it ends, or than now, bills nothing."""
        until = now if self.ended is None else min(self.ended, now)
        return max(until - self.began, self.least_s) if until > self.began else 0.0

    def usd(self, now: float) -> float:
        """Return the money so far."""
        return self.seconds(now) / 3600 * self.hourly * self.count


class Meter:
    """Open and closed lines. A machine inside a reservation has none: the reservation bills, used or not."""

    def __init__(self) -> None:
        self._open: dict[str, Line] = {}
        self._closed: list[Line] = []

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
        """Return the sum, and its parts by kind, zone, type and market."""
        parts: dict[tuple[str, str, str, str, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for line in [*self._closed, *self._open.values()]:
            part = parts[line.kind, line.cloud, line.region, line.zone, line.type, line.market]
            part[0] += line.seconds(now) * line.count
            part[1] += line.usd(now)
        lines = [
            {
                "kind": kind,
                "cloud": cloud,
                "region": region,
                "zone": zone,
                "type": type_,
                "market": market,
                "machine_seconds": round(seconds, 3),
                "usd": round(usd, 6),
            }
            for (kind, cloud, region, zone, type_, market), (seconds, usd) in sorted(parts.items())
        ]
        total = sum(part[1] for part in parts.values())
        return {"usd": round(total, 6), "prices": "the emulator's own, not a cloud's", "lines": lines}
