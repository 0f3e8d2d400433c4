"""The keys ``databases:``, ``kubernetes:`` and ``scaling:``: the KubeDB databases of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from msgspec.structs import replace

from pytest_capacity.config.fields import (
    Faults,
    as_choice,
    as_form,
    as_mapping,
    as_text,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.source import Source, as_duration
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

_EXAMPLE: Final = '{orders: {engine: mongodb, version: "7.0.8", replicas: 3, size: db.t3.small, storage_gb: 20}}'
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CPU: Final = re.compile(r"\d+m|\d+(\.\d+)?")
_MEMORY: Final = re.compile(r"\d+(\.\d+)?([kMGTPE]|[KMGTPE]i)?")

_DATABASE_KEYS: Final = (
    "engine",
    "version",
    "replicas",
    "size",
    "storage_gb",
    "storage_class",
    "namespace",
    "ready_timeout",
    "spec",
)
_SCALING_KEYS: Final = (
    "timeout",
    "interval",
    "keep_finished",
    "batch",
    "storage_mode",
    "storage_timeout",
    "combined",
    "sizes",
)


def read_databases(source: Source, request: Request, faults: Faults) -> Request:
    """Return ``request`` with the three sections, none of which has to be there."""
    kubernetes = _kubernetes(source, faults)
    scaling = _scaling(source, faults)
    value, where = source.get("databases")
    found: dict[str, Database] = {}
    for key, body in (as_mapping(value, where, faults, _EXAMPLE) if value is not None else {}).items():
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
    refuse_unknown(values, _DATABASE_KEYS, f"{where}.", faults)
    engine = _engine(values.get("engine"), f"{where}.engine", faults)
    size = _text(values, "size", where, faults)
    if size is not None and scaling.size(size) is None:
        known = ", ".join((*scaling.sizes, *SIZES))
        faults.add(f"{where}.size", f"{shown(size)} is not a known size", f"Use {known}, or add it to scaling.sizes.")
    version = values.get("version")
    if version is None:
        remedy = "Name a version that KubeDB has there: kubectl get {engine}versions.catalog.kubedb.com."
        faults.add(f"{where}.version", "is missing", remedy.format(engine=engine or "mongodb"))
    ready = _seconds(values, "ready_timeout", where, 600.0, min(_MOST_S, duration_s), faults)
    database = Database(
        key=key,
        engine=engine or "",
        version=(as_text(version, f"{where}.version", faults) if version is not None else None) or "",
        replicas=_number(values, "replicas", where, 1, 1, 100, faults),
        size=size,
        storage_gb=_number(values, "storage_gb", where, 1, 1, 1_000_000, faults),
        storage_class=_text(values, "storage_class", where, faults),
        namespace=_named(values, "namespace", where, kubernetes.namespace, faults),
        ready_timeout_s=ready,
        spec=as_mapping(values["spec"], f"{where}.spec", faults, "{storageType: Durable}") if "spec" in values else {},
    )
    if database.engine == "mysql" and database.replicas == 2:
        faults.add(f"{where}.replicas", "2 is no group of MySQL, which has 1 or 3 to 9 members", "Give 1 or 3.")
    return database if len(faults.lines) == before else None


def _engine(value: object, where: str, faults: Faults) -> str | None:
    if value is None:
        faults.add(where, "is missing", f"Give one of {', '.join(ENGINES)}.")
        return None
    name = engine_name(value) if isinstance(value, str) else value
    return as_choice(name, (*ENGINES, *ENGINE_ALIASES), where, faults)


def _kubernetes(source: Source, faults: Faults) -> KubernetesSettings:
    value, where = source.get("kubernetes")
    values = as_mapping(value, where, faults, "{context: kind-kind, namespace: default}") if value is not None else {}
    refuse_unknown(values, KubernetesSettings.__struct_fields__, f"{where}.", faults)
    kubeconfig = _text(values, "kubeconfig", where, faults)
    if kubeconfig is not None:
        kubeconfig = str(source.base_of("kubernetes") / Path(kubeconfig).expanduser())
    return KubernetesSettings(
        kubeconfig=kubeconfig,
        context=_text(values, "context", where, faults),
        namespace=_named(values, "namespace", where, "default", faults),
    )


def _scaling(source: Source, faults: Faults) -> ScalingSettings:
    value, where = source.get("scaling")
    values = as_mapping(value, where, faults, "{timeout: 10m, keep_finished: 3}") if value is not None else {}
    refuse_unknown(values, _SCALING_KEYS, f"{where}.", faults)
    mode = values.get("storage_mode", "patch")
    combined = values.get("combined", "two")
    return ScalingSettings(
        timeout_s=_seconds(values, "timeout", where, 600.0, _MOST_S, faults),
        interval_s=_seconds(values, "interval", where, 2.0, _MOST_PAUSE_S, faults),
        keep_finished=_number(values, "keep_finished", where, 3, 0, 1000, faults),
        batch=_number(values, "batch", where, 50, 1, 1000, faults),
        storage_mode=as_choice(mode, get_args(StorageMode), f"{where}.storage_mode", faults) or "patch",
        storage_timeout_s=_seconds(values, "storage_timeout", where, 300.0, _MOST_S, faults),
        combined=as_choice(combined, get_args(Combined), f"{where}.combined", faults) or "two",
        sizes=_sizes(values.get("sizes"), f"{where}.sizes", faults),
    )


def _sizes(value: object, where: str, faults: Faults) -> dict[str, Size]:
    example = '{db.r5.large: {cpu: "2", memory: 16Gi}}'
    found: dict[str, Size] = {}
    for name, body in (as_mapping(value, where, faults, example) if value is not None else {}).items():
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


def _text(values: Mapping[str, Any], key: str, where: str, faults: Faults) -> str | None:
    return as_text(values[key], f"{where}.{key}", faults) if values.get(key) is not None else None


def _named(values: Mapping[str, Any], key: str, where: str, default: str, faults: Faults) -> str:
    if values.get(key) is None:
        return default
    return as_form(values[key], _NAME, "team-a", f"{where}.{key}", faults) or default


def _number(
    values: Mapping[str, Any], key: str, where: str, default: int, least: int, most: int, faults: Faults
) -> int:
    value = values.get(key)
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    place = f"{where}.{key}"
    faults.add(place, f"{shown(value)} is not a number from {least} to {most}", "Give a whole number.")
    return default


def _seconds(values: Mapping[str, Any], key: str, where: str, default: float, most: float, faults: Faults) -> float:
    if values.get(key) is None:
        return min(default, most)
    return as_duration(values[key], f"{where}.{key}", most, "at most", faults) or default
