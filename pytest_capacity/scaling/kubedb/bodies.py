"""The bodies sent to the server: the ``spec`` of requests and of databases. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from pytest_capacity.databases import Database, Size
from pytest_capacity.errors import KubeDBError
from pytest_capacity.scaling.kubedb.engines import Engine, Layout, lookup, nested

#: The suffixes of Kubernetes quantities (``apimachinery/pkg/api/resource``).
_FACTORS: Final[Mapping[str, Decimal]] = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([numkMGTPE]|[KMGTPE]i)?")

#: Where the size of a volume stands in a ``storage`` section.
STORAGE_REQUEST: Final = ("resources", "requests", "storage")


def resources(size: Size) -> dict[str, Any]:
    """Return a pod's resources: what it is given and what it may use are the same."""
    both = {"cpu": size.cpu, "memory": size.memory}
    return {"requests": dict(both), "limits": dict(both)}


def horizontal(layout: Layout, replicas: int, present: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``horizontalScaling`` section that asks for ``replicas``; ``present`` is the database's ``spec``."""
    section = nested(layout.replicas, replicas)
    inner = section if len(layout.replicas) == 1 else section[layout.replicas[0]]
    for key, path in layout.beside.items():
        inner[key] = lookup(present, path)
    return section


def vertical(component: str, size: Size) -> dict[str, Any]:
    """Return the ``verticalScaling`` section that gives the pods of ``component`` these resources."""
    return {component: {"resources": resources(size)}}


def expansion(component: str, storage_gb: int) -> dict[str, Any]:
    """Return the ``volumeExpansion`` section. ``mode`` is required; Online needs no restart."""
    return {"mode": "Online", component: gigabytes(storage_gb)}


def gigabytes(number: int) -> str:
    """Return so many gigabytes as a quantity: the seeds' GB are Kubernetes' Gi."""
    return f"{number}Gi"


def quantity(text: object) -> Decimal:
    """Return a quantity's value in its base unit. Raises `KubeDBError` for what is none."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise KubeDBError(f"{text!r} is no quantity such as 20Gi")
    return Decimal(match[1]) * _FACTORS[match[2] or ""]


def lost_fields(sent: object, kept: object, path: str = "spec") -> list[str]:
    """Return the paths of what was sent and is not, or not so, in what the server kept.

    An API server removes fields that a definition lacks, without an error (structural pruning), so a request
    may be accepted and change nothing.
    """
    if isinstance(sent, Mapping):
        if not isinstance(kept, Mapping):
            return [path]
        return [lost for key, value in sent.items() for lost in _lost_key(key, value, kept, path)]
    if isinstance(sent, list):
        if not isinstance(kept, list) or len(kept) != len(sent):
            return [path]
        pairs = enumerate(zip(sent, kept, strict=True))
        return [lost for number, (one, other) in pairs for lost in lost_fields(one, other, f"{path}[{number}]")]
    return [] if sent == kept or str(sent) == str(kept) else [path]


def _lost_key(key: str, value: object, kept: Mapping[str, Any], path: str) -> list[str]:
    where = f"{path}.{key}"
    return lost_fields(value, kept[key], where) if key in kept else [where]


def database_spec(engine: Engine, database: Database, size: Size | None) -> dict[str, Any]:
    """Return the ``spec`` of a database of the run; the user's own ``spec`` is laid over it."""
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": gigabytes(database.storage_gb)}},
    }
    if database.storage_class:
        claim["storageClassName"] = database.storage_class
    spec: dict[str, Any] = {
        "version": database.version,
        "replicas": database.replicas,
        "storageType": "Durable",
        "storage": claim,
        # Its volumes and secrets go with it: what belongs to the run ends with the run.
        "deletionPolicy": "WipeOut",
        **_modes(engine, database.replicas),
    }
    if size is not None:
        container = {"name": engine.container, "resources": resources(size)}
        spec["podTemplate"] = {"spec": {"containers": [container]}}
    return merged(spec, database.spec)


def _modes(engine: Engine, replicas: int) -> dict[str, Any]:
    """Return what makes several replicas a cluster, where that is not the number alone."""
    if replicas == 1:
        return {}
    modes: dict[str, dict[str, Any]] = {
        "mongodb": {"replicaSet": {"name": "rs0"}},
        "mysql": {"topology": {"mode": "GroupReplication"}},
        "postgres": {"standbyMode": "Hot", "streamingMode": "Asynchronous"},
        "redis": {"mode": "Cluster", "cluster": {"shards": 3, "replicas": replicas}, "replicas": None},
    }
    return modes.get(engine.name, {})


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``over`` laid over ``base`` (mappings are merged; null removes), as a JSON merge patch is (RFC 7386)."""
    made: dict[str, Any] = dict(base)
    for key, value in over.items():
        present = made.get(key)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            made[key] = merged(present, value)
        else:
            made[key] = value
    return {key: value for key, value in made.items() if value is not None}
