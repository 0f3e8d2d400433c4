"""Rows of figures, and how they are printed."""

from __future__ import annotations

import statistics

from msgspec import Struct


class Row(Struct, frozen=True):
    """Some runs of one piece of work. ``goal`` is for the median; ``limit`` says what nothing can be faster than."""

    name: str
    figures: list[float]
    goal: float
    unit: str
    limit: str

    @property
    def met(self) -> bool:
        """Whether the median reaches the goal."""
        return statistics.median(self.figures) <= self.goal


def show(rows: list[Row]) -> str:
    """A table for a terminal or a page."""
    lines = ["| work | min | median | max | goal | limit |", "|---|---|---|---|---|---|"]
    for row in rows:
        low, middle, high = min(row.figures), statistics.median(row.figures), max(row.figures)
        mark = "" if row.met else " (missed)"
        lines.append(
            f"| {row.name} | {low:.2f} {row.unit} | {middle:.2f} {row.unit} | {high:.2f} {row.unit} "
            f"| {row.goal:.2f} {row.unit}{mark} | {row.limit} |"
        )
    return "\n".join(lines)
