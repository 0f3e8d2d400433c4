"""The principal of an instance, and of a resource, by the SDK's own signers: real keys, tokens, TLS and signatures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from oci.exceptions import ServiceError

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.oci.backend import OciBackend
from pytest_capacity.backends.oci.credentials import NoPrincipalError
from pytest_capacity.backends.oci.settings import Auth
from pytest_capacity.model import Request
from tests.backends.oci.principals import Machine, emulators_key, issued, new_key, on, pem
from tests.backends.oci.runs import COMPARTMENT, DB, SETTINGS, TENANCY, request
from tests.emulated import Emulator
from tests.engine.runs import Bench, within

FEDERATION = "/v1/x509"


def asked_with(emulator: Emulator, auth: Auth) -> Request:
    """A request that is not emulated, so that credentials are the machine's, and whose endpoint is the emulator's."""
    group = replace(DB, count=1)
    return request(emulator, group, settings=replace(SETTINGS, auth=auth), emulated=False)


def opened(emulator: Emulator, auth: Auth) -> OciBackend:
    backend = open_backend(asked_with(emulator, auth))
    assert isinstance(backend, OciBackend)
    return backend


@pytest.fixture
def machine(config_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """The instance at Oracle on which this process runs."""
    with on(Machine(emulators_key(config_file)), tmp_path, monkeypatch) as machine:
        yield machine


# -- of an instance ------------------------------------------------------------------------------------------------


def test_an_instance_principal(emulator: Emulator, machine: Machine) -> None:
    """Its certificate buys a token, which is good for many calls; the tenancy is the certificate's."""
    backend = opened(emulator, "instance_principal")
    assert machine.asked == []  # Opening makes no call.
    identity = backend.whoami()
    assert (identity.account, identity.place, identity.who) == (TENANCY, COMPARTMENT, "instance_principal")
    assert (identity.profile, identity.expires) == ("", None)
    assert "us-phoenix-1" in backend.regions()
    assert machine.asked.count(FEDERATION) == 1
    assert [call["error"] for call in emulator.calls()] == [None, None]


def test_the_command_lines_variable_names_a_principal(
    emulator: Emulator, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``OCI_CLI_AUTH`` counts where the settings name nothing, and opening makes no call then, either."""
    monkeypatch.setenv("OCI_CLI_AUTH", "instance_principal")
    backend = opened(emulator, "auto")
    assert machine.asked == []
    assert backend.whoami().who == "instance_principal"


def test_a_run_by_an_instance_principal(bench: Bench, emulator: Emulator, machine: Machine) -> None:
    """It reserves, launches and releases, all with tokens of the machine."""
    engine = bench.engine(asked_with(emulator, "instance_principal"))
    assert engine.provision("default").nodes["db"][0].reservation_id
    assert engine.run_state.identity is not None
    assert engine.run_state.identity.account == TENANCY
    assert engine.release(within(120)).clean
    assert emulator.held() == []
    assert machine.asked.count(FEDERATION) >= 1


def test_a_token_near_its_end_is_renewed(emulator: Emulator, machine: Machine) -> None:
    """The SDK gets another one for the next call, with a new key, and no call is refused."""
    machine.token_s = 30
    backend = opened(emulator, "instance_principal")
    backend.whoami()
    before = machine.asked.count(FEDERATION)
    machine.token_s = 3600
    assert backend.regions()
    assert machine.asked.count(FEDERATION) == before + 1
    assert backend.regions()
    assert machine.asked.count(FEDERATION) == before + 1
    assert [call["error"] for call in emulator.calls()] == [None] * 3


def test_a_refused_token_is_renewed_once(emulator: Emulator, machine: Machine) -> None:
    """A call that is refused as not authenticated is made once more, with a new token; then it is a refusal."""
    backend = opened(emulator, "instance_principal")
    backend.whoami()
    fault = {"operation": "ListRegionSubscriptions", "error": "NotAuthenticated", "http": 401}
    emulator.weather(faults=[{**fault, "times": 1}])
    assert backend.regions()
    assert machine.asked.count(FEDERATION) == 2
    emulator.weather(faults=[fault])
    before = len(emulator.calls())
    with pytest.raises(ServiceError, match="NotAuthenticated") as refused:
        backend.regions()
    assert len(emulator.calls()) == before + 2
    assert backend.diagnose(refused.value).kind == "auth"


def test_a_token_that_oracle_has_not_signed(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature of the request is right, and that of the token is not: no credentials, and the run stops."""
    with on(Machine(new_key()), tmp_path, monkeypatch):
        backend = opened(emulator, "instance_principal")
        with pytest.raises(ServiceError, match="NotAuthenticated") as refused:
            backend.whoami()
    assert (backend.diagnose(refused.value).kind, backend.diagnose(refused.value).step) == ("auth", "stop")


def test_an_instance_of_another_tenancy(
    emulator: Emulator, config_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token is Oracle's, and not for this tenancy."""
    another = Machine(emulators_key(config_file), tenancy="ocid1.tenancy.oc1..aaaaaaaaanother")
    with on(another, tmp_path, monkeypatch):
        backend = opened(emulator, "instance_principal")
        with pytest.raises(ServiceError, match="NotAuthenticated"):
            backend.whoami()


def test_a_machine_that_is_not_oracles(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a metadata service the run stops at once, and says what to write."""
    monkeypatch.setenv("OCI_METADATA_BASE_URL", "http://127.0.0.1:1/opc/v2")
    backend = opened(emulator, "instance_principal")
    with pytest.raises(NoPrincipalError, match="Use auth: instance_principal there, and auth: api_key") as refused:
        backend.whoami()
    assert (backend.diagnose(refused.value).kind, backend.diagnose(refused.value).step) == ("auth", "stop")
    assert emulator.calls() == []


def test_a_federation_service_that_refuses(emulator: Emulator, machine: Machine) -> None:
    """It knows another certificate than the machine has: its words are said."""
    machine.tenancy = "ocid1.tenancy.oc1..aaaaaaaaanother"
    backend = opened(emulator, "instance_principal")
    with pytest.raises(NoPrincipalError, match="ServiceError") as refused:
        backend.whoami()
    assert backend.diagnose(refused.value).kind == "auth"
    assert emulator.calls() == []


# -- of a resource -------------------------------------------------------------------------------------------------


@pytest.fixture
def resource(config_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with key and token of the resource at Oracle that this process is (a function, say)."""
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2")
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_RPST", str(tmp_path / "rpst"))
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", str(tmp_path / "key.pem"))
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_REGION", "us-ashburn-1")
    give(tmp_path, config_file, time.time() + 3600)
    return tmp_path


def give(folder: Path, config_file: str, end: float, **claims: Any) -> None:
    """Write a new key and a token for it, as Oracle does for a resource."""
    key = new_key()
    said = {"res_tenant": TENANCY, "res_compartment": COMPARTMENT, **claims}
    (folder / "key.pem").write_bytes(pem(key))
    (folder / "rpst").write_text(issued(emulators_key(config_file), key.public_key(), end, **said))


def test_a_resource_principal(emulator: Emulator, resource: Path) -> None:
    """The tenancy is the token's; nothing has to be got."""
    identity = opened(emulator, "resource_principal").whoami()
    assert (identity.account, identity.place, identity.who) == (TENANCY, COMPARTMENT, "resource_principal")
    assert identity.expires is None
    assert [call["error"] for call in emulator.calls()] == [None]


def test_a_resources_new_token_is_read(emulator: Emulator, resource: Path, config_file: str) -> None:
    """The files that Oracle has written anew are read when the old token is refused; the call is made once more."""
    give(resource, config_file, time.time() - 60)
    backend = opened(emulator, "resource_principal")
    give(resource, config_file, time.time() + 3600)
    assert backend.whoami().account == TENANCY
    give(resource, config_file, time.time() + 7200)
    emulator.weather(faults=[{"operation": "ListRegionSubscriptions", "error": "NotAuthenticated", "times": 1}])
    assert backend.regions()


def test_a_resources_key_that_is_not_its_tokens(emulator: Emulator, resource: Path) -> None:
    """The token is Oracle's, and the request is signed with another key than it names."""
    (resource / "key.pem").write_bytes(pem(new_key()))
    with pytest.raises(ServiceError, match="NotAuthenticated"):
        opened(emulator, "resource_principal").whoami()


def test_a_process_that_is_no_resource(emulator: Emulator) -> None:
    """Without Oracle's variables the run stops, and says which they are."""
    backend = opened(emulator, "resource_principal")
    with pytest.raises(NoPrincipalError, match="OCI_RESOURCE_PRINCIPAL_VERSION is not defined"):
        backend.whoami()
    assert emulator.calls() == []
