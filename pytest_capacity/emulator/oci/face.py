"""The face: which call it is, by whom, where; and refusals as ``{code, message}``.

Oracle's regions differ by host. Here there is one host, so a client's endpoint names the region in its path:
``http://127.0.0.1:PORT/oci/us-ashburn-1``. Without that, the region is the one that an OCID or a domain of the request
names, or else the home region.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.emulator.catalogue import Catalogue
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.oci import clusters, compute, identity, network, reservations, shapes, volumes
from pytest_capacity.emulator.oci.api import COMPARTMENTS, Api, hidden, invalid, paged, region_of_ocid, token_key
from pytest_capacity.emulator.oci.catalogue import DOMAINS, SHAPES, OciCatalogue
from pytest_capacity.emulator.oci.signing import REGION, TENANCY, USER, Signatures
from pytest_capacity.emulator.oci.work import WorkRequests, core_resource
from pytest_capacity.emulator.refusal import (
    BadCredentials,
    InUse,
    NoStock,
    NotFound,
    OverQuota,
    Refusal,
    ReservationFull,
    StaleVersion,
    Throttled,
    TokenReused,
    UnknownRegion,
    WrongState,
)
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.world import World

Do = Callable[[Api, Asked], HttpResponse]

#: The API versions of the core services and of cluster placement groups; a path is one of its version.
CORE: Final = "20160918"
CLUSTERS: Final = "20230801"
_PATH: Final = re.compile(rf"(?:/oci/(?P<region>[a-z0-9-]+))?/(?P<version>{CORE}|{CLUSTERS})(?P<path>/.*)")

#: Of codes that are scripted without a status.
_STATUS: Final = {
    "InternalError": 500,
    "InternalServerError": 500,
    "OutOfHostCapacity": 500,
    "TooManyRequests": 429,
    "NotAuthenticated": 401,
    "NotAuthorizedOrNotFound": 404,
    "IncorrectState": 409,
    "Conflict": 409,
    "InvalidatedRetryToken": 409,
    "NoEtagMatch": 412,
    "ServiceUnavailable": 503,
}

_NETWORK_NOUNS: Final = {
    "vcns": "Vcn",
    "internetGateways": "InternetGateway",
    "routeTables": "RouteTable",
    "securityLists": "SecurityList",
    "subnets": "Subnet",
}


def _network_routes() -> list[tuple[str, str, str, Do]]:
    routes: list[tuple[str, str, str, Do]] = []
    for path, noun in _NETWORK_NOUNS.items():
        routes += [
            ("POST", f"/{path}", f"Create{noun}", network.create(path)),
            ("GET", f"/{path}", f"List{noun}s", network.list_(path)),
            ("GET", f"/{path}/(?P<id>[^/]+)", f"Get{noun}", network.get(path)),
            ("PUT", f"/{path}/(?P<id>[^/]+)", f"Update{noun}", network.update(path)),
            ("DELETE", f"/{path}/(?P<id>[^/]+)", f"Delete{noun}", network.delete(path)),
        ]
    return routes


_ID: Final = "(?P<id>[^/]+)"
_RESERVATIONS: Final = "/computeCapacityReservations"
_HISTORIES: Final = "/instanceConsoleHistories"
_CORE_WORK: Final = WorkRequests(lambda one: not clusters.is_ours(one), core_resource, paged)
_CLUSTER_WORK: Final = WorkRequests(clusters.is_ours, clusters.work_resource, clusters.collection)
ROUTES: Final[list[tuple[str, str, str, Do]]] = [
    ("GET", "/tenancies/(?P<tenancy>[^/]+)", "GetTenancy", identity.get_tenancy),
    (
        "GET",
        "/tenancies/(?P<tenancy>[^/]+)/regionSubscriptions",
        "ListRegionSubscriptions",
        identity.list_region_subscriptions,
    ),
    ("GET", "/availabilityDomains/?", "ListAvailabilityDomains", identity.list_availability_domains),
    ("GET", "/faultDomains/?", "ListFaultDomains", identity.list_fault_domains),
    ("GET", "/compartments/?", "ListCompartments", identity.list_compartments),
    ("GET", "/shapes/?", "ListShapes", shapes.list_shapes),
    ("GET", "/images/?", "ListImages", shapes.list_images),
    ("GET", f"/images/{_ID}", "GetImage", shapes.get_image),
    ("POST", "/instances/?", "LaunchInstance", compute.launch),
    ("GET", "/instances/?", "ListInstances", compute.list_),
    ("GET", f"/instances/{_ID}", "GetInstance", compute.get),
    ("PUT", f"/instances/{_ID}", "UpdateInstance", compute.update),
    ("POST", f"/instances/{_ID}", "InstanceAction", compute.act),
    ("DELETE", f"/instances/{_ID}", "TerminateInstance", compute.terminate),
    ("GET", "/bootVolumeAttachments/?", "ListBootVolumeAttachments", volumes.list_attachments),
    ("GET", f"/bootVolumes/{_ID}", "GetBootVolume", volumes.get),
    ("PUT", f"/bootVolumes/{_ID}", "UpdateBootVolume", volumes.update),
    ("GET", "/vnicAttachments/?", "ListVnicAttachments", network.list_vnic_attachments),
    ("GET", f"/vnics/{_ID}", "GetVnic", network.get_vnic),
    ("POST", _RESERVATIONS, "CreateComputeCapacityReservation", reservations.create),
    ("GET", _RESERVATIONS, "ListComputeCapacityReservations", reservations.list_),
    ("GET", f"{_RESERVATIONS}/{_ID}", "GetComputeCapacityReservation", reservations.get),
    ("PUT", f"{_RESERVATIONS}/{_ID}", "UpdateComputeCapacityReservation", reservations.update),
    ("DELETE", f"{_RESERVATIONS}/{_ID}", "DeleteComputeCapacityReservation", reservations.delete),
    (
        "GET",
        f"{_RESERVATIONS}/{_ID}/instances",
        "ListComputeCapacityReservationInstances",
        reservations.list_instances,
    ),
    ("POST", "/computeCapacityReports", "CreateComputeCapacityReport", reservations.report),
    ("POST", f"{_HISTORIES}/?", "CaptureConsoleHistory", compute.capture_history),
    ("GET", f"{_HISTORIES}/{_ID}", "GetConsoleHistory", compute.get_history),
    ("GET", f"{_HISTORIES}/{_ID}/data", "GetConsoleHistoryContent", compute.history_content),
    ("DELETE", f"{_HISTORIES}/{_ID}", "DeleteConsoleHistory", compute.delete_history),
    ("GET", "/workRequests/?", "ListWorkRequests", _CORE_WORK.list_),
    ("GET", f"/workRequests/{_ID}", "GetWorkRequest", _CORE_WORK.get),
    ("GET", f"/workRequests/{_ID}/errors", "ListWorkRequestErrors", _CORE_WORK.list_errors),
    *_network_routes(),
]
_GROUPS: Final = "/clusterPlacementGroups"
CLUSTER_ROUTES: Final[list[tuple[str, str, str, Do]]] = [
    ("POST", _GROUPS, "CreateClusterPlacementGroup", clusters.create),
    ("GET", _GROUPS, "ListClusterPlacementGroups", clusters.list_),
    ("GET", f"{_GROUPS}/{_ID}", "GetClusterPlacementGroup", clusters.get),
    ("PUT", f"{_GROUPS}/{_ID}", "UpdateClusterPlacementGroup", clusters.update),
    ("DELETE", f"{_GROUPS}/{_ID}", "DeleteClusterPlacementGroup", clusters.delete),
    ("POST", f"{_GROUPS}/{_ID}/actions/activate", "ActivateClusterPlacementGroup", clusters.switch(False)),
    ("POST", f"{_GROUPS}/{_ID}/actions/deactivate", "DeactivateClusterPlacementGroup", clusters.switch(True)),
    ("GET", "/workRequests/?", "ListWorkRequests", _CLUSTER_WORK.list_),
    ("GET", f"/workRequests/{_ID}", "GetWorkRequest", _CLUSTER_WORK.get),
    ("GET", f"/workRequests/{_ID}/errors", "ListWorkRequestErrors", _CLUSTER_WORK.list_errors),
]
_COMPILED: Final = {
    version: [(method, re.compile(path), operation, do) for method, path, operation, do in routes]
    for version, routes in ((CORE, ROUTES), (CLUSTERS, CLUSTER_ROUTES))
}


class OciFace:
    """`pytest_capacity.emulator.face.Face` for OCI."""

    name = "oci"

    def __init__(self, world: World, secret: Secret) -> None:
        self._world = world
        self._signatures = Signatures(secret)
        self._api = Api(world)
        self._catalogue = OciCatalogue(dict.fromkeys(operation for _, _, operation, _ in (*ROUTES, *CLUSTER_ROUTES)))

    @property
    def catalogue(self) -> Catalogue:
        """Return the regions, domains and shapes."""
        return self._catalogue

    def claims(self, request: HttpRequest) -> bool:
        """Return whether the request is for OCI, by the version in the path, which no other cloud has."""
        return _PATH.fullmatch(request.path) is not None

    def read(self, request: HttpRequest) -> Asked:
        """Return the call, by method and path."""
        found = _PATH.fullmatch(request.path)
        path = found["path"] if found else ""
        for method, form, operation, do in _COMPILED[found["version"]] if found else ():
            match = form.fullmatch(path)
            if match and method == request.method:
                return self._asked(request, found["region"] if found else None, operation, do, match.groupdict())
        operation = f"{request.method} {path}"
        return Asked(operation=operation, request=request, refusal=hidden(f"{request.method} {path}"))

    def _asked(self, request: HttpRequest, region: str | None, operation: str, do: Do, ids: Mapping[str, str]) -> Asked:
        body, refusal = _body(request)
        zone = body.get("availabilityDomain") or request.first("availabilityDomain") or None
        at = region or _region(ids, request, body)
        if at not in DOMAINS:
            refusal = refusal or UnknownRegion(at)
        asked = Asked(
            operation=operation,
            request=request,
            region=at if at in DOMAINS else REGION,
            zone=str(zone) if zone else None,
            type=str(body["shape"]) if body.get("shape") else None,
            market="spot" if body.get("preemptibleInstanceConfig") else "on-demand",
            token=request.headers.get("opc-retry-token"),
            writes=request.method != "GET",
            refusal=refusal,
            params={**ids, "body": body, "do": do},
        )
        asked.replay = asked.token is not None and token_key(asked) in self._world.tokens
        return asked

    def check(self, asked: Asked) -> Refusal | None:
        """Return a refusal where the signature is wrong."""
        why = self._signatures.why_wrong(asked.request, self._world.clock.wall())
        return BadCredentials(why) if why else None

    def do(self, asked: Asked) -> HttpResponse:
        """Do the operation."""
        do: Do = asked.params["do"]
        response = do(self._api, asked)
        return HttpResponse(response.status, response.body, _with_id(response.headers, asked.request), response.error)

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in the form ``{code, message}``."""
        code, message, http = _in_words(refusal, asked)
        headers = _with_id({}, asked.request)
        return HttpResponse.of_json({"code": code, "message": message}, http, headers, error=code)

    def ready(self, url: str) -> Mapping[str, Any]:
        """Return where the config file is, and what is in it."""
        return {
            "endpoint": f"{url}/oci/{REGION}",
            "config_file": str(self._signatures.config_file),
            "tenancy": TENANCY,
            "user": USER,
            "compartments": [one[0] for one in COMPARTMENTS],
        }

    def warm(self) -> None:
        """Do nothing: everything is loaded already."""


def make(world: World, secret: Secret) -> OciFace:
    """Return the face."""
    return OciFace(world, secret)


def _body(request: HttpRequest) -> tuple[Mapping[str, Any], Refusal | None]:
    if request.method not in ("POST", "PUT") or not request.body:
        return {}, None
    try:
        body = request.json()
    except ValueError:
        return {}, Refusal("CannotParseRequest", "The request body is no JSON.", 400)
    if not isinstance(body, dict):
        return {}, invalid("The request body is no object.")
    return body, None


def _region(ids: Mapping[str, str], request: HttpRequest, body: Mapping[str, Any]) -> str:
    domain = str(body.get("availabilityDomain") or request.first("availabilityDomain"))
    by_domain = next((region for region, domains in DOMAINS.items() if domain in domains), "")
    named = [*ids.values(), str(body.get("vcnId") or ""), str(body.get("instanceId") or "")]
    return by_domain or next(filter(None, map(region_of_ocid, named)), "") or REGION


def _with_id(headers: Mapping[str, str], request: HttpRequest) -> dict[str, str]:
    given = request.headers.get("opc-request-id", "")
    return {**headers, "opc-request-id": given or "emulated"}


def _in_words(refusal: Refusal, asked: Asked) -> tuple[str, str, int]:
    if refusal.scripted:
        return refusal.code, refusal.message, refusal.http or _STATUS.get(refusal.code, 400)
    if isinstance(refusal, NoStock | ReservationFull):
        return _no_room(refusal)
    if isinstance(refusal, OverQuota):
        limit = SHAPES[asked.type].limit if asked.type and asked.type in SHAPES else "compute-core"
        # The weather's quota is one of the region.
        words = f"The following service limits were exceeded: {limit}-regional-count. Request a service limit increase."
        return "LimitExceeded", words, 400
    if isinstance(refusal, Throttled):
        return "TooManyRequests", "Too many requests for the user.", 429
    if isinstance(refusal, BadCredentials):
        return "NotAuthenticated", refusal.message, 401
    if isinstance(refusal, NotFound | UnknownRegion):
        return (
            "NotAuthorizedOrNotFound",
            f"Authorization failed or requested resource not found: {refusal.message}.",
            404,
        )
    if isinstance(refusal, InUse):
        return "Conflict", refusal.message, 409
    if isinstance(refusal, WrongState):
        return "IncorrectState", refusal.message, 409
    if isinstance(refusal, StaleVersion):
        return "NoEtagMatch", f"The if-match header does not match the etag: {refusal.message}.", 412
    if isinstance(refusal, TokenReused):
        words = "The retry token was used with a different request."
        return "InvalidatedRetryToken", words, 409
    return refusal.code, refusal.message, refusal.http or _STATUS.get(refusal.code, 400)


def _no_room(refusal: NoStock | ReservationFull) -> tuple[str, str, int]:
    """Return OCI's form of a lack of hosts: an internal error, with the reason in the text only."""
    if isinstance(refusal, NoStock):
        return "InternalError", "Out of host capacity.", 500
    words = f"The capacity reservation {refusal.reservation.partition('#')[0]} does not have sufficient capacity."
    return "InternalError", words.replace("The capacity reservation", "The reservation"), 500
