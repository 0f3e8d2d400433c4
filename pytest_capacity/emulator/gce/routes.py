"""The methods of the API that are emulated: verb and path of each, as Google's discovery document has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

_ZONAL: Final[Mapping[str, str]] = {
    "instances": "instances",
    "reservations": "reservations",
    "disks": "disks",
    "machineTypes": "machineTypes",
    "acceleratorTypes": "acceleratorTypes",
    "diskTypes": "diskTypes",
}

#: Method, HTTP verb, path below the project.
METHODS: Final[tuple[tuple[str, str, str], ...]] = (
    ("projects.get", "GET", ""),
    ("zones.list", "GET", "zones"),
    ("zones.get", "GET", "zones/{zone}"),
    ("regions.list", "GET", "regions"),
    ("regions.get", "GET", "regions/{region}"),
    *((f"{name}.list", "GET", f"zones/{{zone}}/{name}") for name in _ZONAL),
    *((f"{name}.aggregatedList", "GET", f"aggregated/{name}") for name in _ZONAL),
    *((f"{name}.get", "GET", f"zones/{{zone}}/{name}/{{name}}") for name in _ZONAL),
    ("instances.insert", "POST", "zones/{zone}/instances"),
    ("instances.bulkInsert", "POST", "zones/{zone}/instances/bulkInsert"),
    ("instances.update", "PUT", "zones/{zone}/instances/{name}"),
    ("instances.delete", "DELETE", "zones/{zone}/instances/{name}"),
    ("instances.stop", "POST", "zones/{zone}/instances/{name}/stop"),
    ("instances.start", "POST", "zones/{zone}/instances/{name}/start"),
    ("instances.setLabels", "POST", "zones/{zone}/instances/{name}/setLabels"),
    ("instances.setMetadata", "POST", "zones/{zone}/instances/{name}/setMetadata"),
    ("instances.setMachineType", "POST", "zones/{zone}/instances/{name}/setMachineType"),
    ("instances.getSerialPortOutput", "GET", "zones/{zone}/instances/{name}/serialPort"),
    ("reservations.insert", "POST", "zones/{zone}/reservations"),
    ("reservations.delete", "DELETE", "zones/{zone}/reservations/{name}"),
    ("reservations.resize", "POST", "zones/{zone}/reservations/{name}/resize"),
    ("reservations.update", "PATCH", "zones/{zone}/reservations/{name}"),
    ("disks.insert", "POST", "zones/{zone}/disks"),
    ("disks.delete", "DELETE", "zones/{zone}/disks/{name}"),
    ("disks.resize", "POST", "zones/{zone}/disks/{name}/resize"),
    ("resourcePolicies.list", "GET", "regions/{region}/resourcePolicies"),
    ("resourcePolicies.aggregatedList", "GET", "aggregated/resourcePolicies"),
    ("resourcePolicies.get", "GET", "regions/{region}/resourcePolicies/{name}"),
    ("resourcePolicies.insert", "POST", "regions/{region}/resourcePolicies"),
    ("resourcePolicies.delete", "DELETE", "regions/{region}/resourcePolicies/{name}"),
    ("subnetworks.list", "GET", "regions/{region}/subnetworks"),
    ("subnetworks.aggregatedList", "GET", "aggregated/subnetworks"),
    ("subnetworks.get", "GET", "regions/{region}/subnetworks/{name}"),
    ("networks.list", "GET", "global/networks"),
    ("networks.get", "GET", "global/networks/{name}"),
    ("images.list", "GET", "global/images"),
    ("images.get", "GET", "global/images/{name}"),
    ("images.getFromFamily", "GET", "global/images/family/{name}"),
    # Google's command line finds images so; the zone may be "-".
    ("imageFamilyViews.get", "GET", "zones/{zone}/imageFamilyViews/{name}"),
    ("zoneOperations.list", "GET", "zones/{zone}/operations"),
    ("zoneOperations.get", "GET", "zones/{zone}/operations/{name}"),
    ("zoneOperations.wait", "POST", "zones/{zone}/operations/{name}/wait"),
    ("regionOperations.list", "GET", "regions/{region}/operations"),
    ("regionOperations.get", "GET", "regions/{region}/operations/{name}"),
    ("regionOperations.wait", "POST", "regions/{region}/operations/{name}/wait"),
    ("globalOperations.list", "GET", "global/operations"),
    ("globalOperations.get", "GET", "global/operations/{name}"),
    ("globalOperations.wait", "POST", "global/operations/{name}/wait"),
    ("globalOperations.aggregatedList", "GET", "aggregated/operations"),
)

_PREFIX: Final = re.compile(r"/compute/(?:v1|beta|alpha)/projects/(?P<project>[^/]+)(?:/(?P<rest>.*))?")
_TABLE: Final[tuple[tuple[str, str, re.Pattern[str]], ...]] = tuple(
    (method, verb, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))) for method, verb, path in METHODS
)


def find(verb: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """Return method and path parameters (``project`` among them) of a request; None for one that is not emulated."""
    whole = _PREFIX.fullmatch(path.rstrip("/"))
    if whole is None:
        return None
    for method, wanted, pattern in _TABLE:
        found = pattern.fullmatch(whole["rest"] or "") if wanted == verb else None
        if found is not None:
            return method, {
                "project": unquote(whole["project"]),
                **{k: unquote(v) for k, v in found.groupdict().items()},
            }
    return None
