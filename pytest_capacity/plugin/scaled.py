"""What a test gets that has asked for a change of a database or of a node group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pytest_capacity.errors import CapacityError
from pytest_capacity.keeper import protocol
from pytest_capacity.plugin.run_nodes import RunNodes
from pytest_capacity.scaling.model import GOOD_OUTCOMES, OpsRequest
from pytest_capacity.scaling.results import result_of

T = TypeVar("T")

#: What is refused is shown at the line of the test that asked; how it got there is ours.
__tracebackhide__ = True


class Scaled(Mapping[str, Any]):
    """What a test gets at once that asks for a change: the seeds' keys, and the requests, whose end can be waited for.

    Keys: ``ops_request_name``, ``ops_request_uid``, ``ops_type``, ``message``, and what was asked for (of a database
    ``size``, ``replicas``, ``storage_gb``; of a node group ``count``, ``instance_type``, ``mode``, ``storage_gb``); of
    several requests ``ops_request_names`` and ``ops_types`` too.
    """

    def __init__(self, runtime: RunNodes, requests: Sequence[OpsRequest], error: type[CapacityError]) -> None:
        """``error`` is what `wait` raises."""
        self._runtime = runtime
        self._error = error
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

        Raises `ScalingError` (`KubeDBError` of a database) with the reason where one did not succeed, and where the
        time is over.
        """
        tokens = tuple(request.token for request in self.requests)
        call = protocol.WaitOps(tokens=tokens, timeout_s=timeout)
        self.requests = self._runtime.call_patiently(call, protocol.OpsAnswer).requests
        for request in self.requests:
            if request.outcome is None:
                raise self._error(
                    f"{request.kind} {request.label} of {request.target} is {request.phase or 'new'} after "
                    f"{timeout:g} s. Wait longer, or see `pytest-capacity ops ls`"
                )
            if request.outcome not in GOOD_OUTCOMES:
                raise self._error(
                    f"{request.kind} {request.label} of {request.target} {request.outcome}: {request.reason}"
                )
        return self.requests

    async def wait_async(self, timeout: float = 600.0) -> tuple[OpsRequest, ...]:
        """Wait as `wait` does, without blocking the event loop."""
        return await beside(lambda: self.wait(timeout))


async def beside(do: Callable[[], T]) -> T:
    """Run ``do`` on a thread. A caller has an event loop, so asyncio is loaded; runs without one save its import."""
    import asyncio

    return await asyncio.to_thread(do)
