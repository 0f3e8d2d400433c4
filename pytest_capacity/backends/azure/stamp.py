"""The stamp on Azure things: tags, given in the call that creates them, and copied to network interface and address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pytest_capacity.backends.stamp import NODE, PREFIX, Stamp, read_tags
from pytest_capacity.backends.stamp import stamp_tags as common_tags
from pytest_capacity.backends.tokens import fit
from pytest_capacity.model import Order

#: On a machine that was deallocated once: lists do not show whether it is so now.
CHANGED: Final = PREFIX + "changed"

#: https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations
VALUE_LIMIT: Final = 256
_UNWANTED: Final = re.compile(r"[<>%&\\?\x00-\x1f]")


def tag_value(text: str) -> str:
    """Return ``text`` as it can stand in a tag."""
    return fit(_UNWANTED.sub("_", text), VALUE_LIMIT)


def stamp_tags(order: Order, subject: str, group: str | None = None, node: str = "") -> dict[str, str]:
    """Return the tags of one piece; those of a machine have the name of the node, for its card and address too."""
    tags = common_tags(order, subject, tag_value, "azure", group)
    return {**tags, NODE: tag_value(node)} if node else tags


def read_stamp(tags: Mapping[str, str]) -> Stamp:
    """Return the stamp among a thing's tags. The names of tags are of no case."""
    return read_tags({key.lower(): value for key, value in tags.items()})
