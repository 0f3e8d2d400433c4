"""A cluster, KubeDB on it, and the reconciler that follows its requests, in one process, on a clock that tests move."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_capacity.databases import Database, DatabaseChange, ScalingSettings
from pytest_capacity.emulator.kubernetes.script import Script, read_script
from pytest_capacity.errors import JournalError
from pytest_capacity.journal import Entry, Journal
from pytest_capacity.model import Request
from pytest_capacity.scaling.kubedb.client import Kubernetes
from pytest_capacity.scaling.model import OpsRequest
from pytest_capacity.scaling.service import Scaling
from tests.scaling.clusters import Served, serving

RUN = "run-1"


class Lab:
    """One run's `Scaling` against a served cluster; `reopen` is what a second keeper does."""

    def __init__(self, served: Served, path: Path, request: Request) -> None:
        self.served = served
        self.request = request
        self.journal = Journal(path, now=served.clock)
        #: The events are written until this is set: then the keeper is dead.
        self.dead = False
        #: The kind of event after which it dies.
        self.dies_after = ""
        #: The disk is full.
        self.full = False
        self.scaling = self.reopen()

    def reopen(self) -> Scaling:
        """Return the `Scaling` of another keeper, which knows what the journal knows."""
        self.dead = False
        clock = self.served.clock

        def wait(seconds: float, wake: threading.Event) -> bool:
            clock.advance(seconds)
            return wake.is_set()

        self.scaling = Scaling(
            self.request,
            self.journal.events(RUN),
            self._write,
            self._write,
            clock,
            wait,
            lambda: clock() + 3600,
            lambda settings: Kubernetes.at(self.served.url, "secret", settings.namespace),
        )
        return self.scaling

    def _write(self, kind: str, subject: str, data: Any) -> None:
        if self.dead:
            raise Killed(kind)
        if self.full:
            raise JournalError("no space left on device")
        self.journal.write(RUN, kind, subject, data)
        if kind == self.dies_after:
            self.dead = True
            raise Killed(kind)

    def events(self, prefix: str = "") -> list[Entry]:
        """Return the journal's events whose kind begins so."""
        return [entry for entry in self.journal.events(RUN) if entry.kind.startswith(prefix)]

    def patch(self, **change: Any) -> tuple[OpsRequest, ...]:
        """Ask for a change of the database ``orders``."""
        change.setdefault("engine", "mongodb")
        change.setdefault("name", "orders")
        return self.scaling.patch(DatabaseChange(**change))

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Let the reconciler look every ``step`` seconds, so long."""
        for _ in range(round(seconds / step)):
            self.served.clock.advance(step)
            self.scaling.look()

    def history(self) -> tuple[OpsRequest, ...]:
        """Return every request as the run has it."""
        return self.scaling.state.all()

    def script(self, **parts: Any) -> None:
        """Change how the operator behaves."""
        with self.served.lock:
            self.served.cluster.script = read_script({"step_s": 3.0, **parts})

    def settings(self, **changes: Any) -> None:
        """Change the run's settings; takes a new keeper."""
        self.request = replace(self.request, scaling=replace(self.request.scaling, **changes))
        self.reopen()


class Killed(BaseException):
    """The keeper dies here."""


@pytest.fixture
def served() -> Iterator[Served]:
    """An empty cluster."""
    with serving() as one:
        one.cluster.script = Script(step_s=3.0)
        yield one


@pytest.fixture
def lab(served: Served, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A run, and the database ``orders`` with three replicas and 20Gi, which is not the run's.

    It is a MongoDB, or of the test's parameter ``engine``.
    """
    parameters = getattr(request.node, "callspec", None)
    create(served, parameters.params.get("engine", "mongodb") if parameters else "mongodb")
    wanted = Request(
        backend="static",
        run=RUN,
        project="tests",
        topologies={},
        regions=(),
        duration_s=3600,
        timeout_s=600,
        databases={"cart": Database(key="cart", engine="postgres", version="16.4", replicas=3, size="db.t3.small")},
        scaling=ScalingSettings(interval_s=1.0),
    )
    lab = Lab(served, tmp_path / "journal.db", wanted)
    yield lab
    lab.journal.close()


STORAGE = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}

#: A database of each engine as KubeDB takes it: kind, plural, and what is special in its ``spec``.
ENGINES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mongodb": ("MongoDB", "mongodbs", {"replicaSet": {"name": "rs0"}}),
    "postgres": ("Postgres", "postgreses", {}),
    "mysql": ("MySQL", "mysqls", {"topology": {"mode": "GroupReplication"}}),
    "mariadb": ("MariaDB", "mariadbs", {}),
    "redis": ("Redis", "redises", {"mode": "Cluster", "cluster": {"shards": 3, "replicas": 3}}),
    "elasticsearch": ("Elasticsearch", "elasticsearches", {}),
}


def create(served: Served, engine: str, name: str = "orders", **spec: Any) -> None:
    """Create a database, by the server's own way in."""
    kind, plural, special = ENGINES[engine]
    whole = {"version": "1", "replicas": 3, "storage": STORAGE, **special, **spec}
    body = {
        "apiVersion": "kubedb.com/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }
    with served.lock:
        served.cluster.store.create(served.cluster.kinds["kubedb.com", plural], "default", body)
        served.cluster.operator.turn()


def spec_of(served: Served, engine: str, name: str = "orders") -> dict[str, Any]:
    """Return a database's ``spec`` as the server has it."""
    (found,) = [one for one in served.made(ENGINES[engine][1], "kubedb.com") if one["metadata"]["name"] == name]
    spec: dict[str, Any] = found["spec"]
    return spec


def pods_of(served: Served, engine: str, name: str = "orders") -> list[dict[str, Any]]:
    """Return a database's pods."""
    wanted = {"app.kubernetes.io/instance": name, "app.kubernetes.io/name": f"{ENGINES[engine][1]}.kubedb.com"}
    return [pod for pod in served.made("pods", "") if wanted.items() <= pod["metadata"]["labels"].items()]


def volume_sizes(served: Served, engine: str, name: str = "orders") -> set[str]:
    """Return the capacities of a database's volumes."""
    wanted = {"app.kubernetes.io/instance": name, "app.kubernetes.io/name": f"{ENGINES[engine][1]}.kubedb.com"}
    volumes = served.made("persistentvolumeclaims", "")
    return {
        one["status"]["capacity"]["storage"] for one in volumes if wanted.items() <= one["metadata"]["labels"].items()
    }
