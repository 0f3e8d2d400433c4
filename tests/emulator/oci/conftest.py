"""The SDK's own clients over the emulator, and every answer held against the SDK's own models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.emulated import Emulator

pytest.importorskip("oci", reason="the extra [oci] is not installed")

import oci.cluster_placement_groups
import oci.config
import oci.core
import oci.identity
import oci.retry
import oci.work_requests

from tests.backends.oci.models import CLUSTERS, CORE, strangers

#: Makes one of the SDK's clients: ``connect(oci.core.ComputeClient, "us-phoenix-1")``.
Connect = Callable[..., Any]


@pytest.fixture
def connect(emulator: Emulator) -> Iterator[Connect]:
    """Makes clients without retries; at the end every answer is held against the type that the SDK expects there."""
    answers: list[tuple[str, Any, Any]] = []
    told = emulator.ready["clouds"]["oci"]

    def make(client: Any, region: str = "us-ashburn-1", profile: str = "DEFAULT") -> Any:
        config = oci.config.from_file(told["config_file"], profile)
        made = client(
            config,
            service_endpoint=f"{emulator.url}/oci/{region}",
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
        )
        base = made.base_client
        deserialize = base.deserialize_response_data
        modules = CLUSTERS if client.__module__.startswith("oci.cluster_placement_groups") else CORE

        def listen(data: bytes, kind: str, *rest: Any) -> Any:
            if kind != "str":
                answers.append((kind, json.loads(data), modules))
            return deserialize(data, kind, *rest)

        base.deserialize_response_data = listen
        return made

    yield make
    faults = [fault for kind, answer, modules in answers for fault in strangers(kind, answer, modules)]
    assert faults == []


@pytest.fixture
def compute(connect: Connect) -> Any:
    """Compute of us-ashburn-1."""
    return connect(oci.core.ComputeClient)


@pytest.fixture
def network(connect: Connect) -> Any:
    """The network of us-ashburn-1."""
    return connect(oci.core.VirtualNetworkClient)


@pytest.fixture
def identity(connect: Connect) -> Any:
    """Identity of us-ashburn-1."""
    return connect(oci.identity.IdentityClient)


@pytest.fixture
def volumes(connect: Connect) -> Any:
    """Block storage of us-ashburn-1."""
    return connect(oci.core.BlockstorageClient)


@pytest.fixture
def clusters(connect: Connect) -> Any:
    """Cluster placement groups of us-ashburn-1."""
    return connect(oci.cluster_placement_groups.ClusterPlacementGroupsCPClient)


@pytest.fixture
def work(connect: Connect) -> Any:
    """Work requests of us-ashburn-1."""
    return connect(oci.work_requests.WorkRequestClient)
