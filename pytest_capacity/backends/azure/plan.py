"""A topology in one placement, as rounds of calls of Resource Manager. Pure: reads the order and the configuration.

Rounds: the resource group; what stands in it beside each other (capacity reservation group, network, placement group,
firewall); the reservations, which Azure calls members of their group; the machines, one call each. A piece's ``spec``
has the path under the subscription, the API version and the body; the ids of other pieces are put in by `create_body`.

Names are the only tokens of Azure: a PUT of the same name changes what is there. So a name has a hash of the run and,
for what is made anew after a refusal, of the token.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.azure import bodies
from pytest_capacity.backends.azure.ids import (
    FIREWALLS,
    GROUPS,
    MACHINES,
    MEMBERS,
    NETWORKS,
    PLACEMENT_GROUPS,
    ResourceId,
    make_name,
    version_of,
)
from pytest_capacity.backends.azure.settings import GroupSettings, settings_of, zone_number
from pytest_capacity.backends.azure.stamp import stamp_tags, tag_value
from pytest_capacity.backends.groups import has_moved, served, used
from pytest_capacity.backends.pieces import (
    PUBLIC_KEY,
    first_fact,
    in_first_zone,
    make_piece,
    places,
    subject_of,
    token_of,
)
from pytest_capacity.model import Need, Order, Piece, Request

RESOURCE_GROUP: Final = "resource-group"
NETWORK: Final = "network"
FIREWALL: Final = "firewall"
PLACEMENT_GROUP: Final = "placement-group"
CAPACITY_GROUP: Final = "capacity-group"
RESERVATION: Final = "reservation"
NODE: Final = "node"

TYPE_OF: Final = {
    RESOURCE_GROUP: "",
    NETWORK: NETWORKS,
    FIREWALL: FIREWALLS,
    PLACEMENT_GROUP: PLACEMENT_GROUPS,
    CAPACITY_GROUP: GROUPS,
    RESERVATION: MEMBERS,
    NODE: MACHINES,
}

#: The fact that holds the id of the existing capacity reservation group in which our members go; "": ours.
GIVEN_GROUP: Final = "capacity-group"

#: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
_RESOURCE_GROUP_LIMIT: Final = 90
_NAME_LIMIT: Final = 64


class Shape(Struct, frozen=True, order=True):
    """What a reservation is for; nodes of one shape share it."""

    instance_type: str
    #: The group, where it has moved to this size or market: what stands for others by then is not made larger for it.
    #: A capacity reservation group holds one member for each size and zone, so it has a separate one.
    moved: str = ""

    @property
    def label(self) -> str:
        """Return the size, and the group that has moved to it."""
        return f"{self.instance_type}/{self.moved}" if self.moved else self.instance_type


def plan_rounds(request: Request, order: Order) -> list[list[Piece]]:
    """Return the rounds of ``order``, of all its zones side by side; empty ones are left out."""
    beside: list[Piece] = []
    members: list[Piece] = []
    machines: list[Piece] = []
    zones: dict[str, set[str]] = {}
    for place in places(order):
        groups = [settings_of(request, group) for group in place.topology.groups]
        shapes = {group.name: _shape(request, place, group) for group in groups if _reserves(place, group)}
        if any(group.group.placement_group for group in groups) and order.launch:
            beside.append(_placement_group(request, place))
        for shape in sorted(set(shapes.values())):
            members.append(_member(request, place, shape, groups, shapes))
            if not _given(order, shape.moved):
                zones.setdefault(shape.moved, set()).add(zone_number(place.placement.zone))
        if order.launch:
            machines += [
                _machine(request, place, group, shapes.get(group.name), index)
                for group in groups
                for index in range(group.group.count)
            ]
    beside += [
        _capacity_group(request, order, sorted(filter(None, found)), moved) for moved, found in sorted(zones.items())
    ]
    if machines and not _subnet(request, order):
        if _opens_ssh(request):
            beside.append(_firewall(request, order))
            # It waits for the firewall, and nothing but machines waits for it.
            members.append(_network(request, order))
        else:
            beside.append(_network(request, order))
    return [round_ for round_ in ([_resource_group(request, order)], beside, members, machines) if round_]


def create_body(piece: Piece, subscription: str, public_key: str) -> dict[str, Any]:
    """Return the body of the call that makes ``piece``, with the ids of what it needs."""
    body: dict[str, Any] = dict(piece.spec["body"])
    if piece.kind == NETWORK and (firewall := piece.inputs.get(FIREWALL)):
        return bodies.with_firewall(body, firewall)
    if piece.kind != NODE:
        return body
    network = piece.inputs.get(NETWORK)
    subnet = f"{network}/subnets/{bodies.SUBNET}" if network else piece.spec["subnet"]
    group = piece.spec["capacity_group"]
    if reservation := piece.inputs.get(RESERVATION):
        member = ResourceId.parse(reservation)
        group = str(ResourceId(member.subscription, member.group, GROUPS, member.parent))
    return bodies.with_references(body, subnet, group, piece.inputs.get(PLACEMENT_GROUP, ""), public_key)


def path_of(piece: Piece, subscription: str) -> str:
    """Return the id of what ``piece`` makes, which is also its path."""
    return _id_of(piece, subscription)


def _id_of(piece: Piece, subscription: str) -> str:
    spec = piece.spec
    if spec.get("in"):
        group = ResourceId.parse(spec["in"])
        return str(replace(group, type=MEMBERS, name=spec["name"], parent=group.name))
    type_ = TYPE_OF[piece.kind]
    name = spec["name"] if type_ else ""
    return str(ResourceId(subscription, spec["resource_group"], type_, name, spec.get("parent", "")))


def resource_group_name(order: Order) -> str:
    """Return the name of the resource group of the order: no other run, topology, series or region has it."""
    series = str(order.series or order.attempt)
    seed = "/".join([order.unique_run, order.project, order.topology.name, series, order.placement.region])
    return make_name(_RESOURCE_GROUP_LIMIT, "pytest-capacity", order.run, order.topology.name, series, seed=seed)


def _subnet(request: Request, order: Order) -> str:
    groups = [settings_of(request, group) for group in order.topology.groups]
    return next((group.azure.subnets.get(order.placement.region, "") for group in groups), "")


def _opens_ssh(request: Request) -> bool:
    return bool(request.settings.get("ssh_from"))


def _reserves(order: Order, group: GroupSettings) -> bool:
    return group.reserve and not used(order, group)


def _shape(request: Request, order: Order, group: GroupSettings) -> Shape:
    return Shape(group.group.instance_type, group.name if has_moved(request, order, group) else "")


def _given(order: Order, moved: str) -> str:
    """Return the id of the user's capacity reservation group; "": the member is in one of ours."""
    return "" if moved else order.facts.get(GIVEN_GROUP, "")


def _subject(order: Order, kind: str, label: str) -> str:
    # Also the value of a tag: it comes back from there, so it must fit there.
    return tag_value(subject_of(order, kind, label))


def _regional(order: Order, kind: str, moved: str = "") -> str:
    """Return the subject of what serves all zones of the order: it names the first of them."""
    if order.placement.zones:
        order = replace(order, placement=replace(order.placement, zone=order.placement.zones[0]), shares=())
    return _subject(in_first_zone(order), kind, f"run/{moved}" if moved else "run")


def _piece(order: Order, kind: str, subject: str, spec: Mapping[str, Any], **more: Any) -> Piece:
    spec = {"resource_group": resource_group_name(order), "version": version_of(TYPE_OF[kind]), **spec}
    needs = more.pop("needs", ())
    if kind != RESOURCE_GROUP:
        needs = (Need(RESOURCE_GROUP, _regional(order, RESOURCE_GROUP)), *needs)
    return make_piece(order, kind, subject, spec, needs=needs, **more)


def _tags(request: Request, order: Order, subject: str, group: str | None = None, node: str = "") -> dict[str, str]:
    own = request.settings.get("tags", {})
    return {**own, **stamp_tags(order, subject, group, node)}


def _whole(request: Request, order: Order, kind: str, make: Any, *words: Any, moved: str = "") -> Piece:
    """Return a piece of which the order has one; ``make`` makes its body of the region, ``words`` and the tags."""
    subject = _regional(order, kind, moved)
    tags = _tags(request, order, subject)
    body = make(order.placement.region, *words, tags)
    name = make_name(_NAME_LIMIT, kind, order.run, seed=f"{order.unique_run}/{subject}")
    return _piece(order, kind, subject, {"name": name, "body": body})


def _resource_group(request: Request, order: Order) -> Piece:
    return _whole(request, order, RESOURCE_GROUP, bodies.resource_group)


def _network(request: Request, order: Order) -> Piece:
    piece = _whole(request, order, NETWORK, bodies.network)
    if _opens_ssh(request):
        return replace(piece, needs=(*piece.needs, Need(FIREWALL, _regional(order, FIREWALL))))
    return piece


def _firewall(request: Request, order: Order) -> Piece:
    return _whole(request, order, FIREWALL, bodies.firewall, list(request.settings["ssh_from"]))


def _capacity_group(request: Request, order: Order, zones: Sequence[str], moved: str) -> Piece:
    piece = _whole(request, order, CAPACITY_GROUP, bodies.capacity_group, list(zones), moved=moved)
    wanted = "" if moved else request.settings.get("capacity_reservation_group") or ""
    # A name that no group has yet is the one that ours gets.
    return replace(piece, spec={**piece.spec, "name": wanted.lower()}) if wanted and "/" not in wanted else piece


def _placement_group(request: Request, order: Order) -> Piece:
    subject = _subject(order, PLACEMENT_GROUP, "cluster")
    zone = zone_number(order.placement.zone)
    body = bodies.placement_group(order.placement.region, zone, _tags(request, order, subject))
    name = make_name(_NAME_LIMIT, PLACEMENT_GROUP, seed=f"{order.unique_run}/{subject}")
    return _piece(order, PLACEMENT_GROUP, subject, {"name": name, "body": body})


def _member(
    request: Request, order: Order, shape: Shape, groups: Sequence[GroupSettings], shapes: Mapping[str, Shape]
) -> Piece:
    sharing = [group for group in groups if shapes.get(group.name) == shape]
    serves = served(sharing)
    subject = _subject(order, RESERVATION, shape.label)
    zone = zone_number(order.placement.zone)
    tags = _tags(request, order, subject, serves["group"])
    body = bodies.member(order.placement.region, zone, shape.instance_type, serves["count"], tags)
    name = make_name(_NAME_LIMIT, shape.instance_type, zone, seed=token_of(order, subject))
    given = _given(order, shape.moved)
    spec: dict[str, Any] = {"name": name, "body": body}
    needs: tuple[Need, ...] = ()
    if given:
        spec["in"] = given
    else:
        group = _capacity_group(request, order, (), shape.moved)
        spec["parent"] = group.spec["name"]
        needs = (Need(CAPACITY_GROUP, group.subject),)
    return _piece(order, RESERVATION, subject, spec, **serves, needs=needs, instance_type=shape.instance_type)


def _machine(request: Request, order: Order, group: GroupSettings, shape: Shape | None, index: int) -> Piece:
    number = int(order.facts.get(first_fact(group.name), "0")) + index
    node = f"{group.name}-{number}"
    spot = ["spot"] if group.market == "spot" else []
    subject = _subject(order, NODE, "/".join([group.name, group.group.instance_type, *spot, str(number)]))
    existing = used(order, group)
    region = order.placement.region
    name = make_name(_NAME_LIMIT, group.name, str(number), seed=token_of(order, subject))
    body = bodies.machine(
        region,
        zone_number(order.placement.zone),
        name,
        node,
        group,
        user=(request.ssh.user if request.ssh else None) or "azureuser",
        tags={**_tags(request, order, subject, group.name, node), **group.azure.tags},
        custom_data=_encoded(group.group.user_data),
    )
    needs: list[Need] = []
    if not _subnet(request, order):
        needs.append(Need(NETWORK, _regional(order, NETWORK)))
    if group.group.placement_group:
        needs.append(Need(PLACEMENT_GROUP, _subject(order, PLACEMENT_GROUP, "cluster")))
    if shape is not None:
        needs.append(Need(RESERVATION, _subject(order, RESERVATION, shape.label)))
    capacity_group = ""
    if existing:
        member = ResourceId.parse(existing)
        capacity_group = str(replace(member, type=GROUPS, name=member.parent, parent=""))
    spec = {
        "name": name,
        "body": body,
        "subnet": group.azure.subnets.get(region, ""),
        "capacity_group": capacity_group,
        "public_key": order.facts.get(PUBLIC_KEY, ""),
    }
    return _piece(
        order,
        NODE,
        subject,
        spec,
        group=group.name,
        needs=tuple(needs),
        consumes=existing or None,
        instance_type=group.group.instance_type,
        market=group.market,
    )


def _encoded(user_data: str | None) -> str:
    return base64.b64encode(user_data.encode()).decode() if user_data else ""
