"""What is there from the start: project, regions, zones, types, images, networks. Read only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.gce.catalogue import (
    ACCELERATORS,
    BUNDLED_SSDS,
    IMAGES,
    PROJECT,
    PROJECT_NUMBER,
    TYPES,
    ZONES,
    Image,
)
from pytest_capacity.emulator.gce.context import CLOUD, Context
from pytest_capacity.emulator.gce.wire import BASE, fixed_id, link, missing, time_text
from pytest_capacity.emulator.refusal import Refusal

#: When all of it was made.
_MADE: Final = time_text(1_500_000_000)
_DISK_TYPES: Final = ("pd-standard", "pd-balanced", "pd-ssd", "local-ssd")
PLATFORMS: Final = ("Intel Skylake", "Intel Cascade Lake", "Intel Ice Lake", "AMD Rome", "AMD Milan", "Ampere Altra")
_SHARED: Final = frozenset({"e2-micro", "e2-small", "e2-medium"})


def _thing(kind: str, name: str, path: str) -> dict[str, Any]:
    return {
        "kind": f"compute#{kind}",
        "id": fixed_id(path),
        "creationTimestamp": _MADE,
        "name": name,
        "selfLink": link(path),
    }


def project() -> dict[str, Any]:
    """Return the project."""
    return {
        "kind": "compute#project",
        "id": PROJECT_NUMBER,
        "creationTimestamp": _MADE,
        "name": PROJECT,
        "commonInstanceMetadata": {"kind": "compute#metadata", "fingerprint": "YWJjZGVmZ2g="},
        "quotas": [],
        "selfLink": f"{BASE}projects/{PROJECT}",
        "defaultServiceAccount": f"{PROJECT_NUMBER}-compute@developer.gserviceaccount.com",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "defaultNetworkTier": "PREMIUM",
    }


def region(context: Context, name: str) -> dict[str, Any]:
    """Return a region with the quotas that the weather sets."""
    limits = context.world.limits(Place(CLOUD, name))
    room = context.world.room()
    quotas = [
        {"metric": metric, "limit": float(limit), "usage": float(room.used(CLOUD, name, metric))}
        for metric, limit in sorted(limits.items())
        if limit is not None and metric.isupper()
    ]
    return {
        **_thing("region", name, f"regions/{name}"),
        "description": name,
        "status": "UP",
        "zones": [link(f"zones/{zone}") for zone in ZONES[name]],
        "quotas": quotas,
        "supportsPzs": False,
    }


def zone(name: str) -> dict[str, Any]:
    """Return a zone."""
    return {
        **_thing("zone", name, f"zones/{name}"),
        "description": name,
        "status": "UP",
        "region": link(f"regions/{name.rpartition('-')[0]}"),
        "availableCpuPlatforms": list(PLATFORMS),
        "supportsPzs": False,
    }


def _machine_types(context: Context, zone_name: str) -> list[dict[str, Any]]:
    place = Place(CLOUD, zone_name.rpartition("-")[0], zone_name)
    return [
        {
            **_thing("machineType", name, f"zones/{zone_name}/machineTypes/{name}"),
            "description": f"{type_.vcpus} vCPUs, {type_.memory_gb:g} GB RAM",
            "guestCpus": type_.vcpus,
            "memoryMb": int(type_.memory_gb * 1024),
            "imageSpaceGb": 0,
            "maximumPersistentDisks": 128,
            "maximumPersistentDisksSizeGb": "263168",
            "zone": zone_name,
            "isSharedCpu": name in _SHARED,
            "architecture": "ARM64" if type_.architecture == "arm64" else "X86_64",
            **({"bundledLocalSsds": _bundled(BUNDLED_SSDS[name])} if name in BUNDLED_SSDS else {}),
        }
        for name, type_ in TYPES.items()
        if not context.world.lacks_type(place, name)
    ]


def _bundled(disks: int) -> dict[str, Any]:
    return {"defaultInterface": "NVME", "partitionCount": disks}


def _accelerator_types(context: Context, zone_name: str) -> list[dict[str, Any]]:
    return [
        {
            **_thing("acceleratorType", name, f"zones/{zone_name}/acceleratorTypes/{name}"),
            "description": name,
            "zone": link(f"zones/{zone_name}"),
            "maximumCardsPerInstance": 4,
        }
        for name, zones in ACCELERATORS.items()
        if zone_name in zones
    ]


def _disk_types(context: Context, zone_name: str) -> list[dict[str, Any]]:
    return [
        {
            **_thing("diskType", name, f"zones/{zone_name}/diskTypes/{name}"),
            "description": name,
            "validDiskSize": "375GB-375GB" if name == "local-ssd" else "10GB-65536GB",
            "zone": link(f"zones/{zone_name}"),
            "defaultDiskSizeGb": "375" if name == "local-ssd" else "100",
        }
        for name in _DISK_TYPES
    ]


#: By collection, what a zone has of it.
ZONAL: Final[Mapping[str, Callable[[Context, str], list[dict[str, Any]]]]] = {
    "machineTypes": _machine_types,
    "acceleratorTypes": _accelerator_types,
    "diskTypes": _disk_types,
}


def network() -> dict[str, Any]:
    """Return the one network."""
    return {
        **_thing("network", "default", "global/networks/default"),
        "description": "Default network for the project",
        "autoCreateSubnetworks": True,
        "subnetworks": [link(f"regions/{name}/subnetworks/default") for name in ZONES],
        "routingConfig": {"routingMode": "REGIONAL"},
    }


def subnetwork(region_name: str) -> dict[str, Any]:
    """Return the one subnet of a region."""
    number = list(ZONES).index(region_name)
    return {
        **_thing("subnetwork", "default", f"regions/{region_name}/subnetworks/default"),
        "network": link("global/networks/default"),
        "ipCidrRange": f"10.{128 + number}.0.0/20",
        "gatewayAddress": f"10.{128 + number}.0.1",
        "region": link(f"regions/{region_name}"),
        "privateIpGoogleAccess": False,
        "fingerprint": "YWJjZGVmZ2g=",
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
    }


def image(found: Image) -> dict[str, Any]:
    """Return an image."""
    path = f"projects/{found.project}/global/images/{found.name}"
    return {
        "kind": "compute#image",
        "id": fixed_id(path),
        "creationTimestamp": f"{found.name[-8:-4]}-{found.name[-4:-2]}-{found.name[-2:]}T00:00:00.000+00:00"
        if found.name[-8:].isdigit()
        else _MADE,
        "name": found.name,
        "description": f"{found.family}, built for the emulator",
        "sourceType": "RAW",
        "status": "READY",
        "archiveSizeBytes": "1000000000",
        "diskSizeGb": str(found.disk_gb),
        "family": found.family,
        "selfLink": BASE + path,
        "labelFingerprint": "42WmSpB8rSM=",
        "guestOsFeatures": [{"type": "UEFI_COMPATIBLE"}, {"type": "VIRTIO_SCSI_MULTIQUEUE"}],
        "storageLocations": ["us"],
        "architecture": found.architecture,
    }


def images(project_name: str) -> list[Image]:
    """Return the images of a project. Raise `Refusal` where there is no such project."""
    found = [one for one in IMAGES if one.project == project_name]
    if not found:
        raise missing(f"projects/{project_name}")
    return found


def find_image(path: str) -> Image:
    """Return the image of a path such as ``projects/P/global/images/family/F``. Raise `Refusal`."""
    whole = path if path.startswith("projects/") else f"projects/{PROJECT}/{path}"
    parts = whole.split("/")
    found = [one for one in IMAGES if one.project == parts[1]]
    if parts[-2] in ("family", "imageFamilyViews"):
        # The newest of a family stands first.
        found = [one for one in found if one.family == parts[-1]]
    else:
        found = [one for one in found if one.name == parts[-1]]
    if not found:
        raise missing(whole)
    return found[0]


def check_subnet(path: str, region_name: str) -> None:
    """Raise `Refusal` for a subnet that there is not."""
    parts = path.split("/")
    if parts[-1] != "default" or (len(parts) > 2 and parts[-3] != region_name):
        raise missing(path if path.startswith("projects/") else f"projects/{PROJECT}/{path}")


def check_network(path: str) -> None:
    """Raise `Refusal` for a network that there is not."""
    if path.rpartition("/")[2] != "default":
        raise missing(path if path.startswith("projects/") else f"projects/{PROJECT}/{path}")


def check_project(asked: Asked) -> None:
    """Raise `Refusal` for a project that there is not; those of public images may be read."""
    name = asked.params["project"]
    if name == PROJECT or (asked.operation.startswith("image") and any(one.project == name for one in IMAGES)):
        return
    raise Refusal("notFound", f"The resource 'projects/{name}' was not found")
