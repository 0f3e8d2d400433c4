"""Our stamp on things of Azure: tags, given in the call that creates them, and handed down to card and address."""

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
TOPOLOGY: Final = PREFIX + "topology"
GROUP: Final = PREFIX + "group"
DEADLINE: Final = PREFIX + "deadline"
PIECE: Final = PREFIX + "piece"
#: The name of a node, as the tests know it.
NODE: Final = PREFIX + "node"

#: https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations
VALUE_LIMIT: Final = 256
_UNWANTED: Final = re.compile(r"[<>%&\\?\x00-\x1f]")


class Stamp(Struct, frozen=True):
    """What a thing's tags say of its owner; whole only if ``missing`` is empty."""

    run: str
    project: str
    piece: str
    group: str | None
    node: str
    deadline: float | None

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that are not there or cannot be read, by their tags' names."""
        parts = {RUN: self.run, PROJECT: self.project, PIECE: self.piece, DEADLINE: self.deadline}
        return tuple(key for key, value in parts.items() if not value)


def tag_value(text: str) -> str:
    """Return ``text`` as it can stand in a tag."""
    return fit(_UNWANTED.sub("_", text), VALUE_LIMIT)


def stamp_tags(order: Order, subject: str, group: str | None = None, node: str = "") -> dict[str, str]:
    """Return the tags of one piece: ours, and the three that the older tools of the field look for."""
    tags = {
        RUN: order.run,
        PROJECT: tag_value(order.project),
        TOPOLOGY: tag_value(order.topology.name),
        DEADLINE: format_time(order.lease_end),
        PIECE: subject,
        "TestId": order.run,
        "CapacityReservation": "true",
        "Backend": "azure",
    }
    if group is not None:
        tags[GROUP] = tag_value(group)
    return {**tags, NODE: tag_value(node)} if node else tags


def read_stamp(tags: Mapping[str, str]) -> Stamp:
    """Return the stamp among a thing's tags. The names of tags are of no case."""
    values = {key.lower(): value for key, value in tags.items()}
    return Stamp(
        run=values.get(RUN, ""),
        project=values.get(PROJECT, ""),
        piece=values.get(PIECE, ""),
        group=values.get(GROUP),
        node=values.get(NODE, ""),
        deadline=parse_time(values.get(DEADLINE, "")),
    )
