"""A stand-in for KubeDB's operator, which is not published: it moves databases and requests through their phases.

As KubeDB's controller does (``pkg/controller/opsrequest.go``): of one database at most one request is Progressing, and
the others stay Pending. It acts at every request to the server, as far as the World's clock has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pytest_capacity.emulator.kubernetes.kinds import Kind
from pytest_capacity.emulator.kubernetes.quantities import quantity
from pytest_capacity.emulator.kubernetes.script import Fate, Script
from pytest_capacity.emulator.kubernetes.store import Object, Store
from pytest_capacity.emulator.kubernetes.webhooks import at, storage_path

#: Phases in which a request is over. Denied is one.
TERMINAL: Final = frozenset({"Successful", "Failed", "Denied", "Skipped"})

#: What KubeDB's conditions call the steps.
_STEPS: Final[Mapping[str, str]] = {
    "HorizontalScaling": "HorizontalScale",
    "VerticalScaling": "VerticalScale",
    "VolumeExpansion": "VolumeExpansion",
}


class Operator:
    """The stand-in operator, which moves what is there. It lives as long as the store."""

    def __init__(self, store: Store, kinds: Mapping[tuple[str, str], Kind], now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._pods, self._volumes = kinds["", "pods"], kinds["", "persistentvolumeclaims"]
        self._databases = [kind for kind in kinds.values() if kind.engine and not kind.is_ops]
        self._requests = [kind for kind in kinds.values() if kind.is_ops]
        self.script = Script()
        #: When each object was first seen, and each request began, by uid; in the order of their creation.
        self._seen: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._fates: dict[str, Fate | None] = {}

    def turn(self) -> None:
        """Do all that is due."""
        for kind in self._databases:
            for database in self._store.all(kind):
                self._seen.setdefault(database["metadata"]["uid"], self._now())
                self._provision(kind, database)
        for kind in self._requests:
            by_database: dict[tuple[str, str], list[Object]] = {}
            for request in self._store.all(kind):
                self._seen.setdefault(request["metadata"]["uid"], self._now())
                reference = request["metadata"]["namespace"], request["spec"]["databaseRef"]["name"]
                by_database.setdefault(reference, []).append(request)
            for (namespace, name), requests in by_database.items():
                self._serve(kind, namespace, name, requests)

    def _provision(self, kind: Kind, database: Object) -> None:
        metadata = database["metadata"]
        seen = self._seen[metadata["uid"]]
        if metadata.get("deletionTimestamp"):
            left = self._begun.setdefault(metadata["uid"] + "/deleted", self._now())
            if self._now() - left >= self.script.delete_s:
                self._remove(kind, database)
            return
        phase = at(database, ("status", "phase"))
        if phase is None:
            self._phase(kind, database, "Provisioning")
            self._shape(kind, database)
            phase = "Provisioning"
        ready = metadata["name"] not in self.script.never_ready and self._now() - seen >= self.script.provision_s
        if phase == "Provisioning" and ready:
            self._phase(kind, database, "Ready")
        if self.script.patch_grows_volumes:
            self._grow(kind, database)

    def _phase(self, kind: Kind, database: Object, phase: str) -> None:
        metadata = database["metadata"]
        fresh = self._store.get(kind, metadata["namespace"], metadata["name"])
        fresh["status"] = {**fresh.get("status", {}), "phase": phase, "observedGeneration": metadata["generation"]}
        self._store.update(kind, metadata["namespace"], metadata["name"], fresh, status=True)

    def _remove(self, kind: Kind, database: Object) -> None:
        namespace, name = database["metadata"]["namespace"], database["metadata"]["name"]
        policy = at(database, ("spec", "deletionPolicy")) or "Delete"
        doomed = [self._pods] if policy == "Halt" else [self._pods, self._volumes]
        for of_kind in doomed:
            for one in self._belonging(of_kind, kind, namespace, name):
                self._store.delete(of_kind, namespace, one["metadata"]["name"])
        self._store.delete(kind, namespace, name)

    def _belonging(self, of_kind: Kind, kind: Kind, namespace: str, name: str) -> Iterator[Object]:
        labels = _labels(kind, name)
        for one in list(self._store.all(of_kind, namespace)):
            if labels.items() <= one["metadata"].get("labels", {}).items():
                yield one

    def _shape(self, kind: Kind, database: Object) -> None:
        """Make pods and volumes as in the database's ``spec``; volumes of pods that went stay, as in Kubernetes."""
        assert kind.engine is not None
        namespace, name, spec = database["metadata"]["namespace"], database["metadata"]["name"], database["spec"]
        wanted = dict(_pods(kind, name, spec))
        for pod in self._belonging(self._pods, kind, namespace, name):
            if wanted.get(pod["metadata"]["name"]) != pod["spec"]["containers"]:
                self._store.delete(self._pods, namespace, pod["metadata"]["name"])
        component = _component(kind, spec)
        claim = at(spec, storage_path(kind.engine, component, spec))
        for pod_name, containers in wanted.items():
            labels = _labels(kind, name)
            if self._store.find(self._pods, namespace, pod_name) is None:
                body = {"metadata": {"name": pod_name, "labels": labels}, "spec": {"containers": containers}}
                self._store.create(self._pods, namespace, {"apiVersion": "v1", "kind": "Pod", **body})
            if claim and self._store.find(self._volumes, namespace, f"data-{pod_name}") is None:
                self._claim(namespace, f"data-{pod_name}", {**labels, **_user_labels(database)}, claim)

    def _claim(self, namespace: str, name: str, labels: Mapping[str, str], claim: Mapping[str, Any]) -> None:
        body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": dict(labels)}}
        made = self._store.create(self._volumes, namespace, {**body, "spec": dict(claim)})
        made["status"] = {"phase": "Bound", "capacity": dict(at(claim, ("resources", "requests")) or {})}
        self._store.update(self._volumes, namespace, name, made, status=True)

    def _grow(self, kind: Kind, database: Object) -> None:
        """Make volumes follow the database's ``spec``."""
        assert kind.engine is not None
        namespace, name, spec = database["metadata"]["namespace"], database["metadata"]["name"], database["spec"]
        size = at(spec, (*storage_path(kind.engine, _component(kind, spec), spec), "resources", "requests", "storage"))
        for volume in self._belonging(self._volumes, kind, namespace, name):
            present = at(volume, ("status", "capacity", "storage"))
            if size is not None and present is not None and quantity(size) > quantity(present):
                volume["spec"].setdefault("resources", {})["requests"] = {"storage": size}
                grown = self._store.update(self._volumes, namespace, volume["metadata"]["name"], volume)
                grown["status"]["capacity"] = {"storage": size}
                self._store.update(self._volumes, namespace, volume["metadata"]["name"], grown, status=True)

    def _serve(self, kind: Kind, namespace: str, name: str, requests: list[Object]) -> None:
        assert kind.engine is not None
        database_kind = next(one for one in self._databases if one.engine is kind.engine)
        # One second has room for many creations: the order in which they were seen decides.
        order = list(self._seen)
        requests.sort(key=lambda request: order.index(request["metadata"]["uid"]))
        for request in requests:
            if at(request, ("status", "phase")) is None:
                self._set(kind, request, "Pending")
        for request in requests:
            uid = request["metadata"]["uid"]
            fresh = self._store.get(kind, namespace, request["metadata"]["name"])
            phase = at(fresh, ("status", "phase"))
            if phase in TERMINAL:
                continue
            database = self._store.find(database_kind, namespace, name)
            if database is None or not self._advance(kind, database_kind, fresh, database, uid, phase):
                return  # Those behind it wait.

    def _advance(
        self, kind: Kind, database_kind: Kind, request: Object, database: Object, uid: str, phase: str
    ) -> bool:
        """Move one request as far as it goes now; return whether it is over."""
        if phase == "Pending":
            if self._now() - self._seen[uid] < self.script.pending_s:
                return False
            if at(database, ("status", "phase")) != "Ready" and request["spec"].get("apply") != "Always":
                return False
            if uid not in self._fates:
                self._fates[uid] = self.script.fate(database["metadata"]["name"], request["spec"]["type"])
            fate = self._fates[uid]
            if fate and fate.phase in ("Denied", "Skipped", "WaitingForApproval"):
                self._set(kind, request, fate.phase, (fate.reason, fate.message, "False"))
                return fate.phase != "WaitingForApproval"
        if phase == "WaitingForApproval":
            return False
        if phase != "Progressing":
            self._begun[uid] = self._now()
            step = _STEPS.get(request["spec"]["type"], "Running")
            self._set(kind, request, "Progressing", (f"{step}Started", "the operation has begun", "True"))
        if self._now() - self._begun.get(uid, 0.0) < self.script.step_s:
            return False
        fate = self._fates.get(uid)
        if fate and fate.phase == "Progressing":
            return False
        if fate:
            self._set(kind, request, fate.phase, (fate.reason, fate.message, "False"))
            return True
        self._apply(database_kind, request, database)
        words = ("Successful", "Successfully completed the modification process", "True")
        self._set(kind, request, "Successful", words)
        return True

    def _set(self, kind: Kind, request: Object, phase: str, condition: tuple[str, str, str] | None = None) -> None:
        namespace, name = request["metadata"]["namespace"], request["metadata"]["name"]
        fresh = self._store.get(kind, namespace, name)
        status = dict(fresh.get("status") or {})
        status |= {"phase": phase, "observedGeneration": fresh["metadata"]["generation"]}
        if condition:
            reason, message, truth = condition
            type_ = phase if phase in TERMINAL else reason
            line = {
                "type": type_,
                "status": truth,
                "reason": reason,
                "message": message,
                "lastTransitionTime": self._store.timestamp(),
                "observedGeneration": fresh["metadata"]["generation"],
            }
            status["conditions"] = [*status.get("conditions", []), line]
        fresh["status"] = status
        self._store.update(kind, namespace, name, fresh, status=True)

    def _apply(self, kind: Kind, request: Object, database: Object) -> None:
        """Do what is in the section of the request's type, and nothing else."""
        assert kind.engine is not None
        spec, wanted = database["spec"], request["spec"]
        namespace, name = database["metadata"]["namespace"], database["metadata"]["name"]
        if wanted["type"] == "HorizontalScaling":
            for path, number in _horizontal(kind, spec, wanted["horizontalScaling"]):
                _put(spec, path, number)
        elif wanted["type"] == "VerticalScaling":
            for component, given in wanted["verticalScaling"].items():
                if component in kind.engine.pods and given:
                    _size(kind, spec, component, given.get("resources", {}))
        elif wanted["type"] == "VolumeExpansion":
            for component in kind.engine.volumes:
                if component in wanted["volumeExpansion"]:
                    where = (*storage_path(kind.engine, component, spec), "resources", "requests", "storage")
                    _put(spec, where, wanted["volumeExpansion"][component])
        changed = self._store.update(kind, namespace, name, database)
        self._shape(kind, changed)
        if wanted["type"] == "VolumeExpansion":
            self._grow(kind, changed)


def _labels(kind: Kind, name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "kubedb.com",
        "app.kubernetes.io/name": f"{kind.plural}.kubedb.com",
    }


def _user_labels(database: Object) -> dict[str, str]:
    return dict(database["metadata"].get("labels") or {})


def _component(kind: Kind, spec: Mapping[str, Any]) -> str:
    assert kind.engine is not None
    if spec.get("shardTopology"):
        return "shard"
    if kind.engine.name == "elasticsearch" and spec.get("topology"):
        return "data"
    return kind.engine.volumes[0]


def _pods(kind: Kind, name: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, list[Object]]]:
    assert kind.engine is not None
    template: Any = spec
    count, prefixes = spec.get("replicas") or 1, [name]
    shard = at(spec, ("shardTopology", "shard"))
    if shard:
        template, count = shard, shard.get("replicas", 1)
        prefixes = [f"{name}-shard{number}" for number in range(shard.get("shards", 1))]
    elif spec.get("cluster"):
        count = at(spec, ("cluster", "replicas")) or 1
        prefixes = [f"{name}-shard{number}" for number in range(at(spec, ("cluster", "shards")) or 3)]
    elif kind.engine.name == "elasticsearch" and spec.get("topology"):
        template = spec["topology"].get("data", {})
        count, prefixes = template.get("replicas", 1), [f"{name}-data"]
    containers = at(template, ("podTemplate", "spec", "containers")) or [{"name": kind.engine.container}]
    for prefix in prefixes:
        for number in range(count):
            yield f"{prefix}-{number}", containers


def _horizontal(
    kind: Kind, spec: Mapping[str, Any], section: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    assert kind.engine is not None
    for key, value in section.items():
        if key in ("replicas", "member", "node", "shards"):
            inside = ("cluster",) if spec.get("cluster") else ()
            yield (*inside, key if key == "shards" else "replicas"), value
        elif key == "topology":
            for part, number in value.items():
                yield ("topology", part, "replicas"), number
        elif kind.engine.name == "mongodb" and isinstance(value, Mapping):
            for inner, number in value.items():
                yield ("shardTopology", key, inner), number


def _size(kind: Kind, spec: dict[str, Any], component: str, resources: Mapping[str, Any]) -> None:
    assert kind.engine is not None
    template: Any = spec
    for outer in ("shardTopology", "topology"):
        if isinstance(at(spec, (outer, component)), dict):
            template = spec[outer][component]
    pod = template.setdefault("podTemplate", {}).setdefault("spec", {})
    others = [one for one in pod.get("containers", []) if one.get("name") != kind.engine.container]
    pod["containers"] = [{"name": kind.engine.container, "resources": dict(resources)}, *others]


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        values = values.setdefault(key, {})
    values[path[-1]] = value
