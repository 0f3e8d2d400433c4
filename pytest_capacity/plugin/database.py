"""What ``capacity.database(...)`` gives: a KubeDB database, and the changes that a test asks for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pytest_capacity.databases import DatabaseChange, StorageMode
from pytest_capacity.errors import KubeDBError
from pytest_capacity.keeper import protocol
from pytest_capacity.keeper.protocol import Answer, Call
from pytest_capacity.model import Request
from pytest_capacity.scaling.model import GOOD_OUTCOMES, OpsRequest, TargetState
from pytest_capacity.scaling.results import result_of

A = TypeVar("A", bound=Answer)
T = TypeVar("T")

#: What is refused is shown at the line of the test that asked; how it got there is ours.
__tracebackhide__ = True


class Keeper(Protocol):
    """The run's keeper, as a handle asks it (`runtime.Runtime`)."""

    @property
    def request(self) -> Request:
        """Return what the run asked for."""
        ...

    def call(self, message: Call, answer: type[A]) -> A:
        """Send ``message`` and return the answer. Raise `CapacityError`."""
        ...

    def call_patiently(self, message: Call, answer: type[A]) -> A:
        """Return the answer to what may take minutes."""
        ...


class Scaled(Mapping[str, Any]):
    """What `Database.patch` returns at once: the seeds' keys, and the requests, whose end can be waited for.

    Keys: ``ops_request_name``, ``ops_request_uid``, ``ops_type``, ``message``, and what was asked for (``size``,
    ``replicas``, ``storage_gb``); of several requests ``ops_request_names`` and ``ops_types`` too.
    """

    def __init__(self, runtime: Keeper, requests: Sequence[OpsRequest]) -> None:
        self._runtime = runtime
        self._result = result_of(requests)
        #: The requests as they were last seen, in the order in which they are carried out.
        self.requests: tuple[OpsRequest, ...] = tuple(requests)

    def __getitem__(self, key: str) -> Any:
        return self._result[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._result)

    def __len__(self) -> int:
        return len(self._result)

    def __repr__(self) -> str:
        return f"<Scaled {self._result!r}>"

    def wait(self, timeout: float = 600.0) -> tuple[OpsRequest, ...]:
        """Wait until all of it is done, ``timeout`` seconds at most; returns the requests.

        Raises `KubeDBError` with the reason where one did not succeed, and where the time is over.
        """
        __tracebackhide__ = True
        tokens = tuple(request.token for request in self.requests)
        call = protocol.WaitOps(tokens=tokens, timeout_s=timeout)
        self.requests = self._runtime.call_patiently(call, protocol.OpsAnswer).requests
        for request in self.requests:
            if request.outcome is None:
                raise KubeDBError(
                    f"{request.kind} {request.label} of {request.target} is {request.phase or 'new'} after "
                    f"{timeout:g} s. Wait longer, or see `pytest-capacity ops ls`"
                )
            if request.outcome not in GOOD_OUTCOMES:
                raise KubeDBError(
                    f"{request.kind} {request.label} of {request.target} {request.outcome}: {request.reason}"
                )
        return self.requests

    async def wait_async(self, timeout: float = 600.0) -> tuple[OpsRequest, ...]:
        """Wait as `wait` does, without blocking the event loop."""
        return await _beside(lambda: self.wait(timeout))


class Database:
    """One database: of the run (``databases:``), or any other one in its cluster."""

    def __init__(self, runtime: Keeper, name: str, engine: str, namespace: str) -> None:
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
        __tracebackhide__ = True
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
        return Scaled(self._runtime, answer.requests)

    async def patch_async(self, **change: Any) -> Scaled:
        """Ask for a change as `patch` does, without blocking the event loop."""
        return await _beside(lambda: self.patch(**change))

    @property
    def status(self) -> TargetState:
        """Return what the run's requests say it is in: RUNNING, SCALING, UPDATING, or FAILED with the reason."""
        answer = self._runtime.call(protocol.ListOps(target=self.target), protocol.OpsAnswer)
        return answer.targets[0] if answer.targets else TargetState(target=self.target)

    @property
    def requests(self) -> tuple[OpsRequest, ...]:
        """Return all requests that this run has made of it, the oldest first."""
        return self._runtime.call(protocol.ListOps(target=self.target), protocol.OpsAnswer).requests


async def _beside(do: Callable[[], T]) -> T:
    """Run ``do`` on a thread. A caller has an event loop, so asyncio is loaded; runs without one save its import."""
    import asyncio

    return await asyncio.to_thread(do)


def database(runtime: Keeper, name: str, engine: str | None, namespace: str | None) -> Database:
    """Return the database called ``name``: provisioned if it is one of the run's, as it is otherwise.

    Raises `KubeDBError`.
    """
    __tracebackhide__ = True
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
