"""``pytest-capacity ops ls|show|watch``: the operation requests of runs, as their journals have them. Makes no call."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from pytest_capacity.cli.console import tell, width
from pytest_capacity.cli.runs import Run, find, known_runs
from pytest_capacity.errors import CapacityError
from pytest_capacity.journal import Entry, ReadJournal
from pytest_capacity.keeper.protocol import Event
from pytest_capacity.report.render import live
from pytest_capacity.report.tables import aligned
from pytest_capacity.scaling.model import OpsRequest
from pytest_capacity.scaling.state import KINDS, OpsState

_HEAD: Final = ("REQUEST", "TARGET", "KIND", "PHASE", "WANTED", "AGE", "OUTCOME")
_WIDTHS: Final = (34, 30, 17, 18, 22, 7, 12)

#: How often one looks for new events. Seconds.
_LOOK: Final = 0.5


def main(options: argparse.Namespace) -> int:
    """Return the exit status of one of the three; `watch` gives 1 where a request did not succeed."""
    if options.what == "watch":
        return _watch(options)
    if options.what == "show":
        return _show(options)
    return _list(options)


def _list(options: argparse.Namespace) -> int:
    runs = [find(options.run, options.journal)] if options.run else known_runs(options.journal, ended=True)
    found = [(run, request) for run in runs for request in _requests(run)]
    if options.active:
        found = [(run, request) for run, request in found if request.active]
    if options.json:
        tell(
            [json.dumps([{"run": run.id, **msgspec.to_builtins(request)} for run, request in found], indent=2)],
            whole=True,
        )
    elif found:
        now = time.time()
        tell(aligned([_HEAD, *(_row(request, now) for _, request in found)], _WIDTHS, width()))
    else:
        tell(["no operation requests"])
    return 0


def _show(options: argparse.Namespace) -> int:
    request = _named(find(options.run, options.journal), options.name)
    if options.json:
        tell([json.dumps(msgspec.to_builtins(request), indent=2)], whole=True)
    else:
        tell(_whole(request))
    return 0


def _watch(options: argparse.Namespace) -> int:
    """Follow the journal; ends when what is watched has ended."""
    run = find(options.run, options.journal)
    token = _named(run, options.name).token if options.name else ""
    seen = 0
    while True:
        entries = _entries(run)
        for entry in entries:
            if entry.seq > seen and (not token or entry.data.get("token") == token):
                line = live(Event(at=entry.at, kind=entry.kind, subject=entry.subject, data=entry.data))
                if line:
                    tell([f"{_clock(entry.at)} {line.text.removeprefix('capacity: ').strip()}"])
        seen = max((entry.seq for entry in entries), default=seen)
        requests = [one for one in _state(entries).all() if token in ("", one.token)]
        if not any(request.active for request in requests):
            return int(any(request.outcome not in ("successful", "skipped") for request in requests))
        time.sleep(_LOOK)


def _named(run: Run, name: str) -> OpsRequest:
    requests = _requests(run)
    found = [one for one in requests if name in (one.name, one.token)] or [
        one for one in requests if one.name.startswith(name)
    ]
    if len(found) != 1:
        known = ", ".join(one.name for one in requests if one.name) or "none"
        what = "several requests whose name begins" if found else "no request that is called"
        raise CapacityError(f"run {run.id} has {what} {name!r}. It has: {known}")
    return found[0]


def _requests(run: Run) -> tuple[OpsRequest, ...]:
    return _state(_entries(run)).all()


def _state(entries: Sequence[Entry]) -> OpsState:
    def refuse(kind: str, subject: str, data: object) -> None:
        raise AssertionError(kind)  # Nothing is written by one that looks.

    return OpsState(entries, refuse, refuse)


def _entries(run: Run) -> list[Entry]:
    if not Path(run.places.journal).exists():
        return []
    with closing(ReadJournal(Path(run.places.journal))) as journal:
        return [entry for entry in journal.events(run.id) if entry.kind in KINDS]


def _row(request: OpsRequest, now: float) -> tuple[str, ...]:
    wanted = ", ".join(f"{key} {value}" for key, value in request.wanted.items())
    return (
        request.name or "(queued)",
        request.target,
        request.kind,
        request.phase or "new",
        wanted,
        f"{max(0, round(now - request.created))}s",
        request.outcome or "under way",
    )


def _whole(request: OpsRequest) -> Iterator[str]:
    yield f"{request.name or '(queued)'}: {request.kind} of {request.target}"
    yield f"  phase    {request.phase or 'new'}{f', {request.outcome}' if request.outcome else ''}"
    if request.reason:
        yield f"  reason   {request.reason}"
    yield f"  wanted   {', '.join(f'{key} {value}' for key, value in request.wanted.items())}"
    yield f"  uid      {request.uid or 'none'}"
    for name, at in (("created", request.created), ("begun", request.begun), ("finished", request.finished)):
        if at:
            yield f"  {name:8} {_clock(at)}"
    for condition in request.conditions:
        when = f"{_clock(condition.at)} " if condition.at else ""
        said = ": ".join(part for part in (condition.reason, condition.message) if part)
        yield f"  {when}{condition.type} {condition.status} {said}".rstrip()


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
