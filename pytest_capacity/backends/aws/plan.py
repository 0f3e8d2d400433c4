"""A topology in one placement, as rounds of EC2 calls. Pure: reads the order and the configuration, nothing else.

Rounds: the cluster placement group, where a group asks for one; the reservations, one a capacity shape; the nodes, one
RunInstances a group. The run's key pair, where one is made, goes side by side with what comes before the nodes. A
piece's ``spec`` is the call's parameters in the SDK's spelling, less the token and less what another piece has to exist
for; `create_parameters` puts these in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.backends.aws.session import format_time
from pytest_capacity.backends.aws.settings import GroupSettings, settings_of
from pytest_capacity.backends.aws.stamp import VALUE_LIMIT, as_specification, stamp_tags, tag_value
from pytest_capacity.backends.aws.userdata import user_data
from pytest_capacity.backends.aws.zones import DEFAULT_PLATFORM
from pytest_capacity.backends.tokens import fit, token
from pytest_capacity.model import Order, Piece, Request

NODE: Final = "node"
RESERVATION: Final = "reservation"
PLACEMENT_GROUP: Final = "placement-group"
KEY_PAIR: Final = "key-pair"

#: The fact of an order that holds the public key, as OpenSSH writes it, of the run's key pair.
PUBLIC_KEY: Final = "ssh-key"

#: Characters in the name of a placement group and of a key pair (API reference, CreatePlacementGroup, ImportKeyPair).
_NAME_LIMIT: Final = 255

_OPERATIONS: Final = {
    NODE: "run_instances",
    RESERVATION: "create_capacity_reservation",
    PLACEMENT_GROUP: "create_placement_group",
    KEY_PAIR: "import_key_pair",
}


class Shape(Struct, frozen=True, order=True):
    """What a reservation is for; nodes of one shape can share one."""

    instance_type: str
    platform: str
    tenancy: str
    placement_group: bool

    @property
    def label(self) -> str:
        """The type, and whatever is out of the ordinary: ``i4i.large``, ``i4i.large+Windows+cluster``."""
        platform = "" if self.platform == DEFAULT_PLATFORM else self.platform.replace(" ", "-").replace("/", "-")
        tenancy = "" if self.tenancy == "default" else self.tenancy
        cluster = "cluster" if self.placement_group else ""
        return "+".join(part for part in (self.instance_type, platform, tenancy, cluster) if part)


def plan_rounds(request: Request, order: Order) -> list[list[Piece]]:
    """The rounds of ``order``; empty ones are left out."""
    groups = [settings_of(request, group) for group in order.topology.groups]
    shapes = {group.name: _shape(order, group) for group in groups if _reserves(order, group)}
    clustered = [group for group in groups if group.group.placement_group and (order.launch or group.name in shapes)]
    rounds = [
        [_placement_group(request, order)] if clustered else [],
        [_reservation(request, order, shape, groups, shapes) for shape in sorted(set(shapes.values()))],
    ]
    before = [pieces for pieces in rounds if pieces]
    if not order.launch:
        return before
    if any(_takes_key_pair(order, group) for group in groups):
        # Nothing waits for it but the nodes, so it costs no round where there is one.
        before = [*before[:-1], [*(before[-1] if before else []), _key_pair(request, order)]]
    return [*before, [_nodes(order, group, shapes.get(group.name)) for group in groups]]


def create_parameters(piece: Piece) -> tuple[str, dict[str, Any]]:
    """The operation that makes ``piece`` and its parameters, with the token and the ids of what it needs."""
    parameters = dict(piece.spec)
    group = _input(piece, ":placement-group/")
    if piece.kind == RESERVATION:
        parameters["ClientToken"] = piece.token
        if group:
            parameters["PlacementGroupArn"] = group
    if piece.kind == NODE:
        parameters["ClientToken"] = piece.token
        if group:
            parameters["Placement"] = {**parameters["Placement"], "GroupName": group.rpartition("/")[2]}
        if reservation := _input(piece, "cr-"):
            parameters["CapacityReservationSpecification"] = _target(reservation)
    return _OPERATIONS[piece.kind], parameters


def _input(piece: Piece, mark: str) -> str | None:
    """The id among the inputs that bears ``mark``: ids of EC2 say themselves what they are of."""
    return next((id_ for id_ in piece.inputs.values() if mark in id_), None)


def _takes_key_pair(order: Order, group: GroupSettings) -> bool:
    return PUBLIC_KEY in order.facts and not group.aws.key_name


def _reserves(order: Order, group: GroupSettings) -> bool:
    return group.reserve and f"use/{group.name}" not in order.facts


def _shape(order: Order, group: GroupSettings) -> Shape:
    platform = order.facts.get(f"platform/{group.name}") or (
        DEFAULT_PLATFORM if group.aws.platform == "auto" else group.aws.platform
    )
    return Shape(group.group.instance_type, platform, group.aws.tenancy, group.group.placement_group)


def _subject(order: Order, kind: str, label: str) -> str:
    # Also the value of a tag: it comes back from there, so it must fit there.
    whole = f"{order.topology.name}/{order.attempt}/{order.placement.zone}/{kind}/{label}"
    return fit(tag_value(whole), VALUE_LIMIT)


def _piece(order: Order, kind: str, label: str, spec: Mapping[str, Any], **more: Any) -> Piece:
    subject = _subject(order, kind, label)
    region, zone = order.placement.region, order.placement.zone
    return Piece(
        kind=kind,
        subject=subject,
        region=region,
        zone=zone,
        token=token(order.unique_run, subject, region, zone, order.attempt),
        spec=spec,
        **more,
    )


def _tags(
    request_tags: Mapping[str, str], order: Order, kind: str, label: str, group: str | None = None
) -> dict[str, str]:
    return {**request_tags, **stamp_tags(order, _subject(order, kind, label), group)}


def _placement_group(request: Request, order: Order) -> Piece:
    tags = _tags(request.aws.tags, order, PLACEMENT_GROUP, "cluster")
    spec = {
        "GroupName": _name(order),
        "Strategy": "cluster",
        "TagSpecifications": as_specification(tags, "placement-group"),
    }
    return _piece(order, PLACEMENT_GROUP, "cluster", spec)


def _key_pair(request: Request, order: Order) -> Piece:
    """The run's own, one for all groups of the attempt. Only its public half goes to the cloud."""
    tags = _tags(request.aws.tags, order, KEY_PAIR, "run")
    spec = {
        "KeyName": _name(order),
        "PublicKeyMaterial": order.facts[PUBLIC_KEY],
        "TagSpecifications": as_specification(tags, "key-pair"),
    }
    return _piece(order, KEY_PAIR, "run", spec)


def _name(order: Order) -> str:
    """The name of what EC2 knows by name: no other run, topology or attempt has it."""
    parts = ("pytest-capacity", order.run, order.nonce, order.topology.name, str(order.attempt))
    return fit("-".join(filter(None, parts)).encode("ascii", "replace").decode().replace("?", "_"), _NAME_LIMIT)


def _reservation(
    request: Request, order: Order, shape: Shape, groups: Sequence[GroupSettings], shapes: Mapping[str, Shape]
) -> Piece:
    sharing = [group for group in groups if shapes.get(group.name) == shape]
    count = sum(group.group.count for group in sharing)
    owner = sharing[0].name if len(sharing) == 1 else None
    tags = _tags(request.aws.tags, order, RESERVATION, shape.label, owner)
    spec = {
        "InstanceType": shape.instance_type,
        "InstancePlatform": shape.platform,
        "AvailabilityZone": order.placement.zone,
        "Tenancy": shape.tenancy,
        "InstanceCount": count,
        "InstanceMatchCriteria": "targeted",
        "EndDateType": "limited",
        "EndDate": format_time(order.lease_end),
        "TagSpecifications": as_specification(tags, "capacity-reservation"),
    }
    needs = (_subject(order, PLACEMENT_GROUP, "cluster"),) if shape.placement_group else ()
    return _piece(order, RESERVATION, shape.label, spec, count=count, group=owner, needs=needs)


def _nodes(order: Order, group: GroupSettings, shape: Shape | None) -> Piece:
    name = group.name
    used = order.facts.get(f"use/{name}")
    kinds = ["instance", "volume"] + (["spot-instances-request"] if group.market == "spot" else [])
    tags = {"Name": tag_value(f"{name}-{order.run}")} | _tags(group.aws.tags, order, NODE, name, name)
    spec: dict[str, Any] = {
        "ImageId": order.facts.get(f"image/{name}") or group.image(order.placement.region) or "",
        "InstanceType": group.group.instance_type,
        "MinCount": group.group.count,
        "MaxCount": group.group.count,
        "Placement": {"AvailabilityZone": order.placement.zone, "Tenancy": group.aws.tenancy},
        "TagSpecifications": as_specification(tags, *kinds),
        **_network(order, group),
        **_market(group, used),
        **_ending(order, group),
        **_disks(order, group),
    }
    needs = [_subject(order, PLACEMENT_GROUP, "cluster")] if group.group.placement_group else []
    if group.aws.key_name:
        spec["KeyName"] = group.aws.key_name
    elif _takes_key_pair(order, group):
        # A launch takes the name, which we gave; the id that comes in as an input says that it is there.
        spec["KeyName"] = _name(order)
        needs.append(_subject(order, KEY_PAIR, "run"))
    if shape is not None:
        needs.append(_subject(order, RESERVATION, shape.label))
    return _piece(
        order,
        NODE,
        name,
        spec,
        count=group.group.count,
        group=name,
        needs=tuple(needs),
        consumes=used if used and used.startswith("cr-") else None,
    )


def _market(group: GroupSettings, used: str | None) -> dict[str, Any]:
    """Spot says so and nothing of reservations, which it cannot use; others are aimed at one, or kept off all."""
    if group.market == "spot":
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}
    if used:
        return {"CapacityReservationSpecification": _target(used)}
    # A launch that says nothing may sit down in anybody's open reservation.
    return {"CapacityReservationSpecification": {"CapacityReservationPreference": "none"}}


def _target(reservation: str) -> dict[str, Any]:
    """Aimed at an id or a resource group's ARN; EC2 refuses a preference beside a target."""
    key = "CapacityReservationId" if reservation.startswith("cr-") else "CapacityReservationResourceGroupArn"
    return {"CapacityReservationTarget": {key: reservation}}


def _network(order: Order, group: GroupSettings) -> dict[str, Any]:
    """One interface that says whether it has a public address: a default subnet gives one to whoever says nothing."""
    subnet = order.facts.get(f"subnet/{group.name}") or group.aws.subnets.get(order.placement.zone)
    security = list(group.aws.security_groups)
    # Where interfaces are given, EC2 wants subnet and security groups there too (API reference, RunInstances).
    interface: dict[str, Any] = {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": group.aws.public_ip,
        "DeleteOnTermination": True,
    }
    if subnet:
        interface["SubnetId"] = subnet
    if security:
        interface["Groups"] = security
    return {"NetworkInterfaces": [interface]}


def _disks(order: Order, group: GroupSettings) -> dict[str, Any]:
    """Every disk of the image goes with its machine, whatever the image says: one that stays would bill for ever."""
    lasting = order.facts.get(f"lasting/{group.name}", "").split()
    mappings = [{"DeviceName": device, "Ebs": {"DeleteOnTermination": True}} for device in lasting]
    return {"BlockDeviceMappings": mappings} if mappings else {}


def _ending(order: Order, group: GroupSettings) -> dict[str, Any]:
    """How the machine ends itself at the hard end though nobody is left to end it."""
    ending: dict[str, Any] = {}
    # An instance-store machine cannot stop, so EC2 refuses to be told; shutting down ends it anyway.
    if order.facts.get(f"root/{group.name}") != "instance-store":
        ending["InstanceInitiatedShutdownBehavior"] = "terminate"
    hard_end = order.hard_end if group.aws.self_terminate else None
    if data := user_data(group.group, order.facts.get(f"platform/{group.name}", ""), hard_end):
        ending["UserData"] = data
    return ending
