"""``databases:``, ``kubernetes:`` and ``scaling:``."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_capacity.config.source import Overrides
from pytest_capacity.databases import Database, KubernetesSettings, ScalingSettings, Size
from tests.config.files import Loader, with_

ORDERS = {"engine": "mongodb", "version": "7.0.8", "replicas": 3, "size": "db.t3.small", "storage_gb": 20}


def alone(**changes: Any) -> dict[str, Any]:
    """A file that has databases and no machines."""
    return {"backend": "static", "databases": {"orders": ORDERS}, **changes}


def orders(**changes: Any) -> dict[str, Any]:
    """The same with its database changed; None removes a key."""
    body = {key: value for key, value in {**ORDERS, **changes}.items() if value is not None}
    return alone(databases={"orders": body})


def test_a_run_may_have_databases_alone(loading: Loader) -> None:
    """Without groups, on `backend: static`, with the defaults of all that is left out."""
    request = loading(alone())
    assert request.topologies == {}
    assert request.databases == {
        "orders": Database(
            key="orders", engine="mongodb", version="7.0.8", replicas=3, size="db.t3.small", storage_gb=20
        )
    }
    assert request.kubernetes == KubernetesSettings()
    assert request.scaling == ScalingSettings()
    assert loading(alone(), Overrides(emulator=True)).emulated


def test_a_run_may_have_them_beside_machines(loading: Loader) -> None:
    """The sections belong to no backend."""
    request = loading(with_(databases={"orders": ORDERS}))
    assert list(request.databases) == ["orders"]
    assert list(request.topologies) == ["default"]


def test_every_setting_is_read(loading: Loader) -> None:
    """Files are relative to the configuration, namespaces come from the cluster's section, engines have other names."""
    scaling = {
        "timeout": "20m",
        "interval": "5s",
        "keep_finished": 0,
        "batch": 7,
        "storage_mode": "ops-request",
        "storage_timeout": "90s",
        "combined": "one",
        "sizes": {"big": {"cpu": 16, "memory": "64Gi"}},
    }
    body = {
        "engine": "postgresql",
        "version": "16.4",
        "size": "big",
        "storage_class": "fast",
        "ready_timeout": "3m",
        "spec": {"storageType": "Ephemeral"},
    }
    kubernetes = {"kubeconfig": "k.yaml", "context": "kind", "namespace": "team-a"}
    request = loading(alone(databases={"orders": body}, scaling=scaling, kubernetes=kubernetes))
    assert request.scaling == ScalingSettings(
        timeout_s=1200.0,
        interval_s=5.0,
        keep_finished=0,
        batch=7,
        storage_mode="ops-request",
        storage_timeout_s=90.0,
        combined="one",
        sizes={"big": Size("16", "64Gi")},
    )
    kubeconfig = str(loading.path.parent / "k.yaml")
    assert request.kubernetes == KubernetesSettings(kubeconfig=kubeconfig, context="kind", namespace="team-a")
    assert request.databases["orders"] == Database(
        key="orders",
        engine="postgres",
        version="16.4",
        size="big",
        storage_class="fast",
        namespace="team-a",
        ready_timeout_s=180.0,
        spec={"storageType": "Ephemeral"},
    )


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (orders(engine=None), "databases.orders.engine: is missing. Give one of mongodb, postgres"),
        (orders(engine="cassandra"), "databases.orders.engine: 'cassandra' is not one of mongodb"),
        (orders(version=None), "databases.orders.version: is missing. Name a version that KubeDB has there"),
        (orders(version=7), "databases.orders.version: 7 is not a text"),
        (orders(replicas=0), "databases.orders.replicas: 0 is not a number from 1 to 100"),
        (orders(replicas=True), "databases.orders.replicas: True is not a number from 1 to 100"),
        (orders(storage_gb=0), "databases.orders.storage_gb: 0 is not a number from 1 to 1000000"),
        (orders(size="db.t9.huge"), "databases.orders.size: 'db.t9.huge' is not a known size"),
        (orders(engine="mysql", replicas=2), "databases.orders.replicas: 2 is no group of MySQL"),
        (orders(replica=3), "databases.orders.replica: is not a known key. Did you mean replicas?"),
        (orders(ready_timeout="soon"), "databases.orders.ready_timeout: 'soon' is not a duration"),
        (alone(databases={"Orders": ORDERS}), "'Orders' is no name of a database"),
        (alone(kubernetes={"namespace": "Team A"}), "kubernetes.namespace: 'Team A' does not have the right form"),
        (alone(kubernetes={"server": "x"}), "kubernetes.server: is not a known key"),
        (alone(scaling={"storage_mode": "both"}), "scaling.storage_mode: 'both' is not one of patch, ops-request"),
        (alone(scaling={"keep_finished": -1}), "scaling.keep_finished: -1 is not a number from 0 to 1000"),
        (alone(scaling={"sizes": {"big": {"cpu": "many", "memory": "1Gi"}}}), "scaling.sizes.big.cpu: 'many'"),
        ({"backend": "static"}, "groups: no machines are asked for"),
    ],
)
def test_every_fault_is_named(loading: Loader, values: dict[str, Any], fault: str) -> None:
    """With the key, and what to write instead."""
    found = loading.faults(values)
    assert any(fault in line for line in found), found
