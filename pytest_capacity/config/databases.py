"""The keys ``databases:``, ``kubernetes:`` and ``scaling:``: the KubeDB databases of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

from msgspec.structs import replace

from pytest_capacity.config.fields import (
    Faults,
    Reader,
    as_choice,
    as_form,
    as_mapping,
    as_text,
    chosen,
    counted,
    formed,
    read_keys,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.source import Source, lasting
from pytest_capacity.databases import (
    ENGINE_ALIASES,
    ENGINES,
    SIZES,
    Combined,
    Database,
    KubernetesSettings,
    ScalingSettings,
    Size,
    StorageMode,
    engine_name,
)
from pytest_capacity.model import Request

KEYS: Final = ("databases", "kubernetes", "scaling")

#: Longest `ready_timeout` of a database, `timeout` and `storage_timeout` of a request.
_MOST_S: Final = 6 * 3600.0
_MOST_PAUSE_S: Final = 300.0
_READY_S: Final = 600.0

_EXAMPLE: Final = '{orders: {engine: mongodb, version: "7.0.8", replicas: 3, size: db.t3.small, storage_gb: 20}}'
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CPU: Final = re.compile(r"\d+m|\d+(\.\d+)?")
_MEMORY: Final = re.compile(r"\d+(\.\d+)?([kMGTPE]|[KMGTPE]i)?")


def read_databases(source: Source, request: Request, faults: Faults) -> Request:
    """Return ``request`` with the three sections, none of which has to be there."""
    kubernetes = _kubernetes(source, faults)
    scaling = _scaling(source, faults)
    values, where = source.section("databases", _EXAMPLE, faults)
    found: dict[str, Database] = {}
    for key, body in values.items():
        place = f"{where}.{shown(key)[1:-1]}"
        if not _NAME.fullmatch(key):
            faults.add(place, f"{shown(key)} is no name of a database", "Use small letters, digits and dashes.")
            continue
        database = _database(key, body, place, kubernetes, scaling, request.duration_s, faults)
        if database is not None:
            found[key] = database
    return replace(request, databases=found, kubernetes=kubernetes, scaling=scaling)


def _database(
    key: str,
    body: object,
    where: str,
    kubernetes: KubernetesSettings,
    scaling: ScalingSettings,
    duration_s: float,
    faults: Faults,
) -> Database | None:
    before = len(faults.lines)
    values = as_mapping(body, where, faults, "{engine: mongodb, version: '7.0.8'}")
    if len(faults.lines) > before:
        return None
    longest = lasting(min(_MOST_S, duration_s), "at most")
    readers = {**_DATABASE, "ready_timeout": longest}
    refuse_unknown(values, tuple(readers), f"{where}.", faults)
    read = read_keys(_written(values), readers, where, faults)
    if values.get("engine") is None:
        faults.add(f"{where}.engine", "is missing", f"Give one of {', '.join(ENGINES)}.")
    size = read.get("size")
    if size is not None and scaling.size(size) is None:
        known = ", ".join((*scaling.sizes, *SIZES))
        faults.add(f"{where}.size", f"{shown(size)} is not a known size", f"Use {known}, or add it to scaling.sizes.")
    if values.get("version") is None:
        remedy = "Name a version that KubeDB has there: kubectl get {engine}versions.catalog.kubedb.com."
        faults.add(f"{where}.version", "is missing", remedy.format(engine=read.get("engine", "mongodb")))
    if read.get("engine") == "mysql" and read.get("replicas") == 2:
        faults.add(f"{where}.replicas", "2 is no group of MySQL, which has 1 or 3 to 9 members", "Give 1 or 3.")
    if len(faults.lines) > before:
        return None
    ready = read.pop("ready_timeout", min(_READY_S, duration_s))
    return Database(key=key, ready_timeout_s=ready, **{"namespace": kubernetes.namespace, **read})


def _engine(value: object, where: str, faults: Faults) -> str | None:
    name = engine_name(value) if isinstance(value, str) else value
    return as_choice(name, (*ENGINES, *ENGINE_ALIASES), where, faults)


def _kubernetes(source: Source, faults: Faults) -> KubernetesSettings:
    values, where = source.section("kubernetes", "{context: kind-kind, namespace: default}", faults)
    refuse_unknown(values, KubernetesSettings.__struct_fields__, f"{where}.", faults)
    read = read_keys(_written(values), _KUBERNETES, where, faults)
    if "kubeconfig" in read:
        read["kubeconfig"] = str(source.files.folder_of("kubernetes") / Path(read["kubeconfig"]).expanduser())
    return KubernetesSettings(**read)


def _scaling(source: Source, faults: Faults) -> ScalingSettings:
    values, where = source.section("scaling", "{timeout: 10m, keep_finished: 3}", faults)
    refuse_unknown(values, tuple(_SCALING), f"{where}.", faults)
    read = read_keys(_written(values), _SCALING, where, faults)
    times = {f"{key}_s": read.pop(key) for key in ("timeout", "interval", "storage_timeout") if key in read}
    return ScalingSettings(**read, **times)


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _sizes(value: object, where: str, faults: Faults) -> dict[str, Size]:
    example = '{db.r5.large: {cpu: "2", memory: 16Gi}}'
    found: dict[str, Size] = {}
    for name, body in as_mapping(value, where, faults, example).items():
        place = f"{where}.{shown(name)[1:-1]}"
        values = as_mapping(body, place, faults, '{cpu: "2", memory: 16Gi}')
        refuse_unknown(values, Size.__struct_fields__, f"{place}.", faults)
        # A number of CPUs may be written as one.
        cpu = as_form(_plain(values.get("cpu")), _CPU, "2 or 500m", f"{place}.cpu", faults)
        memory = as_form(values.get("memory"), _MEMORY, "4Gi", f"{place}.memory", faults)
        if cpu and memory:
            found[name] = Size(cpu, memory)
    return found


def _plain(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _number(least: int, most: int) -> Reader:
    return counted(least, most, what=f"not a number from {least} to {most}")


_DATABASE: Final[Mapping[str, Reader]] = {
    "engine": _engine,
    "version": as_text,
    "replicas": _number(1, 100),
    "size": as_text,
    "storage_gb": _number(1, 1_000_000),
    "storage_class": as_text,
    "namespace": formed(_NAME, "team-a"),
    "spec": partial(as_mapping, example="{storageType: Durable}"),
}
_KUBERNETES: Final[Mapping[str, Reader]] = {
    "kubeconfig": as_text,
    "context": as_text,
    "namespace": formed(_NAME, "team-a"),
}
_SCALING: Final[Mapping[str, Reader]] = {
    "timeout": lasting(_MOST_S, "at most"),
    "interval": lasting(_MOST_PAUSE_S, "at most"),
    "keep_finished": _number(0, 1000),
    "batch": _number(1, 1000),
    "storage_mode": chosen(*get_args(StorageMode)),
    "storage_timeout": lasting(_MOST_S, "at most"),
    "combined": chosen(*get_args(Combined)),
    "sizes": _sizes,
}
