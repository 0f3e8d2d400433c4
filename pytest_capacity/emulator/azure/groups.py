"""Subscriptions, resource groups, lists of all resources, tags; operations; tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_capacity.emulator.azure.catalogue import LOCATIONS, SUBSCRIPTION, TENANT
from pytest_capacity.emulator.azure.context import CLOUD, Context, accepted
from pytest_capacity.emulator.azure.machines import machine_body
from pytest_capacity.emulator.azure.network import plain_body
from pytest_capacity.emulator.azure.reservations import group_body, member_body
from pytest_capacity.emulator.azure.things import Member, Resource, Vm
from pytest_capacity.emulator.azure.wire import base_url, error_body, make_id, paged, read_path, retry_after
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Thing

_TAG: Final = re.compile(
    r"tagName eq '(?P<name>(?:[^']|'')*)'(?: and tagValue eq '(?P<value>(?:[^']|'')*)')?", re.IGNORECASE
)
_TYPE: Final = re.compile(r"resourceType eq '([^']+)'", re.IGNORECASE)


def subscription_body() -> dict[str, Any]:
    """Return the one subscription."""
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT,
        "displayName": "emulated",
        "state": "Enabled",
        "authorizationSource": "RoleBased",
    }


def locations() -> list[dict[str, Any]]:
    """Return every location."""
    return [
        {
            "id": f"/subscriptions/{SUBSCRIPTION}/locations/{name}",
            "name": name,
            "displayName": title,
            "regionalDisplayName": title,
            "type": "Region",
            "availabilityZoneMappings": [{"logicalZone": one, "physicalZone": f"{name}-az{one}"} for one in zones],
            "metadata": {"regionType": "Physical", "regionCategory": "Recommended"},
        }
        for name, (title, zones) in sorted(LOCATIONS.items())
    ]


def put_resource_group(context: Context, asked: Asked) -> HttpResponse:
    """Make a resource group, at once, or change its tags."""
    path, body = asked.params["path"], asked.params["body"]
    region = context.location(body)
    if not re.fullmatch(r"[\w().-]{1,90}", path.group) or path.group.endswith("."):
        raise Refusal("InvalidParameter", f"The name '{path.group}' of the resource group is not valid.")
    id_ = make_id(path.subscription, path.group)
    old = context.find(id_)
    if isinstance(old, Resource):
        context.need_group(path, to_make=True)
        if old.region != region:
            words = f"Invalid resource group location '{region}': it already exists in location '{old.region}'."
            raise Refusal("InvalidResourceGroupLocation", words, 409)
        old.tags = dict(body.get("tags") or {})
        return HttpResponse.of_json(resource_group_body(context, old), 200)
    made = Resource(**context.born(path, region, body, asked.request.path))
    context.world.add(made)
    return HttpResponse.of_json(resource_group_body(context, made), 201)


def resource_group_body(context: Context, group: Resource) -> dict[str, Any]:
    """Return a resource group as Azure lists it."""
    return {
        "id": group.path.replace("/resourcegroups/", "/resourceGroups/"),
        "name": group.path.rpartition("/")[2],
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.region,
        "tags": dict(group.tags),
        "properties": {"provisioningState": group.state(context.now)},
    }


def get_resource_group(context: Context, asked: Asked) -> HttpResponse:
    """Return a resource group, or, to HEAD, whether it is there."""
    path = asked.params["path"]
    if asked.request.method == "HEAD":
        return HttpResponse(204 if context.find(make_id(path.subscription, path.group)) else 404)
    return HttpResponse.of_json(resource_group_body(context, context.need_group(path)))


def list_resource_groups(context: Context, asked: Asked) -> HttpResponse:
    """Return the resource groups; only those with a tag where the filter names one."""
    found = [one for one in context.resources("resourceGroups") if _has_tag(one, asked) and one.visible(context.now)]
    return HttpResponse.of_json(paged(asked.request, [resource_group_body(context, one) for one in found]))


def delete_resource_group(context: Context, asked: Asked) -> HttpResponse:
    """Begin to remove a resource group with all that is in it. Only a Location shows when it has gone."""
    group = context.need_group(asked.params["path"])
    if group.state(context.now) != "Deleting":
        group.leaving_at = context.now
    takes = context.seconds("operation_s")
    operation = context.begin(asked, group, takes, then=lambda: _cascade(context, group))
    version = asked.request.first("api-version")
    url = (
        f"{base_url(asked.request)}/subscriptions/{SUBSCRIPTION}/operationresults/{operation.id}?api-version={version}"
    )
    return accepted(None, 202, {"Location": url, **retry_after(takes)})


def _cascade(context: Context, group: Resource) -> None:
    context.world.remove_contents(group.id)
    context.world.remove(group)


def list_resources(context: Context, asked: Asked) -> HttpResponse:
    """Return the resources of all types: of a resource group, or of the subscription, with a tag or of a type."""
    path = asked.params["path"]
    group = ""
    if path.group:
        context.need_group(path)
        group = make_id(path.subscription, path.group)
    wanted = _TYPE.search(asked.request.first("$filter"))
    found = []
    for thing in sorted(context.world.everything(), key=lambda one: one.number):
        if thing.cloud != CLOUD or not thing.live(context.now) or not thing.visible(context.now):
            continue
        if (
            not isinstance(thing, Vm | Member | Resource)
            or thing.kind == "resourceGroups"
            or not _has_tag(thing, asked)
        ):
            continue
        if group and not thing.id.startswith(f"{group}/"):
            continue
        body = _short(context, thing, "provisioningstate" in asked.request.first("$expand").lower())
        if wanted is None or body["type"].lower() == wanted[1].lower():
            found.append(body)
    return HttpResponse.of_json(paged(asked.request, found))


def body_of(context: Context, thing: Thing) -> dict[str, Any]:
    """Return a thing as a GET of it would."""
    if isinstance(thing, Vm):
        return machine_body(context, thing)
    if isinstance(thing, Member):
        return member_body(context, thing)
    assert isinstance(thing, Resource)
    if thing.kind == "resourceGroups":
        return resource_group_body(context, thing)
    return group_body(context, thing) if thing.kind == "capacityReservationGroups" else plain_body(context, thing)


def _short(context: Context, thing: Vm | Member | Resource, with_state: bool) -> dict[str, Any]:
    whole = body_of(context, thing)
    keys = ("id", "name", "type", "location", "tags", "zones", "sku", "managedBy")
    kept: dict[str, Any] = {key: whole[key] for key in keys if key in whole}
    return {**kept, "provisioningState": thing.state(context.now)} if with_state else kept


def _has_tag(thing: Thing, asked: Asked) -> bool:
    found = _TAG.search(asked.request.first("$filter"))
    if found is None:
        return True
    name, value = found["name"].replace("''", "'"), found["value"]
    tags = {key.lower(): one for key, one in thing.tags.items()}
    if name.lower() not in tags:
        return False
    return value is None or tags[name.lower()] == value.replace("''", "'")


def patch_tags(context: Context, asked: Asked) -> HttpResponse:
    """Change the tags of anything, and nothing else of it."""
    scope = asked.request.path[: asked.request.path.lower().rindex("/providers/microsoft.resources/tags/")]
    path = read_path(scope)
    thing: Thing = context.need(path) if path.type else context.need_group(path)
    given = {
        str(key): str(value)
        for key, value in ((asked.params["body"].get("properties") or {}).get("tags") or {}).items()
    }
    operation = str(asked.params["body"].get("operation", "Replace")).lower()
    if operation not in ("merge", "replace", "delete"):
        raise Refusal("InvalidParameter", f"The operation '{operation}' on tags is not known.")
    if operation == "replace":
        thing.tags = given
    elif operation == "merge":
        thing.tags = {**thing.tags, **given}
    else:
        thing.tags = {key: value for key, value in thing.tags.items() if given.get(key) != value}
    thing.version += 1
    body = {
        "id": f"{scope}/providers/Microsoft.Resources/tags/default",
        "name": "default",
        "properties": {"tags": thing.tags},
    }
    return HttpResponse.of_json({**body, "type": "Microsoft.Resources/tags"})


def get_operation(context: Context, asked: Asked) -> HttpResponse:
    """Return the state of an operation, by the kind of its URL: a status, or the answer that the call would have."""
    words = asked.request.path.strip("/").split("/")
    operation = context.world.operations.get(words[-1])
    if operation is None or operation.cloud != CLOUD:
        raise Refusal("NotFound", f"The entity was not found: operation {words[-1]}.", 404)
    left = operation.done_at - context.now
    if words[-2].lower() == "operations":
        status = {"running": "InProgress", "done": "Succeeded", "failed": "Failed"}[operation.state(context.now)]
        body: dict[str, Any] = {"name": operation.id, "startTime": _iso(operation.made), "status": status}
        if status != "InProgress":
            body["endTime"] = _iso(operation.done_at)
        if status == "Failed" and operation.error is not None:
            body |= error_body(operation.error)
        return HttpResponse.of_json(body, 200, retry_after(left))
    if operation.state(context.now) == "running":
        url = f"{base_url(asked.request)}{asked.request.path}?{asked.request.query_text}"
        return accepted(None, 202, {"Location": url, **retry_after(left)})
    if operation.error is not None:
        return HttpResponse.of_json(
            error_body(operation.error), operation.error.http or 409, error=operation.error.code
        )
    thing = context.find(operation.target)
    return HttpResponse.of_json(body_of(context, thing)) if thing is not None else HttpResponse(200, b"")


def _iso(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat()


def get_token(context: Context, asked: Asked) -> HttpResponse:
    """Return a token if the secret is right: as Entra ID, or as the identity endpoint of a machine does."""
    request = asked.request
    if request.method == "POST":
        form = request.form()
        if not context.secret.equals(form.get("client_secret", "")):
            words = "AADSTS7000215: Invalid client secret provided."
            refused = {"error": "invalid_client", "error_description": words}
            return HttpResponse.of_json(refused, 401, error="invalid_client")
    elif not context.secret.equals(request.headers.get("X-IDENTITY-HEADER", "")):
        return HttpResponse.of_json(
            {"statusCode": 401, "message": "X-IDENTITY-HEADER is wrong"}, 401, error="invalid_header"
        )
    token, expires = context.token()
    body: dict[str, Any] = {
        "token_type": "Bearer",
        "access_token": token,
        "expires_in": 3599 if request.method == "POST" else "3599",
        "ext_expires_in": 3599,
        "expires_on": str(expires),
        "resource": request.first("resource"),
    }
    return HttpResponse.of_json(body)


def openid(request_url: str) -> Mapping[str, Any]:
    """Return where the token endpoint is."""
    root = f"{request_url}/{TENANT}"
    return {
        "token_endpoint": f"{root}/oauth2/v2.0/token",
        "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
        "issuer": f"{root}/v2.0",
        "tenant_region_scope": "NA",
        "cloud_instance_name": urlsplit(request_url).netloc,
    }


def metadata(request_url: str) -> Mapping[str, Any]:
    """Return where the services of this cloud are, as the Azure command line asks when a cloud is registered."""
    return {
        "name": "emulated",
        "portal": request_url,
        "resourceManager": request_url,
        "graph": request_url,
        "microsoftGraphResourceId": request_url,
        "authentication": {
            "loginEndpoint": request_url,
            "audiences": ["https://management.azure.com/"],
            "tenant": TENANT,
            "identityProvider": "AAD",
        },
        "suffixes": {"storage": "invalid", "keyVaultDns": "vault.invalid", "acrLoginServer": "invalid"},
    }


def console(context: Context, asked: Asked) -> HttpResponse:
    """Return what a machine wrote to its console, to who has the signed URL."""
    words = asked.request.path.strip("/").split("/")
    if asked.request.first("sig") != context.signature(words[1]):
        return HttpResponse(
            403, b"<Error><Code>AuthenticationFailed</Code></Error>", {"Content-Type": "application/xml"}
        )
    for machine in context.world.machines.values():
        if isinstance(machine, Vm) and machine.vm_id == words[1]:
            text = machine.node.console() if machine.node is not None else ""
            return HttpResponse(200, text.encode(), {"Content-Type": "application/octet-stream"})
    return HttpResponse(404)
