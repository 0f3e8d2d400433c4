"""Paths, errors and headers of Resource Manager."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from pytest_capacity.emulator import refusal as r
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal

#: Items of one page. Small, so that clients meet the second page.
PAGE: Final = 20

#: Types of resources by their path in small letters: how they are written, and the SDK's name of their operations.
TYPES: Final[Mapping[str, tuple[str, str]]] = {
    one.lower(): (one, group)
    for one, group in (
        ("Microsoft.Compute/virtualMachines", "VirtualMachines"),
        ("Microsoft.Compute/capacityReservationGroups", "CapacityReservationGroups"),
        ("Microsoft.Compute/capacityReservationGroups/capacityReservations", "CapacityReservations"),
        ("Microsoft.Compute/proximityPlacementGroups", "ProximityPlacementGroups"),
        ("Microsoft.Compute/disks", "Disks"),
        ("Microsoft.Compute/images", "Images"),
        ("Microsoft.Network/virtualNetworks", "VirtualNetworks"),
        ("Microsoft.Network/virtualNetworks/subnets", "Subnets"),
        ("Microsoft.Network/networkInterfaces", "NetworkInterfaces"),
        ("Microsoft.Network/publicIPAddresses", "PublicIPAddresses"),
        ("Microsoft.Network/networkSecurityGroups", "NetworkSecurityGroups"),
    )
}
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_HTTP: Final = {
    "ResourceNotFound": 404,
    "ResourceGroupNotFound": 404,
    "ParentResourceNotFound": 404,
    "SubscriptionNotFound": 404,
    "NotFound": 404,
    "PlatformImageNotFound": 404,
    "PreconditionFailed": 412,
    "BadRequest": 400,
    "InvalidParameter": 400,
    "InUseSubnetCannotBeDeleted": 400,
    "NicInUse": 400,
    "InUseNetworkSecurityGroupCannotBeDeleted": 400,
    "PublicIPAddressCannotBeDeleted": 400,
    "MissingApiVersionParameter": 400,
    "InvalidApiVersionParameter": 400,
    "InvalidResourceReference": 400,
    "LocationNotAvailableForResourceType": 400,
    "AuthenticationFailed": 401,
    "InvalidAuthenticationToken": 401,
    "TooManyRequests": 429,
}


@dataclass(frozen=True)
class ArmPath:
    """A path of Resource Manager, whose fixed words are case-insensitive.

    ``type`` is that of a resource or of a list of them, ``names`` the names in it; ``more`` is what comes after the
    name (an action). ``region`` is that of ``/locations/REGION/``.
    """

    subscription: str = ""
    group: str = ""
    type: str = ""
    names: tuple[str, ...] = ()
    is_list: bool = False
    more: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return the id as the emulator keeps it: the types as they are written, the names in small letters."""
        return make_id(self.subscription, self.group, self.type, *self.names)


def make_id(subscription: str, group: str, type_: str = "", *names: str) -> str:
    """Return an id in the form in which the emulator keeps it."""
    path = f"/subscriptions/{subscription.lower()}/resourceGroups/{group.lower()}"
    if not type_:
        return path
    provider, *kinds = type_.split("/")
    return f"{path}/providers/{provider}" + "".join(
        f"/{kind}/{name.lower()}" for kind, name in zip(kinds, names, strict=True)
    )


def read_id(text: str) -> ArmPath:
    """Return the path that an id in a body is. Raise `Refusal` where it is none."""
    path = read_path(text)
    if not path.type or path.is_list or path.more:
        raise Refusal("InvalidResourceReference", f"{text!r} is not the id of a resource")
    return path


def read_path(text: str) -> ArmPath:
    """Return what a path names; what is not of Resource Manager has no subscription."""
    words = [unquote(word) for word in text.strip("/").split("/")]
    if len(words) < 2 or words[0].lower() != "subscriptions":
        return ArmPath(more=tuple(words))
    subscription, words = words[1].lower(), words[2:]
    group = ""
    if words and words[0].lower() == "resourcegroups":
        if len(words) == 1:
            return ArmPath(subscription, type="resourceGroups", is_list=True)
        group, words = words[1], words[2:]
        if not words:
            return ArmPath(subscription, group)
    if len(words) > 2 and words[0].lower() == "providers" and words[1].lower() != "microsoft.resources":
        return _resource(subscription, group, words[1:])
    return ArmPath(subscription, group, more=tuple(words))


def _resource(subscription: str, group: str, words: Sequence[str]) -> ArmPath:
    """Return the parts of ``Provider/type/name[/type/name][/more]``, as far as the types are known."""
    type_, names, rest = words[0], list[str](), list(words[1:])
    is_list = False
    while rest and f"{type_}/{rest[0]}".lower() in TYPES:
        type_ = TYPES[f"{type_}/{rest[0]}".lower()][0]
        rest = rest[1:]
        is_list = not rest
        if rest:
            names.append(rest[0])
            rest = rest[1:]
    if "/" not in type_:
        return ArmPath(subscription, group, more=("providers", *words))
    return ArmPath(subscription, group, type_, tuple(names), is_list, tuple(rest))


def check_version(request: HttpRequest) -> str:
    """Return the API version of a request. Raise `Refusal` where there is none or where it is no date."""
    version = next((values[0] for name, values in request.query.items() if name.lower() == "api-version"), "")
    if not version:
        raise Refusal(
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    if not _VERSION.fullmatch(version):
        raise Refusal("InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")
    return version


def base_url(request: HttpRequest) -> str:
    """Return the URL of this emulator as the client has it."""
    return f"http://{request.headers.get('Host', '127.0.0.1')}"


def paged(request: HttpRequest, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a page of a list, with the link to the next one."""
    begin = int(request.first("$skiptoken", "0") or 0)
    body: dict[str, Any] = {"value": list(items[begin : begin + PAGE])}
    if begin + PAGE < len(items):
        pairs = [(name, value) for name, values in request.query.items() for value in values if name != "$skiptoken"]
        query = "&".join(
            f"{quote(name, safe='$')}={quote(value)}" for name, value in [*pairs, ("$skiptoken", str(begin + PAGE))]
        )
        body["nextLink"] = f"{base_url(request)}{request.path}?{query}"
    return body


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header with the time until a client's next poll; none where that is at once."""
    whole = math.floor(min(seconds, 10.0))
    return {"Retry-After": str(whole)} if whole >= 1 else {}


def error_body(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as Resource Manager writes it."""
    if isinstance(refusal.details, Mapping):
        return {"error": dict(refusal.details)}
    return {"error": {"code": refusal.code, "message": refusal.message}}


def answer_refusal(refusal: Refusal) -> HttpResponse:
    """Return a refusal of the face's or of the World's in Azure's form."""
    if not refusal.scripted:
        refusal = _translated(refusal)
    status = refusal.http or _HTTP.get(refusal.code, 409)
    headers = {"x-ms-error-code": refusal.code}
    if status == 429:
        headers["Retry-After"] = "1"
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return HttpResponse.of_json(error_body(refusal), status, headers, error=refusal.code)


def _translated(refusal: Refusal) -> Refusal:
    if isinstance(refusal, r.OverQuota):
        return over_quota(refusal)
    if isinstance(refusal, r.BadCredentials):
        return Refusal("InvalidAuthenticationToken", "The access token is invalid.", 401)
    if isinstance(refusal, r.Throttled):
        kind = {"code": "TooManyRequests", "target": f"{refusal.kind}3Min", "message": '{"operationGroup":"all"}'}
        words = "The server rejected the request because too many requests have been received for this subscription."
        details = {"code": "OperationNotAllowed", "message": words, "details": [kind]}
        return Refusal("TooManyRequests", words, 429, details=details)
    if isinstance(refusal, r.NotFound):
        return Refusal("ResourceNotFound", f"The Resource '{refusal.name}' was not found.", 404)
    if isinstance(refusal, r.StaleVersion):
        return Refusal("PreconditionFailed", "Precondition given in the request headers is not met.", 412)
    if isinstance(refusal, r.NoStock):
        return allocation_failed(refusal)
    return refusal


def over_quota(refusal: r.OverQuota) -> Refusal:
    """Return the refusal of a quota, with the words that name it."""
    approved = {
        "cores": "Total Regional Cores",
        "vcpus": "Total Regional Cores",
        "lowPriorityCores": "LowPriorityCores",
        "spot_vcpus": "LowPriorityCores",
    }.get(refusal.metric, f"{refusal.metric} Cores")
    words = (
        f"Operation could not be completed as it results in exceeding approved {approved} quota. Additional details - "
        f"Deployment Model: Resource Manager, Location: {refusal.region}, Current Limit: {refusal.limit:g}, "
        f"Current Usage: {refusal.used:g}, Additional Required: {refusal.wanted:g}, (Minimum) New Limit Required: "
        f"{refusal.used + refusal.wanted:g}. Submit a request for Quota increase at https://aka.ms/ProdportalCRP/"
    )
    return Refusal("OperationNotAllowed", words, 409)


def allocation_failed(refusal: r.NoStock, nested: bool = False) -> Refusal:
    """Return the lack of capacity, by whether a zone was requested and by market."""
    zonal = not refusal.zone.endswith("-none")
    if refusal.market == "spot":
        words = (
            f"The requested size for resource '{refusal.type}' is currently not available in location with "
            f"priority 'Spot'. Please try another size or deploy to a different location or zones."
        )
        return Refusal("SkuNotAvailable", words, 409)
    code = "ZonalAllocationFailed" if zonal else "AllocationFailed"
    where = "zone" if zonal else "region"
    words = (
        f"Allocation failed. We do not have sufficient capacity for the requested VM size in this {where}. Read more "
        f"about improving likelihood of allocation success at http://aka.ms/allocation-guidance"
    )
    if not nested:
        return Refusal(code, words, 409)
    details = {
        "code": "ResourceOperationFailure",
        "message": "The resource operation completed with terminal provisioning state 'Failed'.",
        "details": [{"code": code, "message": words}],
    }
    return Refusal(code, words, 409, details=details)
