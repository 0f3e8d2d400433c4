"""``session``, ``keep``, ``keep_for`` and ``limits``: who shares the nodes, and how long they stay."""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal

from msgspec.structs import replace

from pytest_capacity.config.durations import DURATION_HELP, format_duration
from pytest_capacity.config.fields import Faults, named, refuse_unknown, shown
from pytest_capacity.config.source import Source, as_duration, seconds_of
from pytest_capacity.model import Request

Keep = Literal["never", "failed", "always"]

DEFAULT_KEEP_S: Final = 30 * 60.0

_SESSION_LIMIT: Final = 40
#: It is written on command lines, where what begins with a dash is an option.
_SESSION_FORM: Final = re.compile(rf"(?!-)[A-Za-z0-9._-]{{1,{_SESSION_LIMIT}}}")
_TOO_LONG: Final = "nodes are not kept longer than `duration`,"


def read_keeping(source: Source, request: Request, longest: float, faults: Faults) -> Request:
    """Return ``request`` with all four; nodes are kept under a name: the session's, or where none is, the project's."""
    session = source.read("session", named(_SESSION_FORM, f"nightly-42 (at most {_SESSION_LIMIT})"), faults)
    keep, keep_s = _keep(source, request.duration_s, faults)
    if keep != "never" and source.get("session")[0] is None:
        session = _fit(request.project)
    limit = _limit(source, request.duration_s, longest, faults)
    return replace(request, session=session, keep=keep, keep_s=keep_s, limit_s=limit)


def _keep(source: Source, duration: float, faults: Faults) -> tuple[Keep, float]:
    value, where = source.get("keep")
    keep, keep_s = _word_or_time(value, where, duration, faults)
    in_file = source.values.get("keep")
    if "keep_for" in source.values:
        at = f"{source.file}: keep_for"
        given = as_duration(source.values["keep_for"], at, duration, _TOO_LONG, faults)
        if keep_s is not None and not source.is_overridden("keep"):
            faults.add(
                at, f"is there beside `keep: {shown(value)[1:-1]}`", "Keep one of them: `keep: always` goes with it."
            )
        keep_s = keep_s or given
    elif keep_s is None and source.is_overridden("keep"):
        # A flag that says only when leaves how long to the file.
        keep_s = _word_or_time(in_file, f"{source.file}: keep", duration, faults)[1]
    return keep, keep_s or min(DEFAULT_KEEP_S, duration)


def _word_or_time(value: object, where: str, duration: float, faults: Faults) -> tuple[Keep, float | None]:
    """Return when nodes are kept, and how long where a time gives both."""
    match value.strip() if isinstance(value, str) else value:
        case None | False | "never":
            return "never", None
        case "failed":
            return "failed", None
        case True | "always":
            return "always", None
    if seconds_of(value) is None:
        faults.add(where, f"{shown(value)} is neither never, failed nor always, nor a duration", DURATION_HELP)
        return "never", None
    return "always", as_duration(value, where, duration, _TOO_LONG, faults)


def _limit(source: Source, duration: float, longest: float, faults: Faults) -> float:
    values, where = source.section("limits", "{duration: 12h}", faults)
    refuse_unknown(values, ("duration",), f"{where}.", faults)
    if "duration" not in values:
        return duration
    at = f"{where}.duration"
    limit = as_duration(values["duration"], at, longest, "a run lasts at most", faults)
    if limit is not None and limit < duration:
        remedy = "Give a longer limit, or a shorter `duration`."
        faults.add(at, f"{shown(values['duration'])} is shorter than `duration`, {format_duration(duration)}", remedy)
    return limit or duration


def _fit(project: str) -> str:
    """Return the project's name in the length of a session's; long ones that begin alike stay two."""
    if len(project) <= _SESSION_LIMIT:
        return project
    return f"{project[: _SESSION_LIMIT - 9]}-{hashlib.sha256(project.encode()).hexdigest()[:8]}"
