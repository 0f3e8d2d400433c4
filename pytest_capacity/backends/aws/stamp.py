"""Our stamp on things of EC2: tags, given in the call that creates them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.backends.times import format_time, parse_time
from pytest_capacity.backends.tokens import fit
from pytest_capacity.model import Order

PREFIX: Final = "pytest-capacity:"
RUN: Final = PREFIX + "run"
PROJECT: Final = PREFIX + "project"
TOPOLOGY: Final = PREFIX + "topology"
GROUP: Final = PREFIX + "group"
DEADLINE: Final = PREFIX + "deadline"
PIECE: Final = PREFIX + "piece"

#: Characters in the value of a tag (EC2 user guide, "Tag restrictions").
VALUE_LIMIT: Final = 256

#: What every service takes in a tag's value; EC2 alone takes more, but cost reports and policies do not.
_UNWANTED: Final = re.compile(r"[^\w\s+\-=._:/@~]|[\r\n\t\x00-\x1f]")


class Stamp(Struct, frozen=True):
    """What a thing's tags say of its owner; ``whole`` only if every part of it is there."""

    run: str
    project: str
    topology: str
    piece: str
    group: str | None
    deadline: float | None

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that are not there or cannot be read, by their tags' names."""
        parts = {RUN: self.run, PROJECT: self.project, PIECE: self.piece, DEADLINE: self.deadline}
        return tuple(key for key, value in parts.items() if not value)


def tag_value(text: str) -> str:
    """``text`` as it can stand in a tag."""
    return fit(_UNWANTED.sub("_", text), VALUE_LIMIT)


def stamp_tags(order: Order, subject: str, group: str | None = None) -> dict[str, str]:
    """Return the tags of one piece: ours, and the three that the older tools of the field look for."""
    tags = {
        RUN: order.run,
        PROJECT: tag_value(order.project),
        TOPOLOGY: tag_value(order.topology.name),
        DEADLINE: format_time(order.lease_end),
        PIECE: subject,
        "TestId": order.run,
        "CapacityReservation": "true",
        "Backend": "aws",
    }
    return tags if group is None else {**tags, GROUP: tag_value(group)}


def as_specification(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    """``TagSpecifications`` for things of ``kinds``, all with the same tags."""
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": listed} for kind in kinds]


def read_stamp(tags: Iterable[Mapping[str, str]]) -> Stamp:
    """Return the stamp among a thing's tags as EC2 lists them."""
    values = {tag["Key"]: tag.get("Value", "") for tag in tags}
    return Stamp(
        run=values.get(RUN, ""),
        project=values.get(PROJECT, ""),
        topology=values.get(TOPOLOGY, ""),
        piece=values.get(PIECE, ""),
        group=values.get(GROUP),
        deadline=parse_time(values.get(DEADLINE, "")),
    )
