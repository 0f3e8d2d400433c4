"""``pytest-capacity ls``: the runs that hold something, for people and as JSON."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from pytest_capacity.cli.child_env import plain_topology
from pytest_capacity.cli.console import tell, width
from pytest_capacity.cli.runs import Seen, known_runs, look_at_all
from pytest_capacity.config.durations import format_duration
from pytest_capacity.model import Placed
from pytest_capacity.report.render import EMULATED
from pytest_capacity.report.tables import aligned

_HEAD: Final = ("RUN", "STATE", "BACKEND", "ZONE", "NODES", "AGE", "ENDS IN")

#: The widest that a column gets; what is longer is cut, and whole in the JSON. With two spaces between: 100.
_WIDTHS: Final = (20, 18, 7, 14, 16, 6, 7)

#: So much of a run's id is shown where no other begins like it.
_SHORT: Final = 8


def main(options: argparse.Namespace) -> int:
    """Show the runs; return 0: that nothing is held is an answer."""
    seen = look_at_all(known_runs(options.journal, ended=options.all))
    if not options.all:
        seen = [one for one in seen if one.state != "over"]
    now = time.time()
    if options.json:
        tell([json.dumps([_plain(one, now) for one in seen], indent=2)], whole=True)
    else:
        tell(_table(seen, now) if seen else ["no runs"])
    return 0


def _table(seen: Sequence[Seen], now: float) -> Iterator[str]:
    ids = [one.run.id for one in seen]
    rows = [_HEAD, *(_row(one, ids, now) for one in seen)]
    lines = list(aligned(rows, _WIDTHS, width()))
    yield from lines[: -len(seen)]
    for line, one in zip(lines[-len(seen) :], seen, strict=True):
        yield line
        yield from _notes(one)


def _row(seen: Seen, ids: Sequence[str], now: float) -> tuple[str, ...]:
    run = seen.run
    started = _started(seen)
    return (
        run.record_name or _short(run.id, ids),
        _state(seen),
        str(seen.request.get("backend") or "?"),
        ", ".join(dict.fromkeys(placed.zone for placed in seen.placed))
        or ", ".join(seen.request.get("regions") or ["?"]),
        ", ".join(f"{group} {count}" for group, count in _counts(seen.placed).items()) or "none",
        _rough(now - started) if started else "?",
        _ending(seen, now),
    )


def _ending(seen: Seen, now: float) -> str:
    end = _end(seen)
    if seen.run.ended is not None:
        return "ended"
    if end is None:
        return "?"
    return _rough(end - now) if end > now else "past"


def _short(run: str, ids: Sequence[str]) -> str:
    like = [other for other in ids if other.startswith(run[:_SHORT])]
    return run[:_SHORT] if len(run) > _WIDTHS[0] and len(like) == 1 else run


def _state(seen: Seen) -> str:
    if seen.state == "in use" and seen.description:
        return f"in use by {', '.join(map(str, seen.description.owners))}"
    return seen.state


def _rough(seconds: float) -> str:
    """Return a time in two units at most, for a narrow column: ``1h5m``."""
    left = max(0, round(seconds))
    for unit, next_one in ((86400, 3600), (3600, 60), (60, 1)):
        if left >= unit:
            return format_duration(left // next_one * next_one)
    return f"{left}s"


def _notes(seen: Seen) -> Iterator[str]:
    """Yield what a row has no room for, and what to do."""
    if seen.request.get("emulated"):
        yield f"  {EMULATED}"
    kinds = Counter(held.kind for held in seen.held or ())
    things = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items()]
    if seen.state == "ending" and things:
        yield f"  being given back: {', '.join(things)}"
    elif seen.state == "abandoned":
        if seen.unanswered:
            things.append(f"what {seen.unanswered} unanswered create calls may have made")
        yield f"  its keeper died; by the journal it holds {', '.join(things)}"
        yield f"  give it back: pytest-capacity release {seen.run.name}"
    elif seen.state in ("silent", "elsewhere"):
        yield f"  {seen.why}"


def _counts(placed: Sequence[Placed]) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for one in placed:
        for group, nodes in one.nodes.items():
            counts[f"{one.topology}/{group}" if len(placed) > 1 else group] += len(nodes)
    return counts


def _started(seen: Seen) -> float | None:
    if seen.description:
        return seen.description.started
    return seen.run.begun.started if seen.run.begun else None


def _end(seen: Seen) -> float | None:
    """Return when all of it is to be gone."""
    description = seen.description
    if description:
        return description.kept_until if seen.state == "kept" else description.hard_end
    started, duration = _started(seen), seen.run.request.get("duration_s")
    return started + float(duration) if started and duration else None


def _plain(seen: Seen, now: float) -> dict[str, Any]:
    run, description = seen.run, seen.description
    started = _started(seen)
    return {
        "run": run.id,
        "session": run.session,
        "state": seen.state,
        "why": seen.why,
        "backend": seen.request.get("backend"),
        "emulated": seen.request.get("emulated"),
        "project": seen.request.get("project"),
        "account": description.identity.account if description and description.identity else None,
        "regions": seen.request.get("regions"),
        "topologies": {placed.topology: plain_topology(placed) for placed in seen.placed},
        "nodes": dict(_counts(seen.placed)),
        "owners": list(description.owners) if description else [],
        **_moment("started", started),
        "age_s": round(now - started, 3) if started else None,
        **_moment("hard_end", description.hard_end if description else _end(seen)),
        **_moment("limit", description.limit if description else None),
        **_moment("kept_until", description.kept_until if description else None),
        **_moment("ended", run.ended),
        "keeper": {"pid": run.pid, "host": run.keeper.get("host"), "socket": run.socket, "log": run.log},
        "journal": run.places.journal,
        "held": None if seen.held is None else msgspec.to_builtins(seen.held),
        "unanswered": seen.unanswered,
    }


def _moment(name: str, at: float | None) -> dict[str, Any]:
    iso = None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return {name: iso, f"{name}_epoch": at}
