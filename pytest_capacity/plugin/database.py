"""What ``capacity.database(...)`` gives: a KubeDB database, and the changes that a test asks for."""

from __future__ import annotations

import secrets
from typing import Any

from pytest_capacity.databases import DatabaseChange, StorageMode
from pytest_capacity.errors import KubeDBError
from pytest_capacity.keeper import protocol
from pytest_capacity.plugin.run_nodes import RunNodes
from pytest_capacity.plugin.scaled import Scaled, beside
from pytest_capacity.scaling.model import OpsRequest, TargetState

#: What is refused is shown at the line of the test that asked; how it got there is ours.
__tracebackhide__ = True


class Database:
    """One database: of the run (``databases:``), or any other one in its cluster."""

    def __init__(self, runtime: RunNodes, name: str, engine: str, namespace: str) -> None:
        self._runtime = runtime
        #: Its name in the cluster, which is not the key in ``databases:``.
        self.name = name
        self.engine = engine
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"<Database {self.target}>"

    @property
    def target(self) -> str:
        """Return its name in the journal: ``mongodb/default/orders``."""
        return DatabaseChange(engine=self.engine, name=self.name, namespace=self.namespace).target

    def patch(
        self,
        *,
        replicas: int | None = None,
        size: str | None = None,
        storage_gb: int | None = None,
        storage_mode: StorageMode | None = None,
        component: str | None = None,
    ) -> Scaled:
        """Ask for a change and return at once.

        ``replicas`` are those of the component that holds the data; ``size`` is a name such as ``db.t3.medium``;
        ``storage_gb`` (GiB of each volume) only grows. ``storage_mode`` is the configuration's and ``component`` the
        engine's unless given. Raises `KubeDBError`.
        """
        change = DatabaseChange(
            engine=self.engine,
            name=self.name,
            namespace=self.namespace,
            replicas=replicas,
            size=size,
            storage_gb=storage_gb,
            storage_mode=storage_mode,
            component=component,
            key=secrets.token_hex(8),
        )
        answer = self._runtime.call_patiently(protocol.PatchDatabase(change=change), protocol.OpsAnswer)
        return Scaled(self._runtime, answer.requests, KubeDBError)

    async def patch_async(self, **change: Any) -> Scaled:
        """Ask for a change as `patch` does, without blocking the event loop."""
        return await beside(lambda: self.patch(**change))

    @property
    def status(self) -> TargetState:
        """Return what the run's requests say it is in: RUNNING, SCALING, UPDATING, or FAILED with the reason."""
        answer = self._runtime.call(protocol.ListOps(target=self.target), protocol.OpsAnswer)
        return answer.targets[0] if answer.targets else TargetState(target=self.target)

    @property
    def requests(self) -> tuple[OpsRequest, ...]:
        """Return all requests that this run has made of it, the oldest first."""
        return self._runtime.call(protocol.ListOps(target=self.target), protocol.OpsAnswer).requests


def database(runtime: RunNodes, name: str, engine: str | None, namespace: str | None) -> Database:
    """Return the database called ``name``: provisioned if it is one of the run's, as it is otherwise.

    Raises `KubeDBError`.
    """
    request = runtime.request
    if name in request.databases and engine is None and namespace is None:
        ready = runtime.call_patiently(protocol.AskDatabase(key=name), protocol.DatabaseReady)
        return Database(runtime, ready.name, ready.engine, ready.namespace)
    if engine is None:
        known = ", ".join(request.databases) or "none"
        raise KubeDBError(
            f"no database {name!r} is configured under `databases:` (there are: {known}). "
            "For one that is in the cluster already give its engine: capacity.database(name, engine='mongodb')"
        )
    return Database(runtime, name, engine, namespace or request.kubernetes.namespace)
