"""Reads of many things at once: by what we know of them (`look`), or by the stamp of a run (`inventory`).

Lists are of the whole project (``aggregatedList``) with a filter, so a run in five regions costs as many calls as one
in one zone: one a kind, and one of operations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import requests
from google.auth.exceptions import GoogleAuthError
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_capacity.backends.diagnosis import Table
from pytest_capacity.backends.gce import operations, reading
from pytest_capacity.backends.gce.errors import diagnose_error
from pytest_capacity.backends.gce.plan import DISK, NODE, POLICY, RESERVATION
from pytest_capacity.backends.gce.session import ApiError, NoProject, Session
from pytest_capacity.backends.gce.stamp import RUN, label_value, read_stamp, run_prefix
from pytest_capacity.backends.gce.values import last, region_of
from pytest_capacity.backends.stamp import disowned, owned
from pytest_capacity.model import Held, Unread

_log: Final = logging.getLogger("pytest_capacity.gce")

#: What an inventory lists. Policies and disks stand for themselves: each kind is one call.
KINDS: Final = (NODE, RESERVATION, POLICY, DISK)

#: By kind, the method that lists it, and under which name a scope of the answer holds it.
LISTS: Final[Mapping[str, tuple[str, str]]] = {
    NODE: ("instances.aggregatedList", "instances"),
    RESERVATION: ("reservations.aggregatedList", "reservations"),
    POLICY: ("resourcePolicies.aggregatedList", "resourcePolicies"),
    DISK: ("disks.aggregatedList", "disks"),
}

#: Names in one filter: a URL should stay below 8 KB.
FILTER_NAMES: Final = 60

#: What has failed stays so: the thing may be there unchanged, and the operation alone says why.
_CHANGING: Final = ("creating", "failed")

#: Errors of the API and of the way to it.
ERRORS: Final = (ApiError, NoProject, requests.RequestException, GoogleAuthError)


class Listing(Struct):
    """What a list of the whole project has: its items, and the zones and regions that did not answer."""

    items: list[dict[str, Any]] = field(default_factory=list)
    unreachable: set[str] = field(default_factory=set)
    _read: dict[str, Held] | None = None

    def helds(self, kind: str) -> Mapping[str, Held]:
        """Return the items as things of ``kind``, by their places."""
        if self._read is None:
            helds = [reading.READERS[kind](item) for item in self.items]
            self._read = {_place(held): held for held in helds}
        return self._read


def read_list(session: Session, method: str, key: str, filter_: str, path: Mapping[str, str] | None = None) -> Listing:
    """Return all pages of an aggregated list. A zone that did not answer is named in it, and is not empty."""
    listing = Listing()
    for page in session.pages(method, path, query={"filter": filter_} if filter_ else None):
        listing.unreachable |= {last(place) for place in page.get("unreachables") or ()}
        for scope, found in (page.get("items") or {}).items():
            listing.items += found.get(key) or ()
            if (found.get("warning") or {}).get("code") == "UNREACHABLE":
                listing.unreachable.add(last(scope))
    return listing


def look(session: Session, run: str, table: Table, helds: Sequence[Held]) -> list[Held]:
    """Return ``helds`` as Compute Engine has them now, in the same order; ``unseen`` where it lists none.

    All reads go side by side: one list a kind, and one of the operations by which things are made and taken back.
    """
    kinds = sorted({held.kind for held in helds})
    tasks: list[Callable[[], Any]] = [listed_by(session, run, kind, helds) for kind in kinds]
    tasks.append(lambda: _operations(session, table, helds))
    *lists, known = together(tasks)
    _show_warnings(session, known)
    listings = dict(zip(kinds, lists, strict=True))
    # A list may have been read a moment before the operation ended by which a thing came to be.
    again = sorted({held.kind for held in helds if known.has_made(held) and not _is_listed(held, listings)})
    listings.update(zip(again, together([listed_by(session, run, kind, helds) for kind in again]), strict=True))
    return [_merged(held, _find(held, listings), known, listings[held.kind].unreachable) for held in helds]


def _show_warnings(session: Session, known: Operations) -> None:
    """Write the warnings of operations that succeeded into the keeper's log, each once."""
    for name, operation in known.by_name.items():
        if operations.is_done(operation) and name not in session.warned:
            session.warned.add(name)
            for words in operations.warnings(operation):
                _log.warning("%s of %s: %s", operation.get("operationType"), last(operation.get("targetLink")), words)


def _is_listed(held: Held, listings: Mapping[str, Listing]) -> bool:
    return _find(held, listings) is not None


def _find(held: Held, listings: Mapping[str, Listing]) -> Held | None:
    return listings[held.kind].helds(held.kind).get(_place(held))


def _place(held: Held) -> str:
    return f"{held.region if held.kind == POLICY else held.zone}/{held.id}"


def listed_by(session: Session, run: str, kind: str, helds: Sequence[Held]) -> Callable[[], Listing]:
    """Return the call that lists the things of a kind that the runs of ``helds`` have."""
    runs = sorted({held.facts.get("run") or run for held in helds if held.kind == kind})
    method, key = LISTS[kind]
    return lambda: read_list(session, method, key, any_of(_of_run(kind, one) for one in runs))


def _of_run(kind: str, run: str) -> str:
    """Return the filter of what a run has of a kind: by label, or by the prefix of names where there are no labels."""
    if kind in (NODE, DISK):
        return f'labels.{RUN}="{label_value(run)}"'
    return f'name eq "{run_prefix(run)}.*"'


def any_of(filters: Iterable[str]) -> str:
    """Return the filter that any of ``filters`` satisfies."""
    given = list(filters)
    return given[0] if len(given) == 1 else " OR ".join(f"({one})" for one in given)


class Operations(Struct):
    """Operations by name, and of machines that were taken back the one that did it, by zone and name."""

    by_name: dict[str, dict[str, Any]] = field(default_factory=dict)
    preempted: dict[str, dict[str, Any]] = field(default_factory=dict)

    def making(self, held: Held) -> dict[str, Any] | None:
        """Return the operation by which ``held`` is being made or changed, where that is known."""
        return self.by_name.get(held.facts.get(reading.OPERATION, "")) if held.state in _CHANGING else None

    def has_made(self, held: Held) -> bool:
        """Return whether the operation has ended without an error."""
        operation = self.making(held)
        return operation is not None and operations.is_done(operation) and not operations.error_parts(operation)


def _operations(session: Session, table: Table, helds: Sequence[Held]) -> Operations:
    """Return the operations of what is being made, and those by which our spot machines were taken back.

    One alone is asked for by name; several by one list, which costs one call for any number of zones.
    """
    wanted = {
        held.facts[reading.OPERATION]: held
        for held in helds
        if held.state in _CHANGING and held.facts.get(reading.OPERATION)
    }
    spot = any(held.facts.get("market") == "spot" and held.state == "ready" for held in helds)
    known = Operations()
    if len(wanted) == 1 and not spot:
        name, held = next(iter(wanted.items()))
        if operation := _one_operation(session, name, held):
            known.by_name[name] = operation
        return known
    names = sorted(wanted)
    chunks = [names[start : start + FILTER_NAMES] for start in range(0, len(names), FILTER_NAMES)]
    filters = [[f'name="{name}"' for name in chunk] for chunk in chunks] or [[]]
    if spot:
        filters[0].append(f'operationType="{operations.PREEMPTED}"')
    for filter_ in filter(None, filters):
        try:
            listing = read_list(session, "globalOperations.aggregatedList", "operations", any_of(filter_))
        except ApiError as error:
            # Whether a machine was taken back may be hidden from us; whether one was made may not.
            if names or diagnose_error(error, table).kind != "denied":
                raise
            continue
        for operation in listing.items:
            known.by_name[operation["name"]] = operation
            if operation.get("operationType") == operations.PREEMPTED:
                zone, name = last(operation.get("zone")), last(operation.get("targetLink"))
                known.preempted[f"{zone}/{name}"] = operation
    return known


def _one_operation(session: Session, name: str, held: Held) -> dict[str, Any] | None:
    at = held.facts.get(reading.OPERATION_AT) or held.zone
    try:
        if held.kind == POLICY:
            return session.call("regionOperations.get", {"region": at, "operation": name})
        return session.call("zoneOperations.get", {"zone": at, "operation": name})
    except ApiError as error:
        # Operations are kept for some days; one that is not there says nothing.
        if error.status != 404:
            raise
        return None


def _merged(before: Held, now: Held | None, known: Operations, unreachable: set[str]) -> Held:
    """Return what Compute Engine says now, under the name by which we know it."""
    operation = known.making(before)
    if operation is not None and (parts := operations.error_parts(operation)):
        return reading.failed(before if now is None else _known_as(before, now), parts)
    under_way = operation is not None and not operations.is_done(operation)
    if now is None:
        if under_way:
            return before
        if before.zone in unreachable or before.region in unreachable:
            return before
        # What was listed once is in every list for as long as it exists.
        return _taken_back(replace(before, state="gone" if reading.NUMBER in before.facts else "unseen"), known)
    held = _known_as(before, now)
    # A bulk insert is over only when all of it is: what runs already may yet be rolled back.
    return _taken_back(replace(held, state="creating") if under_way else held, known)


def _known_as(before: Held, now: Held) -> Held:
    """Return what is listed now, with what we know of it and the list does not say."""
    kept = {key: before.facts[key] for key in (reading.OPERATION, reading.OPERATION_AT) if key in before.facts}
    return replace(
        now,
        subject=before.subject or now.subject,
        group=before.group if before.group is not None else now.group,
        zone=now.zone or before.zone,
        output=before.output,
        problem=now.problem or before.problem,
        problem_code=now.problem_code or before.problem_code,
        facts={**now.facts, **kept},
    )


def _taken_back(held: Held, known: Operations) -> Held:
    """Return ``held``, with the reason as its problem where the spot machine was or is being taken back."""
    operation = known.preempted.get(f"{held.zone}/{held.id}") if held.kind == NODE else None
    # Of the same name there may have been another machine.
    if operation is None or operation.get("targetId", "") not in ("", held.facts.get(reading.NUMBER, "")):
        return held
    words = str(operation.get("statusMessage") or "Instance was preempted.")
    return replace(held, problem=words, problem_code=operations.PREEMPTED)


def inventory(
    session: Session, table: Table, run: str, project: str, regions: Sequence[str]
) -> Iterator[Held | Unread]:
    """Yield what bears the stamp of ``run`` and still exists: one list a kind, all at once.

    The stamp is read again here: what does not bear this run is not ours, whatever the filter let through; what bears
    the run without the rest of the stamp comes without a subject, to be reported and never released.
    """
    with ThreadPoolExecutor(len(KINDS), thread_name_prefix="inventory") as pool:
        asked = [(kind, pool.submit(_stamped, session, run, project, kind)) for kind in KINDS]
        for kind, answer in asked:
            try:
                helds, unreachable = answer.result()
            except ERRORS as error:
                read = diagnose_error(error, table)
                yield Unread("", kind, f"{read.code}: {read.words}")
                continue
            yield from helds
            yield from unread_of(kind, unreachable, regions)


def unread_of(kind: str, unreachable: Iterable[str], regions: Sequence[str]) -> Iterator[Unread]:
    """Yield what is unread of ``regions`` where these zones and regions did not answer."""
    for place in sorted(unreachable):
        if (region := region_of(place) if place not in regions else place) in regions:
            yield Unread(region, kind, f"{place} did not answer")


def _stamped(session: Session, run: str, project: str, kind: str) -> tuple[list[Held], set[str]]:
    method, key = LISTS[kind]
    listing = read_list(session, method, key, _of_run(kind, run))
    # A disk that a machine uses goes with it.
    things = [thing for thing in listing.items if kind != DISK or not thing.get("users")]
    ours = (_owned(reading.READERS[kind](thing), thing, run, project) for thing in things)
    return [held for held in ours if held is not None], listing.unreachable


def _owned(held: Held, thing: Mapping[str, Any], run: str, project: str) -> Held | None:
    stamp = read_stamp(thing)
    if stamp.run != run and (thing.get("labels") or {}).get(RUN) == label_value(run):
        return disowned(held, ["no description of ours"])
    return owned(held, stamp, run, project)


def together(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return the results of ``tasks``, in their order, run side by side; raise the first error when all have ended."""
    if len(tasks) < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(len(tasks), thread_name_prefix="read") as pool:
        asked = [pool.submit(task) for task in tasks]
    return [answer.result() for answer in asked]
