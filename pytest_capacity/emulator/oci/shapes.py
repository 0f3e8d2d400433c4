"""What there is to launch: shapes and images."""

from __future__ import annotations

from typing import Any, Final

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci.api import CLOUD, Api, hidden, paged, when
from pytest_capacity.emulator.oci.catalogue import IMAGES, REGIONS, SHAPES, ImageKind
from pytest_capacity.emulator.oci.signing import TENANCY

_BEGAN: Final = 1760000000.0


def list_shapes(api: Api, asked: Asked) -> HttpResponse:
    """Return the shapes of a domain, or of the region; with an image, those that can boot it."""
    api.compartment(asked.request.first("compartmentId"))
    given, image = asked.request.first("availabilityDomain"), asked.request.first("imageId")
    place = api.place(asked.region, api.domain(asked, given)) if given else None
    booted = images_of(api, asked.region).get(image)
    if image and booted is None:
        raise hidden(f"image {image}")
    listed = [
        _shown_shape(name)
        for name, shape in SHAPES.items()
        if (place is None or not api.world.lacks_type(place, name)) and (booted is None or booted.arm == shape.arm)
    ]
    return paged(listed, asked)


def _shown_shape(name: str) -> dict[str, Any]:
    shape = SHAPES[name]
    body: dict[str, Any] = {
        "shape": name,
        "ocpus": shape.ocpus,
        "memoryInGBs": shape.memory_gb,
        "isFlexible": shape.flexible,
        "localDisks": shape.local_disks,
        "quotaNames": [f"{shape.limit}-count"],
        "billingType": "PAID",
        "isBilledForStoppedInstance": False,
    }
    if shape.flexible:
        body["ocpuOptions"] = {"min": 1.0, "max": shape.most_ocpus}
        body["memoryOptions"] = {"minInGBs": 1.0, "maxInGBs": shape.most_memory_gb}
    return body


def _image_id(region: str, kind: ImageKind) -> str:
    mark = "".join(char for char in kind.name.lower() if char.isalnum())
    return f"ocid1.image.oc1.{REGIONS[region][0]}.aaaaaaaa{mark}"


def images_of(api: Api, region: str) -> dict[str, ImageKind]:
    """Return the images of a region by OCID, the newest first."""
    found = {_image_id(region, kind): kind for kind in IMAGES}
    return {id_: kind for id_, kind in found.items() if not api.world.lacks_image(Place(CLOUD, region), id_)}


def list_images(api: Api, asked: Asked) -> HttpResponse:
    """Return the platform's images, the newest first unless the request sets otherwise, as a shape can boot them."""
    api.compartment(asked.request.first("compartmentId"))
    system, version = asked.request.first("operatingSystem"), asked.request.first("operatingSystemVersion")
    shape = SHAPES.get(asked.request.first("shape"))
    listed = [
        _shown_image(id_, kind, number)
        for number, (id_, kind) in enumerate(images_of(api, asked.region).items())
        if system in ("", kind.system) and version in ("", kind.version) and (shape is None or shape.arm == kind.arm)
    ]
    order = asked.request.first("sortOrder") or "DESC"
    return paged(sorted(listed, key=lambda one: str(one["timeCreated"]), reverse=order == "DESC"), asked)


def get_image(api: Api, asked: Asked) -> HttpResponse:
    """Return one image."""
    found = images_of(api, asked.region).get(asked.params["id"])
    if found is None:
        raise hidden(asked.params["id"])
    return HttpResponse.of_json(_shown_image(asked.params["id"], found, 0))


def _shown_image(id_: str, kind: ImageKind, age: int) -> dict[str, Any]:
    return {
        "id": id_,
        "compartmentId": TENANCY,
        "displayName": kind.name,
        "operatingSystem": kind.system,
        "operatingSystemVersion": kind.version,
        "lifecycleState": "AVAILABLE",
        "createImageAllowed": True,
        "launchMode": "NATIVE",
        "sizeInMBs": 47694,
        "timeCreated": when(_BEGAN - age * 86400),
        "freeformTags": {},
        "definedTags": {},
    }
