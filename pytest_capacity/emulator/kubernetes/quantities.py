"""Kubernetes quantities: ``500m``, ``4Gi``."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_POWERS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_SMALL: Final = {"n": 10**9, "u": 10**6, "m": 10**3}
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_FORM: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]{0,2})")


def quantity(text: object) -> Fraction:
    """Return its value in the base unit. Raises `ValueError` for what is none."""
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    number, suffix = Fraction(match[1]), match[2]
    if suffix in _SMALL:
        return number / _SMALL[suffix]
    return number * (_POWERS | _BINARY)[suffix]
