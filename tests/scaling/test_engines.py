"""Seed 003's scenarios for each engine: vertical, horizontal, combined, storage, and the cases of error."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pytest_capacity.errors import KubeDBError
from pytest_capacity.scaling.results import result_of
from tests.scaling.conftest import ENGINES, Lab, create, pods_of, spec_of, volume_sizes

engines = pytest.mark.parametrize("engine", ENGINES)

#: Where each engine's request has the number of replicas, as KubeDB's definitions have it.
REPLICAS = {
    "mongodb": {"replicas": 5},
    "postgres": {"replicas": 5},
    "mysql": {"member": 5},
    "mariadb": {"member": 5},
    "redis": {"replicas": 5},
    "elasticsearch": {"node": 5},
}

#: The key of a request's pods and volumes.
COMPONENT = {
    "mongodb": "replicaSet",
    "postgres": "postgres",
    "mysql": "mysql",
    "mariadb": "mariadb",
    "redis": "redis",
    "elasticsearch": "node",
}

MEDIUM = {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}


def ops(engine: str) -> str:
    return f"{ENGINES[engine][0]}OpsRequests".lower()


@engines
def test_replicas_are_changed_by_a_horizontal_request(lab: Lab, engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """3 -> 5: one request with the engine's own key, the target SCALING and then RUNNING, and new pods."""
    caplog.set_level(logging.INFO, "pytest_capacity.scaling")
    requests = lab.patch(engine=engine, replicas=5)
    (made,) = lab.served.made(ops(engine))
    assert made["spec"]["type"] == "HorizontalScaling"
    kept = {key: value for key, value in made["spec"]["horizontalScaling"].items() if not key.endswith("Mode")}
    assert kept == REPLICAS[engine]
    result = result_of(requests)
    assert result == {
        "ops_request_name": made["metadata"]["name"],
        "ops_request_uid": made["metadata"]["uid"],
        "ops_type": "HorizontalScaling",
        "message": "OpsRequest created, reconciler will monitor progress",
        "replicas": 5,
    }
    assert made["metadata"]["name"].startswith("orders-horizontal-")
    assert lab.scaling.status(requests[0].target).status == "SCALING"
    lab.run(5)
    assert lab.scaling.status(requests[0].target).status == "RUNNING"
    assert lab.history()[0].outcome == "successful"
    shards = 3 if engine == "redis" else 1
    assert len(pods_of(lab.served, engine)) == 5 * shards
    assert f"scaling_ops_request_created engine={engine} name=orders namespace=default" in caplog.text
    assert f"ops_request_successful database_id={engine}/default/orders" in caplog.text


@engines
def test_size_is_changed_by_a_vertical_request(lab: Lab, engine: str) -> None:
    """db.t3.medium gives the pods its CPUs and memory, as requests and limits; the target is UPDATING meanwhile."""
    requests = lab.patch(engine=engine, size="db.t3.medium")
    (made,) = lab.served.made(ops(engine))
    assert made["spec"]["type"] == "VerticalScaling"
    assert made["spec"]["verticalScaling"][COMPONENT[engine]] == {"resources": MEDIUM}
    assert result_of(requests)["size"] == "db.t3.medium"
    assert lab.scaling.status(requests[0].target).status == "UPDATING"
    lab.run(5)
    assert lab.scaling.status(requests[0].target).status == "RUNNING"
    assert {str(pod["spec"]["containers"][0]["resources"]) for pod in pods_of(lab.served, engine)} == {str(MEDIUM)}


@engines
def test_both_are_two_requests_the_horizontal_one_first(lab: Lab, engine: str) -> None:
    """Each object does one thing; KubeDB runs them one after the other, and the final state is what was asked for."""
    requests = lab.patch(engine=engine, replicas=5, size="db.t3.medium")
    assert [request.kind for request in requests] == ["HorizontalScaling", "VerticalScaling"]
    assert len({request.name for request in requests}) == 2
    lab.run(1)
    assert [request.phase for request in lab.history()] == ["Progressing", "Pending"]
    lab.run(8)
    first, second = lab.history()
    assert (first.outcome, second.outcome) == ("successful", "successful")
    assert first.finished is not None
    assert second.begun is not None
    assert first.finished <= second.begun
    pods = pods_of(lab.served, engine)
    assert len(pods) == 5 * (3 if engine == "redis" else 1)
    assert pods[0]["spec"]["containers"][0]["resources"] == MEDIUM
    assert result_of(requests)["ops_types"] == ["HorizontalScaling", "VerticalScaling"]


@engines
def test_storage_is_changed_by_a_patch(lab: Lab, engine: str) -> None:
    """20 -> 50 GB by the seed's way: the database is changed, and the volumes are followed until they have grown."""
    lab.script(patch_grows_volumes=True)
    (request,) = lab.patch(engine=engine, storage_gb=50)
    assert lab.served.made(ops(engine)) == []
    assert spec_of(lab.served, engine)["storage"]["resources"]["requests"]["storage"] == "50Gi"
    assert (request.via, result_of([request])["storage_gb"]) == ("patch", 50)
    lab.run(2)
    assert lab.history()[0].outcome == "successful"
    assert volume_sizes(lab.served, engine) == {"50Gi"}


@engines
def test_storage_is_changed_by_a_request_where_that_is_asked_for(lab: Lab, engine: str) -> None:
    """`storage_mode: ops-request` is a VolumeExpansion with its mode, and no patch."""
    lab.patch(engine=engine, storage_gb=50, storage_mode="ops-request")
    (made,) = lab.served.made(ops(engine))
    assert made["spec"]["volumeExpansion"] == {"mode": "Online", COMPONENT[engine]: "50Gi"}
    assert spec_of(lab.served, engine)["storage"]["resources"]["requests"]["storage"] == "20Gi"
    lab.run(5)
    assert lab.history()[0].outcome == "successful"
    assert volume_sizes(lab.served, engine) == {"50Gi"}


@engines
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicas": 0}, "replicas is 0 and must be a whole number of at least 1"),
        ({"storage_gb": 0}, "storage_gb is 0 and must be a whole number of at least 1"),
        ({"storage_gb": 10}, "has 20Gi of storage; 10Gi is less, and volumes never shrink"),
        ({"storage_gb": 20}, "has 20Gi of storage already"),
        ({"size": "db.t9.huge"}, "no size 'db.t9.huge' is known"),
        ({}, "nothing to change"),
    ],
)
def test_what_can_never_be_is_refused_before_anything_is_changed(
    lab: Lab, engine: str, change: dict[str, Any], words: str
) -> None:
    """Numbers below 1, storage that shrinks, unknown sizes: `KubeDBError`, with nothing made and nothing written."""
    before = spec_of(lab.served, engine)
    with pytest.raises(KubeDBError, match=words):
        lab.patch(engine=engine, **change)
    assert lab.served.made(ops(engine)) == []
    assert spec_of(lab.served, engine) == before
    assert lab.events("ops-") == []


@engines
def test_a_request_that_fails_fails_the_target_with_its_reason(
    lab: Lab, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is that of the conditions; it is in the state, in the journal and in the log."""
    message = "pods cannot be scheduled: 0/3 nodes are available"
    lab.script(fates=[{"type": "HorizontalScaling", "reason": "HorizontalScaleFailed", "message": message}])
    (request,) = lab.patch(engine=engine, replicas=5)
    lab.run(5)
    state = lab.scaling.status(request.target)
    assert (state.status, state.reason) == ("FAILED", f"HorizontalScaleFailed: {message}")
    (ended,) = lab.events("ops-ended")
    assert (ended.data["outcome"], ended.data["reason"]) == ("failed", state.reason)
    assert f"ops_request_failed database_id={engine}/default/orders ops_request_name={request.name}" in caplog.text
    lab.patch(engine=engine, replicas=4)
    lab.run(5)
    assert lab.scaling.status(request.target).status == "RUNNING"


@engines
def test_the_servers_own_refusal_comes_with_its_words(lab: Lab, engine: str) -> None:
    """A database that is not there is said so; nothing is left behind."""
    with pytest.raises(KubeDBError, match="404 NotFound"):
        lab.patch(engine=engine, name="nothing", replicas=5)
    assert lab.events("ops-") == []


def test_a_sharded_mongodb_is_scaled_by_its_shards(lab: Lab) -> None:
    """The layout decides the keys: shard.replicas together with shard.shards, and the component shard."""
    storage = {"resources": {"requests": {"storage": "20Gi"}}}
    shard = {"shards": 2, "replicas": 3, "storage": storage}
    create(lab.served, "mongodb", "big", replicas=None, replicaSet=None, storage=None, shardTopology={"shard": shard})
    lab.patch(name="big", replicas=5, size="db.t3.large")
    first, second = lab.served.made(ops("mongodb"))
    assert first["spec"]["horizontalScaling"] == {"shard": {"shards": 2, "replicas": 5}}
    assert list(second["spec"]["verticalScaling"]) == ["shard", "mode"]
    lab.run(8)
    assert [request.outcome for request in lab.history()] == ["successful", "successful"]
    assert spec_of(lab.served, "mongodb", "big")["shardTopology"]["shard"]["replicas"] == 5
    assert len(pods_of(lab.served, "mongodb", "big")) == 10


def test_another_component_can_be_named(lab: Lab) -> None:
    """`component=` is one of the engine's own, and anything else is refused."""
    lab.patch(size="db.t3.small", component="arbiter")
    (made,) = lab.served.made(ops("mongodb"))
    assert "arbiter" in made["spec"]["verticalScaling"]
    with pytest.raises(KubeDBError, match=r"MongoDB has no component 'standby'\. It has: standalone"):
        lab.patch(size="db.t3.small", component="standby")
