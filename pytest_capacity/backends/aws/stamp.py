"""Our stamp on things of EC2: tags, given in the call that creates them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pytest_capacity.backends.stamp import Stamp, read_tags
from pytest_capacity.backends.tokens import fit

#: Characters in the value of a tag (EC2 user guide, "Tag restrictions").
VALUE_LIMIT: Final = 256

#: What every service takes in a tag's value; EC2 alone takes more, but cost reports and policies do not.
_UNWANTED: Final = re.compile(r"[^\w\s+\-=._:/@~]|[\r\n\t\x00-\x1f]")


def tag_value(text: str) -> str:
    """Return ``text`` as it can stand in a tag."""
    return fit(_UNWANTED.sub("_", text), VALUE_LIMIT)


def as_specification(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    """Return ``TagSpecifications`` for things of ``kinds``, all with the same tags."""
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": listed} for kind in kinds]


def read_stamp(tags: Iterable[Mapping[str, str]]) -> Stamp:
    """Return the stamp among a thing's tags as EC2 lists them."""
    return read_tags({tag["Key"]: tag.get("Value", "") for tag in tags})
