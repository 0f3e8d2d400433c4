"""The nodes of a configuration of scylla-cluster-tests: how many of each kind, of which type, from which image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.config.fields import Faults, as_text, shown
from pytest_capacity.config.provider import Reader
from pytest_capacity.config.source import split

#: By group: the keys of the count and of the type. That of the image, and another one of the type, are the provider's.
_ROLES: Final = {
    "db": ("n_db_nodes", "instance_type_db"),
    "loader": ("n_loaders", "instance_type_loader"),
    "monitor": ("n_monitor_nodes", "instance_type_monitor"),
}
_DB: Final = "db"
#: The key of the size of a group's root disk, in GB.
_ROOT_DISK: Final = "root_disk_size_{name}"
NODE_KEYS: Final = (
    *(key for keys in _ROLES.values() for key in keys),
    *(_ROOT_DISK.format(name=name) for name in _ROLES),
    "use_placement_group",
)

#: An id, or how it is looked up.
Image = str | Mapping[str, Any]
#: By region, or one for all; None where there is none.
Images = Mapping[str, Image] | str | None


class Role(Struct, frozen=True, kw_only=True):
    """One kind of nodes. ``images`` are those of this kind alone; ``names`` are the user's keys by the package's."""

    name: str
    count: int
    instance_type: str
    images: Images
    names: Mapping[str, str]
    #: For the group's own section of the provider.
    section: Mapping[str, Any]
    #: Who logs in; "" as for all.
    user: str


class Roles(Struct, frozen=True):
    """Those of which there are any, how many database nodes, whether or not their type is known, and their images."""

    found: tuple[Role, ...]
    db_nodes: int
    images: Images


def read_roles(values: Mapping[str, Any], file: str, provider: Reader, regions: Sequence[str], faults: Faults) -> Roles:
    """Return the kinds in the order db, loader, monitor. ``values`` are without what is empty.

    A kind that names no images starts from those of the database.
    """
    type_keys = {name: own_or(values, provider.sct.types.get(name, ""), common) for name, (_, common) in _ROLES.items()}
    counts = {name: _count(values, name, type_keys[name], file, faults) for name in _ROLES}
    image_keys = provider.sct.images
    common_key = image_keys.get(_DB, "")
    found: list[Role] = []
    for name, (count_key, _) in _ROLES.items():
        count, type_key = counts[name], type_keys[name]
        type_, section = _split(_type(values, name, type_key, provider, file, faults), provider)
        if count is None:
            continue
        if count and type_ is None and type_key not in values:
            faults.add(f"{file}: {type_key}", "is missing", f"Name the type of the group {name}.")
        image_key = image_keys.get(name, "")
        own = own_or(values, image_key, common_key)
        images = _images(values, own, provider, regions, file, faults) if own and count else None
        if count and type_:
            names = {"count": count_key, "instance_type": type_key, "image": image_key or common_key}
            alone = images if own != common_key else None
            section |= _root_disk(values, name, provider, file, faults)
            user_key = provider.sct.users.get(name, "")
            user = as_text(values[user_key], f"{file}: {user_key}", faults) if user_key in values else None
            found.append(
                Role(
                    name=name,
                    count=count,
                    instance_type=type_,
                    images=alone,
                    names=names,
                    section=section,
                    user=user or "",
                )
            )
    if not any(counts.values()) and None not in counts.values():
        faults.add(f"{file}: n_db_nodes", "no machines are asked for", "Write it like `n_db_nodes: 3`.")
    common = _images(values, common_key, provider, regions, file, Faults()) if common_key else None
    return Roles(tuple(found), counts[_DB] or 0, common)


def given(values: Mapping[str, Any], key: str) -> bool:
    """Return whether the key has a value: SCT treats an empty one as absent."""
    return values.get(key) is not None and values[key] != ""


def own_or(values: Mapping[str, Any], own: str, common: str) -> str:
    """Return the cloud's own key where it has one and the file gives it, else the one for all clouds."""
    return own if own and given(values, own) else common


def _count(values: Mapping[str, Any], name: str, type_key: str, file: str, faults: Faults) -> int | None:
    """Return how many: a number, or one for each data centre, summed. None, and a fault, for anything else."""
    key = _ROLES[name][0]
    if key not in values:
        # One loader and one monitor are the defaults of scylla-cluster-tests.
        if name == _DB and type_key in values:
            faults.add(f"{file}: {key}", "is missing", f"Write it like `{key}: 3`.")
            return None
        return int(type_key in values)
    value = values[key]
    parts = value if isinstance(value, list | tuple) else [value]
    words = [word for part in parts for word in (part.replace(",", " ").split() if isinstance(part, str) else [part])]
    numbers = [whole_number(word) for word in words]
    if not numbers or any(number is None for number in numbers):
        remedy = 'Write it like 3, "2 1" or [2, 1].'
        faults.add(f"{file}: {key}", f"{shown(value)} is not a number of nodes", remedy)
        return None
    return sum(number for number in numbers if number is not None)


def whole_number(word: object) -> int | None:
    """Return a number that is written as one, or as a text of at most eight digits; None for anything else."""
    text = str(word).strip() if isinstance(word, int | str) and not isinstance(word, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _type(values: Mapping[str, Any], name: str, key: str, provider: Reader, file: str, faults: Faults) -> str | None:
    own = as_text(values[key], f"{file}: {key}", faults) if key in values else None
    one = provider.sct.instance_type
    if not one or one not in values:
        return own
    shape = as_text(values[one], f"{file}: {one}", faults)
    if own and shape and own != shape and name == _DB:
        faults.add(f"{file}: {key}", f"is {shown(own)}, and {one} is {shown(shape)}", "Keep one of them.")
    return own or shape


def _split(text: str | None, provider: Reader) -> tuple[str | None, dict[str, Any]]:
    """Return the type, and what of the group's own section stands behind it: ``SHAPE:16:192``."""
    fields = provider.sct.type_fields
    if text is None or not fields or ":" not in text:
        return text, {}
    type_, *values = text.split(":")
    return type_, {key: _number_or_text(value) for key, value in zip(fields, values, strict=False) if value}


def _number_or_text(text: str) -> float | int | str:
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _root_disk(values: Mapping[str, Any], name: str, provider: Reader, file: str, faults: Faults) -> Mapping[str, Any]:
    """Return the size of the group's root disk, as its own section has it; nothing where the file has none."""
    key = _ROOT_DISK.format(name=name)
    if key not in values:
        return {}
    size = whole_number(values[key])
    if not size:
        faults.add(f"{file}: {key}", f"{shown(values[key])} is not a size", "Give a whole number of GB.")
        return {}
    path = provider.sct.root_disk
    if not path:
        faults.add(f"{file}: {key}", f"cannot be set on {provider.title or 'this cloud'}", "Leave it out.")
        return {}
    found: Any = size
    for part in reversed(path):
        found = {part: found}
    return dict(found)


def _images(
    values: Mapping[str, Any], key: str, provider: Reader, regions: Sequence[str], file: str, faults: Faults
) -> Images:
    """Return the images by region, in whose order they stand; or the one for all."""
    where = f"{file}: {key}"
    by_region = provider.sct.images_by_region
    if key not in values and not provider.sct.images_needed:
        return None
    if key not in values:
        how = "one a region, in their order" if by_region else "it"
        faults.add(where, "no image is known for the nodes", f"Name {how}: `{key}: {provider.examples.image}`.")
        return None
    if not by_region:
        return provider.read_image(values[key], where, faults)
    before = len(faults.lines)
    images = split(values[key], where, faults)
    lookup = provider.sct.lookup
    if lookup and len(images) == 1 and (found := lookup(images[0])) is not None:
        return dict.fromkeys(regions, found)
    for image in images:
        provider.read_image(image, where, faults)
    if regions and len(images) != len(regions) and len(faults.lines) == before:
        faults.add(
            where,
            f"names {len(images)} images, and there are {len(regions)} regions: {', '.join(regions)}",
            "Name one a region, in their order.",
        )
    return dict(zip(regions, images, strict=False))
