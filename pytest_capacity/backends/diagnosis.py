"""What a cloud's error means: a table for each cloud (its `errors.yaml`), one function.

A row names what it matches (codes, a prefix of the code, a pattern in the message, HTTP status, market) and what that
means. Everything that a row names must match. Rows with a pattern are asked first, then rows with codes, then
prefixes, then the bare HTTP status; within a rank the first one in the file wins. The user's own rows are asked before
all of ours. What no row knows is ``unknown`` and stops: a try elsewhere could cost money and cure nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from pytest_capacity.backends import provider
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import SCOPES, Diagnosis, ErrorPart, ErrorRow, Held, Kind, Market, Scope, Step

#: Longest piece of a cloud's own words that is kept: an address that is to be opened often stands at their end.
WORDS_LIMIT: Final = 2000

_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
#: A zone as clouds write them (words and numbers with dashes between them), and a list of them.
_ZONE: Final = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
_ZONES: Final = rf"({_ZONE.pattern}(?:,? (?:and |or )?{_ZONE.pattern})*)"
_ELSEWHERE: Final = re.compile(rf"\b(?:choosing {_ZONES}|in the {_ZONES} zone\(s\), which currently ha)")
_STATUS: Final = re.compile(r"[1-5](?:xx|\d\d)")

#: What `yaml.safe_load` uses, in C where PyYAML has it: in Python the table takes a sixth of a keeper's start.
_SAFE: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: What the user can do about a refusal of any cloud, by class.
_REMEDIES: Final = Path(__file__).with_name("remedies.yaml")

#: Of errors that are equally deep in one answer, the one counts that leaves most to be done.
_STEPS: Final[tuple[Step, ...]] = ("move-on", "back-off", "gone", "ask-again", "stop")
_BARE: Final = 3


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the table. ``http`` holds statuses: ``"503"``, or ``"5xx"`` for all of them."""

    step: Step
    kind: Kind = field(name="class")
    scope: Scope = "none"
    code: tuple[str, ...] = ()
    prefix: str = ""
    message: str = ""
    http: tuple[str, ...] = ()
    #: Only what was tried in this market; what was tried in an unknown one does not match.
    market: Market | None = None
    #: The code says only that something failed: any other error of the same answer that is known goes before it.
    vague: bool = False
    note: str = ""
    #: What the user can do about it, where it is not what the class advises.
    remedy: str = ""

    def __post_init__(self) -> None:
        if not (self.code or self.prefix or self.message or self.http):
            raise ValueError("a row must name a code, a prefix, a message or an http status")
        for status in self.http:
            if not _STATUS.fullmatch(status):
                raise ValueError(f"http status {status!r} is neither like '503' nor like '5xx'")
        try:
            re.compile(self.message)
        except re.error as error:
            raise ValueError(f"message {self.message!r} is not a pattern: {error}") from error

    @property
    def rank(self) -> int:
        """0 is asked first."""
        return 0 if self.message else 1 if self.code else 2 if self.prefix else _BARE

    def matches(self, code: str, message: str, http: int | None, market: Market | None = None) -> bool:
        """Return whether all that the row names is so."""
        if self.code and code not in self.code:
            return False
        if self.prefix and not code.startswith(self.prefix):
            return False
        if self.http and not (http and {str(http), f"{http // 100}xx"} & set(self.http)):
            return False
        if self.market and self.market != market:
            return False
        return not self.message or re.search(self.message, message, re.IGNORECASE) is not None


class Table(Struct, frozen=True):
    """The rows of one cloud, in the order in which they are asked."""

    rows: tuple[Row, ...]

    def row_for(self, part: ErrorPart, market: Market | None) -> Row | None:
        """Return the row that reads ``part``; None where no row knows it."""
        words = _plain(f"{part.message} {part.beside}")
        return next((row for row in self.rows if row.matches(part.code, words, part.http, market)), None)


def make_table(cloud: str, rows: Any, source: str = "errors.yaml") -> Table:
    """Return a `Table` of ``rows`` as they stand in a file.

    Raises ``ValueError`` naming source, row and fault for an unknown key, class, scope or step, and for a bad pattern.
    """
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{source}: {cloud}: a list of rows is wanted, and {type(rows).__name__} stands there")
    read: list[Row] = []
    for number, row in enumerate(rows, 1):
        try:
            read.append(msgspec.convert(row, Row))
        except msgspec.ValidationError as error:
            raise ValueError(f"{source}: {cloud}: row {number}: {error}") from error
    return Table(tuple(sorted(read, key=lambda row: row.rank)))


@cache
def packaged_table(cloud: str) -> Table:
    """Return the table that comes with the backend of ``cloud``; ``KeyError`` for a cloud without one."""
    file = _file_of(cloud)
    if file is None:
        raise KeyError(cloud)
    return make_table(cloud, _read(file)["rows"], str(file))


def table_of(cloud: str, own: Sequence[ErrorRow] = ()) -> Table:
    """Return the packaged table of ``cloud`` with the user's ``own`` rows for it before all others."""
    first = [_row(row) for row in own if row.cloud == cloud]
    return Table((*sorted(first, key=lambda row: row.rank), *packaged_table(cloud).rows))


def _row(own: ErrorRow) -> Row:
    return Row(**{name: value for name, value in asdict(own).items() if name != "cloud"})


#: By class, what can be done in this process alone, whatever the tables say.
_here: Final[dict[str, str]] = {}


def advise(kind: str, words: str) -> None:
    """Let ``words`` be the advice about refusals of a class in this process: a keeper has one run, of one cloud."""
    _here[kind] = words


def remedy(cloud: str, diagnosis: Diagnosis) -> str:
    """Return what the user can do about a refusal of ``cloud``: one sentence, without its full stop."""
    file = _file_of(cloud)
    words: Mapping[str, str] = {**_read(_REMEDIES), **_read(file).get("remedies", {})} if file else {}
    said = (
        _here.get(diagnosis.kind)
        or diagnosis.remedy
        or words.get(diagnosis.kind)
        or words.get("unknown", "See the keeper's log")
    )
    return said.replace("{operation}", diagnosis.operation or "the call")


def _file_of(cloud: str) -> Path | None:
    try:
        return provider(cloud).errors_file
    except ConfigError:
        return None


@cache
def _read(file: Path) -> Mapping[str, Any]:
    read: Mapping[str, Any] = yaml.load(file.read_text(encoding="utf-8"), _SAFE)
    return read


def diagnose(
    table: Table, *, code: str = "", message: str = "", http: int | None = None, market: Market | None = None
) -> Diagnosis:
    """Return what an answer with this code, message and HTTP status means."""
    return diagnose_parts(table, [ErrorPart(code, message, http)], market)


def diagnose_parts(table: Table, parts: Sequence[ErrorPart], market: Market | None = None) -> Diagnosis:
    """Return what an answer of several errors means, as `read_answer` finds them; ``market`` is the one that was tried.

    Clouds wrap the reason into errors that say only that there is one, so the deepest error that a row knows counts;
    of several side by side the one that leaves most to be done, in the narrowest scope. Where no row knows any of
    them, the outermost words are shown.
    """
    known = [(part, row) for part in parts if (row := table.row_for(part, market))]
    if not known:
        part = next((part for part in parts if part.code or part.message), ErrorPart())
        return Diagnosis(step="stop", kind="unknown", code=clean(part.code), words=clean(part.message))
    part, row = min(known, key=_precedence)
    return Diagnosis(
        step=row.step,
        kind=row.kind,
        code=clean(part.code),
        words=clean(part.message),
        scope=row.scope,
        hints=hinted_zones(parts),
        remedy=row.remedy,
    )


def diagnose_exception(
    table: Table, problem: BaseException, words: str | None = None, market: Market | None = None
) -> Diagnosis:
    """Return what an exception means that no service sent: it is looked up by the names of its classes.

    ``words`` are what it says, where that is not all of its text.
    """
    said = str(problem) if words is None else words
    found = [diagnose(table, code=kind.__name__, message=said, market=market) for kind in type(problem).__mro__]
    return replace(next((one for one in found if one.kind != "unknown"), found[0]), by="the SDK")


def diagnose_held(table: Table, held: Held, market: Market | None = None) -> Diagnosis:
    """Return why ``held`` failed, by the cloud's words that it carries. What vanished without a word is ``gone``."""
    if held.parts:
        return diagnose_parts(table, held.parts, market)
    if not held.problem_code and held.state in ("gone", "unseen"):
        return Diagnosis(step="gone", kind="missing", words=held.problem)
    return diagnose(table, code=held.problem_code, message=held.problem, market=market)


def hinted_zones(parts: Sequence[ErrorPart]) -> tuple[str, ...]:
    """Return the zones that an answer says to try instead, each once: written into the message
    ("... or choosing ZONE, ZONE."), or beside it.
    """
    beside = [zone for part in parts for zone in part.zones]
    lists = [found[1] or found[2] for part in parts for found in _ELSEWHERE.finditer(part.message)]
    return tuple(dict.fromkeys([*beside, *(zone for told in lists for zone in _ZONE.findall(told))]))


def _precedence(known: tuple[ErrorPart, Row]) -> tuple[bool, bool, int, int, int]:
    part, row = known
    return row.vague, row.rank == _BARE, -part.depth, _STEPS.index(row.step), SCOPES.index(row.scope)


def clean(words: str) -> str:
    """Return ``words`` without terminal codes and control characters, on one line, at most `WORDS_LIMIT` long."""
    plain = _plain(words)
    return plain if len(plain) <= WORDS_LIMIT else plain[: WORDS_LIMIT - 3] + "..."


def _plain(words: str) -> str:
    return _CONTROL.sub(" ", _ANSI.sub("", words[: WORDS_LIMIT * 8])).strip()
