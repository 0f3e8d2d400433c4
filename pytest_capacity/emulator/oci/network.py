"""The network: VCNs, subnets, gateways, route tables, security lists, VNICs."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci.api import (
    CLOUD,
    Api,
    accepted,
    answer,
    conflict,
    hidden,
    invalid,
    paged,
    required,
    when,
)
from pytest_capacity.emulator.oci.things import INSTANCE, Instance, NetworkThing
from pytest_capacity.emulator.refusal import Refusal

VCN: Final = "vcn"
SUBNET: Final = "subnet"


class NetworkKind(Struct, frozen=True):
    """One kind of thing in a network: what its body must have and may have, and which OCIDs in it are of others."""

    kind: str
    must: tuple[str, ...]
    may: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


KINDS: Final[Mapping[str, NetworkKind]] = {
    "vcns": NetworkKind(VCN, ("compartmentId",), ("cidrBlock", "cidrBlocks", "dnsLabel", "isIpv6Enabled")),
    "internetGateways": NetworkKind("internetgateway", ("compartmentId", "vcnId", "isEnabled"), ("routeTableId",)),
    "routeTables": NetworkKind("routetable", ("compartmentId", "vcnId", "routeRules")),
    "securityLists": NetworkKind(
        "securitylist", ("compartmentId", "vcnId", "egressSecurityRules", "ingressSecurityRules")
    ),
    "subnets": NetworkKind(
        SUBNET,
        ("compartmentId", "vcnId", "cidrBlock"),
        ("prohibitPublicIpOnVnic", "prohibitInternetIngress", "dnsLabel", "availabilityDomain"),
        ("routeTableId", "securityListIds"),
    ),
}

_TYPES: Final = {one.kind: NetworkThing for one in KINDS.values()}


def create(path: str) -> Callable[[Api, Asked], HttpResponse]:
    """Return the operation that makes a thing of that path."""
    known = KINDS[path]

    def operation(api: Api, asked: Asked) -> HttpResponse:
        body = asked.params["body"]
        required(body, *(name for name in known.must if name != "isEnabled"))
        made = api.once(asked, body, lambda: _make(api, asked, known, body))
        thing = api.need(made, _TYPES, asked.region)
        return answer(thing, shown(api, thing))

    return operation


def _make(api: Api, asked: Asked, known: NetworkKind, body: Mapping[str, Any]) -> str:
    compartment = api.compartment(body["compartmentId"])
    vcn = str(body.get("vcnId") or "")
    uses = [vcn] if vcn else []
    for name in known.uses:
        given = body.get(name) or ()
        uses += [given] if isinstance(given, str) else list(given)
    uses += [rule["networkEntityId"] for rule in body.get("routeRules") or () if rule.get("networkEntityId")]
    for one in uses:
        api.need(one, _TYPES, asked.region)
    _check_blocks(api, asked, known, body, vcn)
    thing = NetworkThing(
        **api.world.born(CLOUD),
        id=api.ocid(known.kind, asked.region),
        kind=known.kind,
        region=asked.region,
        name=str(body.get("displayName") or ""),
        tags=api.tags(body),
        token=asked.token or "",
        compartment=compartment,
        vcn=vcn,
        uses=tuple(uses),
        details={name: body[name] for name in (*known.must, *known.may, *known.uses) if name in body}
        | {"definedTags": body.get("definedTags") or {}},
    )
    api.world.add(thing)
    return thing.id


def _check_blocks(api: Api, asked: Asked, known: NetworkKind, body: Mapping[str, Any], vcn: str) -> None:
    if known.kind not in (VCN, SUBNET):
        return
    blocks = body.get("cidrBlocks") or [body.get("cidrBlock")]
    try:
        networks = [ipaddress.ip_network(str(one)) for one in blocks]
    except ValueError as problem:
        raise invalid(f"cidrBlock: {problem}") from None
    if known.kind == SUBNET:
        above = api.need(vcn, _TYPES, asked.region).details
        outer = [ipaddress.ip_network(one) for one in above.get("cidrBlocks") or [above.get("cidrBlock")]]
        if not any(_within(network, one) for network in networks for one in outer):
            raise invalid(f"The CIDR block {blocks[0]} is not within the CIDR blocks of the VCN.")


def _within(inner: Any, outer: Any) -> bool:
    return inner.version == outer.version and bool(inner.subnet_of(outer))


def get(path: str) -> Callable[[Api, Asked], HttpResponse]:
    """Return the operation that reads a thing of that path."""

    def operation(api: Api, asked: Asked) -> HttpResponse:
        thing = api.live({KINDS[path].kind: NetworkThing}, asked)
        return answer(thing, shown(api, thing))

    return operation


def list_(path: str) -> Callable[[Api, Asked], HttpResponse]:
    """Return the operation that lists the things of that path in a compartment."""
    kind = KINDS[path].kind

    def operation(api: Api, asked: Asked) -> HttpResponse:
        compartment, vcn = api.compartment(asked.request.first("compartmentId")), asked.request.first("vcnId")
        things = [
            one
            for one in api.visible(api.world.of(NetworkThing, CLOUD, asked.region, kind))
            if one.compartment == compartment and vcn in ("", one.vcn)
        ]
        return paged([shown(api, one) for one in things], asked)

    return operation


def update(path: str) -> Callable[[Api, Asked], HttpResponse]:
    """Return the operation that changes tags and name of a thing of that path."""

    def operation(api: Api, asked: Asked) -> HttpResponse:
        thing = api.changeable({KINDS[path].kind: NetworkThing}, asked)
        body = asked.params["body"]
        if "freeformTags" in body:
            thing.tags = api.tags(body)
        thing.name = str(body.get("displayName") or thing.name)
        thing.version += 1
        return answer(thing, shown(api, thing))

    return operation


def delete(path: str) -> Callable[[Api, Asked], HttpResponse]:
    """Return the operation that removes a thing of that path; what others use stays."""

    def operation(api: Api, asked: Asked) -> HttpResponse:
        thing = api.changeable({KINDS[path].kind: NetworkThing}, asked)
        users = [one.id for one in api.world.of(NetworkThing, CLOUD, asked.region) if thing.id in one.uses]
        if thing.kind == SUBNET:
            users += [one.vnic for one in api.world.of(Instance, CLOUD, asked.region) if one.subnet == thing.id]
        if users:
            raise conflict(
                f"The {thing.kind} {thing.id} references {', '.join(users[:3])}. You must remove the reference to "
                "proceed with this operation."
            )
        api.world.remove(thing)
        return accepted()

    return operation


def shown(api: Api, thing: NetworkThing) -> dict[str, Any]:
    """Return a thing of the network as the API has it."""
    body: dict[str, Any] = {
        "id": thing.id,
        "displayName": thing.name,
        "lifecycleState": thing.state(api.now),
        "timeCreated": when(thing.made),
        "freeformTags": dict(thing.tags),
        **thing.details,
    }
    if thing.kind == VCN:
        blocks = list(thing.details.get("cidrBlocks") or [thing.details.get("cidrBlock")])
        body |= {"cidrBlock": blocks[0], "cidrBlocks": blocks}
    if thing.kind == SUBNET:
        network = ipaddress.ip_network(str(thing.details["cidrBlock"]))
        body |= {
            "virtualRouterIp": str(next(network.hosts())),
            "virtualRouterMac": "00:00:17:00:00:01",
            "routeTableId": thing.details.get("routeTableId") or thing.vcn.replace(".vcn.", ".routetable."),
            "prohibitPublicIpOnVnic": bool(thing.details.get("prohibitPublicIpOnVnic")),
        }
    return body


def next_address(api: Api, subnet: NetworkThing) -> str:
    """Return the next private address of a subnet that no instance has. Its first one is the router's."""
    taken = {one.private_ip for one in api.world.of(Instance, CLOUD, subnet.region) if one.subnet == subnet.id}
    hosts = ipaddress.ip_network(str(subnet.details["cidrBlock"])).hosts()
    next(hosts, None)
    free = next((str(one) for one in hosts if str(one) not in taken), None)
    if free is None:
        raise Refusal("LimitExceeded", f"The subnet {subnet.id} has no more private IP addresses available.", 400)
    return free


def list_vnic_attachments(api: Api, asked: Asked) -> HttpResponse:
    """Return which VNIC is attached to which instance."""
    compartment = api.compartment(asked.request.first("compartmentId"))
    instance = asked.request.first("instanceId")
    attached = [
        {
            "id": one.vnic.replace(".vnic.", ".vnicattachment."),
            "availabilityDomain": one.domain_name,
            "compartmentId": one.compartment,
            "instanceId": one.id,
            "subnetId": one.subnet,
            "vnicId": one.vnic,
            "nicIndex": 0,
            "lifecycleState": "ATTACHING" if one.stage(api.now) == "starting" else "ATTACHED",
            "timeCreated": when(one.made),
        }
        for one in api.visible(api.world.of(Instance, CLOUD, asked.region, INSTANCE))
        if one.compartment == compartment and instance in ("", one.id)
    ]
    return paged(attached, asked)


def get_vnic(api: Api, asked: Asked) -> HttpResponse:
    """Return a VNIC with its addresses."""
    found = [one for one in api.world.of(Instance, CLOUD, asked.region) if one.vnic == asked.params["id"]]
    if not found:
        raise hidden(asked.params["id"])
    one = found[0]
    body = {
        "id": one.vnic,
        "availabilityDomain": one.domain_name,
        "compartmentId": one.compartment,
        "subnetId": one.subnet,
        "isPrimary": True,
        "lifecycleState": "AVAILABLE",
        "privateIp": one.private_ip,
        "macAddress": "02:00:17:00:00:02",
        "timeCreated": when(one.made),
        "freeformTags": {},
        "definedTags": {},
    }
    if one.public_ip:
        body["publicIp"] = one.public_ip
    return answer(one, body)
