"""Tokens tell logical creates apart, and fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_capacity.backends.tokens import fit, token
from tests.made_up import LETTERS

ARGUMENTS = ("run", "default/1/us-east-1a/node/db", "us-east-1", "us-east-1a", 1, 0)


def test_a_token_is_the_same_for_the_same_create() -> None:
    """A second keeper makes the token of the first one, or a lost answer could never be asked for again."""
    assert token(*ARGUMENTS) == token(*ARGUMENTS) == "pc-93efe24f9764d327b9b54eb8f7ba9fc1effc767d"


@pytest.mark.parametrize("place", range(len(ARGUMENTS)))
def test_every_part_of_a_create_is_in_its_token(place: int) -> None:
    """Another run, subject, region, zone, attempt or try has another token."""
    other = [*ARGUMENTS]
    other[place] = 7 if isinstance(other[place], int) else f"{other[place]}x"
    assert token(*other) != token(*ARGUMENTS)  # type: ignore[arg-type]  # the types of a varied list are lost


def test_parts_do_not_run_into_one_another() -> None:
    """The border between two parts counts."""
    assert token("ab", "c", "r", "z", 1) != token("a", "bc", "r", "z", 1)


@given(st.text(LETTERS), st.text(LETTERS))
def test_a_token_is_one_that_ec2_takes(run: str, subject: str) -> None:
    """At most 64 ASCII characters, whatever the names are."""
    made = token(run, subject, "us-east-1", "us-east-1a", 1)
    assert made.isascii()
    assert len(made) <= 64


@given(st.text(LETTERS, max_size=60), st.text(LETTERS, max_size=60), st.integers(16, 40))
def test_long_values_are_cut_and_stay_apart(one: str, other: str, limit: int) -> None:
    """What is cut fits, what fits is not cut, and two values stay two."""
    cut, cut_other = fit(one, limit), fit(other, limit)
    assert len(cut) <= limit
    assert cut == one or len(one) > limit
    assert (cut == cut_other) == (one == other)
