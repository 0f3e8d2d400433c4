"""Durations as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_capacity.config.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("45s", 45.0),
        ("2d", 172800.0),
        ("1d2h3m4s", 93784.0),
        ("5400", 5400.0),
        (5400, 5400.0),
        (" 90m ", 5400.0),
        ("0s", 0.0),
    ],
)
def test_good_durations(text: str | int, seconds: float) -> None:
    """Every documented form is read, and a whole number counts seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "m", "90x", "30m1h", "1h1h", "-5m", "1:30", "1 h", "1e3", "٣m", "1_0s", "9" * 12 + "s", True, "1.5"],
)
def test_bad_durations(text: str) -> None:
    """Anything else is refused with the text in the message."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=30 * 86400))
def test_format_is_read_back(seconds: int) -> None:
    """What we print, a user may write."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text(alphabet="0123456789dhms.-+ x", max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    """No text makes the parser fail in another way, and no duration is negative."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert seconds >= 0
