"""What the configuration says for one group: the ``aws:`` section, with the group's own words over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pytest_capacity.model import AwsSettings, Market, NodeGroup, Request


@dataclass(frozen=True)
class GroupSettings:
    """A group with every default filled in."""

    group: NodeGroup
    market: Market
    reserve: bool
    aws: AwsSettings

    @property
    def name(self) -> str:
        """The group's name."""
        return self.group.name

    def image(self, region: str) -> str | None:
        """The image that the group starts from in ``region``: its own, else that of the section."""
        own = self.group.cloud.get("image")
        if isinstance(own, Mapping):
            own = own.get(region)
        return self.group.image or own or self.aws.image.get(region)


def settings_of(request: Request, group: NodeGroup) -> GroupSettings:
    """``group`` with the defaults of ``request``. A spot group is never reserved: spot cannot use a reservation."""
    market = group.market or request.market
    reserve = request.reserve if group.reserve is None else group.reserve
    return GroupSettings(group, market, reserve and market == "on-demand", _merged(request.aws, group.cloud))


def _merged(section: AwsSettings, own: Mapping[str, Any]) -> AwsSettings:
    words = {key: value for key, value in own.items() if key != "image"}
    if "tags" in words:
        words["tags"] = {**section.tags, **words["tags"]}
    return msgspec.convert({**msgspec.to_builtins(section), **words}, AwsSettings) if words else section
