"""Boot volumes: each instance has one, which grows while the instance runs."""

from __future__ import annotations

from typing import Any, Final

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci.api import CLOUD, Api, answer, hidden, invalid, paged, when
from pytest_capacity.emulator.oci.things import Instance
from pytest_capacity.emulator.refusal import Refusal, StaleVersion

#: GB of the images' own, and what a boot volume can have at least and at most.
DEFAULT: Final = 47
_SIZES: Final = (50, 32768)


def size_of(given: Any) -> int:
    """Return the size that a launch requests, checked as OCI checks it."""
    if given is None:
        return DEFAULT
    if not _SIZES[0] <= int(given) <= _SIZES[1]:
        raise invalid(f"bootVolumeSizeInGBs must lie between {_SIZES[0]} and {_SIZES[1]}.")
    return int(given)


def list_attachments(api: Api, asked: Asked) -> HttpResponse:
    """Return which boot volume is attached to which instance of a domain."""
    compartment = api.compartment(asked.request.first("compartmentId"))
    domain = api.domain(asked, asked.request.first("availabilityDomain"))
    instance, volume = asked.request.first("instanceId"), asked.request.first("bootVolumeId")
    listed = [
        {
            "id": one.id,
            "availabilityDomain": one.domain_name,
            "bootVolumeId": one.boot_volume,
            "compartmentId": one.compartment,
            "instanceId": one.id,
            "lifecycleState": "ATTACHED",
            "timeCreated": when(one.made),
        }
        for one in api.visible(api.world.of(Instance, CLOUD, asked.region))
        if (one.compartment, one.domain_name) == (compartment, domain)
        and instance in ("", one.id)
        and volume in ("", one.boot_volume)
    ]
    return paged(listed, asked)


def get(api: Api, asked: Asked) -> HttpResponse:
    """Return one."""
    instance = _of(api, asked)
    return _answer(api, instance)


def update(api: Api, asked: Asked) -> HttpResponse:
    """Make one larger. It is provisioned for it, and then has the new size."""
    instance, body = _of(api, asked), asked.params["body"]
    expected = asked.request.headers.get("if-match")
    if expected not in (None, "", str(instance.boot_version)):
        raise StaleVersion("boot-volume", instance.boot_volume, str(expected), str(instance.boot_version))
    if api.now < instance.boot_ready_at:
        raise Refusal("IncorrectState", f"{instance.boot_volume} is PROVISIONING.", 409)
    if "sizeInGBs" in body:
        size = int(body["sizeInGBs"])
        if not instance.boot_gb < size <= _SIZES[1]:
            raise invalid(f"sizeInGBs must be larger than {instance.boot_gb}, and {_SIZES[1]} at most.")
        instance.boot_gb = size
        instance.boot_ready_at = api.now + api.world.seconds("pending_s", CLOUD)
    instance.boot_version += 1
    return _answer(api, instance)


def _of(api: Api, asked: Asked) -> Instance:
    found = [one for one in api.world.of(Instance, CLOUD, asked.region) if one.boot_volume == asked.params["id"]]
    if not found:
        raise hidden(asked.params["id"])
    return found[0]


def _answer(api: Api, instance: Instance) -> HttpResponse:
    body = {
        "id": instance.boot_volume,
        "availabilityDomain": instance.domain_name,
        "compartmentId": instance.compartment,
        "displayName": f"{instance.name} (Boot Volume)",
        "imageId": instance.details["image"],
        "lifecycleState": "PROVISIONING" if api.now < instance.boot_ready_at else "AVAILABLE",
        "sizeInGBs": instance.boot_gb,
        "sizeInMBs": instance.boot_gb * 1024,
        "timeCreated": when(instance.made),
        "freeformTags": {},
        "definedTags": {},
    }
    shown = answer(instance, body)
    return HttpResponse(shown.status, shown.body, {**shown.headers, "etag": str(instance.boot_version)})
