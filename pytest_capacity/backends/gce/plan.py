"""A topology in one placement, as rounds of calls. Pure: reads the order and the configuration, nothing else.

Rounds: the placement policies, where a group asks for one; the reservations, one a zone and capacity shape; the
machines, one call a group. A piece's ``spec`` is the call's body in the API's words, less what another piece has to
exist for; `create_call` puts that in, and the token.

Things of Compute Engine have names that we give, so what a call makes is known before it is made: a call whose answer
was lost is found again by them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.backends.gce import stamp
from pytest_capacity.backends.gce.settings import (
    DEFAULT_USER,
    LOCAL_SSD_GB,
    GceSettings,
    GroupSettings,
    network_link,
    section_of,
    settings_of,
)
from pytest_capacity.backends.gce.userdata import metadata_of
from pytest_capacity.backends.gce.values import without_host
from pytest_capacity.backends.groups import has_moved, served, used
from pytest_capacity.backends.pieces import PUBLIC_KEY, first_fact, make_piece, places, subject_of, token_of
from pytest_capacity.backends.times import format_time
from pytest_capacity.model import Need, Order, Piece, Request

NODE: Final = "node"
RESERVATION: Final = "reservation"
POLICY: Final = "placement-policy"
DISK: Final = "disk"

#: How a machine names the reservation that it wants (API reference, ReservationAffinity).
AFFINITY_KEY: Final = "compute.googleapis.com/reservation-name"

#: What the summary says where a topology is spread over a region (the seeds' ``gce_reservation_type: regional``).
NO_REGIONAL: Final = "one reservation is made in each zone: Compute Engine has no reservations of a whole region"

#: Of which requestIds are made: the same token gives the same one, on every machine.
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "pytest-capacity")


class Shape(Struct, frozen=True, order=True):
    """What a reservation is for; nodes of one shape can share one. All of it must be equal at the machine."""

    instance_type: str
    min_cpu_platform: str
    local_ssds: int
    local_ssd_interface: str
    accelerators: tuple[tuple[str, int], ...]
    placement_group: bool
    #: The group, where it has moved to this type or market: what stands for others by then is not made larger for it.
    moved: str = ""

    @property
    def label(self) -> str:
        """Return the type, and what else the shape has: ``n2-standard-8+2ssd``."""
        platform = self.min_cpu_platform.lower().replace(" ", "-")
        disks = f"{self.local_ssds}ssd" if self.local_ssds else ""
        boards = [f"{count}x{name}" for name, count in self.accelerators]
        cluster = "cluster" if self.placement_group else ""
        shape = "+".join(part for part in (self.instance_type, platform, disks, *boards, cluster) if part)
        return f"{shape}/{self.moved}" if self.moved else shape


def shape_of(group: GroupSettings, instance_type: str = "", moved: str = "") -> Shape:
    """Return the shape of the group's machines, as ``instance_type`` or as they are."""
    own = group.gce
    return Shape(
        instance_type=instance_type or group.group.instance_type,
        min_cpu_platform=own.min_cpu_platform or "",
        local_ssds=own.local_ssds,
        local_ssd_interface=own.local_ssd_interface if own.local_ssds else "",
        accelerators=tuple(sorted(own.accelerators.items())),
        placement_group=group.group.placement_group,
        moved=moved,
    )


def plan_rounds(request: Request, order: Order) -> list[list[Piece]]:
    """Return the rounds of ``order``, of all its zones side by side, without empty ones."""
    policies: list[Piece] = []
    reservations: list[Piece] = []
    nodes: list[Piece] = []
    for place in places(order):
        groups = [settings_of(request, group) for group in place.topology.groups]
        shapes = {group.name: _shape(request, place, group) for group in groups if _reserves(place, group)}
        if any(group.group.placement_group and (order.launch or group.name in shapes) for group in groups):
            policies.append(_policy(place))
        reservations += [_reservation(request, place, shape, groups, shapes) for shape in sorted(set(shapes.values()))]
        if order.launch:
            nodes += [_nodes(request, place, group, shapes.get(group.name)) for group in groups]
    return [pieces for pieces in (policies, reservations, nodes) if pieces]


def request_id(piece_token: str) -> str:
    """Return the requestId of a logical create: a UUID, as the API wants it."""
    return str(uuid.uuid5(_NAMESPACE, piece_token))


def create_call(piece: Piece) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return the method that makes ``piece``, its path and its body, with what the piece needs put in."""
    body = dict(piece.spec)
    policy = piece.inputs.get(POLICY, "")
    if piece.kind == POLICY:
        return "resourcePolicies.insert", {"region": piece.region}, body
    path = {"zone": piece.zone}
    if piece.kind == RESERVATION:
        if policy:
            body["resourcePolicies"] = {"policy": f"regions/{piece.region}/resourcePolicies/{policy}"}
        return "reservations.insert", path, body
    machine = dict(body["instanceProperties"]) if "instanceProperties" in body else body
    if policy:
        # A template's machine names it, a single one links to it (API reference, InstanceProperties).
        several = machine is not body
        machine["resourcePolicies"] = [policy if several else f"regions/{piece.region}/resourcePolicies/{policy}"]
    if reservation := piece.inputs.get(RESERVATION):
        machine["reservationAffinity"] = reservation_affinity(reservation)
    if machine is body:
        return "instances.insert", path, body
    return "instances.bulkInsert", path, {**body, "instanceProperties": machine}


def names_of(piece: Piece) -> list[str]:
    """Return the names of what the call for ``piece`` makes, in their order."""
    several = piece.spec.get("perInstanceProperties")
    return list(several) if several else [piece.spec["name"]]


def _reserves(order: Order, group: GroupSettings) -> bool:
    return group.reserve and not used(order, group)


def _shape(request: Request, order: Order, group: GroupSettings) -> Shape:
    return shape_of(group, moved=group.name if has_moved(request, order, group) else "")


def _name(order: Order, subject: str, words: str) -> str:
    """Return the name of a thing without labels, unique by run, topology, series, zone and attempt."""
    middle = stamp.name_part(words, 30)
    ends = stamp.digest(token_of(order, subject), 12)
    return stamp.run_prefix(order.run) + "-".join(part for part in (middle, ends) if part)


def _node_names(order: Order, subject: str, group: GroupSettings) -> list[str]:
    """Return names such as ``db-run-1-1a2b3c4d5e-0``: group and run, then what makes them unique."""
    first = int(order.facts.get(first_fact(group.name), "0"))
    begin = stamp.name_part(group.name, 16)
    begin = begin if begin[:1].isalpha() else f"node-{begin}".rstrip("-")
    words = "-".join(part for part in (begin, stamp.name_part(order.run, 20)) if part)
    stem = f"{words}-{stamp.digest(token_of(order, subject), 10)}"
    return [f"{stem}-{first + number}" for number in range(group.group.count)]


def _policy(order: Order) -> Piece:
    subject = subject_of(order, POLICY, "cluster")
    spec = {
        "name": _name(order, subject, "cluster"),
        "description": stamp.description(order, subject, None, order.hard_end),
        "groupPlacementPolicy": {"collocation": "COLLOCATED"},
    }
    return make_piece(order, POLICY, subject, spec)


def _reservation(
    request: Request, order: Order, shape: Shape, groups: Sequence[GroupSettings], shapes: Mapping[str, Shape]
) -> Piece:
    sharing = [group for group in groups if shapes.get(group.name) == shape]
    serves = served(sharing)
    subject = subject_of(order, RESERVATION, shape.label)
    section = section_of(request)
    spec: dict[str, Any] = {
        "name": _name(order, subject, shape.instance_type),
        # It bears the hard end and no lease: neither the description nor `deleteAtTime` can be changed.
        "description": stamp.description(order, subject, serves["group"], order.hard_end),
        "specificReservationRequired": section.reservation == "specific",
        "specificReservation": {"count": str(serves["count"]), "instanceProperties": reserved_properties(shape)},
        "deleteAtTime": format_time(order.hard_end),
    }
    if section.share_with:
        projects = {project: {"projectId": project} for project in section.share_with}
        spec["shareSettings"] = {"shareType": "SPECIFIC_PROJECTS", "projectMap": projects}
    needs = (Need(POLICY, subject_of(order, POLICY, "cluster")),) if shape.placement_group else ()
    return make_piece(
        order,
        RESERVATION,
        subject,
        spec,
        **serves,
        needs=needs,
        instance_type=shape.instance_type,
        note=NO_REGIONAL if order.shares else "",
    )


def reserved_properties(shape: Shape) -> dict[str, Any]:
    """Return the machine properties of a reservation for ``shape``."""
    properties: dict[str, Any] = {"machineType": shape.instance_type}
    if shape.min_cpu_platform:
        properties["minCpuPlatform"] = shape.min_cpu_platform
    if shape.local_ssds:
        disk = {"diskSizeGb": str(LOCAL_SSD_GB), "interface": shape.local_ssd_interface}
        properties["localSsds"] = [disk] * shape.local_ssds
    if shape.accelerators:
        properties["guestAccelerators"] = [
            {"acceleratorType": name, "acceleratorCount": count} for name, count in shape.accelerators
        ]
    return properties


def _nodes(request: Request, order: Order, group: GroupSettings, shape: Shape | None) -> Piece:
    name = group.name
    first = order.facts.get(first_fact(name))
    spot = ["spot"] if group.market == "spot" else []
    label = "/".join([name, group.group.instance_type, *spot, *([f"from-{first}"] if first else [])])
    subject = subject_of(order, NODE, label)
    names = _node_names(order, subject, group)
    several = len(names) > 1
    machine = _machine(request, order, group, subject, several)
    existing = used(order, group)
    automatic = shape is not None and section_of(request).reservation == "automatic"
    needs: list[Need] = []
    if group.group.placement_group:
        needs.append(Need(POLICY, subject_of(order, POLICY, "cluster")))
    if existing:
        machine["reservationAffinity"] = reservation_affinity(existing)
    elif automatic:
        machine["reservationAffinity"] = {"consumeReservationType": "ANY_RESERVATION"}
    elif shape is not None:
        needs.append(Need(RESERVATION, subject_of(order, RESERVATION, shape.label)))
    else:
        # A machine without an affinity consumes any automatic reservation of the project.
        machine["reservationAffinity"] = {"consumeReservationType": "NO_RESERVATION"}
    spec: dict[str, Any] = {"name": names[0], **machine}
    if several:
        spec = {
            "count": str(len(names)),
            "minCount": str(len(names)),
            "instanceProperties": machine,
            "perInstanceProperties": {one: {} for one in names},
        }
    return make_piece(
        order,
        NODE,
        subject,
        spec,
        count=len(names),
        group=name,
        needs=tuple(needs),
        consumes=existing or None,
        instance_type=group.group.instance_type,
        market=group.market,
    )


def reservation_affinity(reservation: str) -> dict[str, Any]:
    """Return how a machine names the one reservation that it consumes."""
    return {"consumeReservationType": "SPECIFIC_RESERVATION", "key": AFFINITY_KEY, "values": [reservation]}


def _machine(request: Request, order: Order, group: GroupSettings, subject: str, several: bool) -> dict[str, Any]:
    """Return the body of a group's machines. A bulk insert takes names where a single insert takes links of a zone."""
    own = group.gce
    inside = "" if several else f"zones/{order.placement.zone}/"

    def typed(collection: str, name: str) -> str:
        return name if several else f"{inside}{collection}/{name}"

    labels = stamp.labels(order, group.name, own.labels)
    machine: dict[str, Any] = {
        "description": stamp.description(order, subject, group.name, order.lease_end),
        "machineType": typed("machineTypes", group.group.instance_type),
        "labels": labels,
        "disks": [_boot_disk(order, group, labels, typed), *_local_disks(own, typed)],
        "networkInterfaces": [_interface(order, group)],
        "scheduling": _scheduling(order, group),
    }
    user = (request.ssh.user if request.ssh else None) or DEFAULT_USER
    if items := metadata_of(group, order.facts.get(PUBLIC_KEY, ""), user):
        machine["metadata"] = {"items": [{"key": key, "value": value} for key, value in items.items()]}
    if own.network_tags:
        machine["tags"] = {"items": list(own.network_tags)}
    if own.service_account:
        machine["serviceAccounts"] = [{"email": own.service_account, "scopes": list(own.scopes)}]
    if own.min_cpu_platform:
        machine["minCpuPlatform"] = own.min_cpu_platform
    if own.accelerators:
        machine["guestAccelerators"] = [
            {"acceleratorType": typed("acceleratorTypes", name), "acceleratorCount": count}
            for name, count in sorted(own.accelerators.items())
        ]
    if own.shielded_vm:
        machine["shieldedInstanceConfig"] = {
            "enableSecureBoot": True,
            "enableVtpm": True,
            "enableIntegrityMonitoring": True,
        }
    return machine


def _boot_disk(order: Order, group: GroupSettings, labels: Mapping[str, str], typed: Any) -> dict[str, Any]:
    own = group.gce
    made: dict[str, Any] = {
        "sourceImage": order.facts.get(f"image/{group.name}") or without_host(group.image),
        "labels": dict(labels),
        "description": stamp.description(order, subject_of(order, DISK, group.name), group.name, order.hard_end),
    }
    if own.disk_gb:
        made["diskSizeGb"] = str(own.disk_gb)
    if own.disk_type:
        made["diskType"] = typed("diskTypes", own.disk_type)
    return {"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": made}


def _local_disks(own: GceSettings, typed: Any) -> list[dict[str, Any]]:
    disk = {
        "type": "SCRATCH",
        "autoDelete": True,
        "interface": own.local_ssd_interface,
        "initializeParams": {"diskType": typed("diskTypes", "local-ssd")},
    }
    return [disk] * own.local_ssds


def _interface(order: Order, group: GroupSettings) -> dict[str, Any]:
    interface: dict[str, Any] = {"network": network_link(group.gce.network)}
    if subnet := group.subnet(order.placement.region):
        interface["subnetwork"] = without_host(subnet)
    if group.gce.public_ip:
        interface["accessConfigs"] = [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]
    return interface


def _scheduling(order: Order, group: GroupSettings) -> dict[str, Any]:
    """The market, and how the machine ends though nothing is left to end it.

    `terminationTime` is the absolute form of `maxRunDuration`, which Compute Engine counts from the machine's start: a
    call repeated with its requestId must not differ in anything, and all of a run end together.
    """
    scheduling: dict[str, Any] = {}
    if group.market == "spot":
        # The default action stops a machine, whose disks go on to bill.
        scheduling = {
            "provisioningModel": "SPOT",
            "instanceTerminationAction": "DELETE",
            "automaticRestart": False,
            "onHostMaintenance": "TERMINATE",
        }
    else:
        scheduling["provisioningModel"] = "STANDARD"
        maintenance = group.gce.on_host_maintenance
        if group.gce.accelerators or group.group.placement_group:
            # Neither can be moved while it runs.
            maintenance = "TERMINATE"
        if maintenance:
            scheduling["onHostMaintenance"] = maintenance
    if group.gce.self_terminate:
        scheduling["terminationTime"] = format_time(order.hard_end)
        scheduling["instanceTerminationAction"] = "DELETE"
    return scheduling
