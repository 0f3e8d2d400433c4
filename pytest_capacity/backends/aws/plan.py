"""A topology in one placement, as rounds of EC2 calls. Pure: reads the order and the configuration, nothing else.

Rounds: the cluster placement group, where a group asks for one; the reservations, one a capacity shape; the nodes, one
RunInstances a group. The run's key pair, where one is made, goes side by side with what comes before the nodes. A
piece's ``spec`` is the call's parameters in the SDK's spelling, less the token and less what another piece has to exist
for; `create_parameters` puts these in.

Orders of one series that choose the same for a group name its pieces alike, and those that choose another type or
market do not: so the second knows what stands of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.aws.launch_options import disk_mappings, launch_parameters
from pytest_capacity.backends.aws.settings import CLUSTER, DEFAULT_PLATFORM, GroupSettings, section_of, settings_of
from pytest_capacity.backends.aws.stamp import as_specification, tag_value
from pytest_capacity.backends.aws.userdata import user_data
from pytest_capacity.backends.groups import has_moved, served, used
from pytest_capacity.backends.pieces import PUBLIC_KEY, first_fact, in_first_zone, make_piece, places, subject_of
from pytest_capacity.backends.stamp import stamp_tags
from pytest_capacity.backends.times import format_time
from pytest_capacity.backends.tokens import fit
from pytest_capacity.errors import Refused
from pytest_capacity.model import Need, Order, Piece, Request

NODE: Final = "node"
RESERVATION: Final = "reservation"
PLACEMENT_GROUP: Final = "placement-group"
KEY_PAIR: Final = "key-pair"

#: In the subject of nodes of a spread group: the number with which their names begin.
FROM: Final = "from-"

#: Characters in the name of a placement group and of a key pair (API reference, CreatePlacementGroup, ImportKeyPair).
_NAME_LIMIT: Final = 255

_OPERATIONS: Final = {
    NODE: "run_instances",
    RESERVATION: "create_capacity_reservation",
    PLACEMENT_GROUP: "create_placement_group",
    KEY_PAIR: "import_key_pair",
}


#: The cluster placement group that is made for the run.
OWN_CLUSTER: Final = "cluster"


class Shape(Struct, frozen=True, order=True):
    """What a reservation is for; nodes of one shape can share one."""

    instance_type: str
    platform: str
    tenancy: str
    #: The cluster placement group: `OWN_CLUSTER`, the ARN of the user's, or none.
    cluster: str
    #: The group, where it has moved to this type or market: what stands for others by then is not made larger for it.
    moved: str = ""

    @property
    def label(self) -> str:
        """The type, and whatever is out of the ordinary: ``i4i.large``, ``i4i.large+Windows+cluster``, ``.../db``."""
        platform = "" if self.platform == DEFAULT_PLATFORM else self.platform.replace(" ", "-").replace("/", "-")
        tenancy = "" if self.tenancy == "default" else self.tenancy
        cluster = self.cluster if self.cluster in ("", OWN_CLUSTER) else f"{OWN_CLUSTER}={group_name(self.cluster)}"
        shape = "+".join(part for part in (self.instance_type, platform, tenancy, cluster) if part)
        return f"{shape}/{self.moved}" if self.moved else shape


def plan_rounds(request: Request, order: Order) -> list[list[Piece]]:
    """Return the rounds of ``order``, of all its zones side by side; empty ones are left out."""
    clusters: list[Piece] = []
    reservations: list[Piece] = []
    nodes: list[Piece] = []
    with_key = False
    for one in places(order):
        groups = [settings_of(request, group) for group in one.topology.groups]
        place = _with_cluster_in_use(one, groups)
        shapes = {group.name: _shape(request, place, group) for group in groups if _reserves(place, group)}
        needing = [group for group in groups if order.launch or group.name in shapes]
        if OWN_CLUSTER in {_cluster(place, group) for group in needing}:
            clusters.append(_placement_group(request, place))
        reservations += [_reservation(request, place, shape, groups, shapes) for shape in sorted(set(shapes.values()))]
        if order.launch:
            nodes += [_nodes(place, group, shapes.get(group.name)) for group in groups]
            with_key = with_key or any(_takes_key_pair(place, group) for group in groups)
    before = [pieces for pieces in (clusters, reservations) if pieces]
    if with_key:
        # Nothing waits for it but the nodes, so it costs no round where there is one.
        before = [*before[:-1], [*(before[-1] if before else []), _key_pair(request, order)]]
    return [*before, nodes] if nodes else before


def create_parameters(piece: Piece) -> tuple[str, dict[str, Any]]:
    """Return the operation that makes ``piece`` and its parameters, with the token and the ids of what it needs."""
    parameters = dict(piece.spec)
    group = piece.inputs.get(PLACEMENT_GROUP)
    if piece.kind == RESERVATION:
        parameters["ClientToken"] = piece.token
        if group:
            parameters["PlacementGroupArn"] = group
    if piece.kind == NODE:
        parameters["ClientToken"] = piece.token
        if group:
            parameters["Placement"] = {**parameters["Placement"], "GroupName": group_name(group)}
        if reservation := piece.inputs.get(RESERVATION):
            parameters["CapacityReservationSpecification"] = aimed_at(reservation)
    return _OPERATIONS[piece.kind], parameters


def group_name(identifier: str) -> str:
    """Return the name in the id of a placement group: its ARN (``arn:aws:ec2:REGION:ACCOUNT:placement-group/NAME``)."""
    return identifier.partition(":placement-group/")[2]


def _takes_key_pair(order: Order, group: GroupSettings) -> bool:
    return PUBLIC_KEY in order.facts and not group.aws.key_name


def _reserves(order: Order, group: GroupSettings) -> bool:
    # A capacity reservation cannot be used on a dedicated host, which is capacity of the account's own.
    return group.reserve and not group.aws.host_id and not used(order, group)


def _cluster(order: Order, group: GroupSettings) -> str:
    """Return in which cluster placement group the group is: `OWN_CLUSTER`, the ARN of the user's, or "" for none.

    All groups that ask for one are in the same. Where a reservation of the user's serves one of them, that is the one
    in which the reservation lies: EC2 lets nodes use it in no other.
    """
    if not group.group.placement_group:
        return ""
    return order.facts.get(CLUSTER, OWN_CLUSTER)


def _with_cluster_in_use(order: Order, groups: Sequence[GroupSettings]) -> Order:
    """Return ``order`` without the user's cluster group where no group uses the reservation in it as it is now."""
    in_use = any(group.group.placement_group and used(order, group) for group in groups)
    facts = {key: value for key, value in order.facts.items() if in_use or key != CLUSTER}
    return replace(order, facts=facts)


def _shape(request: Request, order: Order, group: GroupSettings) -> Shape:
    platform = order.facts.get(f"platform/{group.name}") or (
        DEFAULT_PLATFORM if group.aws.platform == "auto" else group.aws.platform
    )
    moved = group.name if has_moved(request, order, group) else ""
    return Shape(group.group.instance_type, platform, group.aws.tenancy, _cluster(order, group), moved)


def _subject(order: Order, kind: str, label: str) -> str:
    # Also the value of a tag: it comes back from there, so it must fit there.
    return tag_value(subject_of(order, kind, label))


def _key_pair_subject(order: Order) -> str:
    return _subject(in_first_zone(order), KEY_PAIR, "run")


def _tags(own: Mapping[str, str], order: Order, subject: str, group: str | None = None) -> dict[str, str]:
    return {**own, **stamp_tags(order, subject, tag_value, "aws", group)}


def _placement_group(request: Request, order: Order) -> Piece:
    subject = _subject(order, PLACEMENT_GROUP, "cluster")
    tags = _tags(section_of(request).tags, order, subject)
    spec = {
        # A cluster lies in one zone, and its name is one of the region.
        "GroupName": _name(order, order.placement.zone),
        "Strategy": "cluster",
        "TagSpecifications": as_specification(tags, "placement-group"),
    }
    return make_piece(order, PLACEMENT_GROUP, subject, spec)


def _key_pair(request: Request, order: Order) -> Piece:
    """Return the run's own, one for all groups of the series. Only its public half goes to the cloud."""
    subject = _key_pair_subject(order)
    tags = _tags(section_of(request).tags, order, subject)
    spec = {
        "KeyName": _name(order),
        "PublicKeyMaterial": order.facts[PUBLIC_KEY],
        "TagSpecifications": as_specification(tags, "key-pair"),
    }
    return make_piece(order, KEY_PAIR, subject, spec)


def _name(order: Order, *more: str) -> str:
    """Return the name of what EC2 knows by name: no other run, topology or series has it."""
    parts = ("pytest-capacity", order.run, order.nonce, order.topology.name, str(order.series or order.attempt), *more)
    return fit("-".join(filter(None, parts)).encode("ascii", "replace").decode().replace("?", "_"), _NAME_LIMIT)


def _reservation(
    request: Request, order: Order, shape: Shape, groups: Sequence[GroupSettings], shapes: Mapping[str, Shape]
) -> Piece:
    sharing = [group for group in groups if shapes.get(group.name) == shape]
    serves = served(sharing)
    subject = _subject(order, RESERVATION, shape.label)
    tags = _tags(section_of(request).tags, order, subject, serves["group"])
    spec: dict[str, Any] = {
        "InstanceType": shape.instance_type,
        "InstancePlatform": shape.platform,
        "AvailabilityZone": order.placement.zone,
        "Tenancy": shape.tenancy,
        "InstanceCount": serves["count"],
        "InstanceMatchCriteria": "targeted",
        "EndDateType": "limited",
        "EndDate": format_time(order.lease_end),
        "TagSpecifications": as_specification(tags, "capacity-reservation"),
    }
    needs = (_cluster_need(order),) if shape.cluster == OWN_CLUSTER else ()
    if shape.cluster not in ("", OWN_CLUSTER):
        spec["PlacementGroupArn"] = shape.cluster
    return make_piece(order, RESERVATION, subject, spec, **serves, instance_type=shape.instance_type, needs=needs)


def _cluster_need(order: Order) -> Need:
    return Need(PLACEMENT_GROUP, _subject(order, PLACEMENT_GROUP, "cluster"))


def _nodes(order: Order, group: GroupSettings, shape: Shape | None) -> Piece:
    name = group.name
    subject = _subject(order, NODE, _node_label(order, group))
    existing = used(order, group)
    kinds = ["instance", "volume", "network-interface"] + (["spot-instances-request"] if group.market == "spot" else [])
    tags = {"Name": tag_value(f"{name}-{order.run}")} | _tags(group.aws.tags, order, subject, name)
    spec: dict[str, Any] = {
        "ImageId": _image(order, group),
        "InstanceType": group.group.instance_type,
        "MinCount": group.group.count,
        "MaxCount": group.group.count,
        "Placement": _placement(order, group),
        "TagSpecifications": as_specification(tags, *kinds),
        **_network(order, group),
        **_market(group, existing),
        **_ending(order, group),
        **_disks(order, group),
        **launch_parameters(group.aws),
    }
    needs = [_cluster_need(order)] if _cluster(order, group) == OWN_CLUSTER else []
    if group.aws.key_name:
        spec["KeyName"] = group.aws.key_name
    elif _takes_key_pair(order, group):
        # A launch takes the name, which we gave; the id that comes in as an input says that it is there.
        spec["KeyName"] = _name(order)
        needs.append(Need(KEY_PAIR, _key_pair_subject(order)))
    if shape is not None:
        needs.append(Need(RESERVATION, _subject(order, RESERVATION, shape.label)))
    return make_piece(
        order,
        NODE,
        subject,
        spec,
        count=group.group.count,
        group=name,
        instance_type=group.group.instance_type,
        market=group.market,
        needs=tuple(needs),
        consumes=existing if existing.startswith("cr-") else None,
    )


def _image(order: Order, group: GroupSettings) -> str:
    known, given = order.facts.get(f"image/{group.name}"), group.image(order.placement.region)
    return known or (given if isinstance(given, str) else "")


def _node_label(order: Order, group: GroupSettings) -> str:
    """Return ``db/i4i.large``, ``db/i4i.large/spot``; and the first number, where others are before them.

    Nodes in a cluster group of the user's are told from those in one of ours, which an attempt before may have made.
    """
    first = order.facts.get(first_fact(group.name))
    cluster = _cluster(order, group)
    parts = [
        "spot" if group.market == "spot" else "",
        f"in-{group_name(cluster)}" if cluster not in ("", OWN_CLUSTER) else "",
        f"{FROM}{first}" if first else "",
    ]
    return "/".join([group.name, group.group.instance_type, *filter(None, parts)])


def _market(group: GroupSettings, used: str) -> dict[str, Any]:
    """Return spot, and nothing of reservations, which it cannot use; others are aimed at one, or kept off all."""
    if group.market == "spot":
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}
    return {"CapacityReservationSpecification": aimed_at(used)}


def aimed_at(reservation: str) -> dict[str, Any]:
    """Return the CapacityReservationSpecification of a node in a reservation (its id, or a resource group's ARN).

    Of "", that of a node that takes no seat: a launch that says nothing may take a place in another team's open
    reservation. EC2 refuses a preference beside a target.
    """
    if not reservation:
        return {"CapacityReservationPreference": "none"}
    key = "CapacityReservationId" if reservation.startswith("cr-") else "CapacityReservationResourceGroupArn"
    return {"CapacityReservationTarget": {key: reservation}}


def _network(order: Order, group: GroupSettings) -> dict[str, Any]:
    """Return one interface that says whether it has a public address: a default subnet gives one otherwise."""
    subnet = order.facts.get(f"subnet/{group.name}") or group.aws.subnets.get(order.placement.zone)
    known = order.facts.get(f"security-groups/{group.name}", "").split()
    security = known or list(group.security_groups(order.placement.region))
    # Where interfaces are given, EC2 wants subnet and security groups there too (API reference, RunInstances).
    interface: dict[str, Any] = {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": group.aws.public_ip,
        "DeleteOnTermination": True,
    }
    if group.aws.ipv6:
        interface["Ipv6AddressCount"] = 1
    if subnet:
        interface["SubnetId"] = subnet
    if security:
        interface["Groups"] = security
    return {"NetworkInterfaces": [interface]}


def _disks(order: Order, group: GroupSettings) -> dict[str, Any]:
    """Return the disks, which go with their machine, whatever the image says: one that stays would bill for ever."""
    root = order.facts.get(f"root-device/{group.name}", "")
    if group.aws.root_volume and not root:
        raise Refused(
            f"aws.root_volume is given for group {group.name!r}, and which device its image starts from could not be "
            "read. Allow ec2:DescribeImages, or remove root_volume"
        )
    lasting = order.facts.get(f"lasting/{group.name}", "").split()
    mappings = disk_mappings(group.aws, root, lasting)
    return {"BlockDeviceMappings": mappings} if mappings else {}


def _placement(order: Order, group: GroupSettings) -> dict[str, Any]:
    placement = {"AvailabilityZone": order.placement.zone, "Tenancy": group.aws.tenancy}
    cluster = _cluster(order, group)
    if cluster not in ("", OWN_CLUSTER):
        return {**placement, "GroupName": group_name(cluster)}
    if host := group.aws.host_id:
        return {**placement, "Tenancy": "host", "HostId": host}
    return placement


def _ending(order: Order, group: GroupSettings) -> dict[str, Any]:
    """Return how the machine ends itself at the hard end, without a keeper."""
    ending: dict[str, Any] = {}
    # An instance-store machine cannot stop, so EC2 refuses the setting; shutting down ends it anyway.
    if order.facts.get(f"root/{group.name}") != "instance-store":
        ending["InstanceInitiatedShutdownBehavior"] = "terminate"
    hard_end = order.hard_end if group.aws.self_terminate else None
    if data := user_data(group.group, order.facts.get(f"platform/{group.name}", ""), hard_end):
        ending["UserData"] = data
    return ending
