"""Listing in EC2: filters, wildcards and pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Thing

T = TypeVar("T", bound=Thing)

#: What a filter looks at: a thing's values under that name (several for lists; none if it has no such value).
Reading = Callable[[Any], Sequence[str]]


def choose(things: Sequence[T], filters: Sequence[Mapping[str, Any]], readings: Mapping[str, Reading]) -> list[T]:
    """Return those that pass every filter: one of its values matches; ``*`` and ``?`` are wildcards."""
    for one in filters:
        name = one.get("Name")
        if name is None or (name not in readings and name != "tag-key" and not name.startswith("tag:")):
            raise Refusal("InvalidParameterValue", f"The filter '{name or 'null'}' is invalid")
        wanted = one.get("Values")
        if not wanted:
            raise Refusal("InvalidParameterValue", f"The filter '{name}' has no values")
        things = [thing for thing in things if matches(_read(thing, name, readings), wanted)]
    return list(things)


def _read(thing: Thing, name: str, readings: Mapping[str, Reading]) -> Sequence[str]:
    if name == "tag-key":
        return list(thing.tags)
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return [thing.tags[key]] if key in thing.tags else []
    return readings[name](thing)


def matches(values: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether one of ``values`` is like one of ``wanted``, in which ``*`` and ``?`` are wildcards."""
    # `[` is no wildcard of EC2's, but one of fnmatch's.
    patterns = [pattern.replace("[", "[[]") for pattern in wanted]
    return any(fnmatchcase(value, pattern) for value in values for pattern in patterns)


def page(things: Sequence[T], params: Mapping[str, Any], least: int = 1) -> tuple[list[T], str | None]:
    """Return a page in the order of making, and the next token. ``MaxResults`` lies between ``least`` and 1000."""
    limit = params.get("MaxResults", 1000)
    if not least <= limit <= 1000:
        words = f"Value ( {limit} ) for parameter maxResults is invalid. Expecting a value between {least} and 1000."
        raise Refusal("InvalidParameterValue", words)
    after = read_token(params["NextToken"]) if params.get("NextToken") else 0
    rest = sorted((thing for thing in things if thing.number > after), key=lambda thing: thing.number)
    token = make_token(rest[limit - 1].number) if len(rest) > limit else None
    return rest[:limit], token


def make_token(number: int) -> str:
    """Return an opaque token: what comes after ``number``."""
    return base64.urlsafe_b64encode(f"after-{number}".encode()).decode("ascii")


def read_token(token: str) -> int:
    """Return the number in a token; refuse one that was never given out."""
    try:
        word, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition("-")
        if word == "after":
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise Refusal("InvalidNextToken", f"The token '{token}' is invalid.")
