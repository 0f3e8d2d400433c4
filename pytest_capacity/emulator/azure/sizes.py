"""The sizes of a location and the quotas of a subscription there."""

from __future__ import annotations

from typing import Any

from pytest_capacity.emulator.azure.catalogue import (
    LOCATIONS,
    NO_SPOT,
    NOT_RESERVABLE,
    NVME_MIB,
    RESOURCE_DISK_MB,
    zone_name,
)
from pytest_capacity.emulator.azure.context import CLOUD, Context
from pytest_capacity.emulator.azure.wire import paged
from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse


def list_skus(context: Context, asked: Asked) -> HttpResponse:
    """Return the sizes of a location, and in which of its zones they are to be had."""
    wanted = asked.request.first("$filter").partition("eq")[2].strip().strip("'").replace(" ", "").lower()
    found = [
        _sku_body(context, region, name)
        for region in sorted(LOCATIONS)
        if wanted in ("", region)
        for name in sorted(context.catalogue.types())
    ]
    return HttpResponse.of_json(paged(asked.request, found))


def _sku_body(context: Context, region: str, name: str) -> dict[str, Any]:
    size = context.catalogue.types()[name]
    zones = list(LOCATIONS[region][1])
    lacking = [one for one in zones if context.world.lacks_type(Place(CLOUD, region, zone_name(region, one)), name)]
    capabilities = {
        "vCPUs": str(size.vcpus),
        "MemoryGB": f"{size.memory_gb:g}",
        "CpuArchitectureType": "Arm64" if size.architecture == "arm64" else "x64",
        "MaxResourceVolumeMB": str(RESOURCE_DISK_MB.get(name, 0)),
        **({"NvmeDiskSizeInMiB": str(NVME_MIB[name])} if name in NVME_MIB else {}),
        "LowPriorityCapable": str(name not in NO_SPOT),
        "CapacityReservationSupported": str(name not in NOT_RESERVABLE),
    }
    restrictions = [
        {
            "type": "Zone",
            "values": [region],
            "restrictionInfo": {"locations": [region], "zones": lacking},
            "reasonCode": "NotAvailableForSubscription",
        }
    ]
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "tier": "Standard",
        "size": name.partition("_")[2],
        "family": size.family,
        "locations": [region],
        "locationInfo": [{"location": region, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": key, "value": value} for key, value in capabilities.items()],
        "restrictions": restrictions if lacking else [],
    }


def list_usages(context: Context, asked: Asked) -> HttpResponse:
    """Return the quotas of a location and what is in use of each; where the weather sets none, much."""
    region = asked.params["region"]
    limits = context.world.limits(Place(CLOUD, region))
    room = context.world.room()
    names = sorted(context.catalogue.metrics() - {"vcpus", "spot_vcpus"})
    neutral = {"cores": "vcpus", "lowPriorityCores": "spot_vcpus"}
    usages = []
    for name in names:
        limit = limits.get(name)
        limit = limits.get(neutral.get(name, "")) if limit is None else limit
        usages.append(
            {
                "unit": "Count",
                "currentValue": int(room.used(CLOUD, region, name)),
                "limit": 100_000 if limit is None else int(limit),
                "name": {"value": name, "localizedValue": name},
            }
        )
    return HttpResponse.of_json(paged(asked.request, usages))
