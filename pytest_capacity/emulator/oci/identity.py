"""Identity: tenancy, compartments, availability domains, fault domains, region subscriptions."""

from __future__ import annotations

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci.api import COMPARTMENTS, Api, hidden, paged, when
from pytest_capacity.emulator.oci.catalogue import DOMAINS, FAULT_DOMAINS, REGIONS
from pytest_capacity.emulator.oci.signing import REGION, TENANCY

_BEGAN = 1735689600.0


def get_tenancy(api: Api, asked: Asked) -> HttpResponse:
    """Return the tenancy."""
    if asked.params["tenancy"] != TENANCY:
        raise hidden(asked.params["tenancy"])
    home = REGIONS[REGION][0].upper()
    return HttpResponse.of_json({"id": TENANCY, "name": "emulated", "description": "", "homeRegionKey": home})


def list_region_subscriptions(api: Api, asked: Asked) -> HttpResponse:
    """Return every region: the tenancy is subscribed to all."""
    if asked.params["tenancy"] != TENANCY:
        raise hidden(asked.params["tenancy"])
    return HttpResponse.of_json(
        [
            {"regionKey": key.upper(), "regionName": region, "status": "READY", "isHomeRegion": region == REGION}
            for region, (key, _, _) in REGIONS.items()
        ]
    )


def list_availability_domains(api: Api, asked: Asked) -> HttpResponse:
    """Return the domains of the region."""
    compartment = api.compartment(asked.request.first("compartmentId"))
    domains = DOMAINS[asked.region]
    return paged([{"name": one, "compartmentId": compartment, "id": _domain_id(one)} for one in domains], asked)


def list_fault_domains(api: Api, asked: Asked) -> HttpResponse:
    """Return the fault domains of one availability domain."""
    compartment = api.compartment(asked.request.first("compartmentId"))
    domain = api.domain(asked, asked.request.first("availabilityDomain"))
    listed = [
        {
            "name": one,
            "id": f"{_domain_id(domain)}{one[-1]}",
            "compartmentId": compartment,
            "availabilityDomain": domain,
        }
        for one in FAULT_DOMAINS
    ]
    return paged(listed, asked)


def list_compartments(api: Api, asked: Asked) -> HttpResponse:
    """Return the compartments below one; of the tenancy all of them, where ``compartmentIdInSubtree`` is set."""
    parent = api.compartment(asked.request.first("compartmentId"))
    whole = asked.request.first("compartmentIdInSubtree") == "true" and parent == TENANCY
    listed = [
        {
            "id": id_,
            "name": name,
            "description": name,
            "compartmentId": above,
            "lifecycleState": "ACTIVE",
            "timeCreated": when(_BEGAN),
            "freeformTags": {},
            "definedTags": {},
        }
        for id_, name, above in COMPARTMENTS
        if whole or above == parent
    ]
    return paged(listed, asked)


def _domain_id(domain: str) -> str:
    return f"ocid1.availabilitydomain.oc1..aaaaaaaa{domain.partition(':')[2].lower().replace('-', '')}"
