"""Node groups and topologies: of the file, and those that a hook gave as structs. Both go through the same checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from pytest_capacity.config.fields import (
    Faults,
    as_bool,
    as_choice,
    as_count,
    as_form,
    as_mapping,
    as_text,
    as_texts,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.nodes import DEFAULT_READY_S, STATIC, check_machines, read_ready, read_static_group
from pytest_capacity.config.userdata import read_user_data
from pytest_capacity.model import DEFAULT_TOPOLOGY, Host, Lookup, Market, NodeGroup, Topology

MARKETS: Final = ("on-demand", "spot")
IMAGE_FORM: Final = re.compile(r"ami-[0-9a-f]{8,17}")
OWNER_FORM: Final = re.compile(r"self|amazon|\d{12}")
_LOOKUP: Final = "{name: 'scylla-5.4-*', owner: self}"
INSTANCE_TYPE_FORM: Final = re.compile(r"[a-z][a-z0-9-]{0,24}\.[a-z0-9-]{1,24}")
#: Names go into subjects (``default/1/us-east-1a/nodes/db``), tags and node names.
NAME_FORM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")

EXCLUSIVE: Final = (
    "A spot instance cannot use a reservation: set `reserve: false`, or `market: on-demand`, or let it move on to "
    "reserved on-demand nodes (`fallback.spot_to_on_demand`)."
)
_GROUP_KEYS: Final = (
    "count",
    "instance_type",
    "alternatives",
    "market",
    "reserve",
    "image",
    "placement_group",
    "ready",
    "ready_timeout",
    "user_data",
    "aws",
)
_GROUP_EXAMPLE: Final = "{count: 3, instance_type: i4i.large}"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/placement-strategies.html#placement-groups-limitations-cluster
_CANNOT_JOIN: Final = (
    (re.compile(r"t\d[a-z]*\..*"), "burstable types (T family)"),
    (re.compile(r"mac\d.*"), "Mac types"),
    (re.compile(r"[a-z0-9]+-flex\..*"), "flex types"),
)


class Defaults(Struct, frozen=True, kw_only=True):
    """What a group takes where it does not say so itself."""

    market: Market
    reserve: bool
    #: Whether spot nodes may become on-demand ones, which can be reserved.
    spot_to_on_demand: bool = True
    regions: tuple[str, ...]
    #: Images of the ``aws:`` section by region.
    images: Mapping[str, str | Lookup]
    #: Where a user can give those images: for messages.
    file: str
    #: The other way to give groups, where there is one.
    or_hook: str = ", or the hook pytest_capacity_topologies"
    backend: str = "aws"
    #: What relative paths in the file are relative to.
    base: Path = Path()
    duration_s: float = 5400.0
    #: Whether nodes end themselves, by what goes with their user data.
    self_terminate: bool = True

    @property
    def example(self) -> str:
        """A group as it may be written."""
        return "{hosts: [10.0.0.1, 10.0.0.2]}" if self.backend == STATIC else _GROUP_EXAMPLE


def cannot_join_cluster_group(instance_type: str) -> str | None:
    """Why ``instance_type`` cannot be in a cluster placement group, or None where nothing is known against it."""
    for form, what in _CANNOT_JOIN:
        if form.fullmatch(instance_type):
            return f"EC2 takes no {what} into a cluster placement group"
    return None


def read_topologies(
    values: Mapping[str, Any], given: Mapping[str, Topology], defaults: Defaults, faults: Faults
) -> dict[str, Topology]:
    """``groups:`` and ``topologies:`` of the file, and the ones ``given`` in Python, by name."""
    found: dict[str, Topology] = {}
    file = defaults.file
    if "groups" in values:
        groups = _raw_groups(values["groups"], f"{file}: groups", defaults, faults)
        found[DEFAULT_TOPOLOGY] = _topology(DEFAULT_TOPOLOGY, groups, f"{file}: groups", defaults, faults)
    if "topologies" in values:
        example = "{big: {groups: {db: " + defaults.example + "}}}"
        for name, body in as_mapping(values["topologies"], f"{file}: topologies", faults, example).items():
            where = f"{file}: topologies.{shown(name)[1:-1]}"
            if name in found:
                faults.add(where, "is there twice", "`groups:` is short for `topologies.default`: keep one of them.")
                continue
            found[name] = _topology(
                name, _groups_of(body, where, defaults, faults), f"{where}.groups", defaults, faults
            )
    for name, topology in given.items():
        where = f"pytest_capacity_topologies: {shown(name)[1:-1]}"
        if name in found:
            faults.add(where, f"{file} has a topology of that name too", "Give one of them another name.")
            continue
        found[name] = _topology(name, _given_groups(topology, where, faults), where, defaults, faults)
    if not found:
        remedy = f"Add `groups: {{db: {defaults.example}}}`{defaults.or_hook}."
        faults.add(f"{file}: groups", "no machines are asked for", remedy)
    check_machines(found.values(), f"{file}: groups", faults)
    return found


def _raw_groups(value: object, where: str, defaults: Defaults, faults: Faults) -> Mapping[str, Any]:
    before = len(faults.lines)
    groups = as_mapping(value, where, faults, "{db: " + defaults.example + "}")
    if not groups and len(faults.lines) == before:
        faults.add(where, "is empty", f"Add a group: `db: {defaults.example}`.")
    return groups


def _groups_of(body: object, where: str, defaults: Defaults, faults: Faults) -> Mapping[str, Any]:
    values = as_mapping(body, where, faults, "{groups: {db: " + defaults.example + "}}")
    refuse_unknown(values, ("groups",), f"{where}.", faults)
    if "groups" not in values:
        if values == body and not values:
            faults.add(where, "has no `groups`", f"Add `groups: {{db: {defaults.example}}}`.")
        return {}
    return _raw_groups(values["groups"], f"{where}.groups", defaults, faults)


def _given_groups(topology: object, where: str, faults: Faults) -> Mapping[str, Any]:
    """A struct's groups in the form of the file; structs made in Python are not checked when they are made."""
    if not isinstance(topology, Topology):
        faults.add(
            where, f"{shown(topology)} is not a Topology", "Return a mapping of names to pytest_capacity.Topology."
        )
        return {}
    raw: dict[str, Any] = {}
    groups: tuple[object, ...] = topology.groups
    for group in groups:
        if not isinstance(group, NodeGroup):
            faults.add(where, f"{shown(group)} is not a NodeGroup", "Build the topology of pytest_capacity.NodeGroup.")
            continue
        if group.name in raw:
            faults.add(f"{where}.{group.name}", "is there twice", "Give one of the groups another name.")
        raw[str(group.name)] = _as_written(group)
    return raw


def _as_written(group: NodeGroup) -> dict[str, Any]:
    body = {key: getattr(group, key) for key in _GROUP_KEYS if key not in ("aws", "ready_timeout")}
    # The default is no wish: it gives way where a run is shorter.
    if group.ready_timeout_s != DEFAULT_READY_S:
        body["ready_timeout"] = f"{group.ready_timeout_s}s"
    if group.hosts:
        body["hosts"] = [_host_as_written(host) for host in group.hosts]
    if group.cloud:
        body["aws"] = group.cloud
    return {key: value for key, value in body.items() if value not in (None, ())}


def _host_as_written(host: object) -> object:
    return msgspec.to_builtins(host) if isinstance(host, Host) else host


def _topology(name: str, groups: Mapping[str, Any], where: str, defaults: Defaults, faults: Faults) -> Topology:
    as_form(name, NAME_FORM, "big-cluster (letters, digits, - and _; at most 40)", where, faults)
    made = [_group(group, body, f"{where}.{shown(group)[1:-1]}", defaults, faults) for group, body in groups.items()]
    return Topology(groups=tuple(group for group in made if group is not None), name=name)


def _group(name: str, body: object, where: str, defaults: Defaults, faults: Faults) -> NodeGroup | None:
    as_form(name, NAME_FORM, "db (letters, digits, - and _; at most 40)", where, faults)
    before = len(faults.lines)
    values = as_mapping(body, where, faults, defaults.example)
    if len(faults.lines) > before:
        return None
    if defaults.backend == STATIC:
        return read_static_group(name, values, where, defaults.duration_s, faults)
    if "hosts" in values:
        faults.add(
            f"{where}.hosts", "machines of your own are no cloud's", "Write `backend: static`, or remove the key."
        )
    refuse_unknown(values, (*_GROUP_KEYS, "hosts"), f"{where}.", faults)
    for key in ("count", "instance_type"):
        if key not in values:
            faults.add(f"{where}.{key}", "is missing", f"Write the group like {_GROUP_EXAMPLE}.")
    count = as_count(values["count"], f"{where}.count", faults) if "count" in values else None
    instance_type = _instance_type(values, where, faults)
    alternatives = _alternatives(values, where, faults)
    market, reserve = _market(values, where, defaults, faults)
    image, cloud = _image(values, where, defaults, faults)
    grouped = as_bool(values.get("placement_group", False), f"{where}.placement_group", faults)
    for type_ in (instance_type, *alternatives) if grouped else ():
        if type_ and (why := cannot_join_cluster_group(type_)):
            remedy = "Take another type, or set placement_group to false."
            faults.add(f"{where}.placement_group", f"{shown(type_)} cannot join: {why}", remedy)
    ready, timeout = read_ready(values, where, defaults.duration_s, faults)
    data = _user_data(values, where, defaults, faults)
    if count is None or instance_type is None:
        return None
    return NodeGroup(
        name=name,
        count=count,
        instance_type=instance_type,
        alternatives=alternatives,
        market=market,
        reserve=reserve,
        image=image,
        placement_group=bool(grouped),
        ready=ready,
        ready_timeout_s=timeout,
        user_data=data,
        cloud=cloud,
    )


def _user_data(values: Mapping[str, Any], where: str, defaults: Defaults, faults: Faults) -> str | None:
    if "user_data" not in values:
        return None
    at = f"{where}.user_data"
    return read_user_data(values["user_data"], defaults.base, defaults.self_terminate, at, faults)


def _instance_type(values: Mapping[str, Any], where: str, faults: Faults) -> str | None:
    if "instance_type" not in values:
        return None
    return as_form(values["instance_type"], INSTANCE_TYPE_FORM, "i4i.large", f"{where}.instance_type", faults)


def _alternatives(values: Mapping[str, Any], where: str, faults: Faults) -> tuple[str, ...]:
    """The other types, in order. One that is there twice would be asked for twice."""
    if "alternatives" not in values:
        return ()
    where = f"{where}.alternatives"
    types = as_texts(values["alternatives"], where, faults)
    seen = [values.get("instance_type")]
    for type_ in types:
        as_form(type_, INSTANCE_TYPE_FORM, "i4i.xlarge", where, faults)
        if type_ in seen:
            faults.add(where, f"{shown(type_)} is asked for already", "Name each type once, the first wish elsewhere.")
        seen.append(type_)
    return types


def _market(values: Mapping[str, Any], where: str, defaults: Defaults, faults: Faults) -> tuple[Market, bool]:
    """The group's market, and whether its on-demand nodes are reserved: those that spot ones become, too."""
    market: Market = defaults.market
    if "market" in values:
        market = as_market(values["market"], f"{where}.market", faults) or market
    reserve = as_bool(values["reserve"], f"{where}.reserve", faults) if "reserve" in values else None
    if market == "spot" and not defaults.spot_to_on_demand:
        if reserve:
            faults.add(f"{where}.reserve", "is true, and the market is spot", EXCLUSIVE)
        return market, False
    return market, defaults.reserve if reserve is None else reserve


def as_market(value: object, where: str, faults: Faults) -> Market | None:
    """``on-demand`` or ``spot``. None, and a fault, for anything else."""
    match as_choice(value, MARKETS, where, faults):
        case "on-demand":
            return "on-demand"
        case "spot":
            return "spot"
    return None


def as_images(value: object, regions: Sequence[str], where: str, faults: Faults) -> Mapping[str, str | Lookup]:
    """Images by region: ids, or lookups by name and owner. One alone stands for every region of the run."""
    if isinstance(value, str) or _is_lookup(value):
        image = _as_image(value, where, faults)
        return dict.fromkeys(regions, image) if image else {}
    images: dict[str, str | Lookup] = {}
    for region, given in as_mapping(value, where, faults, "{us-east-1: ami-0123456789abcdef0}").items():
        image = _as_image(given, f"{where}.{shown(region)[1:-1]}", faults)
        if image:
            images[region] = image
    return images


def _is_lookup(value: object) -> bool:
    return isinstance(value, Mapping) and bool({"name", "owner"} & value.keys())


def _as_image(value: object, where: str, faults: Faults) -> str | Lookup | None:
    if not isinstance(value, Mapping):
        return as_form(value, IMAGE_FORM, "ami-0123456789abcdef0", where, faults)
    values = as_mapping(value, where, faults, _LOOKUP)
    refuse_unknown(values, ("name", "owner"), f"{where}.", faults)
    if "name" not in values:
        faults.add(f"{where}.name", "is missing", f"Write the image like {_LOOKUP}.")
        return None
    name = as_text(values["name"], f"{where}.name", faults)
    owner = as_owner(values.get("owner", "self"), f"{where}.owner", faults)
    return Lookup(name=name, owner=owner) if name and owner else None


def as_owner(value: object, where: str, faults: Faults) -> str | None:
    """``self``, ``amazon``, or the number of an account. None, and a fault, for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:012d}"
    return as_form(value, OWNER_FORM, "self, amazon or '123456789012'", where, faults)


def _image(
    values: Mapping[str, Any], where: str, defaults: Defaults, faults: Faults
) -> tuple[str | None, Mapping[str, Any]]:
    """The group's own image where it is one id for all regions, and otherwise its settings for the cloud."""
    before = len(faults.lines)
    own: Mapping[str, str | Lookup] = {}
    if "image" in values:
        own = as_images(values["image"], defaults.regions, f"{where}.image", faults)
    if "aws" in values:
        special = as_mapping(values["aws"], f"{where}.aws", faults, "{image: ami-0123456789abcdef0}")
        refuse_unknown(special, ("image",), f"{where}.aws.", faults)
        if "image" in special and "image" in values:
            faults.add(f"{where}.aws.image", "is there beside `image`", "Keep one of them.")
        elif "image" in special:
            own = as_images(special["image"], defaults.regions, f"{where}.aws.image", faults)
    images = {**defaults.images, **own}
    if len(faults.lines) > before:
        return None, {}
    for region in defaults.regions:
        if region not in images:
            remedy = (
                f"Give one for all groups (`aws: {{image: {{{region}: ami-...}}}}`) or for this one (`image: ami-...`)."
            )
            faults.add(f"{where}.image", f"no image is known for {region}", remedy)
    wanted = {region: own[region] for region in defaults.regions if region in own}
    ids = set(wanted.values())
    if len(wanted) == len(defaults.regions) and len(ids) == 1 and isinstance(one := ids.pop(), str):
        return one, {}
    return None, {"image": msgspec.to_builtins(wanted)} if wanted else {}
