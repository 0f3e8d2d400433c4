"""The face in the emulator: its secret, the weather that it knows, faults, and watches on an open connection."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from pytest_capacity.scaling.kubedb.client import Kubernetes, ServerError, Unanswered
from pytest_capacity.scaling.kubedb.engines import TABLE
from tests.emulated import Emulator

ENGINE = TABLE["mongodb"]
STORAGE = {"resources": {"requests": {"storage": "20Gi"}}}
DATABASE: dict[str, Any] = {
    "apiVersion": "kubedb.com/v1",
    "kind": "MongoDB",
    "metadata": {"name": "orders"},
    "spec": {"version": "7.0.8", "replicas": 3, "replicaSet": {"name": "rs0"}, "storage": STORAGE},
}
REQUEST: dict[str, Any] = {
    "apiVersion": "ops.kubedb.com/v1alpha1",
    "kind": "MongoDBOpsRequest",
    "metadata": {"generateName": "orders-"},
    "spec": {"type": "HorizontalScaling", "databaseRef": {"name": "orders"}, "horizontalScaling": {"replicas": 5}},
}


@pytest.fixture
def cloud(emulator: Emulator) -> Emulator:
    """An empty World."""
    return emulator


@pytest.fixture
def cluster(cloud: Emulator) -> Kubernetes:
    """A client, by the kubeconfig that the emulator gives, of a cluster with the database ``orders``."""
    opened = Kubernetes.open(kubeconfig(cloud), None, "default")
    opened.create(opened.databases(ENGINE), DATABASE, "default")
    return opened


def kubeconfig(cloud: Emulator) -> str:
    path: str = cloud.ready["clouds"]["kubernetes"]["kubeconfig"]
    return path


def test_a_wrong_token_is_refused(cloud: Emulator) -> None:
    """401, as a server with bearer tokens answers."""
    stranger = Kubernetes.at(cloud.url, "guess")
    with pytest.raises(ServerError, match="401 Unauthorized"):
        stranger.list(stranger.databases(ENGINE), "default", {})


def test_databases_and_volumes_are_held(cloud: Emulator, cluster: Kubernetes) -> None:
    """`/_world` names what costs, and a reset removes it."""
    held = cloud.held()
    assert sorted(one["kind"] for one in held) == ["database", "volume", "volume", "volume"]
    assert {one["cloud"] for one in held} == {"kubernetes"}
    cloud.reset()
    assert cloud.held() == []
    assert cluster.list(cluster.databases(ENGINE), "default", {}) == []


def test_the_weather_scripts_the_operator(cloud: Emulator, cluster: Kubernetes) -> None:
    """A fate shows in the conditions; what the script does not know is refused with its name."""
    fate = {"phase": "Failed", "reason": "NoRoom", "message": "no node has room"}
    cloud.weather(own={"kubernetes": {"fates": [fate]}})
    name = cluster.create(cluster.ops(ENGINE), REQUEST, "default")["metadata"]["name"]
    status = cluster.get(cluster.ops(ENGINE), name, "default")["status"]
    assert status["phase"] == "Failed"
    assert status["conditions"][-1]["message"] == "no node has room"
    with pytest.raises(ValueError, match=r"own.kubernetes: .*`stepp`"):
        cloud.weather(own={"kubernetes": {"stepp": 1}})
    with pytest.raises(ValueError, match="gce has no weather of its own"):
        cloud.weather(own={"gce": {}})


def test_time_is_the_worlds(cloud: Emulator, cluster: Kubernetes) -> None:
    """A request that takes an hour is over when the World's clock has come so far."""
    cloud.weather(own={"kubernetes": {"step_s": 3600}})
    name = cluster.create(cluster.ops(ENGINE), REQUEST, "default")["metadata"]["name"]
    assert cluster.get(cluster.ops(ENGINE), name, "default")["status"]["phase"] == "Progressing"
    cloud.weather(clock={"advance_s": 3601})
    assert cluster.get(cluster.ops(ENGINE), name, "default")["status"]["phase"] == "Successful"


def test_faults_strike_by_operation(cloud: Emulator, cluster: Kubernetes) -> None:
    """A scripted error is a Status; a lost reply is none, and the object is there."""
    fault = {"operation": "CreateMongoDBOpsRequest", "times": 1}
    cloud.weather(faults=[{**fault, "error": "ServiceUnavailable", "http": 503}])
    with pytest.raises(Unanswered, match="503 ServiceUnavailable"):
        cluster.create(cluster.ops(ENGINE), REQUEST, "default")
    cloud.weather(faults=[{**fault, "lose_reply": True}])
    with pytest.raises(Unanswered):
        cluster.create(cluster.ops(ENGINE), REQUEST, "default")
    assert len(cluster.list(cluster.ops(ENGINE), "default", {})) == 1
    with pytest.raises(ValueError, match="CreateCassandra"):
        cloud.weather(faults=[{"operation": "CreateCassandra", "error": "NotFound"}])


def test_too_many_calls_are_throttled(cloud: Emulator, cluster: Kubernetes) -> None:
    """429, with the reason that clients look for."""
    cloud.weather(throttle={"kubernetes/cluster": {"read": {"burst": 1, "per_second": 0.01}}})
    cluster.list(cluster.ops(ENGINE), "default", {})
    with pytest.raises(ServerError, match="429 TooManyRequests"):
        cluster.list(cluster.ops(ENGINE), "default", {})


def test_a_watch_tells_as_it_happens(cloud: Emulator, cluster: Kubernetes) -> None:
    """One open connection gives each phase when it begins, while other calls go on."""
    cloud.weather(own={"kubernetes": {"pending_s": 3, "step_s": 3}})
    client = Client(KubeConfig.from_file(kubeconfig(cloud)).get())
    seen: list[tuple[str, float]] = []

    def watch() -> None:
        for _, found in client.watch(cluster.ops(ENGINE), namespace="default"):
            body: Any = found
            phase = (body.to_dict().get("status") or {}).get("phase", "")
            seen.append((phase, time.monotonic()))
            if phase == "Successful":
                return

    watching = threading.Thread(target=watch)
    watching.start()
    cluster.create(cluster.ops(ENGINE), REQUEST, "default")
    watching.join(60)
    phases = [phase for phase, _ in seen]
    assert phases[-3:] == ["Pending", "Progressing", "Successful"]
    moments = dict(seen)
    assert moments["Successful"] - moments["Progressing"] > 0.2
    assert sum(call["operation"] == "WatchMongoDBOpsRequest" for call in cloud.calls()) == 1


def test_another_namespace_has_to_be_there(cloud: Emulator, cluster: Kubernetes) -> None:
    """An object in a namespace that does not exist is NotFound; one can be made."""
    body = {**DATABASE, "metadata": {"name": "orders"}}
    with pytest.raises(ServerError, match='namespaces "team" not found'):
        cluster.create(cluster.databases(ENGINE), body, "team")
    Client(KubeConfig.from_file(kubeconfig(cloud)).get()).create(Namespace(metadata=ObjectMeta(name="team")))
    cluster.create(cluster.databases(ENGINE), body, "team")
    assert len(cluster.list(cluster.databases(ENGINE), "*", {})) == 2
