"""Node groups and topologies: of the file, and those that a hook gave as structs. Both go through the same checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_capacity.config.fields import (
    Faults,
    as_bool,
    as_form,
    as_mapping,
    as_texts,
    chosen,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.fields import Reader as KeyReader
from pytest_capacity.config.nodes import DEFAULT_READY_S, check_machines, read_nodes, read_own_group
from pytest_capacity.config.provider import GroupDraft, Reader, Section
from pytest_capacity.config.source import Source
from pytest_capacity.config.userdata import read_user_data
from pytest_capacity.model import DEFAULT_TOPOLOGY, Host, Market, NodeGroup, Request, Topology

MARKETS: Final[tuple[Market, ...]] = get_args(Market)
#: Names go into subjects (``topology/attempt/zone/kind/group``), tags and node names.
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
    "ssh",
)


class Defaults(Struct, frozen=True, kw_only=True):
    """The values that a group takes where it sets none itself, and what messages say of them."""

    source: Source
    provider: Reader
    #: The names of all providers: a group may have settings for several, of which those of one count.
    providers: tuple[str, ...]
    #: As far as it is read: all but the topologies, and what only the whole can be checked for.
    request: Request
    #: The provider's section of the file, and whether it had faults.
    section: Section = Section(values={}, where="")
    settings_wrong: bool = False
    #: The regions of the topologies that name some for themselves, and those of the others.
    own_regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    common_regions: tuple[str, ...] = ()

    def of(self, topology: str) -> Defaults:
        """Return those for the groups of this topology: the requests to each region are its own."""
        own = self.regions_of(topology)
        return replace(self, section=replace(self.section, regions=own)) if own else self

    def regions_of(self, topology: str) -> tuple[str, ...]:
        """Return those of this topology; empty where all topologies have those of the run."""
        return self.own_regions.get(topology, self.common_regions) if self.own_regions else ()

    @property
    def example(self) -> str:
        """Return a group as it may be written."""
        return self.provider.examples.group


def read_topologies(given: Mapping[str, Topology], defaults: Defaults, faults: Faults) -> dict[str, Topology]:
    """Return ``groups:`` and ``topologies:`` of the file, and the ones ``given`` in Python, by name."""
    found: dict[str, Topology] = {}
    values, file = defaults.source.values, defaults.source.file
    own = defaults.provider.name
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
        found[name] = _topology(name, _given_groups(topology, own, where, faults), where, defaults, faults)
    # A run may have databases and no machines.
    if not found and not values.get("databases"):
        or_hook = ", or the hook pytest_capacity_topologies" if defaults.source.has_flags else ""
        remedy = f"Add `groups: {{db: {defaults.example}}}`{or_hook}."
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
    refuse_unknown(values, ("groups", "regions"), f"{where}.", faults)
    if "groups" not in values:
        if values == body and not values:
            faults.add(where, "has no `groups`", f"Add `groups: {{db: {defaults.example}}}`.")
        return {}
    return _raw_groups(values["groups"], f"{where}.groups", defaults, faults)


def _given_groups(topology: object, provider: str, where: str, faults: Faults) -> Mapping[str, Any]:
    """Return a struct's groups in the form of the file; structs made in Python are not checked when they are made."""
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
        raw[str(group.name)] = _as_written(group, provider)
    return raw


def _as_written(group: NodeGroup, provider: str) -> dict[str, Any]:
    body = {key: getattr(group, key) for key in _GROUP_KEYS if key not in ("ready_timeout", "ssh")}
    if group.user is not None:
        body["ssh"] = {"user": group.user}
    # The default is no wish: it gives way where a run is shorter.
    if group.ready_timeout_s != DEFAULT_READY_S:
        body["ready_timeout"] = f"{group.ready_timeout_s}s"
    if group.hosts:
        hosts: tuple[object, ...] = group.hosts
        body["hosts"] = [msgspec.to_builtins(host) if isinstance(host, Host) else host for host in hosts]
    if group.cloud:
        body[provider] = group.cloud
    return {key: value for key, value in body.items() if value not in (None, ())}


def _topology(name: str, groups: Mapping[str, Any], where: str, defaults: Defaults, faults: Faults) -> Topology:
    as_form(name, NAME_FORM, "big-cluster (letters, digits, - and _; at most 40)", where, faults)
    of = defaults.of(name)
    made = [_group(group, body, f"{where}.{shown(group)[1:-1]}", of, faults) for group, body in groups.items()]
    own = defaults.regions_of(name)
    return Topology(groups=tuple(group for group in made if group is not None), name=name, regions=own)


def _group(name: str, body: object, where: str, defaults: Defaults, faults: Faults) -> NodeGroup | None:
    as_form(name, NAME_FORM, "db (letters, digits, - and _; at most 40)", where, faults)
    before = len(faults.lines)
    values = as_mapping(body, where, faults, defaults.example)
    if len(faults.lines) > before:
        return None
    provider, duration = defaults.provider, defaults.request.duration_s
    if provider.owns_machines:
        clouds = [other for other in defaults.providers if other != provider.name]
        return read_own_group(name, values, where, duration, clouds, faults)
    if "hosts" in values:
        faults.add(
            f"{where}.hosts", "machines of your own are no cloud's", "Write `backend: static`, or remove the key."
        )
    refuse_unknown(values, (*_GROUP_KEYS, "hosts", provider.name, *defaults.providers), f"{where}.", faults)
    for key in ("count", "instance_type"):
        if key not in values:
            faults.add(f"{where}.{key}", "is missing", f"Write the group like {defaults.example}.")
    nodes = read_nodes(values, where, duration, faults)
    read = read_keys(values, _readers(values, defaults), where, faults)
    market, reserve = _market(read, where, defaults.request, faults)
    draft = GroupDraft(
        name=name,
        where=where,
        values=values,
        own=read.get(provider.name, {}),
        types=tuple(type_ for type_ in (read.get("instance_type"), *read.get("alternatives", ())) if type_),
        placement_group=read.get("placement_group", False),
        market=market,
        reserve=reserve,
        settings=defaults.request.settings,
        settings_wrong=defaults.settings_wrong,
    )
    cloud = dict(provider.read_group(defaults.section, draft, faults))
    image = cloud.pop("image") if isinstance(cloud.get("image"), str) else None
    if "instance_type" not in read or nodes["count"] is None:
        return None
    return NodeGroup(
        name=name,
        instance_type=read["instance_type"],
        alternatives=draft.types[1:],
        market=market,
        reserve=reserve,
        image=image,
        placement_group=draft.placement_group,
        user_data=read.get("user_data"),
        cloud=cloud,
        **nodes,
    )


def _readers(values: Mapping[str, Any], defaults: Defaults) -> Mapping[str, KeyReader]:
    """Return the readers of what is not about the nodes alone, by key."""
    provider = defaults.provider
    return {
        "instance_type": provider.read_type,
        "alternatives": partial(_alternatives, provider, values.get("instance_type")),
        "market": chosen(*MARKETS),
        "reserve": as_bool,
        "placement_group": as_bool,
        "user_data": partial(_user_data, defaults),
        provider.name: partial(as_mapping, example=provider.examples.section),
    }


def _alternatives(
    provider: Reader, instance_type: object, value: object, where: str, faults: Faults
) -> tuple[str, ...]:
    """Return the other types, in order. One that is there twice would be requested twice."""
    types = as_texts(value, where, faults)
    seen = [instance_type]
    for type_ in types:
        provider.read_type(type_, where, faults)
        if type_ in seen:
            faults.add(where, f"{shown(type_)} is asked for already", "Name each type once, the first wish elsewhere.")
        seen.append(type_)
    return types


def _user_data(defaults: Defaults, value: object, where: str, faults: Faults) -> str | None:
    source = defaults.source
    base = source.files.folder_of("groups" if "groups" in source.values else "topologies")
    text = read_user_data(value, base, where, faults)
    if text is not None:
        defaults.provider.check_user_data(text, defaults.request.settings, where, faults)
    return text


def _market(read: Mapping[str, Any], where: str, request: Request, faults: Faults) -> tuple[Market, bool]:
    """Return the group's market, and whether its on-demand nodes are reserved: those that spot ones become, too."""
    market, reserve = read.get("market", request.market), read.get("reserve")
    if market == "spot" and not request.fallback.spot_to_on_demand:
        if reserve:
            faults.add(f"{where}.reserve", "is true, and the market is spot", EXCLUSIVE)
        return market, False
    return market, request.reserve if reserve is None else reserve
