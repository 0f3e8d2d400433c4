"""Our stamp on things of OCI: free-form tags, given in the call that creates them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from pytest_capacity.backends.times import format_time, parse_time
from pytest_capacity.backends.tokens import fit
from pytest_capacity.model import Order

PREFIX: Final = "pytest-capacity:"
RUN: Final = PREFIX + "run"
PROJECT: Final = PREFIX + "project"
GROUP: Final = PREFIX + "group"
DEADLINE: Final = PREFIX + "deadline"
PIECE: Final = PREFIX + "piece"

#: Characters in the value of a tag, and free-form tags of one thing (OCI documentation, "Tagging Overview").
VALUE_LIMIT: Final = 256
MOST_TAGS: Final = 10
#: How many of them are ours.
OUR_TAGS: Final = 8

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Stamp(Struct, frozen=True):
    """What a thing's tags say of its owner."""

    run: str
    project: str
    piece: str
    group: str | None
    deadline: float | None

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that are not there or cannot be read, by their tags' names."""
        parts = {RUN: self.run, PROJECT: self.project, PIECE: self.piece, DEADLINE: self.deadline}
        return tuple(key for key, value in parts.items() if not value)


def tag_value(text: str) -> str:
    """Return ``text`` as it can stand in a tag."""
    return fit(_CONTROL.sub("_", text), VALUE_LIMIT)


def stamp_tags(order: Order, subject: str, group: str | None = None) -> dict[str, str]:
    """Return the tags of one piece: ours, and the three that the older tools of the field look for."""
    tags = {
        RUN: order.run,
        PROJECT: tag_value(order.project),
        DEADLINE: format_time(order.lease_end),
        PIECE: subject,
        "TestId": order.run,
        "CapacityReservation": "true",
        "Backend": "oci",
    }
    return tags if group is None else {**tags, GROUP: tag_value(group)}


def read_stamp(tags: Mapping[str, str] | None) -> Stamp:
    """Return the stamp among a thing's free-form tags."""
    values = tags or {}
    return Stamp(
        run=values.get(RUN, ""),
        project=values.get(PROJECT, ""),
        piece=values.get(PIECE, ""),
        group=values.get(GROUP),
        deadline=parse_time(values.get(DEADLINE, "")),
    )
