"""A topology in one placement, as rounds of OCI calls. Pure: reads the order and the configuration, nothing else.

One capacity reservation an availability domain, with one configuration a shape (and its OCPUs, memory and fault
domain), serves all groups that are reserved, unless groups may fall back to other types; each node is one launch.
Groups with ``placement_group: true`` that name no cluster placement group have one that is made for them; the
reservation, whose configurations name it, comes after it. Where no subnet is named, a network is
made for the run: the VCN, side by side with the reservation; its gateway and security list; the route table; the
subnet. A piece's ``spec`` is the body of its call in Oracle's names, less what another piece has to exist for;
`create_body` puts that in.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pytest_capacity.backends.groups import has_moved, served, used
from pytest_capacity.backends.oci.forms import split_zone
from pytest_capacity.backends.oci.kinds import CLUSTER, GATEWAY, NETWORK, NODE, RESERVATION, ROUTES, SECURITY, SUBNET
from pytest_capacity.backends.oci.settings import GroupSettings, OciSettings, section_of, settings_of
from pytest_capacity.backends.oci.stamp import stamp_tags, tag_value
from pytest_capacity.backends.pieces import (
    PUBLIC_KEY,
    first_fact,
    in_first_zone,
    make_piece,
    places,
    subject_of,
    token_of,
)
from pytest_capacity.backends.tokens import fit
from pytest_capacity.model import Need, Order, Piece, Request, Subject

#: In a body, where the OCID of the cluster placement group goes that is made for the run.
OWN_CLUSTER: Final = "made-for-the-run"

_CLUSTER_LABEL: Final = "cluster"

#: Characters in a display name (API reference, LaunchInstanceDetails).
_NAME_LIMIT: Final = 255
#: Of a cluster placement group no limit is documented; this one fits where a display name does.
_GROUP_NAME_LIMIT: Final = 100
_ANYWHERE: Final = "0.0.0.0/0"
_TCP: Final = "6"
_SSH_PORT: Final = 22


class Shape(Struct, frozen=True, order=True):
    """What one configuration of a reservation is for; nodes of one shape share it."""

    instance_type: str
    ocpus: float
    memory_gb: float
    #: The OCID of a cluster placement group; `OWN_CLUSTER`: that of the run; empty: none.
    cluster: str = ""

    @property
    def label(self) -> str:
        """Return the shape, its size if it is flexible (``VM.Standard.E4.Flex-4-64``), and whether it is in a group."""
        cluster = ["cluster"] if self.cluster else []
        return "-".join([self.instance_type, *(f"{value:g}" for value in self.config.values()), *cluster])

    @property
    def config(self) -> dict[str, float]:
        """Return it as ``instanceShapeConfig`` has it; empty for a fixed shape."""
        given = {"ocpus": self.ocpus, "memoryInGBs": self.memory_gb}
        return {key: value for key, value in given.items() if value}


def plan_rounds(request: Request, order: Order) -> list[list[Piece]]:
    """Return the rounds of ``order``, of all its zones side by side; empty ones are left out."""
    clusters: list[Piece] = []
    reservations: list[Piece] = []
    nodes: list[Piece] = []
    makes_network = False
    for place in places(order):
        groups = [settings_of(request, group) for group in place.topology.groups]
        reserved = [group for group in groups if group.reserve and not used(place, group)]
        reservations += _reservations(request, place, reserved)
        members = [group for group in groups if cluster_of(group) == OWN_CLUSTER]
        if any(order.launch or group in reserved for group in members):
            clusters.append(_cluster(request, place, members))
        if order.launch:
            nodes += [piece for group in groups for piece in _nodes(request, order, place, group, reserved)]
            makes_network = makes_network or any(not _subnet(place, group) for group in groups)
    network = _network(request, order) if makes_network else []
    later = [piece for piece in reservations if piece.needs]
    beside = [[*clusters, *(piece for piece in reservations if not piece.needs)], later]
    rounds = [[*some, *more] for some, more in zip_longest(network, beside, fillvalue=())]
    return [pieces for pieces in (*rounds, nodes) if pieces]


def create_body(piece: Piece, compartment: str) -> dict[str, Any]:
    """Return the body of the call that makes ``piece``, with the ids of what it needs.

    ``compartment`` is for where the user names none: the root compartment, which only the credentials have.
    """
    body = {**piece.spec, "compartmentId": piece.spec["compartmentId"] or compartment}
    inputs = piece.inputs
    if cluster := inputs.get(CLUSTER):
        body = _with_cluster(body, cluster)
    if piece.kind == NODE:
        if reservation := inputs.get(RESERVATION):
            body["capacityReservationId"] = reservation
        if subnet := inputs.get(SUBNET):
            body["createVnicDetails"] = {**body["createVnicDetails"], "subnetId": subnet}
    elif piece.kind == ROUTES:
        everything = {"destination": _ANYWHERE, "destinationType": "CIDR_BLOCK", "networkEntityId": inputs[GATEWAY]}
        body |= {"vcnId": inputs[NETWORK], "routeRules": [everything]}
    elif piece.kind == SUBNET:
        body |= {"vcnId": inputs[NETWORK], "securityListIds": [inputs[SECURITY]]}
        if routes := inputs.get(ROUTES):
            body["routeTableId"] = routes
    elif NETWORK in inputs:
        body["vcnId"] = inputs[NETWORK]
    return body


def _with_cluster(body: Mapping[str, Any], cluster: str) -> dict[str, Any]:
    """Return a body with the OCID of the run's cluster placement group, also in the configurations of a reservation."""
    filled = dict(body)
    if filled.get("clusterPlacementGroupId") == OWN_CLUSTER:
        filled["clusterPlacementGroupId"] = cluster
    if configs := filled.get("instanceReservationConfigs"):
        filled["instanceReservationConfigs"] = [_with_cluster(config, cluster) for config in configs]
    return filled


def _shape(group: GroupSettings) -> Shape:
    config = group.shape_config(group.group.instance_type)
    return Shape(group.group.instance_type, config.get("ocpus", 0.0), config.get("memoryInGBs", 0.0), cluster_of(group))


def cluster_of(group: GroupSettings) -> str:
    """Return the cluster placement group of a group: an OCID that the user named, `OWN_CLUSTER`, or none (empty)."""
    if not group.group.placement_group:
        return ""
    return group.oci.cluster_placement_group or OWN_CLUSTER


def _subject(order: Order, kind: str, label: str) -> str:
    # Also the value of a tag: it comes back from there, so it must fit there.
    return tag_value(subject_of(order, kind, label))


def _common(order: Order, own: OciSettings, subject: str, name: str, group: str | None = None) -> dict[str, Any]:
    """Return what the body of every create call has: compartment, name, tags."""
    body: dict[str, Any] = {
        "compartmentId": own.compartment or "",
        "displayName": fit(name, _NAME_LIMIT),
        "freeformTags": {**own.tags, **stamp_tags(order, subject, group)},
    }
    if own.defined_tags:
        body["definedTags"] = {space: dict(tags) for space, tags in own.defined_tags.items()}
    return body


def _reservation_label(request: Request, order: Order, group: GroupSettings) -> str:
    """Return the reservation of the domain that a group is in: that of all groups, unless another is safer.

    What stands for others is not made larger for a group that has moved to another type: it has a separate one. And
    where groups have other types to fall back to, each shape has its own, for a refusal does not show which
    configuration of a reservation it was for. The same holds where one shape is wanted in two sizes: a change of its
    count does not show which.
    """
    shape = _shape(group)
    if has_moved(request, order, group):
        return f"{shape.label}/{group.name}"
    topology = request.topologies.get(order.topology.name)
    groups = topology.groups if topology else ()
    if request.fallback.instance_types and any(one.alternatives for one in groups):
        return shape.label
    sizes = {_shape(one) for one in (settings_of(request, group) for group in groups) if one.reserve}
    return shape.label if any(one != shape and one.instance_type == shape.instance_type for one in sizes) else "all"


def _reservations(request: Request, order: Order, reserved: Sequence[GroupSettings]) -> list[Piece]:
    by_label: dict[str, list[GroupSettings]] = {}
    for group in reserved:
        by_label.setdefault(_reservation_label(request, order, group), []).append(group)
    return [_reservation(request, order, label, groups) for label, groups in sorted(by_label.items())]


def _reservation(request: Request, order: Order, label: str, groups: Sequence[GroupSettings]) -> Piece:
    domain, fault_domain = split_zone(order.placement.zone)
    counts: dict[Shape, int] = {}
    for group in groups:
        counts[_shape(group)] = counts.get(_shape(group), 0) + group.group.count
    own = section_of(request)
    subject = _subject(order, RESERVATION, label)
    serves = served(groups)
    spec = {
        **_common(order, own, subject, f"{order.run}-{order.topology.name}", serves["group"]),
        "availabilityDomain": domain,
        # A default reservation takes in every launch of the compartment that fits: other people's, too.
        "isDefaultReservation": False,
        "instanceReservationConfigs": [_config(shape, count, fault_domain) for shape, count in sorted(counts.items())],
    }
    clustered = any(shape.cluster == OWN_CLUSTER for shape in counts)
    return make_piece(
        order,
        RESERVATION,
        subject,
        spec,
        **serves,
        instance_type="" if len(counts) > 1 else groups[0].group.instance_type,
        needs=(_cluster_need(order),) if clustered else (),
    )


def config_of(group: GroupSettings, count: int, fault_domain: str) -> dict[str, Any]:
    """Return the configuration of a reservation for ``count`` nodes of a group."""
    return _config(_shape(group), count, fault_domain)


def _config(shape: Shape, count: int, fault_domain: str) -> dict[str, Any]:
    """Return one configuration of a reservation. One without fault domain serves only launches that name none."""
    config: dict[str, Any] = {"instanceShape": shape.instance_type, "reservedCount": count}
    if shape.config:
        config["instanceShapeConfig"] = shape.config
    if fault_domain:
        config["faultDomain"] = fault_domain
    if shape.cluster:
        config["clusterPlacementGroupId"] = shape.cluster
    return config


def _cluster_need(order: Order) -> Need:
    return Need(CLUSTER, _subject(order, CLUSTER, _CLUSTER_LABEL))


def cluster_beside(subject: str) -> str:
    """Return the subject of the cluster placement group in which the thing of ``subject`` is."""
    return tag_value(str(replace(Subject.parse(subject), kind=CLUSTER, label=_CLUSTER_LABEL)))


def _cluster(request: Request, order: Order, members: Sequence[GroupSettings]) -> Piece:
    """Return the cluster placement group of a placement, for all groups that are to have one and name none."""
    own, subject = section_of(request), _cluster_need(order).subject
    common = _common(order, own, subject, "")
    del common["displayName"]
    mark = token_of(order, subject)[-8:]
    spec = {
        **common,
        # Two groups of one name would differ by OCID alone, so each attempt's has a different name.
        "name": f"{fit(f'{order.run}-{order.topology.name}', _GROUP_NAME_LIMIT)}-{mark}",
        "description": fit(f"Made by pytest-capacity for {order.run}", _NAME_LIMIT),
        "clusterPlacementGroupType": "STANDARD",
        "availabilityDomain": split_zone(order.placement.zone)[0],
    }
    return make_piece(order, CLUSTER, subject, spec, groups=tuple(group.name for group in members))


def _nodes(
    request: Request, order: Order, place: Order, group: GroupSettings, reserved: Sequence[GroupSettings]
) -> list[Piece]:
    """Return the launches of one group: one for each node, each with its own token."""
    first = int(place.facts.get(first_fact(group.name), "0"))
    needs: list[Need] = []
    if group in reserved:
        label = _reservation_label(request, place, group)
        needs.append(Need(RESERVATION, _subject(place, RESERVATION, label)))
    if not _subnet(place, group):
        needs.append(Need(SUBNET, _network_subject(order, SUBNET)))
    if cluster_of(group) == OWN_CLUSTER:
        needs.append(_cluster_need(place))
    return [_node(place, group, number, tuple(needs)) for number in range(first, first + group.group.count)]


def _node(order: Order, group: GroupSettings, number: int, needs: tuple[Need, ...]) -> Piece:
    domain, fault_domain = split_zone(order.placement.zone)
    shape, existing = group.group.instance_type, used(order, group)
    spot = ["spot"] if group.market == "spot" else []
    subject = _subject(order, NODE, "/".join([group.name, shape, *spot, str(number)]))
    spec: dict[str, Any] = {
        **_common(order, group.oci, subject, f"{group.name}-{number}-{order.run}", group.name),
        "availabilityDomain": domain,
        "shape": shape,
        "sourceDetails": _source(order, group),
        "createVnicDetails": _card(order, group),
        # The empty text keeps a launch off every default reservation: those are other people's.
        "capacityReservationId": existing,
    }
    if config := group.shape_config(shape):
        spec["shapeConfig"] = config
    if fault_domain:
        spec["faultDomain"] = fault_domain
    if cluster := cluster_of(group):
        spec["clusterPlacementGroupId"] = cluster
    if group.market == "spot":
        action = {"type": "TERMINATE", "preserveBootVolume": False}
        spec["preemptibleInstanceConfig"] = {"preemptionAction": action}
    if metadata := _metadata(order, group):
        spec["metadata"] = metadata
    return make_piece(
        order,
        NODE,
        subject,
        spec,
        group=group.name,
        instance_type=shape,
        market=group.market,
        needs=needs,
        consumes=existing or None,
    )


def _source(order: Order, group: GroupSettings) -> dict[str, Any]:
    given = group.image(order.placement.region)
    known = order.facts.get(image_fact(group.name, group.group.instance_type))
    source: dict[str, Any] = {
        "sourceType": "image",
        "imageId": known or (given if isinstance(given, str) else ""),
    }
    if group.oci.boot_volume_gb:
        source["bootVolumeSizeInGBs"] = group.oci.boot_volume_gb
    return source


def image_fact(group: str, shape: str) -> str:
    """Return the fact of an offer that names the image from which a group's nodes of that shape start."""
    return f"image/{group}/{shape}"


def _card(order: Order, group: GroupSettings) -> dict[str, Any]:
    card: dict[str, Any] = {"assignPublicIp": group.oci.public_ip}
    if subnet := _subnet(order, group):
        card["subnetId"] = subnet
    if groups := group.oci.network_security_groups.get(order.placement.region):
        card["nsgIds"] = list(groups)
    return card


def _metadata(order: Order, group: GroupSettings) -> dict[str, str]:
    """Return what cloud-init reads: the run's public key, and the user's own user data, in base64."""
    metadata: dict[str, str] = {}
    if key := order.facts.get(PUBLIC_KEY):
        metadata["ssh_authorized_keys"] = key
    if group.group.user_data:
        metadata["user_data"] = base64.b64encode(group.group.user_data.encode()).decode()
    return metadata


def _subnet(order: Order, group: GroupSettings) -> str:
    """Return the subnet that the user named for the zone or its region; empty where a network is made."""
    domain, _ = split_zone(order.placement.zone)
    named = group.oci.subnets
    spellings = (domain, domain.partition(":")[2], order.placement.region)
    return next((named[one] for one in spellings if one in named), "")


def _network_subject(order: Order, kind: str) -> str:
    return _subject(in_first_zone(order), kind, "run")


def _network(request: Request, order: Order) -> list[list[Piece]]:
    """Return a network of the run, with a route to the Internet where nodes have public addresses."""
    own = section_of(request)
    vcn = Need(NETWORK, _network_subject(order, NETWORK))
    gateway = Need(GATEWAY, _network_subject(order, GATEWAY))
    routes = Need(ROUTES, _network_subject(order, ROUTES))
    security = Need(SECURITY, _network_subject(order, SECURITY))
    subnet = Need(SUBNET, _network_subject(order, SUBNET))

    def piece(this: Need, spec: Mapping[str, Any], *needs: Need) -> Piece:
        body = {**_common(order, own, this.subject, f"{order.run}-{order.topology.name}"), **spec}
        return make_piece(order, this.kind, this.subject, body, needs=needs)

    network = piece(vcn, {"cidrBlocks": [own.network_cidr]})
    rules = piece(security, _security_rules(own), vcn)
    prohibited = {"prohibitPublicIpOnVnic": not own.public_ip, "cidrBlock": own.network_cidr}
    if not own.public_ip:
        return [[network], [rules], [piece(subnet, prohibited, vcn, security)]]
    return [
        [network],
        [piece(gateway, {"isEnabled": True}, vcn), rules],
        [piece(routes, {}, vcn, gateway)],
        [piece(subnet, prohibited, vcn, security, routes)],
    ]


def _security_rules(own: OciSettings) -> dict[str, Any]:
    """Return rules by which nodes reach each other on every port, and the user's addresses reach them by SSH."""
    ssh = {"min": _SSH_PORT, "max": _SSH_PORT}
    outside = [
        {"protocol": _TCP, "source": source, "tcpOptions": {"destinationPortRange": ssh}} for source in own.ssh_sources
    ]
    return {
        "ingressSecurityRules": [{"protocol": "all", "source": own.network_cidr}, *outside],
        "egressSecurityRules": [{"protocol": "all", "destination": _ANYWHERE}],
    }
