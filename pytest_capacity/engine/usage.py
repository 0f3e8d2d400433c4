"""The use of a cloud by all its users, as far as the cloud reports it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from pytest_capacity.backends.base import Backend, ListsUses
from pytest_capacity.backends.uses import NODE, RESERVATION, use_of
from pytest_capacity.engine.calls import asked
from pytest_capacity.journal import Journal
from pytest_capacity.model import Diagnosis, Unread
from pytest_capacity.usage import CloudResource, Usage, UseFilter

#: Things that are used, or by which others are; what else an inventory has (keys, disks, groups) is neither.
_EVERYTHING: Final = "everything"


def read_usage(backend: Backend, regions: Sequence[str], runs: Sequence[str], wanted: UseFilter) -> Usage:
    """Return what is used of ``regions`` according to the cloud, by all users where it lists that.

    For a cloud that does not, it is what bears the stamps of ``runs``. Raises `CapacityError`.
    """

    def read() -> list[CloudResource | Unread]:
        if isinstance(backend, ListsUses):
            return list(backend.uses(regions, wanted))
        return list(chain.from_iterable(_of_run(backend, regions, run) for run in runs))

    found = asked(backend, read)
    if isinstance(found, Diagnosis):
        return Usage(unread=(Unread("", "everything", f"{found.code}: {found.words}"),))
    return Usage(
        resources=tuple(one for one in found if isinstance(one, CloudResource)),
        unread=tuple(one for one in found if isinstance(one, Unread)),
    )


def open_runs(journal: Journal, backend: str) -> list[str]:
    """Return the runs of this backend that have not ended, by the journal."""
    return [begun.run for begun in journal.runs() if (begun.keeper.get("request") or {}).get("backend") == backend]


def _of_run(backend: Backend, regions: Sequence[str], run: str) -> Iterator[CloudResource | Unread]:
    for one in backend.inventory(run, regions):
        if isinstance(one, Unread):
            if one.kind in (NODE, RESERVATION, _EVERYTHING):
                yield one
        elif one.kind in (NODE, RESERVATION):
            yield use_of(one, run)
