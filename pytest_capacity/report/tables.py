"""What a run tried and what it would try, as tables for a screen. Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import indent
from typing import Final

from pytest_capacity.config.durations import format_duration
from pytest_capacity.ladder import of_market
from pytest_capacity.model import Attempt
from pytest_capacity.preview import Asking, Plan, PreviewRung, Remembered, Room, TopologyPreview
from pytest_capacity.text import clean

#: Attempts that the summary shows, the last ones, unless pytest is verbose.
SHOWN_ATTEMPTS: Final = 20

_ATTEMPTS: Final = ("#", "TOPOLOGY", "ZONE", "MARKET", "RESERVED", "TYPE", "OUTCOME", "TIME", "THE CLOUD SAID")
_RUNGS: Final = ("#", "ZONE", "ASKS FOR", "USD/H", "QUOTA", "REMEMBERED")

#: The widest that a column gets; what is longer is cut.
_ATTEMPT_WIDTHS: Final = (4, 16, 52, 18, 8, 28, 20, 8, 72)
_RUNG_WIDTHS: Final = (4, 52, 96, 12, 60, 60)

#: Columns that are wider are narrowed where a table does not fit.
_READABLE: Final = 12


def aligned(rows: Sequence[Sequence[str]], widths: Sequence[int], width: int | None = None) -> Iterator[str]:
    """Yield the rows with their columns one below the other, each cut to its width, and all to ``width``.

    Where columns would be too narrow to be read, the heads have no row, and each other row has a line for each cell.
    """
    cut = [[clean(cell, limit=limit) for cell, limit in zip(row, widths, strict=True)] for row in rows]
    most = [max(map(len, column)) for column in zip(*cut, strict=True)]
    if width is not None:
        most = _narrowed(most, width)
        if sum(most) + 2 * (len(most) - 1) > width:
            yield from _as_records(cut)
            return
    for cells in cut:
        shown = (clean(cell, limit=limit).ljust(limit) for cell, limit in zip(cells, most, strict=True))
        yield "  ".join(shown).rstrip()


def _narrowed(most: Sequence[int], width: int) -> list[int]:
    """Return the widths of columns, the widest ones less, until they fit or none is wider than `_READABLE`."""
    columns = list(most)
    while sum(columns) + 2 * (len(columns) - 1) > width and max(columns) > _READABLE:
        columns[columns.index(max(columns))] -= 1
    return columns


def _as_records(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    heads, *others = rows
    for row in others:
        said = [f"{head.lower()} {cell}" for head, cell in zip(heads, row, strict=True) if cell]
        yield "\n  ".join(said)


def attempts(tried: Sequence[Attempt], *, verbose: bool = False, width: int | None = None) -> Iterator[str]:
    """Yield each attempt in a line, and below what can be changed where a topology was not placed: each thing once."""
    shown = tried if verbose else tried[-SHOWN_ATTEMPTS:]
    if len(shown) < len(tried):
        yield f"{len(tried) - len(shown)} attempts before these (-v shows all)"
    several = len({attempt.topology for attempt in tried}) > 1
    yield from _without_empty([_ATTEMPTS, *(_attempt(one, several) for one in shown)], _ATTEMPT_WIDTHS, width)
    for remedy in _remedies(tried):
        yield clean(f"to change: {remedy}")


def _attempt(attempt: Attempt, several: bool) -> tuple[str, ...]:
    placed = attempt.outcome == "placed"
    said = "" if placed else ": ".join(filter(None, (attempt.code, attempt.words)))
    outcome = attempt.outcome if placed else attempt.kind or attempt.outcome
    return (
        str(attempt.number),
        attempt.topology if several else "",
        _place(attempt.region, attempt.zone),
        attempt.market,
        "yes" if attempt.reserved else "",
        attempt.instance_type,
        outcome,
        f"{attempt.seconds:.1f} s",
        said,
    )


def _without_empty(rows: Sequence[Sequence[str]], widths: Sequence[int], width: int | None) -> Iterator[str]:
    """Yield the table without the columns that have nothing below their head."""
    kept = [number for number in range(len(widths)) if any(row[number] for row in rows[1:])]
    yield from aligned([[row[number] for number in kept] for row in rows], [widths[number] for number in kept], width)


def _remedies(tried: Iterable[Attempt]) -> Iterator[str]:
    """Yield what can be changed, of topologies that did not come to stand in the end."""
    outcomes = {attempt.topology: attempt.outcome for attempt in tried}
    said = [one.remedy for one in tried if one.remedy and outcomes[one.topology] != "placed"]
    yield from dict.fromkeys(said)


def where(backend: str, regions: Iterable[str]) -> str:
    """Return the cloud and its regions; once, where a backend without regions has one of its own name."""
    return " ".join(dict.fromkeys((backend, ", ".join(regions))))


def plan(planned: Plan, *, width: int | None = None) -> Iterator[str]:
    """Yield the rungs of each topology in order, and what is left out, with the reason."""
    yield clean(f"{where(planned.backend, planned.regions)}, account {planned.account}")
    for words in planned.troubles:
        yield clean(f"trouble: {words}")
    for name, topology in planned.topologies.items():
        yield from _topology(name, topology, planned.at, width)


def _topology(name: str, planned: TopologyPreview, now: float, width: int | None) -> Iterator[str]:
    if planned.rungs:
        yield f"{name}: tried in this order"
        rows = [_RUNGS, *(_rung(number, rung, now) for number, rung in enumerate(planned.rungs, 1))]
        room = None if width is None else width - 2
        yield from (indent(line, "  ") for line in _without_empty(rows, _RUNG_WIDTHS, room))
        yield from (f"  {line}" for line in _unused(planned.rungs))
    else:
        yield f"{name}: nothing to try"
    for words in planned.remarks:
        yield clean(f"  {words}")
    for one in planned.left_out:
        yield f"  left out: {clean(f'{_place(one.region, one.zone)}: {one.why}')}"


def _unused(rungs: Sequence[PreviewRung]) -> Iterator[str]:
    """Yield each named reservation that some rung does not use: the rungs and the reason, equal ones as one."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, rung in enumerate(rungs, 1):
        for id_, why in rung.unused.items():
            found.setdefault((id_, why), []).append(number)
    for (id_, why), numbers in found.items():
        where = "anywhere" if len(numbers) == len(rungs) else f"by {', '.join(map(str, numbers))}"
        yield clean(f"not used {where}: {id_}: {why}")


def _rung(number: int, rung: PreviewRung, now: float) -> tuple[str, ...]:
    asks = ", ".join(f"{name} {_asking(group)}" for name, group in rung.groups.items())
    return (
        str(number),
        _place(rung.region, "+".join(rung.zones)),
        asks,
        _price(rung),
        _full(rung.quota, now) or ", ".join(map(_room, rung.room)) or "?",
        _dry(rung.dry, now),
    )


def _asking(asked: Asking) -> str:
    return f"{asked.count} x {asked.instance_type} {of_market(asked.reserved, asked.market)}"


def _price(rung: PreviewRung) -> str:
    """Return the price. What the user said costs the same in each market; spot costs no more than that."""
    if rung.price is None:
        return "?"
    bound = "up to " if any(asked.market == "spot" for asked in rung.groups.values()) else ""
    return f"{bound}{rung.price:.2f}"


def _full(quota: Sequence[Remembered], now: float) -> str:
    return ", ".join(dict.fromkeys(f"full {_ago(one.at, now)} ({one.code or one.kind})" for one in quota))


def _room(room: Room) -> str:
    """What is asked for, of what is free: ``24 of 40 vCPUs``; where it is too much, the limit as well."""
    asked, limit = f"{room.asked:g}", f"{room.limit:g}"
    if room.free is None:
        return f"{asked} of a limit of {limit} {room.unit}"
    free = f"{room.free:g}"
    return f"{asked} of {free} {room.unit}" if room.enough else f"{asked}, and {free} of {limit} {room.unit} are free"


def _dry(dry: Sequence[Remembered], now: float) -> str:
    return ", ".join(f"{one.group} refused {_ago(one.at, now)} ({one.code or one.kind})" for one in dry)


def _ago(at: float, now: float) -> str:
    seconds = max(0, round(now - at))
    return f"{format_duration(seconds // 60 * 60 if seconds >= 60 else seconds)} ago"


def _place(region: str, zone: str) -> str:
    """Return a zone by its name, with its region where the name does not tell it."""
    # Some clouds count their regions in an area (`us-ashburn-1`) and write the area alone into their zones.
    area = region.rpartition("-")[0] or region
    return zone if zone and area.lower() in zone.lower() else "/".join(filter(None, (region, zone)))
