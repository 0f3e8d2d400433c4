"""The REST side: paths, verbs, selectors, patches, watches, discovery. Independent of any HTTP server.

`Cluster.respond` answers one request; a watch comes back as a `Watch`, which is polled until it has an event.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_capacity.emulator.kubernetes import errors, webhooks
from pytest_capacity.emulator.kubernetes.errors import NoSuchPath, StatusError
from pytest_capacity.emulator.kubernetes.kinds import Kind, all_kinds
from pytest_capacity.emulator.kubernetes.operator import TERMINAL, Operator
from pytest_capacity.emulator.kubernetes.schema import prune
from pytest_capacity.emulator.kubernetes.script import Script
from pytest_capacity.emulator.kubernetes.selectors import fields_match, labels_match
from pytest_capacity.emulator.kubernetes.store import Object, Store, merge_patch

Query = Mapping[str, Sequence[str]]

#: The paths of objects: group, version, namespace, plural, name, subresource.
_PATH: Final = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?"
)
_NAMESPACE: Final = re.compile(r"/api/v1/namespaces(?:/(?P<name>[^/]+))?")
_JSON: Final = "application/json"

_VERSION: Final = {
    "major": "1",
    "minor": "30",
    "gitVersion": "v1.30.0+emulator",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2024-04-17T00:00:00Z",
    "goVersion": "go1.22.2",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Response(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    content_type: str = _JSON
    #: Kubernetes' word for a refusal.
    error: str | None = None


class Route(NamedTuple):
    """A request's path, read."""

    kind: Kind
    version: str
    #: None: all of them.
    namespace: str | None
    name: str
    sub: str


class Cluster:
    """One API server with its operator. Not locked."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.kinds: dict[tuple[str, str], Kind] = {kind.key: kind for kind in all_kinds()}
        self.reset()

    def reset(self) -> None:
        """Begin anew with an empty cluster and a fresh script."""
        self.store = Store(self._now)
        self.operator = Operator(self.store, self.kinds, self._now)
        for name in ("default", "kube-system"):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self.store.create(self.kinds["", "namespaces"], "", body)

    @property
    def script(self) -> Script:
        """Return how the operator behaves."""
        return self.operator.script

    @script.setter
    def script(self, script: Script) -> None:
        self.operator.script = script

    def held(self) -> list[dict[str, Any]]:
        """Return what costs: databases and volumes."""
        found = []
        for kind in self.kinds.values():
            if (kind.engine and not kind.is_ops) or kind.plural == "persistentvolumeclaims":
                for one in self.store.all(kind):
                    metadata = one["metadata"]
                    what = "database" if kind.engine else "volume"
                    found.append(
                        {
                            "kind": what,
                            "type": kind.kind,
                            "id": f"{metadata['namespace']}/{metadata['name']}",
                            "state": "deleting" if metadata.get("deletionTimestamp") else "live",
                            "since": metadata["creationTimestamp"],
                            "tags": metadata.get("labels", {}),
                        }
                    )
        return found

    def respond(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes
    ) -> Response | Watch:
        """Return the response to one request, which is applied as a whole or not at all."""
        self.operator.turn()
        try:
            answer = self._respond(method, path.rstrip("/") or "/", query, headers, body)
        except StatusError as error:
            return Response(error.code, error.body, error=error.reason)
        except NoSuchPath:
            return Response(404, b"404 page not found\n", "text/plain; charset=utf-8", "NotFound")
        # The operator of a real cluster may act before the next request as well.
        self.operator.turn()
        return answer

    def operation(self, method: str, path: str, query: Query) -> str:
        """Return a name for the call: ``CreateMongoDBOpsRequest``, ``ListMongoDB``."""
        try:
            route = self._route(path.rstrip("/"))
        except NoSuchPath:
            return "Unknown"
        if route is None:
            return "Discover"
        verb = {"POST": "Create", "PUT": "Replace", "PATCH": "Patch", "DELETE": "Delete"}.get(method)
        if verb is None:
            verb = "Watch" if _flag(query, "watch") else "Read" if route.name else "List"
        return f"{verb}{route.kind.kind}{route.sub.title()}"

    def operations(self) -> list[str]:
        """Return every name that `operation` gives."""
        verbs = ("Create", "Replace", "Patch", "Delete", "Watch", "Read", "List")
        return [f"{verb}{kind.kind}" for kind in self.kinds.values() for verb in verbs] + ["Discover", "Unknown"]

    def _route(self, path: str) -> Route | None:
        """Return the route of a path; None for discovery. Raises `NoSuchPath`."""
        whole = _NAMESPACE.fullmatch(path)
        if whole:
            return Route(self.kinds["", "namespaces"], "v1", "", whole["name"] or "", "")
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        kind = self.kinds.get((match["group"] or "", match["plural"]))
        if kind is None or match["version"] not in kind.versions or self._is_absent(kind):
            raise NoSuchPath
        if kind.namespaced and match["name"] and not match["namespace"]:
            raise NoSuchPath
        sub = match["sub"] or ""
        if sub and not (sub == "status" and kind.has_status):
            raise NoSuchPath
        return Route(kind, match["version"], match["namespace"], match["name"] or "", sub)

    def _is_absent(self, kind: Kind) -> bool:
        return kind.engine is not None and kind.engine.name in self.script.absent

    def _respond(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes
    ) -> Response | Watch:
        if path in ("/healthz", "/readyz", "/livez"):
            return Response(200, b"ok", "text/plain; charset=utf-8")
        route = self._route(path)
        if route is None:
            return _json(self._discover(path))
        if method == "GET":
            return self._read(route, query)
        if method == "POST" and not route.name:
            return self._create(route, query, _object(body))
        if method == "PUT" and route.name:
            return self._change(route, query, _object(body))
        if method == "PATCH" and route.name:
            return self._patch(route, query, headers.get("content-type", ""), body)
        if method == "DELETE":
            return self._delete(route, query)
        raise StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _read(self, route: Route, query: Query) -> Response | Watch:
        if route.name:
            return _json(_as_version(self.store.get(route.kind, route.namespace or "", route.name), route))
        if _flag(query, "watch"):
            return Watch(self, route, query)
        matching = [one for one in self.store.all(route.kind, route.namespace) if _matches(one, query)]
        start = _start(query)
        limit = int(_first(query, "limit") or 0)
        page = matching[start : start + limit] if limit else matching[start:]
        metadata: dict[str, Any] = {"resourceVersion": str(self.store.version)}
        if limit and start + limit < len(matching):
            metadata["continue"] = base64.urlsafe_b64encode(str(start + limit).encode()).decode()
            metadata["remainingItemCount"] = len(matching) - start - limit
        return _json(
            {
                "apiVersion": _api_version(route),
                "kind": f"{route.kind.kind}List",
                "metadata": metadata,
                "items": [_as_version(one, route) for one in page],
            }
        )

    def _discover(self, path: str) -> Object:
        kinds = [kind for kind in self.kinds.values() if not self._is_absent(kind)]
        if path == "/version":
            return dict(_VERSION)
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        groups = {kind.group: kind.versions for kind in kinds if kind.group}
        if path == "/apis":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*one) for one in groups.items()]}
        parts = path.strip("/").split("/")
        if path == "/api/v1" or (parts[0] == "apis" and len(parts) == 3):
            group, version = ("", "v1") if path == "/api/v1" else (parts[1], parts[2])
            listed = [kind for kind in kinds if kind.group == group and version in kind.versions]
            if listed:
                name = f"{group}/{version}" if group else version
                resources = [resource for kind in listed for resource in _resources(kind)]
                return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}
        if parts[0] == "apis" and len(parts) == 2 and parts[1] in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], groups[parts[1]])}
        raise NoSuchPath

    def _create(self, route: Route, query: Query, body: Object) -> Response:
        kind, namespace = route.kind, route.namespace or ""
        if kind.namespaced and not namespace:
            raise errors.bad_request("an empty namespace may not be set during creation")
        self._must_fit(route, body)
        if kind.namespaced and self.store.find(self.kinds["", "namespaces"], "", namespace) is None:
            raise errors.not_found("", "namespaces", namespace)
        self._be_strict(kind, query, body)
        if kind.is_ops:
            self._admit(kind, namespace, self.store.create(kind, namespace, body, dry_run=True))
        made = self.store.create(kind, namespace, body, dry_run=_first(query, "dryRun") == "All")
        return _json(_as_version(made, route), 201)

    def _admit(self, kind: Kind, namespace: str, request: Object) -> None:
        name = request["spec"]["databaseRef"]["name"]
        database_kind = next(one for one in self.kinds.values() if one.engine is kind.engine and not one.is_ops)
        sections = [section for section in webhooks.SECTIONS.values() if request["spec"].get(section)]
        if self.script.refuse_combined and len(sections) > 1:
            raise _own_refusal(self.script.refuse_combined, kind, "one request does one thing")
        active = [
            one
            for one in self.store.all(kind, namespace)
            if one["spec"]["databaseRef"]["name"] == name and one.get("status", {}).get("phase") not in TERMINAL
        ]
        if self.script.refuse_second and active:
            words = f"{active[0]['metadata']['name']} of the same database is not finished"
            raise _own_refusal(self.script.refuse_second, kind, words)
        webhooks.check_new(kind, request, self.store.find(database_kind, namespace, name))

    def _must_fit(self, route: Route, body: Object) -> None:
        metadata = body.get("metadata") or {}
        if body.get("kind", route.kind.kind) != route.kind.kind:
            words = f"{body['kind']} in version {body.get('apiVersion')} cannot be handled as a {route.kind.kind}"
            raise errors.bad_request(words)
        if metadata.get("namespace") and metadata["namespace"] != route.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if route.name and metadata.get("name", route.name) != route.name:
            raise errors.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({route.name})"
            )

    def _be_strict(self, kind: Kind, query: Query, body: Object) -> None:
        if _first(query, "fieldValidation") != "Strict":
            return
        unknown = [f'unknown field "{path}"' for path in _removed(body, prune(body, kind.schema))]
        if unknown:
            raise errors.bad_request(f"strict decoding error: {', '.join(unknown)}")

    def _change(self, route: Route, query: Query, body: Object) -> Response:
        self._must_fit(route, body)
        self._be_strict(route.kind, query, body)
        namespace = route.namespace or ""
        present = self.store.get(route.kind, namespace, route.name)
        if route.kind.engine and not route.sub:
            webhooks.check_changed(route.kind, present, {**present, **body})
        made = self.store.update(route.kind, namespace, route.name, body, status=bool(route.sub))
        return _json(_as_version(made, route))

    def _patch(self, route: Route, query: Query, content_type: str, body: bytes) -> Response:
        present = self.store.get(route.kind, route.namespace or "", route.name)
        version = present["metadata"]["resourceVersion"]
        media = content_type.partition(";")[0].strip()
        try:
            change = json.loads(body)
        except ValueError as problem:
            raise errors.bad_request(f"error decoding patch: {problem}") from None
        if media == "application/json-patch+json":
            changed = _json_patched(present, change)
        elif media == "application/merge-patch+json" or (
            media == "application/strategic-merge-patch+json" and route.kind.engine is None
        ):
            if not isinstance(change, dict):
                raise errors.bad_request("a merge patch is an object")
            changed = merge_patch(present, change)
        else:
            words = f"the body of the request was in an unknown format - {media!r} is not accepted for this kind"
            raise StatusError(415, "UnsupportedMediaType", words)
        # Without a version in it a patch is for whatever is there.
        changed["metadata"].setdefault("resourceVersion", version)
        return self._change(route, query, changed)

    def _delete(self, route: Route, query: Query) -> Response:
        namespace = route.namespace or ""
        if not route.name:
            doomed = [one for one in self.store.all(route.kind, route.namespace) if _matches(one, query)]
        else:
            doomed = [self.store.get(route.kind, namespace, route.name)]
        for one in doomed:
            self._remove(route.kind, one)
        # Of the core's kinds the object itself comes back, as it was.
        if route.name and route.kind.engine is None:
            return _json(_as_version(doomed[0], route))
        last = doomed[-1] if doomed else {"metadata": {}}
        details = {"name": last["metadata"].get("name"), "group": route.kind.group, "kind": route.kind.plural}
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def _remove(self, kind: Kind, found: Object) -> None:
        metadata = found["metadata"]
        if kind.engine is None or kind.is_ops:
            self.store.delete(kind, metadata.get("namespace", ""), metadata["name"])
            return
        if found["spec"].get("deletionPolicy") == "DoNotTerminate":
            full = f"{metadata['namespace']}/{metadata['name']}"
            words = f'{kind.kind} "{full}" can\'t be terminated. To delete, change spec.deletionPolicy'
            raise errors.forbidden(f"{kind.plural}.kubedb.com", words)
        if not metadata.get("deletionTimestamp"):
            metadata |= {"deletionTimestamp": self.store.timestamp(), "finalizers": ["kubedb.com"]}
            self.store.update(kind, metadata["namespace"], metadata["name"], found)


class Watch:
    """A watch that is under way: `poll` gives the lines that are due, and nothing when there are none."""

    def __init__(self, cluster: Cluster, route: Route, query: Query) -> None:
        self._cluster = cluster
        self._route = route
        self._query = query
        given = _first(query, "resourceVersion")
        self._initial = not given or given == "0"
        self._version = cluster.store.version if self._initial else _version(given)
        #: Whether the watch has ended with an error.
        self.over = False

    def poll(self) -> bytes:
        """Return the lines of what has happened since. This reads the cluster, so its lock must be held."""
        self._cluster.operator.turn()
        store, kind = self._cluster.store, self._route.kind
        if self._initial:
            self._initial = False
            self._version = store.version
            found = [one for one in store.all(kind, self._route.namespace) if _matches(one, self._query)]
            if found:
                return b"".join(self._line("ADDED", one) for one in found)
        try:
            changes = store.since(self._version)
        except StatusError as error:
            self.over = True
            return json.dumps({"type": "ERROR", "object": error.status}).encode() + b"\n"
        self._version = store.version
        return b"".join(
            self._line(change.type, change.object)
            for change in changes
            if change.key == kind.key
            and self._route.namespace in (None, change.object["metadata"].get("namespace", ""))
            and _matches(change.object, self._query)
        )

    def _line(self, event: str, found: Object) -> bytes:
        return json.dumps({"type": event, "object": _as_version(found, self._route)}).encode() + b"\n"


def _version(given: str) -> int:
    if not given.isdigit():
        raise errors.bad_request(f'Invalid value: "{given}": resourceVersion is no number')
    return int(given)


def _own_refusal(status: int, kind: Kind, words: str) -> StatusError:
    webhook = f"{kind.plural}.policy.example"
    reason = "Invalid" if status == 422 else "BadRequest"
    return StatusError(status, reason, f'admission webhook "{webhook}" denied the request: {words}')


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode())


def _object(body: bytes) -> Object:
    try:
        value = json.loads(body)
    except ValueError as problem:
        raise errors.bad_request(f"the object provided is unrecognized: {problem}") from None
    if not isinstance(value, dict):
        raise errors.bad_request("the object provided is unrecognized")
    return value


def _api_version(route: Route) -> str:
    return f"{route.kind.group}/{route.version}" if route.kind.group else route.version


def _as_version(found: Object, route: Route) -> Object:
    return {**found, "apiVersion": _api_version(route), "kind": route.kind.kind}


def _group(name: str, versions: Sequence[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(kind: Kind) -> list[Object]:
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    base = {"namespaced": kind.namespaced, "kind": kind.kind, "singularName": kind.kind.lower()}
    listed = [{"name": kind.plural, "verbs": verbs, "shortNames": list(kind.short), **base}]
    if kind.has_status:
        listed.append({"name": f"{kind.plural}/status", "verbs": ["get", "patch", "update"], **base})
    return listed


def _first(query: Query, key: str) -> str:
    return (query.get(key) or [""])[-1]


def _flag(query: Query, key: str) -> bool:
    return _first(query, key) in ("true", "1", "True")


def _start(query: Query) -> int:
    given = _first(query, "continue")
    try:
        return int(base64.urlsafe_b64decode(given)) if given else 0
    except ValueError:
        raise errors.bad_request("continue key is not valid") from None


def _matches(found: Object, query: Query) -> bool:
    labels = found["metadata"].get("labels") or {}
    if not labels_match(labels, _first(query, "labelSelector")):
        return False
    return fields_match(found, _first(query, "fieldSelector"))


def _removed(before: Any, after: Any, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            lost
            for key, value in before.items()
            for lost in (
                _removed(value, after[key], f"{path}.{key}" if path else key)
                if key in after
                else [f"{path}.{key}" if path else key]
            )
        ]
    return []


def _json_patched(present: Object, steps: Any) -> Object:
    """Apply a JSON patch (RFC 6902): add, replace, remove and test."""
    made: Object = json.loads(json.dumps(present))
    if not isinstance(steps, list):
        raise errors.bad_request("a JSON patch is a list of operations")
    for step in steps:
        *outer, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].strip("/").split("/")]
        target: Any = made
        try:
            for key in outer:
                target = target[int(key)] if isinstance(target, list) else target[key]
            where: Any = last if not isinstance(target, list) else len(target) if last == "-" else int(last)
            if step["op"] in ("add", "replace"):
                if isinstance(target, list) and step["op"] == "add":
                    target.insert(where, step["value"])
                else:
                    target[where] = step["value"]
            elif step["op"] == "remove":
                del target[where]
            elif target[where] != step["value"]:
                raise StatusError(422, "Invalid", f"the server rejected our request: test of {step['path']} failed")
        except (KeyError, IndexError, ValueError, TypeError):
            raise StatusError(422, "Invalid", f"the patch cannot be applied at {step['path']}") from None
    return made
