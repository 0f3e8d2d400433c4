"""What KubeDB's admission webhooks refuse beyond the schemas (``apimachinery/pkg/webhooks/ops/v1alpha1``).

Refusals of a new request are lists of faults (422); a change of a request's ``spec`` is forbidden. Only the section
that belongs to ``type`` is looked at: one request does one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pytest_capacity.emulator.kubernetes import errors
from pytest_capacity.emulator.kubernetes.errors import Cause
from pytest_capacity.emulator.kubernetes.kinds import EngineKinds, Kind
from pytest_capacity.emulator.kubernetes.quantities import quantity

Object = dict[str, Any]
Spec = Mapping[str, Any]

#: The section of each type that scaling supports.
SECTIONS: Final[Mapping[str, str]] = {
    "HorizontalScaling": "horizontalScaling",
    "VerticalScaling": "verticalScaling",
    "VolumeExpansion": "volumeExpansion",
}

#: Parts of a database that cannot be changed (``kubedb.com`` webhooks).
_FIXED: Final = (("storageType",), ("replicaSet", "name"))


def check_new(kind: Kind, request: Object, database: Object | None) -> None:
    """Refuse a new operation request that KubeDB's webhook refuses. Raises `StatusError`."""
    assert kind.engine is not None
    name = request["metadata"].get("name") or request["metadata"].get("generateName", "")
    found = list(_faults(kind.engine, request["spec"], database))
    if found:
        raise errors.invalid(kind.group, kind.kind, name, found)


def check_changed(kind: Kind, before: Object, after: Object) -> None:
    """Refuse a change of what is fixed once it was made. Raises `StatusError`."""
    if kind.is_ops:
        if before.get("spec") != after.get("spec"):
            words = f"precondition failed: [spec] of {kind.kind} {before['metadata']['name']} cannot be changed"
            raise errors.forbidden(f"{kind.plural}.ops.kubedb.com", words)
        return
    for path in _FIXED:
        was, becomes = at(before.get("spec", {}), path), at(after.get("spec", {}), path)
        if was is not None and was != becomes:
            words = f"precondition failed: spec.{'.'.join(path)} is immutable"
            raise errors.forbidden(f"{kind.plural}.kubedb.com", words)


def at(values: Any, path: tuple[str, ...]) -> Any:
    """Return what stands at ``path``, or None."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _faults(engine: EngineKinds, spec: Spec, database: Object | None) -> Iterator[Cause]:
    reference = spec["databaseRef"].get("name", "")
    if database is None:
        words = f'Invalid value: "{reference}": spec.databaseRef {reference}, is invalid or not found'
        yield Cause("FieldValueInvalid", words, "spec.databaseRef")
        return
    section = SECTIONS.get(spec["type"])
    if section is None:
        return
    wanted = spec.get(section)
    if wanted is None:
        yield _bad(section, f"spec.{section} can not be empty for ops type {spec['type']}")
        return
    if section == "horizontalScaling":
        yield from _HORIZONTAL[engine.name](wanted, database["spec"])
    elif section == "verticalScaling":
        if not any(wanted.get(key) for key in (*engine.pods, *engine.containers, "readReplicas")):
            yield _bad(section, "at least one component has to be named")
    else:
        yield from _volumes(engine, wanted, database["spec"])


def _mongodb(wanted: Spec, spec: Spec) -> Iterator[Cause]:
    parts = [key for key in ("shard", "configServer", "mongos") if wanted.get(key)]
    replicas = wanted.get("replicas")
    if replicas is not None and parts:
        yield _bad("horizontalScaling", f"replicas can not be scaled together with {', '.join(parts)}")
    elif replicas is not None and not spec.get("replicaSet"):
        yield _bad("horizontalScaling.replicas", "only the replicas of a replica set can be scaled")
    elif replicas is not None and replicas <= 0:
        yield _bad("horizontalScaling.replicas", "replicas must be greater than zero")
    shard = wanted.get("shard")
    if shard and not (shard.get("shards") and shard.get("replicas")):
        yield _bad("horizontalScaling.shard", "neither shards nor replicas can be zero")


def _postgres(wanted: Spec, _: Spec) -> Iterator[Cause]:
    replicas = wanted.get("replicas")
    if (replicas is None) == (wanted.get("readReplicas") is None):
        yield _bad("horizontalScaling", "exactly one of replicas and readReplicas has to be given")
    elif replicas is not None and replicas <= 0:
        yield _bad("horizontalScaling.replicas", "replicas must be greater than zero")


def _mysql(wanted: Spec, spec: Spec) -> Iterator[Cause]:
    member = wanted.get("member")
    if at(spec, ("topology", "mode")) != "GroupReplication":
        yield _bad("horizontalScaling", "only a group replication can be scaled")
    elif member is None or member < 3 or member >= 9:
        yield _bad("horizontalScaling.member", "Group size can not be less than 3 or greater than 9")


def _mariadb(wanted: Spec, spec: Spec) -> Iterator[Cause]:
    member = wanted.get("member")
    if (spec.get("replicas") or 1) <= 1:
        yield _bad("horizontalScaling", "only a cluster can be scaled")
    elif member is not None and member <= 0:
        yield _bad("horizontalScaling.member", "member must be greater than zero")


def _redis(wanted: Spec, spec: Spec) -> Iterator[Cause]:
    mode = spec.get("mode", "Standalone")
    shards, replicas = wanted.get("shards"), wanted.get("replicas")
    if mode == "Standalone":
        yield _bad("horizontalScaling", "a standalone can not be scaled")
    elif mode == "Sentinel" and shards is not None:
        yield _bad("horizontalScaling.shards", "a sentinel has no shards")
    elif mode == "Cluster" and shards is not None and shards < 3:
        yield _bad("horizontalScaling.shards", "shards can not be less than 3")
    elif mode == "Cluster" and replicas is not None and replicas < 2:
        yield _bad("horizontalScaling.replicas", "replicas can not be less than 2")


def _elasticsearch(wanted: Spec, spec: Spec) -> Iterator[Cause]:
    node, topology = wanted.get("node"), wanted.get("topology")
    if (node is None) == (topology is None):
        yield _bad("horizontalScaling", "exactly one of node and topology has to be given")
    elif node is not None and spec.get("topology"):
        yield _bad("horizontalScaling.node", "a database with a topology is scaled by its parts")
    elif node is not None and node <= 0:
        yield _bad("horizontalScaling.node", "node must be greater than zero")


_HORIZONTAL: Final[Mapping[str, Callable[[Spec, Spec], Iterator[Cause]]]] = {
    "mongodb": _mongodb,
    "postgres": _postgres,
    "mysql": _mysql,
    "mariadb": _mariadb,
    "redis": _redis,
    "elasticsearch": _elasticsearch,
}


def _volumes(engine: EngineKinds, wanted: Spec, spec: Spec) -> Iterator[Cause]:
    named = [key for key in engine.volumes if key in wanted]
    if not named:
        yield _bad("volumeExpansion", "at least one component has to be named")
    for key in named:
        present = at(storage_of(engine, key, spec), ("resources", "requests", "storage"))
        if present is not None and quantity(wanted[key]) <= quantity(present):
            words = f"desired {key} storage size must be greater than current storage. Current storage: {present}"
            yield _bad(f"volumeExpansion.{key}", words)


def storage_of(engine: EngineKinds, component: str, spec: Spec) -> Any:
    """Return the ``storage`` section of one component of a database."""
    return at(spec, storage_path(engine, component, spec))


def storage_path(engine: EngineKinds, component: str, spec: Spec) -> tuple[str, ...]:
    """Return where the ``storage`` of one component stands."""
    if engine.name == "mongodb" and spec.get("shardTopology"):
        return ("shardTopology", component, "storage")
    if engine.name == "elasticsearch" and spec.get("topology"):
        return ("topology", component, "storage")
    return ("storage",)


def _bad(path: str, words: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{path}": {words}', f"spec.{path}")
