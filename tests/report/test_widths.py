"""How lines are made to fit a screen."""

from __future__ import annotations

import io

import pytest

from pytest_capacity.text import fold, fold_all, on_screen, width_of

LONG = "capacity:   us-east-1a: no clear answer for reservation, asking again: RequestLimitExceeded: slow down please"


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_is_folded_below_what_it_begins_with() -> None:
    """The prefix stands in each line, so that a search for it finds all of them."""
    assert list(fold(LONG, 60)) == [
        "capacity:   us-east-1a: no clear answer for reservation,",
        "capacity:       asking again: RequestLimitExceeded: slow",
        "capacity:       down please",
    ]
    assert list(fold(LONG, None)) == [LONG]
    assert list(fold(LONG, len(LONG))) == [LONG]


def test_what_is_to_be_copied_stays_whole() -> None:
    """A command in a list of commands; a path or an address in any line; an empty line."""
    command = f"    aws ec2 terminate-instances --instance-ids {'i-0123456789abcdef0 ' * 6}".rstrip()
    assert list(fold(command, 60)) == [command]
    path = f"/{'folder/' * 20}log"
    assert list(fold(f"capacity: keeper log {path}", 60)) == ["capacity: keeper log", f"capacity:     {path}"]
    assert list(fold_all(["", "a"], 60)) == ["", "a"]
    assert list(fold(" " * 70, 60)) == [" " * 70]


def test_only_a_screen_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or who says COLUMNS: what goes to a file is searched there, line by line."""
    monkeypatch.setenv("COLUMNS", "71")
    assert width_of(io.StringIO(), {"COLUMNS": "71"}) == 71
    assert width_of(Screen(), {}) == 71
    assert width_of(io.StringIO(), {}) is None
    assert width_of(io.StringIO(), {"COLUMNS": "wide"}) is None
    assert width_of(None, {}) is None
    monkeypatch.setenv("COLUMNS", "3")
    assert width_of(Screen(), {}) == 40
    closed = Screen()
    closed.close()
    assert width_of(io.TextIOWrapper(io.BytesIO()), {}) is None


def test_an_error_is_folded_where_there_is_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its lines by itself."""
    monkeypatch.setenv("COLUMNS", "60")
    assert on_screen(f"{LONG}\nshort").splitlines() == [*fold(LONG, 60), "short"]
    monkeypatch.delenv("COLUMNS")
    assert on_screen(f"{LONG}\nshort") == f"{LONG}\nshort"
