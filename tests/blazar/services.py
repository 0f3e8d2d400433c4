"""The stand-ins for Keystone and Nova over HTTP, and the server of all of them, on one port."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from tests.blazar.world import PASSWORD, PROJECTS, USERS, World

REGION: Final = "RegionOne"

Answer = tuple[int, Any, dict[str, str]]


class Call:
    """One request, read."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        parts = urlsplit(url)
        self.method = method
        self.path = parts.path.rstrip("/") or "/"
        self.query = dict(parse_qsl(parts.query))
        #: As keystoneauth1 and novaclient write them.
        self.headers = headers
        self.body: dict[str, Any] = json.loads(body) if body else {}


Handler = Callable[["Services", Call, re.Match[str]], Answer]
_ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    def keep(handler: Handler) -> Handler:
        _ROUTES.append((method, re.compile(path), handler))
        return handler

    return keep


def ok(body: Any = None, status: int = 200, **headers: str) -> Answer:
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


def missing(what: str) -> Answer:
    return ok({"itemNotFound": {"code": 404, "message": f"{what} could not be found."}}, 404)


class Services:
    """The server, and the URL of Blazar once that is known."""

    def __init__(self) -> None:
        self.world = World()
        self.blazar = ""
        services = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                """Any method."""
                length = int(self.headers.get("Content-Length") or 0)
                call = Call(
                    self.command, self.path, dict(self.headers.items()), self.rfile.read(length) if length else b""
                )
                status, found, headers = services.answer(call)
                data = b"" if found is None else json.dumps(found).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET  # noqa: N815 - http.server's names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer from now on, on threads of its own."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, call: Call) -> Answer:
        """What the first route that fits says."""
        kind = "servers" if call.path.startswith(f"{_COMPUTE}/servers") else "others"
        with self.world.delayed(call.method, kind), self.world.lock:
            self.world.settle()
            for method, path, handler in _ROUTES:
                if method in (call.method, "*") and (found := path.fullmatch(call.path)):
                    if call.path.startswith("/compute") and call.method in ("POST", "DELETE"):
                        self.world.calls.append(f"{call.method} {call.path}")
                    return handler(self, call, found)
        return missing(f"{call.method} {call.path}")

    def catalog(self) -> list[dict[str, Any]]:
        """What a token brings along."""
        urls = {
            "identity": f"{self.url}/v3",
            "compute": f"{self.url}/compute/v2.1",
            "placement": f"{self.url}/placement",
            "reservation": f"{self.blazar}/v1",
        }
        return [
            {
                "type": kind,
                "name": kind,
                "id": kind,
                "endpoints": [
                    {"interface": side, "url": url, "region": REGION, "region_id": REGION, "id": f"{kind}-{side}"}
                    for side in ("public", "internal", "admin")
                ],
            }
            for kind, url in urls.items()
        ]

    def project(self, call: Call) -> str:
        """The project of the caller's token."""
        token = self.world.tokens.get(call.headers.get("X-Auth-Token", ""))
        return str(token["token"]["project"]["id"]) if token else ""


# Keystone


@route("*", r"/(?:v3)?")
def _versions(services: Services, call: Call, found: re.Match[str]) -> Answer:
    kind = "application/vnd.openstack.identity-v3+json"
    version = {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{services.url}/v3/"}],
        "media-types": [{"base": "application/json", "type": kind}],
    }
    return ok({"version": version}) if call.path == "/v3" else ok({"versions": {"values": [version]}}, 300)


def _unauthorized() -> Answer:
    message = "The request you have made requires authentication."
    return ok({"error": {"code": 401, "title": "Unauthorized", "message": message}}, 401)


@route("POST", "/v3/auth/tokens")
def _issue(services: Services, call: Call, found: re.Match[str]) -> Answer:
    world, asked = services.world, call.body["auth"]
    identity, scope = asked["identity"], asked.get("scope") or {}
    if "password" in identity:
        user = identity["password"]["user"]
        name = user.get("name") or "admin"
        if user.get("password") != PASSWORD or name not in USERS:
            return _unauthorized()
    else:
        old = world.tokens.get(identity["token"]["id"])
        if old is None:
            return _unauthorized()
        name = old["token"]["user"]["name"]
    if "OS-TRUST:trust" in scope:
        trust = world.trusts[scope["OS-TRUST:trust"]["id"]]
        project = trust["project_id"]
        name = next(one for one, (identifier, _) in USERS.items() if identifier == trust["trustor_user_id"])
    else:
        wanted = scope.get("project", {})
        project = wanted.get("id") or PROJECTS.get(wanted.get("name", name), "")
    token = uuid.uuid4().hex
    world.tokens[token] = _token(services, name, project, scope.get("OS-TRUST:trust"))
    return ok(world.tokens[token], 201, X_Subject_Token=token)


def _token(services: Services, name: str, project: str, trust: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    identifier, roles = USERS[name]
    domain = {"id": "default", "name": "Default"}
    words: dict[str, Any] = {
        "methods": ["password"],
        "user": {"id": identifier, "name": name, "domain": domain, "password_expires_at": None},
        "project": {"id": project, "name": next(one for one in PROJECTS if PROJECTS[one] == project), "domain": domain},
        "is_domain": False,
        "roles": [{"id": role, "name": role} for role in roles],
        "catalog": services.catalog(),
        "audit_ids": ["one"],
        "issued_at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "expires_at": (now + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    if trust:
        users = {"trustor_user": {"id": identifier}, "trustee_user": {"id": USERS["admin"][0]}}
        words["OS-TRUST:trust"] = {"id": trust["id"], "impersonation": True, **users}
    return {"token": words}


@route("*", "/v3/auth/tokens")
def _validate(services: Services, call: Call, found: re.Match[str]) -> Answer:
    token = call.headers.get("X-Subject-Token", "")
    if token not in services.world.tokens:
        return ok({"error": {"code": 404, "message": "Could not find token", "title": "Not Found"}}, 404)
    return ok(services.world.tokens[token], X_Subject_Token=token)


@route("POST", "/v3/OS-TRUST/trusts")
def _trust(services: Services, call: Call, found: re.Match[str]) -> Answer:
    trust = {**call.body["trust"], "id": uuid.uuid4().hex}
    services.world.trusts[trust["id"]] = trust
    return ok({"trust": trust}, 201)


# Nova

_COMPUTE: Final = "/compute/v2.1"


@route("GET", r"/compute(?:/v2\.1)?")
def _compute(services: Services, call: Call, found: re.Match[str]) -> Answer:
    links = [{"rel": "self", "href": f"{services.url}{_COMPUTE}/"}]
    version = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1", "links": links}
    return ok({"version": version} if call.path == _COMPUTE else {"versions": [version]})


@route("GET", f"{_COMPUTE}/os-availability-zone")
def _zones(services: Services, call: Call, found: re.Match[str]) -> Answer:
    zones = {services.world.zone_of(str(one["hypervisor_hostname"])) for one in services.world.hypervisors.values()}
    names = sorted(zones | {"az-a", "az-b"})
    info = [{"zoneName": name, "zoneState": {"available": True}, "hosts": None} for name in names]
    return ok({"availabilityZoneInfo": info})


@route("GET", f"{_COMPUTE}/os-availability-zone/detail")
def _zones_detail(services: Services, call: Call, found: re.Match[str]) -> Answer:
    by_zone: dict[str, dict[str, Any]] = {}
    for one in services.world.hypervisors.values():
        host = str(one["hypervisor_hostname"])
        by_zone.setdefault(services.world.zone_of(host), {})[host] = {
            "nova-compute": {"active": True, "available": True}
        }
    info = [{"zoneName": name, "zoneState": {"available": True}, "hosts": hosts} for name, hosts in by_zone.items()]
    return ok({"availabilityZoneInfo": info})


@route("GET", f"{_COMPUTE}/os-aggregates")
def _aggregates(services: Services, call: Call, found: re.Match[str]) -> Answer:
    return ok({"aggregates": list(services.world.aggregates.values())})


@route("POST", f"{_COMPUTE}/os-aggregates")
def _make_aggregate(services: Services, call: Call, found: re.Match[str]) -> Answer:
    words = call.body["aggregate"]
    if any(one["name"] == words["name"] for one in services.world.aggregates.values()):
        return ok({"conflictingRequest": {"code": 409, "message": "Aggregate already exists."}}, 409)
    return ok({"aggregate": services.world.add_aggregate(words["name"], words.get("availability_zone"))})


@route("*", rf"{_COMPUTE}/os-aggregates/(\d+)(/action)?")
def _aggregate(services: Services, call: Call, found: re.Match[str]) -> Answer:
    aggregate = services.world.aggregates.get(int(found[1]))
    if aggregate is None:
        return missing(f"Aggregate {found[1]}")
    if call.method == "DELETE":
        del services.world.aggregates[aggregate["id"]]
        return ok()
    if found[2]:
        ((action, words),) = call.body.items()
        if action == "set_metadata":
            aggregate["metadata"].update(words["metadata"])
            for key in [key for key, value in words["metadata"].items() if value is None]:
                del aggregate["metadata"][key]
        elif (action == "add_host") == (words["host"] in aggregate["hosts"]):
            return ok({"conflictingRequest": {"code": 409, "message": f"host {words['host']}: {action}"}}, 409)
        elif action == "add_host":
            aggregate["hosts"].append(words["host"])
        else:
            aggregate["hosts"].remove(words["host"])
    return ok({"aggregate": aggregate})


@route("GET", rf"{_COMPUTE}/os-hypervisors/([^/]+)/(search|servers)")
def _search(services: Services, call: Call, found: re.Match[str]) -> Answer:
    hits = [one for one in services.world.hypervisors.values() if found[1] in str(one["hypervisor_hostname"])]
    if not hits:
        return missing(f"No hypervisor matching '{found[1]}'")
    keys = ("id", "hypervisor_hostname", "state", "status")
    return ok({"hypervisors": [{key: one[key] for key in keys} for one in hits]})


@route("GET", rf"{_COMPUTE}/os-hypervisors/([^/]+)")
def _hypervisor(services: Services, call: Call, found: re.Match[str]) -> Answer:
    one = services.world.hypervisors.get(found[1])
    return ok({"hypervisor": one}) if one else missing(f"Hypervisor {found[1]}")


@route("GET", rf"{_COMPUTE}/servers(/detail)?")
def _servers(services: Services, call: Call, found: re.Match[str]) -> Answer:
    query, world = call.query, services.world
    hits = [
        one
        for one in world.servers.values()
        if ("all_tenants" in query or one["project"] == services.project(call))
        and re.search(query.get("name", ""), one["name"])
        and query.get("host") in (None, one["host"])
        and query.get("flavor") in (None, one["flavor"])
    ]
    if "marker" in query:
        ids = [one["id"] for one in hits]
        hits = hits[ids.index(query["marker"]) + 1 :] if query["marker"] in ids else []
    return ok({"servers": [world.shown(one) for one in hits[: int(query.get("limit", 1000))]]})


@route("POST", f"{_COMPUTE}/servers")
def _make_servers(services: Services, call: Call, found: re.Match[str]) -> Answer:
    words, world = call.body["server"], services.world
    if world.weather.get("quota"):
        message = "Quota exceeded for cores: Requested 2, but already used 8 of 8 cores"
        return ok({"forbidden": {"code": 403, "message": message}}, 403)
    flavor = world.flavors.get(words["flavorRef"])
    project = services.project(call)
    if flavor is None or (flavor["name"].startswith("reservation:") and project not in flavor["access"]):
        return ok({"badRequest": {"code": 400, "message": f"Flavor {words['flavorRef']} could not be found."}}, 400)
    if not words.get("imageRef"):
        return ok({"badRequest": {"code": 400, "message": "Missing imageRef attribute"}}, 400)
    made = world.make_servers(words, call.body.get("os:scheduler_hints", {}), project)
    return ok({"server": {"id": made[0]["id"], "links": [], "OS-DCF:diskConfig": "MANUAL"}}, 202)


@route("DELETE", rf"{_COMPUTE}/servers/([^/]+)")
def _delete_server(services: Services, call: Call, found: re.Match[str]) -> Answer:
    server = services.world.servers.get(found[1])
    if server is None:
        return missing(f"Instance {found[1]}")
    if server["deleted"] is None:
        server["deleted"] = time.monotonic()
    services.world.settle()
    return ok(None, 204)


@route("POST", rf"{_COMPUTE}/servers/([^/]+)/metadata")
def _metadata(services: Services, call: Call, found: re.Match[str]) -> Answer:
    server = services.world.servers.get(found[1])
    if server is None:
        return missing(f"Instance {found[1]}")
    server["metadata"] = {**server["metadata"], **call.body["metadata"]}
    return ok({"metadata": server["metadata"]})


@route("POST", rf"{_COMPUTE}/servers/([^/]+)/action")
def _action(services: Services, call: Call, found: re.Match[str]) -> Answer:
    return ok({"output": "booted\n"}) if found[1] in services.world.servers else missing(f"Instance {found[1]}")


@route("POST", f"{_COMPUTE}/flavors")
def _make_flavor(services: Services, call: Call, found: re.Match[str]) -> Answer:
    return ok({"flavor": services.world.add_flavor(call.body["flavor"])})


@route("GET", rf"{_COMPUTE}/flavors(/detail)?")
def _flavors(services: Services, call: Call, found: re.Match[str]) -> Answer:
    project = services.project(call)
    every = services.world.flavors.values()
    return ok({"flavors": [one for one in every if not one["extra_specs"] or project in one["access"]]})


@route("*", rf"{_COMPUTE}/flavors/([^/]+)(/.*)?")
def _flavor(services: Services, call: Call, found: re.Match[str]) -> Answer:
    flavor = services.world.flavors.get(found[1])
    if flavor is None:
        return missing(f"Flavor {found[1]}")
    if call.method == "DELETE":
        del services.world.flavors[found[1]]
        return ok(None, 202)
    if found[2] == "/os-extra_specs":
        if call.method == "POST":
            flavor["extra_specs"].update(call.body["extra_specs"])
        return ok({"extra_specs": flavor["extra_specs"]})
    if found[2] == "/action":
        ((action, words),) = call.body.items()
        if action == "addTenantAccess":
            flavor["access"].append(words["tenant"])
        elif words["tenant"] in flavor["access"]:
            flavor["access"].remove(words["tenant"])
        return ok({"flavor_access": [{"flavor_id": found[1], "tenant_id": one} for one in flavor["access"]]})
    return ok({"flavor": flavor})


@route("POST", f"{_COMPUTE}/os-server-groups")
def _make_group(services: Services, call: Call, found: re.Match[str]) -> Answer:
    words = call.body["server_group"]
    group = {"id": str(uuid.uuid4()), "policies": words.get("policies") or [words.get("policy")], **words}
    services.world.groups[group["id"]] = group
    return ok({"server_group": group})


@route("*", rf"{_COMPUTE}/os-server-groups/([^/]+)")
def _group(services: Services, call: Call, found: re.Match[str]) -> Answer:
    if call.method == "DELETE":
        services.world.groups.pop(found[1], None)
        return ok(None, 204)
    group = services.world.groups.get(found[1])
    return ok({"server_group": group}) if group else missing(f"Server group {found[1]}")


# The test's own


@route("GET", "/_world")
def _look(services: Services, call: Call, found: re.Match[str]) -> Answer:
    world = services.world
    return ok(
        {
            "servers": [
                {**world.shown(one), "host": one["host"], "data": one["user_data"]} for one in world.servers.values()
            ],
            "aggregates": list(world.aggregates.values()),
            "flavors": list(world.flavors),
            "calls": world.calls,
            "under_way": world.under_way,
        }
    )


@route("POST", "/_world")
def _change(services: Services, call: Call, found: re.Match[str]) -> Answer:
    services.world.weather = call.body
    # With ``go_on`` only what is held up goes on, in the same test.
    if not call.body.get("go_on"):
        services.world.calls.clear()
    return ok({})
