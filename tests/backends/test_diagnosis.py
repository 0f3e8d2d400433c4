"""The table of errors: how a row is chosen, and what a table may not hold."""

from __future__ import annotations

from typing import get_args

import pytest

from pytest_capacity.backends.diagnosis import (
    WORDS_LIMIT,
    Table,
    clean,
    diagnose,
    make_table,
    packaged_table,
    remedy,
)
from pytest_capacity.model import Diagnosis, Kind

ROWS = [
    {"http": ["5xx"], "class": "transient", "step": "ask-again"},
    {"prefix": "Server.", "class": "transient", "step": "back-off"},
    {"code": ["Server.Known", "Dry"], "class": "capacity-zone", "step": "move-on"},
    {"code": ["Dry"], "message": "for good", "class": "invalid", "step": "stop"},
]


@pytest.fixture(name="table")
def _table() -> Table:
    return make_table("a cloud", ROWS)


@pytest.mark.parametrize(
    ("code", "message", "http", "step"),
    [
        ("Dry", "gone FOR GOOD, sorry", 500, "stop"),
        ("Dry", "come back later", 500, "move-on"),
        ("Server.Known", "", None, "move-on"),
        ("Server.Other", "", 500, "back-off"),
        ("Other", "", 503, "ask-again"),
        ("Other", "for good", 400, "stop"),
        ("", "", None, "stop"),
    ],
)
def test_a_pattern_goes_before_a_code_and_a_code_before_the_status(
    table: Table, code: str, message: str, http: int | None, step: str
) -> None:
    """The most telling row wins, wherever it stands in the file."""
    assert diagnose(table, code=code, message=message, http=http).step == step


def test_what_no_row_knows_stops_with_the_clouds_words(table: Table) -> None:
    """An unknown error is not guessed at."""
    found = diagnose(table, code="Weird", message="words", http=400)
    assert (found.step, found.kind, found.code, found.words) == ("stop", "unknown", "Weird", "words")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"code": ["X"], "class": "quota"}, "step"),
        ({"code": ["X"], "class": "quota", "step": "leap"}, "leap"),
        ({"code": ["X"], "class": "weather", "step": "stop"}, "weather"),
        ({"code": ["X"], "class": "quota", "step": "stop", "scope": "moon"}, "moon"),
        ({"code": ["X"], "class": "quota", "step": "stop", "codes": []}, "codes"),
        ({"class": "quota", "step": "stop"}, "must name"),
        ({"http": ["5"], "class": "quota", "step": "stop"}, "503"),
        ({"message": "(", "class": "quota", "step": "stop"}, "pattern"),
        ({"code": "X", "class": "quota", "step": "stop"}, "array"),
    ],
)
def test_a_faulty_row_is_refused_by_number(row: dict[str, object], fault: str) -> None:
    """A table is checked when it is read, and the message leads to the row."""
    with pytest.raises(ValueError, match=rf"mine.yaml: cloudy: row 2: .*{fault}"):
        make_table("cloudy", [ROWS[0], row], "mine.yaml")


@pytest.mark.parametrize("rows", [None, {}, [], "rows"])
def test_a_table_is_a_list_of_rows(rows: object) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="a list of rows is wanted"):
        make_table("cloudy", rows)


def test_the_table_comes_with_the_package() -> None:
    """It is package data, read once."""
    assert packaged_table("aws") is packaged_table("aws")
    with pytest.raises(KeyError):
        packaged_table("no-such-cloud")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("\x1b[31mred\x1b[0m and \x1b]0;title\x07plain", "red and plain"),
        ("two\r\nlines\x00\x9b", "two lines"),
        ("\u202eback\u2066wards", "back wards"),
        ("x" * 10_000, "x" * (WORDS_LIMIT - 3) + "..."),
        ("Größe", "Größe"),
    ],
)
def test_a_clouds_words_cannot_draw_on_the_terminal(said: str, kept: str) -> None:
    """Codes and control characters are taken out, and an endless message is cut."""
    assert clean(said) == kept


@pytest.mark.parametrize("kind", [*get_args(Kind), "unknown"])
def test_every_class_has_a_remedy(kind: str) -> None:
    """A refusal ends with what to do now, whatever it is; no full stop, since the message sets its own."""
    words = remedy("aws", Diagnosis("stop", kind, operation="RunInstances"))
    assert words == words.strip().rstrip(".")
    assert (words != remedy("aws", Diagnosis("stop", "unknown"))) is (kind != "unknown")
    assert "{" not in words


def test_the_remedy_names_the_call() -> None:
    """What has to be allowed is the call that was denied."""
    assert "Allow RunInstances " in remedy("aws", Diagnosis("stop", "denied", operation="RunInstances"))
    assert remedy("a new cloud", Diagnosis("stop", "denied")) == "See the keeper's log"
