"""The allocation view: it follows the journal's events, and answers a page of resources by one query."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.allocations.cloud import note_uses
from pytest_capacity.allocations.fold import FOLDS, fold
from pytest_capacity.allocations.index import clear, open_index
from pytest_capacity.allocations.model import Allocation, Allocations, Filter, Page, Resource
from pytest_capacity.errors import JournalError
from pytest_capacity.journal import Journal, PassingJournal, ReadJournal
from pytest_capacity.usage import CloudResource

#: How many events are folded in one transaction: another process that looks waits for no longer than these take.
_BATCH: Final = 5000

_COLUMNS: Final = """
a.n, a.reservation, a.lease, a.run, a.source, a.owner, coalesce(a.project, u.project), u.session, a.topology, a.grp,
a.name, a.instance_type, a.market, a.state,
(SELECT at FROM readings WHERE a.source != '' AND backend = page.backend AND region = page.region),
a.since, a.until, iif(a.source = '', u.hard_end, NULL),
CASE WHEN a.ended IS NOT NULL THEN a.ended WHEN a.stops <= :now THEN a.stops END,
(SELECT group_concat(test, char(10)) FROM
    (SELECT test FROM uses WHERE run = a.run AND node = a.held_id GROUP BY test ORDER BY min(n)))
"""

#: What has ended by an event, or by itself since: a lease of the cloud's own, at its end.
_ENDED: Final = "(a.ended IS NOT NULL OR a.stops <= :now)"
_LATEST_END: Final = """
coalesce(a.ended, max(coalesce(a.until, 0),
    coalesce((SELECT hard_end FROM runs WHERE run = a.run AND a.source = ''), 0)))
"""

#: Of what both know the journal knows more; what it takes for gone, and the cloud has, is shown.
_FROM_CLOUD: Final = """
({resources}.backend = :cloud AND NOT EXISTS (
    SELECT 1 FROM allocations j WHERE j.source = '' AND j.resource = a.resource AND j.slot = a.slot
    AND j.reservation IS a.reservation
    AND (a.ended IS NOT NULL OR a.stops <= :now OR (j.ended IS NULL AND (j.stops IS NULL OR j.stops > :now)))))
"""


def open_view(journal: str | Path, *, now: Callable[[], float] = time.time) -> AllocationView | None:
    """Return the view of this journal's file; None where no run has made one yet. Raises `JournalError`."""
    path = Path(journal)
    return AllocationView(ReadJournal(path), path, now=now) if path.exists() else None


def open_cloud_view(journal: str | Path, *, now: Callable[[], float] = time.time) -> AllocationView:
    """Return the view of this journal's file, and where there is none yet of nothing but what is noted of a cloud."""
    return open_view(journal, now=now) or AllocationView(PassingJournal(Path(journal)), None, now=now)


class AllocationView:
    """The view of allocations by one journal, and by what was read of a cloud (`note`).

    Opening it reads nothing. Each question first folds the events that came since the last one into the index, and is
    then answered by the index alone. Safe to use from many threads, and beside other processes with the same index.
    """

    def __init__(self, journal: Journal, path: Path | None, *, now: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._now = now
        self._path = path
        self._lock = threading.Lock()
        self._index = open_index(path)

    def __enter__(self) -> AllocationView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal and the index."""
        with self._lock:
            self._index.close()
        self._journal.close()

    def follow(self) -> int:
        """Fold the events that came since the last time; return their number. Raises `JournalError`."""
        count = 0
        with self._lock, self._faults():
            while batch := self._fold_batch():
                count += batch
        return count

    def note(self, backend: str, found: Collection[CloudResource], whole: Collection[str]) -> None:
        """Take in what was read of a cloud just now; ``whole`` are the regions that were read whole.

        Raises `JournalError`.
        """
        self.follow()
        with self._lock, self._faults(), self._writing():
            note_uses(self._index, backend, found, whole, self._now())

    def page(self, wanted: Filter) -> Page:
        """Return the resources that ``wanted`` asks for, at most ``limit``, with their allocations. One query."""
        self.follow()
        query, values = _query(wanted, self._now())
        with self._lock, self._faults():
            rows = self._index.execute(query, values).fetchall()
        found = [_allocations(list(group)) for _, group in groupby(rows, key=lambda row: row[0])]
        more = len(found) > wanted.limit
        numbers = list(dict.fromkeys(row[0] for row in rows))
        return Page(resources=tuple(found[: wanted.limit]), next=numbers[wanted.limit - 1] if more else None)

    def all(self, wanted: Filter) -> Iterator[Allocations]:
        """Yield what every page has, from ``wanted`` on."""
        while True:
            page = self.page(wanted)
            yield from page.resources
            if page.next is None:
                return
            wanted = replace(wanted, after=page.next)

    def _fold_batch(self) -> int:
        with self._writing():
            entries = self._journal.events_after(self._folded(), FOLDS, _BATCH)
            for entry in entries:
                fold(self._index, entry)
            if entries:
                last = entries[-1]
                self._index.execute("DELETE FROM folded")
                self._index.execute("INSERT INTO folded VALUES (?, ?, ?)", (last.seq, last.at, last.run))
        return len(entries)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._index.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._index.execute("COMMIT")
        except BaseException:
            self._index.execute("ROLLBACK")
            raise

    def _folded(self) -> int:
        """Return the last event in the index; where the journal is another one than it was made from, the start."""
        known = self._index.execute("SELECT seq, at, run FROM folded").fetchone()
        if known is None:
            return 0
        found = self._journal.events_after(known[0] - 1, (), 1)
        if found and (found[0].seq, found[0].at, found[0].run) == known:
            return int(known[0])
        clear(self._index)
        return 0

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(
                f"the index of allocations beside {self._path} cannot be used: {error}. Remove it: it is made again"
            ) from error


def _query(wanted: Filter, now: float) -> tuple[str, dict[str, Any]]:
    """Return the query of one page, and its values. The text has no names but the package's."""
    values: dict[str, Any] = {"now": now, "after": wanted.after, "limit": wanted.limit + 1}
    resource, allocation = ["r.n > :after"], ["1"]
    if wanted.resource:
        resource.append("(r.id = :id OR r.name = :id)")
        values["id"] = wanted.resource
    for column, value in (("backend", wanted.backend), ("region", wanted.region)):
        if value:
            resource.append(f"r.{column} = :{column}")
            values[column] = value
    if wanted.cloud:
        allocation.append(f"(a.source = '' OR {_FROM_CLOUD})")  # Which name resources have is put in below.
        values["cloud"] = wanted.cloud
    else:
        allocation.append("a.source = ''")
    if wanted.lease:
        # By its id a run is found, whatever its cloud calls the lease.
        allocation.append("(a.lease = :lease OR a.run = :lease)")
        values["lease"] = wanted.lease
    if wanted.reservation:
        allocation.append("a.reservation = :reservation")
        values["reservation"] = wanted.reservation
    if wanted.terminated is not None:
        allocation.append(_ENDED if wanted.terminated else "a.ended IS NULL AND (a.stops IS NULL OR a.stops > :now)")
    if wanted.start is not None:
        allocation.append(f"{_LATEST_END} > :start")
        values["start"] = wanted.start
    if wanted.end is not None:
        allocation.append("a.since < :end")
        values["end"] = wanted.end
    condition = " AND ".join(allocation)
    if wanted.empty:
        ours = "EXISTS (SELECT 1 FROM allocations j WHERE j.resource = r.n AND j.source = '')"
        resource.append(f"(r.backend = :cloud OR {ours})" if wanted.cloud else ours)
    else:
        resource += _narrowed(wanted)
        there = condition.format(resources="r")
        resource.append(f"EXISTS (SELECT 1 FROM allocations a WHERE a.resource = r.n AND {there})")
    return (
        f"WITH page AS MATERIALIZED (SELECT r.* FROM resources r WHERE {' AND '.join(resource)} "
        "ORDER BY r.n LIMIT :limit) "
        f"SELECT page.n, page.id, page.kind, page.backend, page.region, page.zone, page.name, {_COLUMNS} FROM page "
        f"LEFT JOIN allocations a ON a.resource = page.n AND {condition.format(resources='page')} "
        "LEFT JOIN runs u ON u.run = a.run ORDER BY page.n, a.since, a.n"
    ), values


def _narrowed(wanted: Filter) -> list[str]:
    """Return conditions that select a few resources, where a query without them would scan all."""
    narrow = []
    if wanted.lease:
        narrow.append(
            "r.n IN (SELECT resource FROM allocations WHERE lease = :lease "
            "UNION ALL SELECT resource FROM allocations WHERE run = :lease)"
        )
    if wanted.reservation:
        narrow.append("r.n IN (SELECT resource FROM allocations WHERE reservation = :reservation)")
    return narrow


def _allocations(rows: Sequence[tuple[Any, ...]]) -> Allocations:
    _, id_, kind, backend, region, zone, name = rows[0][:7]
    resource = Resource(id=id_, kind=kind, backend=backend, region=region, zone=zone, name=name)
    return Allocations(
        resource=resource, allocations=tuple(_allocation(id_, row[8:]) for row in rows if row[7] is not None)
    )


def _allocation(resource: str, row: tuple[Any, ...]) -> Allocation:
    reservation, lease, run, source, owner, project, session, topology, *rest = row
    group, name, type_, market, state, seen, since, until, hard_end, ended, tests = rest
    return Allocation(
        resource=resource,
        reservation=reservation,
        lease=lease,
        run=run,
        source=source or "journal",
        owner=owner,
        project=project or "",
        session=session,
        topology=topology,
        group=group,
        name=name,
        instance_type=type_,
        market=market,
        state=state if ended is None else "gone",
        seen=seen,
        since=since,
        until=until,
        renewable_until=hard_end,
        ended=ended,
        tests=tuple(tests.split("\n")) if tests else (),
    )
