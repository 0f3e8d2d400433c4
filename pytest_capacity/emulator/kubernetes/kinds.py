"""The kinds that the server has, with their schemas: KubeDB's requests and databases, and a few of the core.

The requests' schemas have the three sections of scaling, the common fields and the status as KubeDB's definitions
(``crds/ops.kubedb.com_*.yaml``, Apache-2.0) have them; the other sections are kept as they come. A database's ``spec``
is kept as it comes, but for what scaling reads, which is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pytest_capacity.emulator.kubernetes.schema import QUANTITY, Schema

OPS_GROUP: Final = "ops.kubedb.com"
DATABASE_GROUP: Final = "kubedb.com"

_ANY: Final[Schema] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer", "format": "int32"}
_QUANTITY: Final[Schema] = {"x-kubernetes-int-or-string": True, "pattern": QUANTITY}
_QUANTITIES: Final[Schema] = {"type": "object", "additionalProperties": _QUANTITY}
_RESOURCES: Final[Schema] = {
    "type": "object",
    "properties": {
        "claims": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": _TEXT, "request": _TEXT}, "required": ["name"]},
        },
        "limits": _QUANTITIES,
        "requests": _QUANTITIES,
    },
}
_CONTAINER: Final[Schema] = {"type": "object", "properties": {"resources": _RESOURCES}}
_POD: Final[Schema] = {
    "type": "object",
    "properties": {
        "nodeSelectionPolicy": _TEXT,
        "resources": _RESOURCES,
        "topology": {"type": "object", "properties": {"key": _TEXT, "value": _TEXT}, "required": ["key", "value"]},
    },
}
#: Read replicas have node selectors and the like, which is nothing that the stand-in reads.
_REPLICA: Final[Schema] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {"name": _TEXT, "resources": _RESOURCES, "replicas": _NUMBER},
    "required": ["name"],
}
_CONDITION: Final[Schema] = {
    "type": "object",
    "properties": {
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": _TEXT,
        "observedGeneration": {"type": "integer", "format": "int64"},
        "reason": _TEXT,
        "severity": _TEXT,
        "status": _TEXT,
        "type": _TEXT,
    },
    "required": ["lastTransitionTime", "status", "type"],
}
PHASES: Final = (
    "Pending",
    "Progressing",
    "Successful",
    "WaitingForApproval",
    "Failed",
    "Approved",
    "Denied",
    "Skipped",
)
_OPS_STATUS: Final[Schema] = {
    "type": "object",
    "properties": {
        "conditions": {"type": "array", "items": _CONDITION},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "pausedBackups": {"type": "array", "items": _ANY},
        "phase": {"type": "string", "enum": list(PHASES)},
    },
}
_TYPES: Final = (
    "UpdateVersion",
    "HorizontalScaling",
    "VerticalScaling",
    "VolumeExpansion",
    "Restart",
    "Reconfigure",
    "ReconfigureTLS",
    "RotateAuth",
    "StorageMigration",
)
#: The sections that every engine has and that are none of scaling's.
_COMMON: Final = ("authentication", "configuration", "migration", "restart", "tls", "updateVersion")


def _numbers(*names: str) -> dict[str, Schema]:
    return dict.fromkeys(names, _NUMBER)


def _counts(*names: str) -> Schema:
    return {"type": "object", "properties": _numbers(*names)}


@dataclass(frozen=True, kw_only=True)
class EngineKinds:
    """What KubeDB has of one engine."""

    name: str
    kind: str
    plural: str
    short: str
    #: Of ``spec.type``, beside `_TYPES`; and the sections beside `_COMMON`.
    types: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    #: Keys of ``verticalScaling`` for whole pods, and for single containers.
    pods: tuple[str, ...]
    containers: tuple[str, ...] = ("coordinator", "exporter")
    horizontal: Mapping[str, Schema]
    #: Further keys of ``verticalScaling``.
    vertical: Mapping[str, Schema] = field(default_factory=dict)
    volumes: tuple[str, ...]
    #: The container of its pods.
    container: str

    @property
    def ops_kind(self) -> str:
        """Return ``MongoDBOpsRequest``."""
        return f"{self.kind}OpsRequest"

    @property
    def ops_plural(self) -> str:
        """Return ``mongodbopsrequests``."""
        return f"{self.ops_kind.lower()}s"

    def ops_schema(self) -> Schema:
        """Return the schema of its requests."""
        mode = {"type": "string", "enum": ["Restart", "InPlace"], "default": "Restart"}
        vertical = {**dict.fromkeys(self.pods, _POD), **dict.fromkeys(self.containers, _CONTAINER), **self.vertical}
        spec = {
            "type": "object",
            "required": ["databaseRef", "type"],
            "properties": {
                "apply": {"type": "string", "enum": ["IfReady", "Always"], "default": "IfReady"},
                "databaseRef": {"type": "object", "properties": {"name": {"type": "string", "default": ""}}},
                "maxRetries": {"type": "integer", "format": "int32", "default": 1},
                "timeout": _TEXT,
                "type": {"type": "string", "enum": [*_TYPES, *self.types]},
                **dict.fromkeys((*_COMMON, *self.sections), _ANY),
                "horizontalScaling": {"type": "object", "properties": dict(self.horizontal)},
                "verticalScaling": {"type": "object", "properties": {**vertical, "mode": mode}},
                "volumeExpansion": {
                    "type": "object",
                    "required": ["mode"],
                    "properties": {
                        **dict.fromkeys(self.volumes, _QUANTITY),
                        "mode": {"type": "string", "enum": ["Offline", "Online"]},
                    },
                },
            },
        }
        return _whole(spec, _OPS_STATUS)


_ES_NODES: Final = (
    "master",
    "data",
    "ingest",
    "coordinating",
    "dataHot",
    "dataWarm",
    "dataCold",
    "dataFrozen",
    "dataContent",
    "ml",
    "transform",
)

ENGINES: Final = (
    EngineKinds(
        name="mongodb",
        kind="MongoDB",
        plural="mongodbs",
        short="mg",
        types=("Reprovision", "Horizons"),
        sections=("archiver", "horizons", "readinessCriteria", "reprovision"),
        pods=("standalone", "replicaSet", "mongos", "configServer", "shard", "arbiter", "hidden"),
        horizontal={
            "replicas": _NUMBER,
            "shard": _counts("replicas", "shards"),
            "configServer": _counts("replicas"),
            "mongos": _counts("replicas"),
            "hidden": _counts("replicas"),
        },
        volumes=("standalone", "replicaSet", "configServer", "shard", "hidden"),
        container="mongodb",
    ),
    EngineKinds(
        name="postgres",
        kind="Postgres",
        plural="postgreses",
        short="pg",
        types=("ReconnectStandby", "ForceFailOver", "SetRaftKeyPair"),
        sections=("forceFailOver", "reconnectStandby", "setRaftKeyPair"),
        pods=("postgres", "arbiter"),
        horizontal={
            "replicas": _NUMBER,
            "standbyMode": {"type": "string", "enum": ["Hot", "Warm"], "default": "Hot"},
            "streamingMode": {"type": "string", "enum": ["Synchronous", "Asynchronous"], "default": "Asynchronous"},
            "readReplicas": {"type": "array", "items": _REPLICA},
        },
        vertical={"readReplicas": {"type": "array", "items": _REPLICA}},
        volumes=("postgres", "arbiter"),
        container="postgres",
    ),
    EngineKinds(
        name="mysql",
        kind="MySQL",
        plural="mysqls",
        short="my",
        types=("ReplicationModeTransformation",),
        sections=("replicationModeTransformation",),
        pods=("mysql",),
        horizontal=_numbers("member"),
        volumes=("mysql",),
        container="mysql",
    ),
    EngineKinds(
        name="mariadb",
        kind="MariaDB",
        plural="mariadbs",
        short="maria",
        pods=("mariadb", "maxscale"),
        horizontal={**_numbers("member", "memberWeight"), "maxscale": {"type": "boolean"}},
        volumes=("mariadb", "maxscale"),
        container="mariadb",
    ),
    EngineKinds(
        name="redis",
        kind="Redis",
        plural="redises",
        short="rd",
        types=("ReplaceSentinel", "Announce"),
        sections=("announce", "sentinel"),
        pods=("redis",),
        horizontal={
            **_numbers("shards", "replicas"),
            "announce": {
                "type": "object",
                "properties": {
                    "shards": {"type": "array", "items": _ANY},
                    "type": {"type": "string", "enum": ["ip", "hostname"], "default": "hostname"},
                },
            },
        },
        volumes=("redis",),
        container="redis",
    ),
    EngineKinds(
        name="elasticsearch",
        kind="Elasticsearch",
        plural="elasticsearches",
        short="es",
        pods=("node", *_ES_NODES),
        containers=("exporter",),
        horizontal={"node": _NUMBER, "topology": _counts(*_ES_NODES)},
        volumes=("node", *_ES_NODES),
        container="elasticsearch",
    ),
)

_STORAGE: Final[Schema] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {"resources": _RESOURCES},
}
_DATABASE_SPEC: Final[Schema] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "required": ["version"],
    "properties": {
        "version": _TEXT,
        "replicas": _NUMBER,
        "storage": _STORAGE,
        "storageType": {"type": "string", "enum": ["Durable", "Ephemeral"]},
        "deletionPolicy": {"type": "string", "enum": ["Halt", "Delete", "WipeOut", "DoNotTerminate"]},
    },
}


def _whole(spec: Schema, status: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            "metadata": _ANY,
            "spec": spec,
            "status": status,
        },
    }


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of object."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    #: Whether ``/status`` is a separate resource, so that the object's own path leaves the status alone.
    has_status: bool = False
    schema: Schema = field(default_factory=lambda: _ANY)
    #: The engine, where it is a database or a request of one.
    engine: EngineKinds | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Return what it is stored under."""
        return self.group, self.plural

    @property
    def is_ops(self) -> bool:
        """Return whether it is a request."""
        return self.group == OPS_GROUP


def all_kinds() -> tuple[Kind, ...]:
    """Return every kind that the server has."""
    core = (
        Kind(group="", versions=("v1",), plural="namespaces", kind="Namespace", namespaced=False, short=("ns",)),
        Kind(group="", versions=("v1",), plural="pods", kind="Pod", short=("po",), has_status=True),
        Kind(
            group="",
            versions=("v1",),
            plural="persistentvolumeclaims",
            kind="PersistentVolumeClaim",
            short=("pvc",),
            has_status=True,
        ),
        Kind(group="", versions=("v1",), plural="secrets", kind="Secret"),
        Kind(group="", versions=("v1",), plural="configmaps", kind="ConfigMap", short=("cm",)),
    )
    kubedb = [
        kind
        for engine in ENGINES
        for kind in (
            Kind(
                group=DATABASE_GROUP,
                versions=("v1", "v1alpha2"),
                plural=engine.plural,
                kind=engine.kind,
                short=(engine.short,),
                has_status=True,
                schema=_whole(_DATABASE_SPEC, _ANY),
                engine=engine,
            ),
            Kind(
                group=OPS_GROUP,
                versions=("v1alpha1",),
                plural=engine.ops_plural,
                kind=engine.ops_kind,
                short=(f"{engine.short}ops",),
                has_status=True,
                schema=engine.ops_schema(),
                engine=engine,
            ),
        )
    ]
    return (*core, *kubedb)
