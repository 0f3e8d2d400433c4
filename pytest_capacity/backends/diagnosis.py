"""What a cloud's error means: one table (`errors.yaml`), one function.

A row names what it matches (codes, a prefix of the code, a pattern in the message, HTTP status) and what that means.
Everything that a row names must match. Rows with a pattern are asked first, then rows with codes, then prefixes, then
the bare HTTP status; within a rank the first one in the file wins. What no row knows is ``unknown`` and stops: a try
elsewhere could cost money and cure nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec
import yaml
from msgspec import Struct, field

from pytest_capacity.model import Diagnosis, Step

Kind = Literal[
    "capacity-zone",
    "quota",
    "spot-capacity",
    "spot-quota",
    "spot-price",
    "type-unsupported",
    "reservation-full",
    "reservation-mismatch",
    "reservation-not-ready",
    "network-exhausted",
    "throttle",
    "transient",
    "timeout",
    "conflict",
    "missing",
    "auth",
    "denied",
    "invalid",
    "account-blocked",
]

Scope = Literal[
    "none",
    "type+zone+market",
    "type+zone",
    "zone",
    "subnet",
    "reservation",
    "placement-group",
    "family+region+market",
    "market+region",
    "region",
    "cloud",
]

#: Longest piece of a cloud's own words that is kept; encoded authorization messages run to many kilobytes.
WORDS_LIMIT: Final = 500

_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_STATUS: Final = re.compile(r"[1-5](?:xx|\d\d)")


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the table. ``http`` holds statuses: ``"503"``, or ``"5xx"`` for all of them."""

    step: Step
    kind: Kind = field(name="class")
    scope: Scope = "none"
    code: tuple[str, ...] = ()
    prefix: str = ""
    message: str = ""
    http: tuple[str, ...] = ()
    note: str = ""

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
        return 0 if self.message else 1 if self.code else 2 if self.prefix else 3

    def matches(self, code: str, message: str, http: int | None) -> bool:
        """Whether all that the row names is so."""
        if self.code and code not in self.code:
            return False
        if self.prefix and not code.startswith(self.prefix):
            return False
        if self.http and not (http and {str(http), f"{http // 100}xx"} & set(self.http)):
            return False
        return not self.message or re.search(self.message, message, re.IGNORECASE) is not None


class Table(Struct, frozen=True):
    """The rows of one cloud, in the order in which they are asked."""

    rows: tuple[Row, ...]


def make_table(cloud: str, rows: Any, source: str = "errors.yaml") -> Table:
    """A `Table` of ``rows`` as they stand in a file.

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
    """The table of ``cloud`` that comes with this package; ``KeyError`` for a cloud without one."""
    return make_table(cloud, _packaged()[cloud])


def remedy(cloud: str, diagnosis: Diagnosis) -> str:
    """What the user can do about a refusal of ``cloud``: one sentence, without its full stop."""
    remedies: Mapping[str, str] = _packaged()["remedies"].get(cloud, {})
    words = remedies.get(diagnosis.kind) or remedies.get("unknown", "See the keeper's log")
    return words.replace("{operation}", diagnosis.operation or "the call")


@cache
def _packaged() -> Mapping[str, Any]:
    text = files("pytest_capacity.backends").joinpath("errors.yaml").read_text(encoding="utf-8")
    read: Mapping[str, Any] = yaml.safe_load(text)
    return read


def diagnose(table: Table, *, code: str = "", message: str = "", http: int | None = None) -> Diagnosis:
    """What an answer with this code, message and HTTP status means."""
    words = clean(message)
    for row in table.rows:
        if row.matches(code, words, http):
            return Diagnosis(step=row.step, kind=row.kind, code=clean(code), words=words, scope=row.scope)
    return Diagnosis(step="stop", kind="unknown", code=clean(code), words=words)


def clean(words: str) -> str:
    """``words`` without terminal codes and control characters, on one line, at most `WORDS_LIMIT` characters."""
    plain = _CONTROL.sub(" ", _ANSI.sub("", words[: WORDS_LIMIT * 8])).strip()
    return plain if len(plain) <= WORDS_LIMIT else plain[: WORDS_LIMIT - 3] + "..."
