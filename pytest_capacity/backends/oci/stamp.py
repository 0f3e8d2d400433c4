"""Our stamp on things of OCI: free-form tags, given in the call that creates them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pytest_capacity.backends.stamp import TOPOLOGY, Stamp, read_tags
from pytest_capacity.backends.stamp import stamp_tags as common_tags
from pytest_capacity.backends.tokens import fit
from pytest_capacity.model import Order

#: Characters in the value of a tag, and free-form tags of one thing (OCI documentation, "Tagging Overview").
VALUE_LIMIT: Final = 256
MOST_TAGS: Final = 10
#: How many of them are ours.
OUR_TAGS: Final = 8

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def tag_value(text: str) -> str:
    """Return ``text`` as it can stand in a tag."""
    return fit(_CONTROL.sub("_", text), VALUE_LIMIT)


def stamp_tags(order: Order, subject: str, group: str | None = None) -> dict[str, str]:
    """Return the tags of one piece, less the topology: a thing has few free-form tags, and the subject names it."""
    tags = common_tags(order, subject, tag_value, "oci", group)
    return {key: value for key, value in tags.items() if key != TOPOLOGY}


def read_stamp(tags: Mapping[str, str] | None) -> Stamp:
    """Return the stamp among a thing's free-form tags."""
    return read_tags(tags or {})
