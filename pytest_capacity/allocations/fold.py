"""The changes that each event of the journal makes to the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_capacity.journal import Entry
from pytest_capacity.model import Subject

#: Kinds of things that are allocated, or allocate; keys, placement groups and the like are neither.
NODE: Final = "node"
RESERVATION: Final = "reservation"

#: Facts of a reservation that its cloud ties to hosts: their ids, one for each of its slots, and the cloud's own lease.
HOSTS: Final = "hosts"
LEASE: Final = "lease_id"
#: When it begins, in seconds since the epoch, where that is not when it was made.
STARTS: Final = "starts"


class _Slot(NamedTuple):
    resource: str
    kind: str
    number: int


def fold(index: sqlite3.Connection, entry: Entry) -> None:
    """Change the index by one event; one that an earlier or a later version wrote in another form changes nothing."""
    change = FOLDS.get(entry.kind)
    if change is None:
        return
    try:
        change(index, entry)
    except (KeyError, TypeError, ValueError, AttributeError):
        return  # Looking must work beside runs of other versions; what they hold is shown as far as it is understood.


def _started(index: sqlite3.Connection, entry: Entry) -> None:
    request: Mapping[str, Any] = entry.data.get("request") or {}
    started = float(entry.data.get("started", entry.at))
    duration = request.get("duration_s")
    hard_end = started + float(duration) if duration is not None else None
    if entry.kind == "adopted":  # The next keeper of a run knows the same request; its end may have been moved.
        known = index.execute("SELECT hard_end FROM runs WHERE run = ?", (entry.run,)).fetchone()
        if known:
            return
    index.execute(
        "INSERT OR REPLACE INTO runs (run, backend, project, session, hard_end) VALUES (?, ?, ?, ?, ?)",
        (entry.run, str(request.get("backend", "")), str(request.get("project", "")), request.get("session"), hard_end),
    )


def _held(index: sqlite3.Connection, entry: Entry) -> None:
    for held in entry.data["held"]:
        if held["kind"] in (NODE, RESERVATION):
            _one(index, entry, held)


def _one(index: sqlite3.Connection, entry: Entry, held: Mapping[str, Any]) -> None:
    facts: Mapping[str, str] = held.get("facts") or {}
    standing = index.execute(
        "SELECT a.n, r.id, r.kind, a.slot FROM allocations a JOIN resources r ON r.n = a.resource "
        "WHERE a.run = ? AND a.held_id = ? AND a.held_kind = ? AND a.held_region = ? AND a.ended IS NULL",
        (entry.run, held["id"], held["kind"], held["region"]),
    ).fetchall()
    known = {_Slot(resource, kind, number): n for n, resource, kind, number in standing}
    slots = _slots(held, facts) if held["state"] != "gone" else []
    if known and entry.kind != "created" and held["state"] == "unseen":
        return  # Requested and not listed: what it was stays.
    for slot in slots:
        if slot in known:
            _update(index, entry, held, facts, known.pop(slot))
        elif entry.kind == "created" or known or standing:
            _insert(index, entry, held, facts, slot)
    for slot, n in known.items():
        if slot.kind == "reservation" and slots:
            # It stood for hosts that were not known yet.
            index.execute("DELETE FROM allocations WHERE n = ?", (n,))
            continue
        index.execute("UPDATE allocations SET ended = ?, state = 'gone' WHERE n = ?", (entry.at, n))


def _slots(held: Mapping[str, Any], facts: Mapping[str, str]) -> list[_Slot]:
    if held["kind"] == NODE:
        return [_Slot(held["id"], "node", 0)]
    hosts = facts.get(HOSTS, "").split()
    if not hosts:
        return [_Slot(held["id"], "reservation", 0)]
    return [_Slot(host, "host", hosts[:number].count(host)) for number, host in enumerate(hosts)]


def _insert(
    index: sqlite3.Connection, entry: Entry, held: Mapping[str, Any], facts: Mapping[str, str], slot: _Slot
) -> None:
    (backend,) = index.execute("SELECT backend FROM runs WHERE run = ?", (entry.run,)).fetchone() or ("",)
    key = (slot.resource, backend, held["region"])
    found = index.execute("SELECT n FROM resources WHERE id = ? AND backend = ? AND region = ?", key).fetchone()
    if found is None:
        where = "" if slot.kind == "host" else held.get("zone", "")
        found = (
            index.execute(
                "INSERT INTO resources (id, backend, region, kind, zone) VALUES (?, ?, ?, ?, ?)",
                (*key, slot.kind, where),
            ).lastrowid,
        )
    values = {
        "resource": found[0],
        "slot": slot.number,
        "run": entry.run,
        "held_kind": held["kind"],
        "held_region": held["region"],
        "held_id": held["id"],
        "since": float(facts.get(STARTS, entry.at)),
        **_values(entry, held, facts),
    }
    names, marks = ", ".join(values), ", ".join("?" for _ in values)
    index.execute(f"INSERT INTO allocations ({names}) VALUES ({marks})", tuple(values.values()))


def _update(index: sqlite3.Connection, entry: Entry, held: Mapping[str, Any], facts: Mapping[str, str], n: int) -> None:
    values = _values(entry, held, facts)
    sets = ", ".join(f"{name} = ?" for name in values)
    index.execute(f"UPDATE allocations SET {sets} WHERE n = ?", (*values.values(), n))


def _values(entry: Entry, held: Mapping[str, Any], facts: Mapping[str, str]) -> dict[str, Any]:
    node = held["kind"] == NODE
    deadline = held.get("deadline")
    return {
        "reservation": (facts.get("reservation_id") or None) if node else held["id"],
        "lease": facts.get(LEASE) or entry.run,
        "topology": Subject.parse(held.get("subject", "")).topology,
        "grp": held.get("group"),
        "name": facts.get("name", "") if node else "",
        "instance_type": facts.get("instance_type", ""),
        "market": facts.get("market", "") if node else "",
        "state": held["state"],
        "until": deadline,
        # What sits on a host by a lease ends with the lease, whether or not anybody looks.
        "stops": deadline if not node and facts.get(HOSTS) else None,
    }


def _gone(index: sqlite3.Connection, entry: Entry) -> None:
    for id_ in _ids(entry):
        _of(index, entry, id_, "ended = ?, state = 'gone'", entry.at)


def _renewed(index: sqlite3.Connection, entry: Entry) -> None:
    deadline = entry.data["deadline"]
    for id_ in _ids(entry):
        _of(index, entry, id_, "until = ?, stops = iif(stops IS NULL, NULL, ?)", deadline, deadline)
        # The reservations of a cloud's lease end with it, and are renewed by it.
        index.execute(
            "UPDATE allocations SET until = ?, stops = iif(stops IS NULL, NULL, ?) "
            "WHERE lease = ? AND run = ? AND held_kind = 'reservation' AND ended IS NULL",
            (deadline, deadline, id_, entry.run),
        )


def _releasing(index: sqlite3.Connection, entry: Entry) -> None:
    for id_ in _ids(entry):
        _of(index, entry, id_, "state = ?", "leaving")


def _preempted(index: sqlite3.Connection, entry: Entry) -> None:
    for id_ in _ids(entry):
        _of(index, entry, id_, "state = ?", "preempted")


def _of(index: sqlite3.Connection, entry: Entry, id_: str, sets: str, *values: Any) -> None:
    """Change what stands of one of the run's things. An event of a version before may lack kind and region."""
    narrowed = [(name, entry.data[key]) for key, name in _NARROWS if isinstance(entry.data.get(key), str)]
    where = "".join(f" AND {name} = ?" for name, _ in narrowed)
    index.execute(
        f"UPDATE allocations SET {sets} WHERE run = ? AND held_id = ? AND ended IS NULL{where}",
        (*values, entry.run, id_, *(value for _, value in narrowed)),
    )


_NARROWS: Final = (("kind", "held_kind"), ("region", "held_region"))


def _ids(entry: Entry) -> Sequence[str]:
    ids: Sequence[str] = entry.data["ids"] if "ids" in entry.data else [entry.data["id"]]
    return ids


def _lent(index: sqlite3.Connection, entry: Entry) -> None:
    loan = entry.data["loan"]
    rows = [(entry.run, node, loan["key"], loan["test"], entry.at) for node in loan["ids"]]
    index.executemany("INSERT INTO uses (run, node, loan, test, since) VALUES (?, ?, ?, ?, ?)", rows)


def _returned(index: sqlite3.Connection, entry: Entry) -> None:
    index.execute(
        "UPDATE uses SET until = ? WHERE run = ? AND loan = ? AND until IS NULL",
        (entry.at, entry.run, entry.data["key"]),
    )


def _extended(index: sqlite3.Connection, entry: Entry) -> None:
    index.execute(
        "UPDATE runs SET hard_end = max(coalesce(hard_end, 0), ?) WHERE run = ?", (entry.data["hard_end"], entry.run)
    )


def _run_ended(index: sqlite3.Connection, entry: Entry) -> None:
    index.execute("UPDATE uses SET until = ? WHERE run = ? AND until IS NULL", (entry.at, entry.run))
    if not entry.data.get("left"):
        index.execute(
            "UPDATE allocations SET ended = ?, state = 'gone' WHERE run = ? AND ended IS NULL", (entry.at, entry.run)
        )


FOLDS: Final[Mapping[str, Callable[[sqlite3.Connection, Entry], None]]] = {
    "run-started": _started,
    "adopted": _started,
    "created": _held,
    "state": _held,
    "renewed": _renewed,
    "releasing": _releasing,
    "gone": _gone,
    "preempted": _preempted,
    "lent": _lent,
    "returned": _returned,
    "extended": _extended,
    "run-ended": _run_ended,
}
