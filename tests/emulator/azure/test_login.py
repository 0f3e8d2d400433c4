"""Tokens for the emulated Azure: azure-identity as it is, and nothing without a token."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.emulated import Emulator, ask
from tests.emulator.azure.conftest import SUBSCRIPTION

PATH = f"/subscriptions/{SUBSCRIPTION}/resourcegroups?api-version=2025-04-01"


@pytest.fixture
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every connection that is tried; those to anywhere but this machine fail."""
    tried: list[Any] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        tried.append(address)
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise ConnectionRefusedError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    return tried


def test_azure_identity_gets_its_token_from_the_emulator(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, loopback_only: list[Any]
) -> None:
    """DefaultAzureCredential takes the emulator for the identity endpoint of a machine, and goes nowhere else."""
    from azure.identity import DefaultAzureCredential

    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.ready["clouds"]["azure"]["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", emulator.secret)
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    status, _ = ask(emulator.url, PATH, headers={"Authorization": f"Bearer {token}"})
    assert status == 200
    port = urlsplit(emulator.url).port
    assert {address[1] for address in loopback_only if isinstance(address, tuple)} == {port}


def test_a_token_ends(emulator: Emulator) -> None:
    """A token is one of Azure's form, good for an hour; a changed one is refused."""
    form = f"grant_type=client_credentials&client_id=x&client_secret={emulator.secret}&scope=y".encode()
    token = json.loads(ask(emulator.url, "/tenant/oauth2/v2.0/token", form)[1])["access_token"]
    assert token.count(".") == 2
    assert ask(emulator.url, PATH, headers={"Authorization": f"Bearer {token}"})[0] == 200
    assert ask(emulator.url, PATH, headers={"Authorization": f"Bearer {token[:-1]}x"})[0] == 401
    emulator.weather(clock={"advance_s": 3700})
    assert ask(emulator.url, PATH, headers={"Authorization": f"Bearer {token}"})[0] == 401


def test_a_wrong_secret_gets_no_token(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity endpoint and the token endpoint ask for the secret."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ManagedIdentityCredential

    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.ready["clouds"]["azure"]["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", "guessed")
    with pytest.raises(ClientAuthenticationError):
        ManagedIdentityCredential().get_token("https://management.azure.com/.default")
    form = b"grant_type=client_credentials&client_id=x&client_secret=guessed&scope=y"
    assert ask(emulator.url, "/tenant/oauth2/v2.0/token", form)[0] == 401
    form = f"grant_type=client_credentials&client_id=x&client_secret={emulator.secret}&scope=y".encode()
    status, body = ask(emulator.url, "/tenant/oauth2/v2.0/token", form)
    assert status == 200
    assert json.loads(body)["token_type"] == "Bearer"


def test_nothing_is_told_without_a_token(emulator: Emulator) -> None:
    """A call without a token, or with another one, is refused as Azure refuses it."""
    for headers in ({}, {"Authorization": "Bearer another"}):
        status, body = ask(emulator.url, PATH, headers=headers)
        assert status == 401
        assert json.loads(body)["error"]["code"] == "InvalidAuthenticationToken"


def test_a_call_names_its_api_version(emulator: Emulator) -> None:
    """Without one, or with what is no date, it is refused."""
    for query, code in (("", "MissingApiVersionParameter"), ("?api-version=latest", "InvalidApiVersionParameter")):
        path = PATH.partition("?")[0] + query
        status, body = ask(emulator.url, path, headers={"Authorization": f"Bearer {emulator.secret}"})
        assert (status, json.loads(body)["error"]["code"]) == (400, code)


def test_paths_are_of_no_case(emulator: Emulator) -> None:
    """Resource Manager takes paths and names in any case."""
    from tests.emulator.azure.conftest import put

    assert put(emulator, "/resourceGroups/Mixed", {"location": "East US"})[0] == 201
    assert put(emulator, "/RESOURCEGROUPS/mIXED", {"location": "eastus"})[0] == 200
    assert put(emulator, "/resourcegroups/mixed", {"location": "westus2"})[0] == 409


def test_conditions_in_the_headers_are_heeded(emulator: Emulator) -> None:
    """``If-None-Match: *`` makes only what is not there; ``If-Match`` changes only what was seen."""
    from tests.emulator.azure.conftest import put

    put(emulator, "/resourceGroups/g", {"location": "eastus"})
    path = "/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n"
    status, made = put(emulator, path, {"location": "eastus"}, {"If-None-Match": "*"})
    assert status == 201
    assert put(emulator, path, {"location": "eastus"}, {"If-None-Match": "*"})[0] == 412
    assert put(emulator, path, {"location": "eastus", "tags": {"a": "b"}}, {"If-Match": made["etag"]})[0] == 200
    assert put(emulator, path, {"location": "eastus"}, {"If-Match": made["etag"]})[0] == 412


def test_the_command_line_finds_out_where_everything_is(emulator: Emulator) -> None:
    """`az cloud register` asks for the endpoints without a token; all of them are the emulator."""
    status, body = ask(emulator.url, "/metadata/endpoints?api-version=2022-09-01")
    told = json.loads(body)
    assert status == 200
    assert {told["resourceManager"], told["authentication"]["loginEndpoint"]} == {emulator.url}
