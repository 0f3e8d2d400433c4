"""Which availability domains of a region can take a topology, or their fault domains. Reads fail open."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from oci.exceptions import RequestException, ServiceError

from pytest_capacity.backends.base import by_reservation
from pytest_capacity.backends.groups import use_fact
from pytest_capacity.backends.not_offered import not_offered
from pytest_capacity.backends.oci.errors import diagnose_error
from pytest_capacity.backends.oci.existing_reservations import Existing, check_usable, use_in_zone
from pytest_capacity.backends.oci.forms import join_zone, split_zone, zone_aliases
from pytest_capacity.backends.oci.listing import side_by_side
from pytest_capacity.backends.oci.plan import image_fact
from pytest_capacity.backends.oci.session import COMPUTE, IDENTITY, Cloud
from pytest_capacity.backends.oci.settings import GroupSettings, ImageLookup, settings_of
from pytest_capacity.model import Offer, Request, Topology

#: Shapes that one capacity report takes (dstack found it by trying).
_SHAPES_A_REPORT: Final = 10
_OUT: Final = "OUT_OF_HOST_CAPACITY"
_UNSUPPORTED: Final = "HARDWARE_NOT_SUPPORTED"


class Reads(Struct, frozen=True):
    """What was read of one availability domain. None: it could not be read."""

    shapes: Mapping[str, Mapping[str, Any]] | None
    #: The status of each shape in the capacity report, by fault domain ("" for the whole domain) and shape.
    report: Mapping[tuple[str, str], str] | None


def read_offers(cloud: Cloud, request: Request, existing: Existing, region: str, topology: Topology) -> Sequence[Offer]:
    """Return the zones of ``region`` by name, each with what it can do for ``topology``.

    Domains, images and listed reservations are read side by side; then, of every domain at once, shapes and the
    capacity report. Raise the SDK's error for refused credentials, `Refused` for a listed reservation that is nowhere.
    """
    groups = [settings_of(request, group) for group in topology.groups]
    with ThreadPoolExecutor(3, thread_name_prefix="offers") as pool:
        listed = pool.submit(
            cloud.get, IDENTITY, region, "ListAvailabilityDomains", "/availabilityDomains", compartmentId=cloud.tenancy
        )
        looked_up = pool.submit(_images, cloud, region, groups)
        reservations = pool.submit(existing.read, cloud, region)
        domains = sorted(str(one["name"]) for one in listed.result().data)
        images, used = looked_up.result(), reservations.result()
    reads = dict(zip(domains, side_by_side(lambda domain: _read(cloud, region, domain, groups), domains), strict=True))
    zones = [join_zone(domain, fault) for domain in domains for fault in cloud.settings.fault_domains or ("",)]
    check_usable(cloud, request, region, used, {zone: zone_aliases(zone) for zone in zones})
    offers = [_offer(request, region, zone, groups, reads[split_zone(zone)[0]], images, used) for zone in zones]
    return _ranked(offers, groups, reads)


def _read(cloud: Cloud, region: str, domain: str, groups: Sequence[GroupSettings]) -> Reads:
    with ThreadPoolExecutor(2, thread_name_prefix="domain") as pool:
        shapes = pool.submit(_shapes, cloud, region, domain)
        report = pool.submit(_report, cloud, region, domain, groups)
        return Reads(shapes.result(), report.result())


def _shapes(cloud: Cloud, region: str, domain: str) -> Mapping[str, Mapping[str, Any]] | None:
    query = {"compartmentId": cloud.compartment, "availabilityDomain": domain}
    try:
        return {str(one["shape"]): one for one in cloud.pages(COMPUTE, region, "ListShapes", "/shapes", **query)}
    except (ServiceError, RequestException) as error:
        if diagnose_error(error, cloud.errors).kind == "auth":
            raise
        return None


def _report(
    cloud: Cloud, region: str, domain: str, groups: Sequence[GroupSettings]
) -> Mapping[tuple[str, str], str] | None:
    """Return the capacity report. It may be denied to these credentials, and what is not in it rules nothing out."""
    if not cloud.settings.capacity_report:
        return None
    wanted = [
        {
            "instanceShape": shape,
            **({"instanceShapeConfig": config} if (config := group.shape_config(shape)) else {}),
            **({"faultDomain": fault} if fault else {}),
        }
        for group in groups
        for shape in group.types
        for fault in cloud.settings.fault_domains or ("",)
    ]
    unique = [one for number, one in enumerate(wanted) if one not in wanted[:number]]
    found: dict[tuple[str, str], str] = {}
    for start in range(0, len(unique), _SHAPES_A_REPORT):
        some = unique[start : start + _SHAPES_A_REPORT]
        # The compartment must be the root (API reference, CreateComputeCapacityReportDetails).
        body = {"compartmentId": cloud.tenancy, "availabilityDomain": domain, "shapeAvailabilities": some}
        try:
            answer = cloud.call(
                COMPUTE, region, "CreateComputeCapacityReport", "POST", "/computeCapacityReports", body=body
            )
        except (ServiceError, RequestException):
            return None
        for one in answer.data.get("shapeAvailabilities", ()):
            key = (str(one.get("faultDomain") or ""), str(one["instanceShape"]))
            found[key] = str(one.get("availabilityStatus", ""))
    return found


def _images(cloud: Cloud, region: str, groups: Sequence[GroupSettings]) -> Mapping[tuple[str, str, str], str | None]:
    """Return the newest image of each lookup and shape; None where the region has none."""
    wanted = {
        (found.operating_system, found.version, shape)
        for group in groups
        for shape in group.types
        if isinstance(found := group.image(region), ImageLookup)
    }

    def newest(lookup: tuple[str, str, str]) -> str | None:
        system, version, shape = lookup
        listed = cloud.pages(
            COMPUTE,
            region,
            "ListImages",
            "/images",
            compartmentId=cloud.compartment,
            operatingSystem=system,
            operatingSystemVersion=version,
            shape=shape,
            lifecycleState="AVAILABLE",
            sortBy="TIMECREATED",
            sortOrder="DESC",
        )
        return next((str(one["id"]) for one in listed), None)

    keys = sorted(wanted)
    return dict(zip(keys, side_by_side(newest, keys), strict=True))


def _offer(
    request: Request,
    region: str,
    zone: str,
    groups: Sequence[GroupSettings],
    read: Reads,
    images: Mapping[tuple[str, str, str], str | None],
    existing: Sequence[Mapping[str, Any]],
) -> Offer:
    use = use_in_zone(request, groups, existing, region, zone)
    facts = {use_fact(*user): id_ for user, id_ in use.used.items()}
    for group in groups:
        found = group.image(region)
        if isinstance(found, ImageLookup):
            known = {shape: images.get((found.operating_system, found.version, shape)) for shape in group.types}
            facts |= {image_fact(group.name, shape): image for shape, image in known.items() if image}
    lacks = _lacks(groups, read, zone)
    why = _why_not(groups, region, images, lacks, read.shapes or ())
    return Offer(
        region=region,
        zone=zone,
        ok=not why,
        aliases=zone_aliases(zone),
        why=why,
        lacks=tuple(sorted(lacks)),
        preferred=not why and bool(use.used),
        serves=by_reservation(use.used),
        unused=use.unused,
        facts=facts,
    )


def _lacks(groups: Sequence[GroupSettings], read: Reads, zone: str) -> set[str]:
    """Return the shapes that the domain does not have, by its list or by the report."""
    wanted = {shape for group in groups for shape in group.types}
    lacks = set() if read.shapes is None else wanted - read.shapes.keys()
    fault = split_zone(zone)[1]
    return lacks | {shape for shape in wanted if (read.report or {}).get((fault, shape)) == _UNSUPPORTED}


def _why_not(
    groups: Sequence[GroupSettings],
    region: str,
    images: Mapping[tuple[str, str, str], str | None],
    lacks: set[str],
    known: Collection[str],
) -> str:
    """Return why the zone cannot take the groups, for the user; empty if it can, as far as could be read."""
    lacking = {shape for group in groups if set(group.types) <= lacks for shape in group.types}
    if lacking:
        return not_offered(lacking, known)
    for group in groups:
        found = group.image(region)
        if found is None:
            return f"no image is named for {group.name} in {region} (oci.image)"
        if isinstance(found, ImageLookup):
            named = [images.get((found.operating_system, found.version, shape)) for shape in group.types]
            if not any(named):
                return f"{region} has no image of {found.operating_system} {found.version} for {group.types[0]}"
    return ""


def _ranked(offers: list[Offer], groups: Sequence[GroupSettings], reads: Mapping[str, Reads]) -> list[Offer]:
    """Return offers, those first that have room by the report, where by it others have none."""
    wanted = {group.group.instance_type for group in groups}

    def is_out(offer: Offer) -> bool:
        domain, fault = split_zone(offer.zone)
        report = reads[domain].report or {}
        return any(report.get((fault, shape)) == _OUT for shape in wanted)

    if not any(is_out(offer) for offer in offers):
        return offers
    return [replace(offer, preferred=offer.preferred or (offer.ok and not is_out(offer))) for offer in offers]
