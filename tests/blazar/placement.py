"""The stand-in for Placement."""

from __future__ import annotations

import re
from typing import Any

from tests.blazar.services import Answer, Call, Services, ok, route


@route("GET", "/placement")
def _placement(services: Services, call: Call, found: re.Match[str]) -> Answer:
    links = [{"rel": "self", "href": ""}]
    version = {"id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.39", "links": links}
    return ok({"versions": [version]})


def _provider_shown(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "inventories"}


@route("GET", "/placement/resource_providers")
def _providers(services: Services, call: Call, found: re.Match[str]) -> Answer:
    every = services.world.providers.values()
    hits = [_provider_shown(one) for one in every if call.query.get("name") in (None, one["name"])]
    return ok({"resource_providers": hits})


@route("POST", "/placement/resource_providers")
def _make_provider(services: Services, call: Call, found: re.Match[str]) -> Answer:
    return ok(_provider_shown(services.world.add_provider(call.body["name"], call.body.get("parent_provider_uuid"))))


@route("*", r"/placement/resource_providers/([^/]+)(/inventories|/traits)?(?:/(.+))?")
def _provider(services: Services, call: Call, found: re.Match[str]) -> Answer:
    one = services.world.providers.get(found[1])
    if one is None:
        return ok({"errors": [{"status": 404, "title": "Not Found", "detail": "No resource provider"}]}, 404)
    if not found[2]:
        if call.method == "DELETE":
            del services.world.providers[found[1]]
            return ok(None, 204)
        return ok(_provider_shown(one))
    if found[2] == "/traits":
        return ok({"traits": [], "resource_provider_generation": one["generation"]})
    if call.method == "DELETE":
        if one["inventories"].pop(found[3], None) is None:
            return ok({"errors": []}, 404)
        return ok(None, 204)
    if call.method == "PUT":
        if found[3]:
            one["inventories"][found[3]] = call.body
        else:
            one["inventories"] = call.body["inventories"]
        one["generation"] += 1
    return ok({"inventories": one["inventories"], "resource_provider_generation": one["generation"]})


@route("POST", "/placement/resource_classes")
def _make_class(services: Services, call: Call, found: re.Match[str]) -> Answer:
    services.world.classes.add(call.body["name"])
    return ok(None, 201)


@route("*", "/placement/resource_classes/(.+)")
def _class(services: Services, call: Call, found: re.Match[str]) -> Answer:
    if call.method == "PUT":
        services.world.classes.add(found[1])
        return ok(None, 201)
    if found[1] not in services.world.classes:
        return ok({"errors": []}, 404)
    services.world.classes.discard(found[1])
    return ok(None, 204)
