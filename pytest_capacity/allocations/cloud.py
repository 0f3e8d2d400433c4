"""The fold of a reading of a cloud into the index: its rows stand beside those of the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from pytest_capacity.usage import CloudResource, CloudUse

#: The source of these rows; that of the journal's is empty.
CLOUD: Final = "cloud"


class _Key(NamedTuple):
    """The key that distinguishes a use from every other one of a cloud."""

    region: str
    resource: str
    reservation: str | None
    lease: str
    slot: int


_STANDING: Final = """
SELECT r.region, r.id, a.reservation, a.lease, a.slot, a.n, a.state, a.since, a.until
FROM allocations a JOIN resources r ON r.n = a.resource WHERE a.source = 'cloud' AND a.ended IS NULL AND r.backend = ?
"""


def note_uses(
    index: sqlite3.Connection, backend: str, found: Collection[CloudResource], whole: Collection[str], at: float
) -> None:
    """Take what was read of a cloud at a time into the index; within the caller's transaction.

    ``whole`` are the regions that were read whole: what stood there, and is there no more, has ended. The cloud may
    keep no record of it; the index does.
    """
    standing = {_Key(*row[:5]): row[5:] for row in index.execute(_STANDING, (backend,))}
    regions = {*whole, *(resource.region for resource in found)}
    index.executemany("INSERT OR REPLACE INTO readings VALUES (?, ?, ?)", [(backend, name, at) for name in regions])
    for resource in found:
        number = _resource(index, backend, resource)
        slots: dict[tuple[str | None, str], int] = {}
        for use in resource.uses:
            slot = slots[use.reservation, use.lease] = slots.get((use.reservation, use.lease), -1) + 1
            known = standing.pop(_Key(resource.region, resource.id, use.reservation, use.lease, slot), None)
            if known is not None:
                _update(index, known, use)
            elif use.ended is None or not _is_known(index, use):
                _insert(index, number, resource, use, slot, at)
    for key, (number, *_) in standing.items():
        if key.region in whole:
            _end(index, number, at)


def _resource(index: sqlite3.Connection, backend: str, resource: CloudResource) -> int:
    key = (resource.id, backend, resource.region)
    known = index.execute(
        "SELECT n, zone, name FROM resources WHERE id = ? AND backend = ? AND region = ?", key
    ).fetchone()
    if known is None:
        return int(
            index.execute(
                "INSERT INTO resources (id, backend, region, kind, zone, name) VALUES (?, ?, ?, ?, ?, ?)",
                (*key, resource.kind, resource.zone, resource.name),
            ).lastrowid
            or 0
        )
    if known[1:] != (resource.zone, resource.name):
        index.execute(
            "UPDATE resources SET zone = ?, name = ? WHERE n = ?",
            (resource.zone or known[1], resource.name or known[2], known[0]),
        )
    return int(known[0])


def _is_known(index: sqlite3.Connection, use: CloudUse) -> bool:
    """Return whether the index has this reservation, perhaps on the hosts that the cloud no longer lists."""
    row = index.execute("SELECT 1 FROM allocations WHERE reservation = ? LIMIT 1", (use.reservation,)).fetchone()
    return row is not None


def _insert(
    index: sqlite3.Connection, number: int, resource: CloudResource, use: CloudUse, slot: int, at: float
) -> None:
    values = {
        "resource": number,
        "slot": slot,
        "source": CLOUD,
        "run": use.run,
        "held_kind": resource.kind,
        "held_region": resource.region,
        "held_id": resource.id,
        "reservation": use.reservation,
        "lease": use.lease,
        "owner": use.owner,
        "topology": use.topology,
        "grp": use.group,
        "name": use.name,
        "instance_type": use.instance_type,
        "market": use.market,
        "project": use.project,
        # What a cloud does not say of the begin: since it is known.
        "since": at if use.since is None else use.since,
        **_values(use),
    }
    names, marks = ", ".join(values), ", ".join("?" for _ in values)
    index.execute(f"INSERT INTO allocations ({names}) VALUES ({marks})", tuple(values.values()))


def _update(index: sqlite3.Connection, known: Sequence[Any], use: CloudUse) -> None:
    n, state, since, until = known
    if use.ended is None and (state, until) == (use.state, use.until) and use.since in (None, since):
        return  # As nearly all of a large cloud at nearly every reading.
    values = _values(use)
    if use.since is not None:
        values["since"] = use.since
    sets = ", ".join(f"{name} = ?" for name in values)
    index.execute(f"UPDATE allocations SET {sets} WHERE n = ?", (*values.values(), n))


def _values(use: CloudUse) -> dict[str, Any]:
    return {"state": use.state, "until": use.until, "stops": use.until if use.ends else None, "ended": use.ended}


def _end(index: sqlite3.Connection, n: int, at: float) -> None:
    """Record that it is not there any more: it has ended, or, where it was still to come, was cancelled."""
    index.execute("DELETE FROM allocations WHERE n = ? AND since >= ?", (n, at))
    index.execute("UPDATE allocations SET ended = min(?, coalesce(until, ?)), state = 'gone' WHERE n = ?", (at, at, n))
