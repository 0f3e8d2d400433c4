"""The Kubernetes face answers as a real API server does. What is compared was recorded from kube-apiserver 1.20."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from pytest_capacity.emulator.kubernetes.script import Script
from tests.scaling.clusters import Served, serving

OPS = "/apis/ops.kubedb.com/v1alpha1/namespaces/default/mongodbopsrequests"
DATABASES = "/apis/kubedb.com/v1/namespaces/default/mongodbs"
MERGE = "application/merge-patch+json"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as one:
        one.cluster.script = Script(step_s=1.0)
        ask(one, "POST", DATABASES, database())
        yield one


def ask(
    served: Served, method: str, path: str, body: Any = None, content_type: str = "application/json"
) -> tuple[int, Any]:
    """Send one request; the status, and the body as JSON if it is."""
    connection = HTTPConnection(urlsplit(served.url).netloc, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": content_type})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.headers["Content-Type"] != "application/json":
        return answer.status, text.decode()
    return answer.status, json.loads(text)


def database(name: str = "orders", **spec: Any) -> dict[str, Any]:
    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
    return {
        "apiVersion": "kubedb.com/v1",
        "kind": "MongoDB",
        "metadata": {"name": name},
        "spec": {"version": "7.0.8", "replicas": 3, "replicaSet": {"name": "rs0"}, "storage": storage, **spec},
    }


def request(type_: str = "HorizontalScaling", name: str = "", **sections: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ops.kubedb.com/v1alpha1",
        "kind": "MongoDBOpsRequest",
        "metadata": {"name": name} if name else {"generateName": "orders-"},
        "spec": {"type": type_, "databaseRef": {"name": "orders"}, **sections},
    }


def test_prunes_what_the_schema_does_not_know_and_says_nothing(served: Served) -> None:
    """The seed's `horizontalScaling.replicaSet.replicas` is accepted and lost, as a real server loses it."""
    body = request(horizontalScaling={"replicaSet": {"replicas": 5}})
    status, kept = ask(served, "POST", OPS, body)
    assert status == 201
    assert kept["spec"]["horizontalScaling"] == {}


def test_fills_in_the_defaults_of_the_definition(served: Served) -> None:
    """apply, maxRetries and verticalScaling.mode have the values that the definition gives them."""
    resources = {"requests": {"cpu": "2"}}
    status, kept = ask(
        served, "POST", OPS, request("VerticalScaling", verticalScaling={"replicaSet": {"resources": resources}})
    )
    assert status == 201
    assert (kept["spec"]["apply"], kept["spec"]["maxRetries"]) == ("IfReady", 1)
    assert kept["spec"]["verticalScaling"]["mode"] == "Restart"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (request("Sideways"), 'spec.type: Unsupported value: "Sideways"'),
        (request(horizontalScaling={"replicas": "5"}), "must be of type integer"),
        (
            request("VolumeExpansion", volumeExpansion={"replicaSet": "30Gi"}),
            "spec.volumeExpansion.mode: Required value",
        ),
        (
            request("VerticalScaling", verticalScaling={"replicaSet": {"resources": {"limits": {"cpu": "lots"}}}}),
            "should match",
        ),
        ({"metadata": {"name": "x"}, "spec": {"type": "Restart"}}, "spec.databaseRef: Required value"),
        (request(horizontalScaling={"replicas": 0}), "replicas must be greater than zero"),
        (
            request(horizontalScaling={"replicas": 5, "shard": {"shards": 2, "replicas": 3}}),
            "replicas can not be scaled together",
        ),
        (
            request("VolumeExpansion", volumeExpansion={"mode": "Online", "replicaSet": "20Gi"}),
            "storage size must be greater than current storage. Current storage: 20Gi",
        ),
    ],
)
def test_refuses_what_schema_or_webhook_refuse_with_422(served: Served, body: dict[str, Any], words: str) -> None:
    """The schema's faults and the webhook's are Invalid, with the field in the message."""
    status, answer = ask(served, "POST", OPS, body)
    assert (status, answer["reason"], answer["kind"]) == (422, "Invalid", "Status")
    assert words in answer["message"]


def test_answers_an_unknown_kind_by_text(served: Served) -> None:
    """A kind that is not installed is no Status, but the text of Go's router."""
    assert ask(served, "GET", OPS.replace("mongodb", "cassandra")) == (404, "404 page not found\n")
    served.cluster.script = Script(absent=["mongodb"])
    assert ask(served, "GET", OPS) == (404, "404 page not found\n")


def test_answers_an_unknown_name_by_a_status(served: Served) -> None:
    """A name that is not there is NotFound, with the plural and the group."""
    status, answer = ask(served, "GET", f"{OPS}/none")
    assert (status, answer["reason"]) == (404, "NotFound")
    assert answer["message"] == 'mongodbopsrequests.ops.kubedb.com "none" not found'


def test_refuses_a_name_twice_and_generates_names(served: Served) -> None:
    """The same name is AlreadyExists; `generateName` gives another name each time."""
    wanted: dict[str, Any] = {"horizontalScaling": {"replicas": 5}}
    assert ask(served, "POST", OPS, request(name="one", **wanted))[0] == 201
    status, answer = ask(served, "POST", OPS, request(name="one", **wanted))
    assert (status, answer["reason"]) == (409, "AlreadyExists")
    names = {ask(served, "POST", OPS, request(**wanted))[1]["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("orders-") for name in names)


def test_status_is_a_resource_of_its_own(served: Served) -> None:
    """The main resource ignores the status, /status takes nothing else, and a phase must be one of the enum."""
    _, kept = ask(
        served, "POST", OPS, {**request(name="one", horizontalScaling={"replicas": 5}), "status": {"phase": "Failed"}}
    )
    assert "status" not in kept
    ask(served, "PATCH", f"{OPS}/one", {"status": {"phase": "Denied"}}, MERGE)
    assert ask(served, "GET", f"{OPS}/one")[1]["status"]["phase"] == "Progressing"
    change = {"status": {"phase": "Denied"}, "spec": {"apply": "Always"}}
    status, after = ask(served, "PATCH", f"{OPS}/one/status", change, MERGE)
    assert (status, after["status"]["phase"], after["spec"]["apply"]) == (200, "Denied", "IfReady")
    status, answer = ask(served, "PATCH", f"{OPS}/one/status", {"status": {"phase": "Done"}}, MERGE)
    assert (status, answer["reason"]) == (422, "Invalid")


def test_refuses_a_change_of_an_old_version(served: Served) -> None:
    """A resourceVersion that is not the newest is a Conflict; without one the change goes through, down too."""
    old = ask(served, "GET", f"{DATABASES}/orders")[1]["metadata"]["resourceVersion"]
    down = {"spec": {"storage": {"resources": {"requests": {"storage": "10Gi"}}}}}
    status, after = ask(served, "PATCH", f"{DATABASES}/orders", down, MERGE)
    assert (status, after["spec"]["storage"]["resources"]["requests"]["storage"]) == (200, "10Gi")
    status, answer = ask(served, "PATCH", f"{DATABASES}/orders", {"metadata": {"resourceVersion": old}, **down}, MERGE)
    assert (status, answer["reason"]) == (409, "Conflict")


def test_a_request_cannot_be_changed(served: Served) -> None:
    """The webhook holds the spec of a request fixed."""
    ask(served, "POST", OPS, request(name="one", horizontalScaling={"replicas": 5}))
    status, answer = ask(served, "PATCH", f"{OPS}/one", {"spec": {"horizontalScaling": {"replicas": 4}}}, MERGE)
    assert (status, answer["reason"]) == (403, "Forbidden")


def test_selects_by_label_and_not_by_field(served: Served) -> None:
    """A labelSelector works; a custom resource has no field labels but its name and namespace."""
    body = request(name="one", horizontalScaling={"replicas": 5})
    body["metadata"]["labels"] = {"team": "a"}
    ask(served, "POST", OPS, body)
    ask(served, "POST", OPS, request(name="two", horizontalScaling={"replicas": 5}))
    listed = ask(served, "GET", f"{OPS}?labelSelector=team%3Da")[1]["items"]
    assert [one["metadata"]["name"] for one in listed] == ["one"]
    assert len(ask(served, "GET", f"{OPS}?labelSelector=team+notin+(a,b)")[1]["items"]) == 1
    status, answer = ask(served, "GET", f"{OPS}?fieldSelector=spec.databaseRef.name%3Dorders")
    assert (status, "field label not supported" in answer["message"]) == (400, True)


def test_lists_in_pages(served: Served) -> None:
    """`limit` and `continue` give every object once."""
    for number in range(5):
        ask(served, "POST", OPS, request(name=f"n{number}", horizontalScaling={"replicas": 5}))
    names, token = [], ""
    while True:
        page = ask(served, "GET", f"{OPS}?limit=2&continue={token}")[1]
        names += [one["metadata"]["name"] for one in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"n{number}" for number in range(5)]


def test_a_watch_tells_every_step(served: Served) -> None:
    """From a list's version on, a watch gives each change of a request's phase, in order."""
    version = ask(served, "GET", OPS)[1]["metadata"]["resourceVersion"]
    ask(served, "POST", OPS, request(name="one", horizontalScaling={"replicas": 5}))
    served.clock.advance(2)
    ask(served, "GET", OPS)
    raw = _raw(served, f"{OPS}?watch=true&resourceVersion={version}")
    events = [json.loads(line) for line in raw.splitlines()]
    phases = [event["object"].get("status", {}).get("phase", "") for event in events]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED"]
    assert phases == ["", "Pending", "Progressing", "Successful"]


def _raw(served: Served, path: str) -> str:
    connection = HTTPConnection(urlsplit(served.url).netloc, timeout=60)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_one_request_of_a_database_runs_at_a_time(served: Served) -> None:
    """Two requests of one database run one after the other; one of another database beside them."""
    ask(served, "POST", DATABASES, database("other"))
    ask(served, "POST", OPS, request(name="a", horizontalScaling={"replicas": 5}))
    ask(served, "POST", OPS, request(name="b", horizontalScaling={"replicas": 4}))
    third = request(name="c", horizontalScaling={"replicas": 5})
    third["spec"]["databaseRef"] = {"name": "other"}
    ask(served, "POST", OPS, third)

    def phases() -> dict[str, str]:
        return {one["metadata"]["name"]: one["status"]["phase"] for one in ask(served, "GET", OPS)[1]["items"]}

    assert phases() == {"a": "Progressing", "b": "Pending", "c": "Progressing"}
    served.clock.advance(1.5)
    assert phases() == {"a": "Successful", "b": "Progressing", "c": "Successful"}
    served.clock.advance(1.5)
    assert phases()["b"] == "Successful"
    assert ask(served, "GET", f"{DATABASES}/orders")[1]["spec"]["replicas"] == 4


def test_only_the_section_of_the_type_is_done(served: Served) -> None:
    """An object with both sections is accepted, and half of it never happens."""
    resources = {"requests": {"cpu": "2", "memory": "4Gi"}}
    both = request(
        "VerticalScaling",
        name="both",
        verticalScaling={"replicaSet": {"resources": resources}},
        horizontalScaling={"replicas": 5},
    )
    assert ask(served, "POST", OPS, both)[0] == 201
    served.clock.advance(2)
    after = ask(served, "GET", f"{DATABASES}/orders")[1]["spec"]
    assert after["replicas"] == 3
    assert after["podTemplate"]["spec"]["containers"][0]["resources"] == resources


def test_a_patch_of_the_storage_grows_no_volume(served: Served) -> None:
    """As with KubeDB's operator, unless the script says that the cluster does it; a VolumeExpansion does."""
    volumes = "/api/v1/namespaces/default/persistentvolumeclaims"

    def sizes() -> set[str]:
        return {one["status"]["capacity"]["storage"] for one in ask(served, "GET", volumes)[1]["items"]}

    up = {"spec": {"storage": {"resources": {"requests": {"storage": "50Gi"}}}}}
    ask(served, "PATCH", f"{DATABASES}/orders", up, MERGE)
    assert sizes() == {"20Gi"}
    wanted = {"mode": "Online", "replicaSet": "60Gi"}
    ask(served, "POST", OPS, request("VolumeExpansion", volumeExpansion=wanted))
    served.clock.advance(2)
    assert sizes() == {"60Gi"}


def test_a_deleted_database_takes_its_pods_and_volumes_along(served: Served) -> None:
    """deletionPolicy WipeOut leaves nothing, DoNotTerminate refuses."""
    assert served.cluster.held() != []
    ask(served, "PATCH", f"{DATABASES}/orders", {"spec": {"deletionPolicy": "DoNotTerminate"}}, MERGE)
    assert ask(served, "DELETE", f"{DATABASES}/orders")[0] == 403
    ask(served, "PATCH", f"{DATABASES}/orders", {"spec": {"deletionPolicy": "WipeOut"}}, MERGE)
    assert ask(served, "DELETE", f"{DATABASES}/orders")[0] == 200
    assert ask(served, "GET", f"{DATABASES}/orders")[0] == 404
    assert served.cluster.held() == []
