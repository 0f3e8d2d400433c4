"""The image of a group: its own, at group level or in its cloud's section, over that of the cloud's section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pytest_capacity.config.fields import Faults
from pytest_capacity.config.provider import GroupDraft, Section
from pytest_capacity.text import nearest

#: Reads ``image:``: images by region.
ImagesReader = Callable[[object, str], Mapping[str, Any]]


def group_images(group: GroupDraft, cloud: str, read: ImagesReader, faults: Faults) -> Mapping[str, Any]:
    """Return the group's own images by region; empty where it names none."""
    own = f"{group.where}.{cloud}.image"
    if "image" in group.own and "image" in group.values:
        faults.add(own, "is there beside `image`", "Keep one of them.")
    if "image" in group.values:
        return read(group.values["image"], f"{group.where}.image")
    return read(group.own["image"], own) if "image" in group.own else {}


def plain_images(
    own: Mapping[str, Any],
    common: Mapping[str, Any],
    section: Section,
    group: GroupDraft,
    remedy: Callable[[str], str],
    faults: Faults,
) -> dict[str, Any]:
    """Return ``image`` for `NodeGroup.cloud`: an id alone where the group has the same in all regions.

    A fault for each region in which neither the group nor the section (``common``) has one, with the ``remedy`` for it.
    """
    for region in section.regions:
        # Where the section is wrong, that is the fault; that no image came of it is not another one.
        if region not in own and region not in common and not (group.settings_wrong and not common):
            near = nearest(region, [*own, *common])
            meant = f"Did you mean the region {near}, which has one?" if near else remedy(region)
            faults.add(f"{group.where}.image", f"no image is known for {region}", meant)
    wanted = {region: own[region] for region in section.regions if region in own}
    images = set(wanted.values())
    if len(wanted) == len(section.regions) and len(images) == 1 and isinstance(one := images.pop(), str):
        return {"image": one}
    return {"image": msgspec.to_builtins(wanted)} if wanted else {}
