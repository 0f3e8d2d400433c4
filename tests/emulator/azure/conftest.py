"""Clients of others for the emulated Azure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.emulated import Emulator

SUBSCRIPTION: Final = "00000000-0000-4000-8000-000000000001"

pytest.importorskip("azure.identity", reason="the extra [azure] is not installed")


class SecretCredential:
    """A credential of azure-core that has the emulator's secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """The secret."""
        from azure.core.credentials import AccessToken

        return AccessToken(self._secret, int(time.time()) + 3600)


def client_arguments(emulator: Emulator) -> dict[str, Any]:
    """What every client of the vendor's management packages takes here."""
    from azure.core.pipeline.policies import SansIOHTTPPolicy

    class Bearer(SansIOHTTPPolicy):  # type: ignore[type-arg]
        def on_request(self, request: Any) -> None:
            request.http_request.headers["Authorization"] = f"Bearer {emulator.secret}"

    return {
        "credential": SecretCredential(emulator.secret),
        "subscription_id": SUBSCRIPTION,
        "base_url": emulator.url,
        "credential_scopes": ["https://management.azure.com/.default"],
        "authentication_policy": Bearer(),
        "polling_interval": 0.05,
        "retry_total": 0,
    }


@pytest.fixture
def compute(emulator: Emulator) -> Any:
    """The vendor's client of compute."""
    return pytest.importorskip("azure.mgmt.compute").ComputeManagementClient(**client_arguments(emulator))


@pytest.fixture
def resource(emulator: Emulator) -> Any:
    """The vendor's client of resource groups."""
    return pytest.importorskip("azure.mgmt.resource.resources").ResourceManagementClient(**client_arguments(emulator))


@pytest.fixture
def network(emulator: Emulator) -> Any:
    """The vendor's client of networks."""
    return pytest.importorskip("azure.mgmt.network").NetworkManagementClient(**client_arguments(emulator))


@pytest.fixture
def subnet(emulator: Emulator) -> str:
    """A subnet in the resource group ``Mine``, made without the client of networks, whose import takes 300 MB."""
    assert put(emulator, "/resourceGroups/Mine", {"location": "eastus", "tags": {"team": "a"}})[0] == 201
    subnets = [{"name": "s", "properties": {"addressPrefix": "10.0.0.0/24"}}]
    space = {"addressPrefixes": ["10.0.0.0/16"]}
    body = {"location": "eastus", "properties": {"addressSpace": space, "subnets": subnets}}
    status, made = put(emulator, "/resourceGroups/Mine/providers/Microsoft.Network/virtualNetworks/net", body)
    assert status == 201
    return str(made["properties"]["subnets"][0]["id"])


def cards(emulator: Emulator) -> list[str]:
    """The machines of the network cards that there are, by the ids of the cards' list."""
    path = "/resourceGroups/Mine/providers/Microsoft.Network/networkInterfaces"
    _, listed = put(emulator, path, None, method="GET")
    return [one["properties"]["virtualMachine"]["id"] for one in listed["value"]]


def put(
    emulator: Emulator, path: str, body: Any, headers: Mapping[str, str] | None = None, method: str = "PUT"
) -> tuple[int, Any]:
    """The status and the body of a call in the subscription."""
    url = urlsplit(emulator.url)
    with closing(HTTPConnection(url.hostname or "", url.port)) as connection:
        connection.request(
            method,
            f"/subscriptions/{SUBSCRIPTION}{path}?api-version=2026-04-01",
            None if body is None else json.dumps(body),
            {"Authorization": f"Bearer {emulator.secret}", "Content-Type": "application/json", **(headers or {})},
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
