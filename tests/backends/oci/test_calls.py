"""Every call is one that the SDK's own generated clients make: method, path, parameters, headers."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final, NamedTuple

import oci.cluster_placement_groups
import oci.core
import oci.identity
import oci.work_requests
import pytest
from oci.base_client import BaseClient
from oci.util import camel_to_snake

from tests.backends.oci.test_closed import whole_run
from tests.emulated import Emulator
from tests.engine.runs import Bench

_CLIENTS: Final = (
    oci.core.ComputeClient,
    oci.core.VirtualNetworkClient,
    oci.core.BlockstorageClient,
    oci.identity.IdentityClient,
    oci.work_requests.WorkRequestClient,
    oci.cluster_placement_groups.ClusterPlacementGroupsCPClient,
)


class Call(NamedTuple):
    """One call, as it was given to the SDK's base client."""

    operation: str
    method: str
    path: str
    query: tuple[str, ...]
    headers: tuple[str, ...]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[Call]:
    """The calls of this process, from now on."""
    made: set[Call] = set()
    call_api = BaseClient.call_api

    def noted(self: Any, **given: Any) -> Any:
        sent = given["header_params"] or {}
        headers = tuple(sorted(name for name in sent if name not in ("accept", "content-type")))
        query = tuple(sorted(given["query_params"] or ()))
        made.add(Call(given["operation_name"], given["method"], given["resource_path"], query, headers))
        return call_api(self, **given)

    monkeypatch.setattr(BaseClient, "call_api", noted)
    return made


def _source(operation: str) -> str:
    """The generated function of an operation."""
    name = camel_to_snake(operation)
    return next(inspect.getsource(getattr(client, name)) for client in _CLIENTS if hasattr(client, name))


def test_every_call_is_the_sdks_own(bench: Bench, emulator: Emulator, calls: set[Call]) -> None:
    """The generated client has the same method and path, and knows each parameter and header that is sent."""
    whole_run(bench, emulator)
    assert len({call.operation for call in calls}) > 30
    for call in calls:
        source = _source(call.operation)
        (path,) = re.findall(r'resource_path = "([^"]+)"', source)
        form = re.sub(r"\{\w+\}", "[^/]+", path.rstrip("/"))
        assert re.fullmatch(form, call.path.rstrip("/")), (call, path)
        assert f'method = "{call.method}"' in source, call
        known = set(re.findall(r'"([A-Za-z-]+)": ', source))
        assert set(call.query) <= known, (call, set(call.query) - known)
        assert set(call.headers) <= known, (call, set(call.headers) - known)


def test_every_create_has_a_retry_token(bench: Bench, emulator: Emulator, calls: set[Call]) -> None:
    """Of what makes things for the run; and what changes or deletes is conditional, where that matters."""
    whole_run(bench, emulator)
    made = {call.operation: call.headers for call in calls if call.method == "POST"}
    without = {operation for operation, headers in made.items() if "opc-retry-token" not in headers}
    assert without == {"CreateComputeCapacityReport", "CaptureConsoleHistory", "InstanceAction"}
    changes = {call.headers for call in calls if call.operation == "InstanceAction" or call.method == "PUT"}
    assert changes == {("if-match",)}
    (delete,) = {call.headers for call in calls if call.operation == "DeleteComputeCapacityReservation"}
    assert delete == ("if-match",)
