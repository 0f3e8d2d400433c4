"""Azure Resource Manager's face of the emulator: which call is which, who may make it, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import DecodeError

from pytest_capacity.emulator.azure import groups, machines, network, power, reservations, sizes
from pytest_capacity.emulator.azure.catalogue import LOCATIONS, SUBSCRIPTION, TENANT, AzureCatalogue, zone_name
from pytest_capacity.emulator.azure.context import CLOUD, Context
from pytest_capacity.emulator.azure.wire import (
    TYPES,
    ArmPath,
    answer_refusal,
    base_url,
    check_version,
    make_id,
    read_path,
)
from pytest_capacity.emulator.face import Answer, Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import BadCredentials, Refusal
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.things import Machine, Reservation
from pytest_capacity.emulator.world import World

Handler = Callable[[Context, Asked], HttpResponse]

#: Where the Azure command line finds out what a registered cloud has.
_METADATA: Final = "/metadata/endpoints"
_TOKENS: Final = (
    "/oauth2/token",
    "/oauth2/v2.0/token",
    "/v2.0/.well-known/openid-configuration",
    "/azure-identity/token",
    _METADATA,
)
_BLOBS: Final = "/azure-blobs/"
#: No token is needed for these: calls for a token, and those of a signed URL.
_OPEN: Final = frozenset({"Tokens_Get", "Blobs_Get"})

_VERBS: Final = {"PUT": "CreateOrUpdate", "PATCH": "Update", "GET": "Get", "HEAD": "Get", "DELETE": "Delete"}

_OF_TYPE: Final[Mapping[str, Mapping[str, Handler]]] = {
    "VirtualMachines": {
        "CreateOrUpdate": machines.put_machine,
        "Update": power.patch_machine,
        "Get": machines.get_machine,
        "List": machines.list_machines,
        "Delete": machines.delete_machine,
    },
    "CapacityReservationGroups": {
        "CreateOrUpdate": reservations.put_group,
        "Get": reservations.get_group,
        "List": reservations.list_groups,
        "Delete": reservations.delete_group,
    },
    "CapacityReservations": {
        "CreateOrUpdate": reservations.put_member,
        "Update": reservations.patch_member,
        "Get": reservations.get_member,
        "List": reservations.list_members,
        "Delete": reservations.delete_member,
    },
    "Subnets": {"Get": network.get_subnet},
    "Disks": {
        "CreateOrUpdate": network.put_plain,
        "Update": power.patch_disk,
        "Get": network.get_plain,
        "List": network.list_plain,
        "Delete": network.delete_plain,
    },
}
_PLAIN: Final[Mapping[str, Handler]] = {
    "CreateOrUpdate": network.put_plain,
    "Get": network.get_plain,
    "List": network.list_plain,
    "Delete": network.delete_plain,
}
_OTHERS: Final[Mapping[str, Handler]] = {
    "ResourceGroups_CreateOrUpdate": groups.put_resource_group,
    "ResourceGroups_Get": groups.get_resource_group,
    "ResourceGroups_CheckExistence": groups.get_resource_group,
    "ResourceGroups_List": groups.list_resource_groups,
    "ResourceGroups_Delete": groups.delete_resource_group,
    "Resources_List": groups.list_resources,
    "Resources_ListByResourceGroup": groups.list_resources,
    "Tags_UpdateAtScope": groups.patch_tags,
    "Operations_Get": groups.get_operation,
    "Tokens_Get": groups.get_token,
    "Blobs_Get": groups.console,
    "ResourceSkus_List": sizes.list_skus,
    "Usage_List": sizes.list_usages,
    "VirtualMachines_Deallocate": power.deallocate,
    "VirtualMachines_Start": power.start,
    "VirtualMachines_InstanceView": machines.machine_action,
    "VirtualMachines_RetrieveBootDiagnosticsData": machines.machine_action,
    "Subscriptions_Get": lambda _, __: HttpResponse.of_json(groups.subscription_body()),
    "Subscriptions_List": lambda _, __: HttpResponse.of_json({"value": [groups.subscription_body()]}),
    "Subscriptions_ListLocations": lambda _, __: HttpResponse.of_json({"value": groups.locations()}),
    "Tenants_List": lambda _, __: HttpResponse.of_json({"value": [{"id": f"/tenants/{TENANT}", "tenantId": TENANT}]}),
}


class AzureFace:
    """`pytest_capacity.emulator.face.Face` for Azure: Resource Manager, and tokens for it."""

    def __init__(self, world: World, secret: Secret) -> None:
        self.name: Final = CLOUD
        self.catalogue: Final = AzureCatalogue()
        self._context = Context(world, secret, self.catalogue)
        world.on_reset.append(self._context.emptied.clear)

    def claims(self, request: HttpRequest) -> bool:
        """Return whether a path is one of Resource Manager's, or of the token endpoints."""
        path = request.path.lower()
        first = path.strip("/").split("/")[0]
        return first in ("subscriptions", "tenants") or path.endswith(_TOKENS) or path.startswith(_BLOBS)

    def read(self, request: HttpRequest) -> Asked:
        """Return the call."""
        path = read_path(request.path)
        operation = _operation(request, path)
        asked = Asked(operation=operation, request=request, writes=request.method not in ("GET", "HEAD"))
        asked.params = {"path": path, "body": {}, "version": "", "region": ""}
        if operation in _OPEN:
            asked.writes = False
            return asked
        try:
            asked.params = {**asked.params, "version": check_version(request), **self._body(request)}
            self._check(operation, path)
        except Refusal as refusal:
            asked.refusal = refusal
        self._place(asked, path)
        return asked

    def _body(self, request: HttpRequest) -> dict[str, Any]:
        if request.method not in ("PUT", "PATCH"):
            return {}
        try:
            body = request.json()
        except (ValueError, DecodeError):
            body = None
        if not isinstance(body, dict):
            raise Refusal(
                "InvalidRequestContent", "The request content was invalid and could not be deserialized.", 400
            )
        return {"body": body}

    def _check(self, operation: str, path: ArmPath) -> None:
        if path.subscription and path.subscription != SUBSCRIPTION:
            words = f"The subscription '{path.subscription}' could not be found."
            raise Refusal("SubscriptionNotFound", words, 404)
        if operation not in _OTHERS and self._handler(operation) is None:
            raise Refusal("InvalidResourceType", f"the emulator has no {operation}", 404)

    def _place(self, asked: Asked, path: ArmPath) -> None:
        """Set region, zone, type and market, by the body, by the thing, or by the path."""
        body = asked.params["body"]
        words = asked.request.path.strip("/").split("/")
        lower = [word.lower() for word in words]
        if "locations" in lower and lower.index("locations") + 1 < len(words):
            asked.region = lower[lower.index("locations") + 1]
            asked.params = {**asked.params, "region": asked.region}
        asked.region = str(body.get("location") or asked.region).replace(" ", "").lower()
        thing = self._context.world.get(
            path.id if path.type and not path.is_list else make_id(path.subscription, path.group)
        )
        if thing is not None and not asked.region:
            asked.region = thing.region
        if isinstance(thing, Machine | Reservation):
            asked.zone, asked.type = thing.zone, thing.type
            asked.market = thing.market if isinstance(thing, Machine) else "on-demand"
        asked.replay = thing is not None and asked.request.method == "PUT" and path.type != "" and path.id == thing.id
        if asked.request.method == "PUT" and path.type.endswith(("/virtualMachines", "/capacityReservations")):
            zones = [str(one) for one in body.get("zones") or ()]
            properties = body.get("properties") or {}
            asked.zone = zone_name(asked.region, zones[0] if zones else "")
            asked.type = (properties.get("hardwareProfile") or {}).get("vmSize") or (body.get("sku") or {}).get("name")
            asked.market = "spot" if properties.get("priority") == "Spot" else "on-demand"

    def check(self, asked: Asked) -> Refusal | None:
        """Return a refusal where there is no token of ours."""
        scheme, _, token = asked.request.headers.get("Authorization", "").partition(" ")
        if asked.operation in _OPEN or (scheme.lower() == "bearer" and self._context.is_ours(token.strip())):
            return None
        return BadCredentials()

    def do(self, asked: Asked) -> Answer:
        """Do the call."""
        handler = _OTHERS.get(asked.operation) or self._handler(asked.operation)
        if asked.request.path.lower().endswith("/openid-configuration"):
            return HttpResponse.of_json(groups.openid(base_url(asked.request)))
        if asked.request.path.lower().endswith(_METADATA):
            return HttpResponse.of_json(groups.metadata(base_url(asked.request)))
        if handler is None:
            raise Refusal("InvalidResourceType", f"the emulator has no {asked.operation}", 404)
        return self._with_limits(asked, handler(self._context, asked))

    def _handler(self, operation: str) -> Handler | None:
        group, _, verb = operation.partition("_")
        known = _OF_TYPE.get(group, _PLAIN if group in {one for _, one in TYPES.values()} else {})
        return known.get("List" if verb == "ListAll" else verb)

    def _with_limits(self, asked: Asked, answer: HttpResponse) -> HttpResponse:
        """Return the answer with the headers for the number of calls left, and for the id of this call."""
        kind = "deletes" if asked.request.method == "DELETE" else "writes" if asked.writes else "reads"
        request_id = self._context.world.hex(32)
        headers = {
            f"x-ms-ratelimit-remaining-subscription-{kind}": "11999",
            "x-ms-request-id": request_id,
            "x-ms-correlation-request-id": request_id,
        }
        return HttpResponse(answer.status, answer.body, {**answer.headers, **headers}, answer.error)

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in Azure's form. A machine whose allocation is refused at once is there nevertheless."""
        if asked.operation == "VirtualMachines_CreateOrUpdate":
            with self._context.world.lock:
                machines.keep_failed(self._context, asked, refusal)
        return self._with_limits(asked, answer_refusal(refusal))

    def ready(self, url: str) -> Mapping[str, Any]:
        """Return the subscription and tenant, and what makes azure-identity get its tokens here."""
        return {
            "subscription": SUBSCRIPTION,
            "tenant": TENANT,
            "endpoint": url,
            "regions": sorted(LOCATIONS),
            # With IDENTITY_HEADER, which is the secret, DefaultAzureCredential takes it for an App Service's.
            "identity_endpoint": f"{url}/azure-identity/token",
        }

    def warm(self) -> None:
        """Do nothing: everything is loaded already."""


def _operation(request: HttpRequest, path: ArmPath) -> str:
    """Return the SDK's name of the call."""
    lower = request.path.lower()
    if lower.endswith(_TOKENS):
        return "Tokens_Get"
    if lower.startswith(_BLOBS):
        return "Blobs_Get"
    more = [word.lower() for word in path.more]
    if "operations" in more or "operationresults" in more:
        return "Operations_Get"
    if "/providers/microsoft.resources/tags/" in lower:
        return "Tags_UpdateAtScope" if request.method == "PATCH" else "Tags_GetAtScope"
    if path.type == "resourceGroups":
        return "ResourceGroups_List"
    if path.type:
        return _of_resource(request, path, more)
    if not path.subscription:
        return {"subscriptions": "Subscriptions_List", "tenants": "Tenants_List"}.get(
            more[0] if more else "", "Unknown"
        )
    if path.group:
        if more[:1] == ["resources"]:
            return "Resources_ListByResourceGroup"
        verb = "CheckExistence" if request.method == "HEAD" else _VERBS.get(request.method, "Unknown")
        return "Unknown" if more else f"ResourceGroups_{verb}"
    return _of_subscription(more)


def _of_resource(request: HttpRequest, path: ArmPath, more: list[str]) -> str:
    group = TYPES[path.type.lower()][1]
    if path.is_list:
        return f"{group}_{'List' if path.group else 'ListAll'}"
    if more:
        actions = {
            "deallocate": "Deallocate",
            "instanceview": "InstanceView",
            "retrievebootdiagnosticsdata": "RetrieveBootDiagnosticsData",
            "start": "Start",
        }
        return f"{group}_{actions.get(more[0], 'Unknown')}"
    return f"{group}_{_VERBS.get(request.method, 'Unknown')}"


def _of_subscription(more: list[str]) -> str:
    if not more:
        return "Subscriptions_Get"
    simple = {"locations": "Subscriptions_ListLocations", "resources": "Resources_List", "providers": "Providers_List"}
    if len(more) == 1:
        return simple.get(more[0], "Unknown")
    if more[-1] == "skus":
        return "ResourceSkus_List"
    return "Usage_List" if more[-1] == "usages" else "Unknown"


def make(world: World, secret: Secret) -> AzureFace:
    """Return the face."""
    return AzureFace(world, secret)
