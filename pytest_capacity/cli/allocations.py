"""``pytest-capacity allocations``: who uses what, by the journal and by the cloud, for people and as JSON."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from pytest_capacity.allocations import Allocation, Allocations, Filter, Resource, open_cloud_view
from pytest_capacity.allocations.web.query import parse_moment
from pytest_capacity.cli.cloud import cloud_of, journal_of, unread_lines
from pytest_capacity.cli.console import Misused, complain, tell, width
from pytest_capacity.report.tables import aligned
from pytest_capacity.text import moment
from pytest_capacity.usage import Usage, UseFilter

_HEAD: Final = (
    *("RESOURCE", "RESERVATION", "LEASE", "BY", "GROUP", "STATE", "TESTS", "SINCE", "UNTIL", "AT THE LATEST"),
)

#: The widest that a column gets; what is longer is cut, and whole in the JSON.
_WIDTHS: Final = (36, 36, 36, 40, 12, 9, 40, 23, 23, 23)


def main(options: argparse.Namespace) -> int:
    """Return 0: that nothing is allocated is an answer; 1 where the cloud did not say all.

    Raises `JournalError`, and `ConfigError`.
    """
    cloud = cloud_of(options)
    wanted = Filter(
        resource=options.resource or "",
        cloud=cloud.backend if cloud else "",
        lease=options.lease or "",
        reservation=options.reservation or "",
        terminated=None if options.all else options.terminated,
        start=_moment("--from", options.start),
        end=_moment("--to", options.end),
    )
    usage = Usage()
    with open_cloud_view(journal_of(options, cloud)) as view:
        if cloud:
            narrow = UseFilter(resource=wanted.resource, lease=wanted.lease, reservation=wanted.reservation)
            usage = cloud.read(narrow)
            view.note(cloud.backend, usage.resources, usage.whole(cloud.regions, narrow))
        found = list(view.all(wanted))
    if options.json:
        tell([json.dumps([_plain(one) for one in found], indent=2)], whole=True)
    else:
        tell(_table(found) if found else ["nothing is allocated that fits"])
    if usage.unread:
        complain("allocations", *unread_lines(usage.unread))
    return 1 if usage.unread else 0


def _moment(flag: str, text: str | None) -> float | None:
    if text is None:
        return None
    if text == "now":
        return time.time()
    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        raise Misused(f"{flag} {text}: give a time as '2026-11-21 01:33' (UTC), or now") from None


def _table(found: Sequence[Allocations]) -> Iterator[str]:
    rows = [_row(resource.resource, one) for resource in found for one in resource.allocations]
    yield from aligned([_HEAD, *rows], _WIDTHS, width())


def _row(resource: Resource, one: Allocation) -> tuple[str, ...]:
    until = one.ended if one.ended is not None else one.until
    return (
        f"{one.resource} ({resource.name})" if resource.name else one.resource,
        one.reservation or "",
        one.lease,
        one.session or one.run or one.owner,
        one.group or "",
        one.state,
        ", ".join(one.tests),
        moment(one.since),
        moment(until) if until is not None else "",
        moment(one.latest_end) if one.latest_end is not None else "",
    )


def _plain(found: Allocations) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(found.resource)
    plain["allocations"] = [
        {**msgspec.to_builtins(one), "terminated": one.terminated, "latest_end": one.latest_end}
        for one in found.allocations
    ]
    return plain
