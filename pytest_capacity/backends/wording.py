"""Advice in the keys of the user's own file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pytest_capacity.backends import provider
from pytest_capacity.config.sct_words import in_their_advice
from pytest_capacity.model import Request


def wording(request: Request) -> Callable[[str], str]:
    """Return the function by which messages of a run name the keys that its file can have."""
    return partial(in_their_advice, provider=provider(request.backend)) if request.dialect == "sct" else str
