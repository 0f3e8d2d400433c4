"""Who uses what of a project: the machines and reservations of every run, by our stamp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pytest_capacity.backends.diagnosis import Table
from pytest_capacity.backends.gce import reading
from pytest_capacity.backends.gce.errors import diagnose_error
from pytest_capacity.backends.gce.listing import ERRORS, LISTS, Listing, read_list, unread_of
from pytest_capacity.backends.gce.plan import NODE, RESERVATION
from pytest_capacity.backends.gce.session import Session
from pytest_capacity.backends.gce.stamp import ANY_RUN, RUN, read_stamp
from pytest_capacity.backends.uses import stamped_use
from pytest_capacity.model import Unread
from pytest_capacity.usage import CloudResource

#: By kind, the filter of what any run has. Reservations have no labels: their names begin alike.
_FILTERS: Final = {NODE: f"labels.{RUN}:*", RESERVATION: f'name eq "{ANY_RUN}.*"'}


def read_uses(session: Session, table: Table, regions: Sequence[str]) -> Iterator[CloudResource | Unread]:
    """Yield what bears our stamp in ``regions``: a list of the whole project for each kind, both at once."""
    with ThreadPoolExecutor(len(_FILTERS), thread_name_prefix="uses") as pool:
        asked = [(kind, pool.submit(_read, session, kind)) for kind in _FILTERS]
        for kind, answer in asked:
            try:
                listing = answer.result()
            except ERRORS as error:
                read = diagnose_error(error, table)
                yield Unread("", kind, f"{read.code}: {read.words}")
                continue
            for thing in listing.items:
                found = stamped_use(reading.READERS[kind](thing), read_stamp(thing), regions)
                if found is not None:
                    yield found
            yield from unread_of(kind, listing.unreachable, regions)


def _read(session: Session, kind: str) -> Listing:
    method, key = LISTS[kind]
    return read_list(session, method, key, _FILTERS[kind])
