"""What was probably meant."""

from __future__ import annotations

import pytest

from pytest_capacity.backends.not_offered import not_offered
from pytest_capacity.text import distance, nearest

TYPES = ("i4i.large", "i4i.xlarge", "i4i.2xlarge", "i3.large", "c6i.large", "m5.large")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("i4i.lrage", "i4i.large"),
        ("i4i.larg", "i4i.large"),
        ("I4I.LARG", "i4i.large"),
        ("i4.xlarge", "i4i.xlarge"),
        ("us-esat-1", ""),
        ("i4i.large", ""),
        ("I4i.Large", ""),
        ("p5.48xlarge", ""),
        ("", ""),
    ],
)
def test_the_nearest(word: str, meant: str) -> None:
    """By slips, in any case; nothing for what is known, or far from all."""
    assert nearest(word, TYPES) == meant
    assert nearest(word, ()) == ""


def test_slips_are_counted() -> None:
    """A letter too many, too few, another one, two that changed places."""
    assert [distance("abcd", other) for other in ("abcd", "abd", "abxcd", "abxd", "acbd", "")] == [
        0,
        1,
        1,
        1,
        1,
        4,
    ]


def test_what_a_zone_does_not_offer() -> None:
    """Each type by itself, sorted."""
    assert not_offered(["m5.lagre", "c6i.xlarge"], TYPES) == (
        "does not offer c6i.xlarge (did you mean c6i.large?), m5.lagre (did you mean m5.large?)"
    )
    assert not_offered(["i7i.large", "i4i.xlarge2"], TYPES) == (
        "does not offer i4i.xlarge2 (did you mean i4i.2xlarge?), i7i.large"
    )
    assert not_offered(["c6i.large"], TYPES) == "does not offer c6i.large"
