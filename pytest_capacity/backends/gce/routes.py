"""The methods of the Compute Engine API (v1) that are used here: how each is called, and what it needs.

Paths and verbs are those of Google's discovery document, which a test compares them with. The permissions are those of
"Compute Engine IAM permissions" (https://cloud.google.com/compute/docs/access/iam-permissions); the custom role in
`docs/how-to/gce.md` must have all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct


class Route(Struct, frozen=True):
    """One method: its HTTP verb, its path below ``/compute/v1/``, and the permissions that a call of it needs."""

    verb: str
    path: str
    permissions: tuple[str, ...]


_PROJECT: Final = "projects/{project}"
_ZONE: Final = "projects/{project}/zones/{zone}"
_REGION: Final = "projects/{project}/regions/{region}"
_TOTAL: Final = "projects/{project}/aggregated"

#: What a machine needs besides ``compute.instances.create``, by what its body may hold.
_LAUNCH: Final = (
    "compute.instances.create",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.instances.setTags",
    "compute.disks.create",
    "compute.disks.setLabels",
    "compute.images.useReadOnly",
    "compute.resourcePolicies.use",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "iam.serviceAccounts.actAs",
)

ROUTES: Final[Mapping[str, Route]] = {
    "projects.get": Route("GET", _PROJECT, ("compute.projects.get",)),
    "regions.list": Route("GET", f"{_PROJECT}/regions", ("compute.regions.list",)),
    "zones.list": Route("GET", f"{_PROJECT}/zones", ("compute.zones.list",)),
    "machineTypes.aggregatedList": Route("GET", f"{_TOTAL}/machineTypes", ("compute.machineTypes.list",)),
    "acceleratorTypes.aggregatedList": Route("GET", f"{_TOTAL}/acceleratorTypes", ("compute.acceleratorTypes.list",)),
    "images.get": Route("GET", f"{_PROJECT}/global/images/{{image}}", ("compute.images.get",)),
    "images.getFromFamily": Route(
        "GET", f"{_PROJECT}/global/images/family/{{family}}", ("compute.images.getFromFamily",)
    ),
    "networks.get": Route("GET", f"{_PROJECT}/global/networks/{{network}}", ("compute.networks.get",)),
    "subnetworks.get": Route("GET", f"{_REGION}/subnetworks/{{subnetwork}}", ("compute.subnetworks.get",)),
    "reservations.insert": Route("POST", f"{_ZONE}/reservations", ("compute.reservations.create",)),
    "reservations.delete": Route("DELETE", f"{_ZONE}/reservations/{{reservation}}", ("compute.reservations.delete",)),
    "reservations.resize": Route(
        "POST", f"{_ZONE}/reservations/{{reservation}}/resize", ("compute.reservations.resize",)
    ),
    "reservations.aggregatedList": Route("GET", f"{_TOTAL}/reservations", ("compute.reservations.list",)),
    "instances.insert": Route("POST", f"{_ZONE}/instances", _LAUNCH),
    "instances.bulkInsert": Route("POST", f"{_ZONE}/instances/bulkInsert", _LAUNCH),
    "instances.get": Route("GET", f"{_ZONE}/instances/{{instance}}", ("compute.instances.get",)),
    "instances.delete": Route(
        "DELETE", f"{_ZONE}/instances/{{instance}}", ("compute.instances.delete", "compute.disks.delete")
    ),
    "instances.stop": Route("POST", f"{_ZONE}/instances/{{instance}}/stop", ("compute.instances.stop",)),
    "instances.start": Route("POST", f"{_ZONE}/instances/{{instance}}/start", ("compute.instances.start",)),
    "instances.setMachineType": Route(
        "POST", f"{_ZONE}/instances/{{instance}}/setMachineType", ("compute.instances.setMachineType",)
    ),
    "instances.update": Route("PUT", f"{_ZONE}/instances/{{instance}}", ("compute.instances.update",)),
    "instances.setLabels": Route("POST", f"{_ZONE}/instances/{{instance}}/setLabels", ("compute.instances.setLabels",)),
    "instances.getSerialPortOutput": Route(
        "GET", f"{_ZONE}/instances/{{instance}}/serialPort", ("compute.instances.getSerialPortOutput",)
    ),
    "instances.aggregatedList": Route("GET", f"{_TOTAL}/instances", ("compute.instances.list",)),
    "disks.delete": Route("DELETE", f"{_ZONE}/disks/{{disk}}", ("compute.disks.delete",)),
    "disks.resize": Route("POST", f"{_ZONE}/disks/{{disk}}/resize", ("compute.disks.resize",)),
    "disks.aggregatedList": Route("GET", f"{_TOTAL}/disks", ("compute.disks.list",)),
    "resourcePolicies.insert": Route("POST", f"{_REGION}/resourcePolicies", ("compute.resourcePolicies.create",)),
    "resourcePolicies.delete": Route(
        "DELETE", f"{_REGION}/resourcePolicies/{{resourcePolicy}}", ("compute.resourcePolicies.delete",)
    ),
    "resourcePolicies.aggregatedList": Route("GET", f"{_TOTAL}/resourcePolicies", ("compute.resourcePolicies.list",)),
    "zoneOperations.get": Route("GET", f"{_ZONE}/operations/{{operation}}", ("compute.zoneOperations.get",)),
    "regionOperations.get": Route("GET", f"{_REGION}/operations/{{operation}}", ("compute.regionOperations.get",)),
    "globalOperations.aggregatedList": Route(
        "GET",
        f"{_TOTAL}/operations",
        ("compute.globalOperations.list", "compute.regionOperations.list", "compute.zoneOperations.list"),
    ),
}
