"""Node groups that change while they stand: what of it Oracle can do, and the calls for one node.

An instance gets another shape, and a place in another reservation, by one update while it is stopped: an update of the
shape alone is refused where the reservation that it is in has no capacity for it (terraform-provider-oci issue 2313).
Only VM.Standard and VM.Optimized shapes can be changed at all (OCI documentation, "Changing the Shape of an Instance").
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from pytest_capacity.backends.oci.forms import split_zone
from pytest_capacity.backends.oci.kinds import CLUSTER, KINDS, NODE, RESERVATION
from pytest_capacity.backends.oci.listing import list_kind, side_by_side
from pytest_capacity.backends.oci.plan import OWN_CLUSTER, cluster_beside, config_of
from pytest_capacity.backends.oci.session import COMPUTE, Cloud
from pytest_capacity.backends.oci.settings import GroupSettings, settings_of
from pytest_capacity.backends.oci.stamp import read_stamp
from pytest_capacity.model import Change, Held, NodeChange, NodeGroup, Obstacle, Request, Subject

_CHANGEABLE: Final = re.compile(r"VM\.(?:Standard|Optimized)\d*\..*")
#: The largest boot volume (OCI documentation, "Boot Volumes"). GB.
_LARGEST_DISK: Final = 32768
#: What a configuration of a reservation repeats in an update; what it is used for is in answers alone.
_CONFIG_KEYS: Final = (
    "instanceShape",
    "instanceShapeConfig",
    "faultDomain",
    "reservedCount",
    "clusterConfig",
    "clusterPlacementGroupId",
)


def check_change(held: Held, to: Change) -> None:
    """Raise `ValueError` for a change that OCI has no call for; pure."""
    reservation = {"count"} if to.instance_type is None else {"count", "instance_type"}
    allowed: Sequence[set[str]] = {
        NODE: ({"running"}, {"instance_type", "reservation_id"}, {"disk_gb"}),
        RESERVATION: (reservation,),
    }.get(held.kind, ())
    asked = {name for name in Change.__struct_fields__ if getattr(to, name) is not None} - {"deadline"}
    if asked and asked not in allowed:
        raise ValueError(f"of a {held.kind} at OCI that cannot be changed: {', '.join(sorted(asked))}")
    if asked and to.deadline is not None and held.kind == NODE:
        raise ValueError(f"a node at OCI takes no new deadline beside another change: {to}")


def configs_of(cloud: Cloud, request: Request, held: Held, read: Mapping[str, Any], to: Change) -> list[dict[str, Any]]:
    """Return every configuration of a reservation, as an update takes it: one that is left out is deleted there.

    ``to.count`` is for all of them together: what is more or less is of the shape ``to.instance_type``, which is left
    out where nothing of it remains, and is there again when a group that had gone to another shape comes back. It may
    be missing where there is only one.
    """
    configs = [
        {key: one[key] for key in _CONFIG_KEYS if one.get(key) is not None}
        for one in read.get("instanceReservationConfigs") or ()
    ]
    if to.count is None:
        return configs
    if to.instance_type and all(one["instanceShape"] != to.instance_type for one in configs):
        configs += _config_again(cloud, request, held, to.instance_type)
    meant = [one for one in configs if to.instance_type is None or one["instanceShape"] == to.instance_type]
    if len(meant) != 1:
        shape = f" of {to.instance_type}" if to.instance_type else ""
        raise ValueError(f"the reservation has {len(meant)} configurations{shape}, and one count was given")
    (own,) = meant
    own["reservedCount"] = to.count - sum(one["reservedCount"] for one in configs if one is not own)
    if own["reservedCount"] < 0:
        raise ValueError(f"the reservation holds more than {to.count} for other shapes than {own['instanceShape']}")
    return [one for one in configs if one["reservedCount"]]


def _config_again(cloud: Cloud, request: Request, held: Held, shape: str) -> list[dict[str, Any]]:
    """Return the configuration, with no nodes yet, of the group whose first shape it was; none where there is none."""
    topology = request.topologies.get(Subject.parse(held.subject).topology)
    groups = [settings_of(request, group) for group in (topology.groups if topology else ())]
    for group in groups:
        if group.reserve and group.group.instance_type == shape:
            config = config_of(group, 0, split_zone(held.zone)[1])
            if config.get("clusterPlacementGroupId") == OWN_CLUSTER:
                config["clusterPlacementGroupId"] = _own_cluster(cloud, held)
            return [config]
    return []


def _own_cluster(cloud: Cloud, beside: Held) -> str:
    """Return the OCID of the cluster placement group that was made with a reservation."""
    subject = cluster_beside(beside.subject)
    for one in list_kind(cloud, beside.region, beside.place or cloud.compartment, CLUSTER):
        if read_stamp(one.get("freeformTags")).piece == subject and one.get("lifecycleState") == "ACTIVE":
            return str(one["id"])
    raise ValueError(f"the cluster placement group of {beside.id} is not there any more")


def change_node(cloud: Cloud, request: Request, held: Held, to: Change) -> Held:
    """Stop or start a node, give it another shape, or let its boot volume grow. What is so already takes no call."""
    if to.disk_gb is not None:
        return _grow(cloud, held, to.disk_gb)
    path = f"{KINDS[NODE].path}/{held.id}"
    read = cloud.get(COMPUTE, held.region, "GetInstance", path)
    headers = {"if-match": read.etag} if read.etag else {}
    if to.running is not None:
        there = ("RUNNING", "STARTING") if to.running else ("STOPPED", "STOPPING")
        if read.data.get("lifecycleState") not in there:
            # The operating system shuts down by itself first; after 15 minutes Oracle powers the machine off.
            action = "START" if to.running else "SOFTSTOP"
            cloud.call(COMPUTE, held.region, "InstanceAction", "POST", path, query={"action": action}, headers=headers)
        return replace(held, state="creating") if to.running else held
    shape, reservation = str(to.instance_type), str(to.reservation_id)
    body: dict[str, Any] = {
        "shape": shape,
        "capacityReservationId": reservation,
        # A node that runs after all is left as it is: the shape is changed by a reboot then.
        "updateOperationConstraint": "AVOID_DOWNTIME",
    }
    if size := _size(request, held, shape):
        body["shapeConfig"] = size
    cloud.call(COMPUTE, held.region, "UpdateInstance", "PUT", path, body=body, headers=headers)
    facts = {**held.facts, "instance_type": shape, "reservation_id": reservation}
    return replace(held, facts={key: value for key, value in facts.items() if value})


def _size(request: Request, held: Held, shape: str) -> dict[str, float]:
    """Return OCPUs and memory of a node of the group that has another shape."""
    topology = request.topologies.get(Subject.parse(held.subject).topology)
    for group in topology.groups if topology else ():
        if group.name == held.group:
            return settings_of(request, group).shape_config(shape)
    raise ValueError(f"the configuration has no group {held.group!r}, which {held.id} is of")


def _grow(cloud: Cloud, held: Held, disk_gb: int) -> Held:
    volume = _boot_volumes(cloud, [held]).get(held.id)
    if volume is None:
        raise ValueError(f"{held.id} has no boot volume that could grow")
    path = f"/bootVolumes/{volume}"
    read = cloud.get(COMPUTE, held.region, "GetBootVolume", path)
    if int(read.data.get("sizeInGBs") or 0) < disk_gb:
        headers = {"if-match": read.etag} if read.etag else {}
        body = {"sizeInGBs": disk_gb}
        cloud.call(COMPUTE, held.region, "UpdateBootVolume", "PUT", path, body=body, headers=headers)
    return held


def _boot_volumes(cloud: Cloud, nodes: Sequence[Held]) -> dict[str, str]:
    """Return the OCIDs of the boot volumes of nodes, by the nodes' own: one list a domain and compartment."""
    places: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for node in nodes:
        places[node.region, split_zone(node.zone)[0], node.place or cloud.compartment].add(node.id)

    def attached(place: tuple[str, str, str]) -> list[tuple[str, str]]:
        region, domain, compartment = place
        wanted = places[place]
        query = {"instanceId": next(iter(wanted))} if len(wanted) == 1 else {}
        listed = cloud.pages(
            COMPUTE,
            region,
            "ListBootVolumeAttachments",
            "/bootVolumeAttachments",
            availabilityDomain=domain,
            compartmentId=compartment,
            **query,
        )
        return [
            (one["instanceId"], one["bootVolumeId"])
            for one in listed
            if one["instanceId"] in wanted and one.get("lifecycleState") == "ATTACHED"
        ]

    return dict(pair for pairs in side_by_side(attached, list(places)) for pair in pairs)


def disks(cloud: Cloud, nodes: Sequence[Held]) -> list[int]:
    """Return the sizes of the nodes' boot volumes; 0 while one is being changed."""
    volumes = _boot_volumes(cloud, nodes)

    def size(node: Held) -> int:
        if node.id not in volumes:
            return 0
        volume = cloud.get(COMPUTE, node.region, "GetBootVolume", f"/bootVolumes/{volumes[node.id]}").data
        return int(volume.get("sizeInGBs") or 0) if volume.get("lifecycleState") == "AVAILABLE" else 0

    return side_by_side(size, nodes)


def obstacles(
    cloud: Cloud, request: Request, change: NodeChange, group: NodeGroup, nodes: Sequence[Held]
) -> list[Obstacle]:
    """Return what of ``change`` Oracle cannot do, by its lists of shapes: all, and those for the nodes' images."""
    found = []
    if change.disk_gb is not None and change.disk_gb > _LARGEST_DISK:
        found.append(
            Obstacle("unsupported", f"{change.disk_gb} GB is more than a boot volume can have ({_LARGEST_DISK})")
        )
    wanted = change.instance_type
    if wanted is None or not nodes:
        return found
    in_place = change.mode == "in_place"
    images = sorted({image for node in nodes if (image := node.facts.get("image"))}) if in_place else []
    region = nodes[0].region
    whole, *bootable = side_by_side(lambda image: _shapes(cloud, region, image), ["", *images])
    if wanted not in whole:
        return [*found, Obstacle("unknown-type", f"{region} has no shape {wanted} for this compartment")]
    if in_place:
        found += _in_place(settings_of(request, group), wanted, whole)
        for image, shapes in zip(images, bootable, strict=True):
            if wanted not in shapes:
                found.append(Obstacle("architecture", f"{wanted} cannot boot the image of the nodes, {image}"))
    return found


def _shapes(cloud: Cloud, region: str, image: str) -> dict[str, Mapping[str, Any]]:
    listed = cloud.pages(COMPUTE, region, "ListShapes", "/shapes", compartmentId=cloud.compartment, imageId=image)
    return {str(one["shape"]): one for one in listed}


def _in_place(group: GroupSettings, wanted: str, shapes: Mapping[str, Mapping[str, Any]]) -> Iterable[Obstacle]:
    standing = group.group.instance_type
    if int(shapes.get(standing, {}).get("localDisks") or 0):
        yield Obstacle("local-disks", f"{standing} has local disks, which a node of another shape does not keep")
    for shape in dict.fromkeys((standing, wanted)):
        if not _CHANGEABLE.fullmatch(shape):
            words = f"Oracle changes the shape of VM.Standard and VM.Optimized instances only, and {shape} is none"
            yield Obstacle("unsupported", words)
