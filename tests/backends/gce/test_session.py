"""Credentials, project, and whom the session talks to."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from pytest_capacity.backends.gce.backend import GceBackend
from pytest_capacity.backends.gce.session import ApiError, NoProject
from pytest_capacity.config.near import is_loopback
from pytest_capacity.model import Held, NodeGroup
from pytest_capacity.testing import Bench
from tests.backends.gce.hosts import PROJECT, answering, certificate
from tests.backends.gce.lab import DB, REGION, GceLab, request
from tests.emulated import ROOT, Emulator

SECRET = "PYTEST_CAPACITY_EMULATOR_SECRET_FILE"


def test_who_we_are(lab: GceLab) -> None:
    """The project's number pins the run, its id is the place; one call."""
    identity = lab.backend(lab.request()).whoami()
    assert (identity.account, identity.place, identity.expires) == ("123456789012", PROJECT, None)
    assert lab.calls() == ["projects.get"]


def test_a_wrong_secret_is_refused(lab: GceLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With 401, once; that is no credentials, whatever the call."""
    (tmp_path / "secret").write_text("another")
    monkeypatch.setenv(SECRET, str(tmp_path / "secret"))
    backend = lab.backend(lab.request())
    with pytest.raises(ApiError) as caught:
        backend.whoami()
    found = backend.diagnose(caught.value)
    assert (caught.value.status, found.kind, found.step) == (401, "auth", "stop")
    assert len(lab.calls()) == 1


def test_a_wrong_project_is_told(lab: GceLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is created, in the cloud's words."""
    monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", lab.emulator.secret)
    backend = lab.backend(lab.request(emulated=False, settings={"project": "none-such"}))
    with pytest.raises(ApiError) as caught:
        backend.whoami()
    found = backend.diagnose(caught.value)
    assert (found.kind, found.step) == ("invalid", "stop")
    assert "'projects/none-such' was not found" in found.words


def test_a_project_must_be_named(lab: GceLab) -> None:
    """Where neither file nor credentials do."""
    with pytest.raises(NoProject, match=r"gce\.project or GOOGLE_CLOUD_PROJECT"):
        lab.backend(lab.request(emulated=False)).whoami()


def key_file(path: Path) -> str:
    """Write the key file of a service account of the project; its address."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = f"tests@{PROJECT}.iam.gserviceaccount.com"
    about = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key": key.decode(),
        "client_email": account,
        "token_uri": "http://tokens.test/token",
    }
    path.write_text(json.dumps(about))
    return account


@pytest.mark.parametrize("named", ["", "another-project"])
def test_service_account_credentials(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """A key file of Application Default Credentials names the project, but where the file of the run names one; its
    token is got once, through the proxy."""
    account, project = key_file(tmp_path / "key.json"), named or PROJECT
    answers = {
        "/token": {"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"},
        f"/compute/v1/projects/{project}": {"id": "1", "name": project},
        f"/compute/v1/projects/{project}/regions": {"items": [{"name": REGION, "status": "UP"}]},
    }
    settings = {"project": named} if named else {}
    with answering(answers) as (url, asked):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        monkeypatch.setenv("HTTP_PROXY", url)
        backend = GceBackend(request(emulator, DB, emulated=False, endpoint="http://compute.test", settings=settings))
        identity = backend.whoami()
        assert (identity.account, identity.place, identity.who) == ("1", project, account)
        assert identity.expires is None
        assert backend.regions() == [REGION]
        assert asked == list(answers)


def test_a_token_that_was_revoked_is_renewed_once(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is made again with the new one; if that is refused too, it is told."""
    key_file(tmp_path / "key.json")
    path = f"/compute/v1/projects/{PROJECT}"
    reason = {"reason": "authError", "message": "x", "domain": "global"}
    refusal = (401, {"error": {"code": 401, "message": "x", "errors": [reason]}})
    tokens = [{"access_token": f"token-{number}", "expires_in": 3600, "token_type": "Bearer"} for number in range(3)]
    answers = {"/token": tokens, path: [refusal, {"id": "1", "name": PROJECT}, refusal, refusal]}
    seen: list[str] = []
    with answering(answers, seen=seen) as (url, _):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        monkeypatch.setenv("HTTP_PROXY", url)
        backend = GceBackend(request(emulator, DB, emulated=False, endpoint="http://compute.test"))
        assert backend.whoami().account == "1"
        assert seen == ["", "Bearer token-0", "", "Bearer token-1"]
        with pytest.raises(ApiError) as caught:
            backend.whoami()
    assert backend.diagnose(caught.value).kind == "auth"


ACCOUNT = f"tests@{PROJECT}.iam.gserviceaccount.com"
IMPERSONATE = f"/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
TOKEN: dict[str, Any] = {"access_token": "of-the-user", "expires_in": 3600, "token_type": "Bearer"}


@pytest.mark.parametrize("named_by", ["setting", "file"])
def test_an_impersonated_service_account(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    """The source's token buys one of the service account, and only that goes to the API.

    The account is named by ``gce.impersonate``, or by a file as `gcloud auth application-default login
    --impersonate-service-account` writes it. Google's own hosts answer: through a proxy of this machine, over TLS.
    """
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    wrapped = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": f"https://iamcredentials.googleapis.com{IMPERSONATE}",
        "source_credentials": user,
    }
    (tmp_path / "adc.json").write_text(json.dumps(user if named_by == "setting" else wrapped))
    authority = tmp_path / "authority.pem"
    certificate(authority, "oauth2.googleapis.com", "iamcredentials.googleapis.com")
    answers: dict[str, Any] = {
        "/token": TOKEN,
        IMPERSONATE: {"accessToken": "of-the-account", "expireTime": "2100-01-01T00:00:00Z"},
        f"/compute/v1/projects/{PROJECT}": {"id": "1", "name": PROJECT},
    }
    settings = {"project": PROJECT, **({"impersonate": ACCOUNT} if named_by == "setting" else {})}
    seen: list[str] = []
    with answering(answers, authority, seen) as (url, asked):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("HTTPS_PROXY", url)
        wanted = request(emulator, DB, emulated=False, endpoint="http://compute.test", settings=settings)
        identity = GceBackend(wanted).whoami()
    assert (identity.account, identity.place, identity.who) == ("1", PROJECT, ACCOUNT)
    # The source credentials renew it.
    assert identity.expires is None
    assert asked == list(answers)
    assert seen == ["", "Bearer of-the-user", "Bearer of-the-account"]


@pytest.mark.parametrize(
    ("answer", "ends"), [({"exp": "1999999999", "expires_in": "3599"}, 1999999999.0), ({}, None), ("no", None)]
)
def test_a_ready_made_token_ends(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, ends: float | None
) -> None:
    """Google says when, once; where it does not, the run goes on without."""
    authority = tmp_path / "authority.pem"
    certificate(authority, "oauth2.googleapis.com", "compute.googleapis.com")
    project = f"/compute/v1/projects/{PROJECT}"
    with answering({"/tokeninfo": answer, project: {"id": "1", "name": PROJECT}}, authority) as (url, asked):
        monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", "a-token")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        monkeypatch.setenv("HTTPS_PROXY", url)
        wanted = request(emulator, DB, emulated=False, endpoint=None, settings={"project": PROJECT})
        backend = GceBackend(wanted)
        assert backend.whoami().expires == ends
        assert asked == [project, "/tokeninfo"]
        assert backend.whoami().expires == ends
    assert asked.count("/tokeninfo") == (1 if ends else 2)


def test_no_other_host_gets_a_token_where_an_endpoint_is_set(lab: GceLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it ends is then not known."""
    monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", lab.emulator.secret)
    backend = lab.backend(lab.request(emulated=False, settings={"project": PROJECT}))
    hosts: list[Any] = []
    look_up = socket.getaddrinfo

    def looked_up(host: Any, *more: Any, **options: Any) -> Any:
        hosts.append(host)
        return look_up(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    assert backend.whoami().expires is None
    assert set(hosts) == {"127.0.0.1"}
    assert lab.calls() == ["projects.get"]


def test_all_pages_are_read(lab: GceLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of zones, types, operations and of what a run holds: with two things a page nothing is missed."""
    monkeypatch.setattr("pytest_capacity.backends.gce.session.PAGE", 2)
    bench = Bench(lab, tmp_path / "journal.sqlite")
    engine = bench.engine(lab.request(replace(DB, count=5)))
    assert len(engine.provision("default").nodes["db"]) == 5
    found = [one for one in lab.backend(engine.request).inventory("run-1", (REGION,)) if isinstance(one, Held)]
    assert sorted(one.kind for one in found) == ["node"] * 5 + ["reservation"]
    bench.give_back(engine)
    bench.close()


def test_the_metadata_server(emulator: Emulator, tmp_path: Path) -> None:
    """On a machine of Compute Engine its service account and its project count, where nothing else is there.

    In a process of its own: google-auth reads the server's address when it is imported.
    """
    at = "/computeMetadata/v1"
    answers: dict[str, Any] = {
        "/": {},
        f"{at}/project/project-id": PROJECT,
        f"{at}/universe/universe-domain": "googleapis.com",
        f"{at}/instance/service-accounts/default/": {"email": ACCOUNT, "scopes": ["x"], "aliases": ["default"]},
        f"{at}/instance/service-accounts/default/token": TOKEN,
        f"{at}/instance/service-accounts/{ACCOUNT}/token": TOKEN,
        f"/compute/v1/projects/{PROJECT}": {"id": "1", "name": PROJECT},
    }
    code = """
import msgspec, sys
from pytest_capacity.backends.gce.backend import GceBackend
from pytest_capacity.model import Request
identity = GceBackend(msgspec.json.decode(sys.argv[1], type=Request)).whoami()
print(identity.account, identity.place, identity.who, identity.expires)
"""
    wanted = request(emulator, DB, emulated=False, endpoint="http://compute.test")
    seen: list[str] = []
    with answering(answers, seen=seen) as (url, asked):
        here = urlsplit(url).netloc
        variables = {"GCE_METADATA_HOST": here, "GCE_METADATA_IP": here, "HTTP_PROXY": url, "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code, msgspec.json.encode(wanted).decode()],
            env={**variables, "PATH": "", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout.split() == ["1", PROJECT, ACCOUNT, "None"], done.stderr
    assert f"{at}/project/project-id" in asked
    assert (asked[-1], seen[-1]) == (f"/compute/v1/projects/{PROJECT}", "Bearer of-the-user")


@pytest.mark.parametrize(
    ("endpoint", "is_it"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:1", True),
        ("http://[::1]:80/compute/v1", True),
        ("https://compute.googleapis.com", False),
        ("https://10.0.0.1", False),
    ],
)
def test_what_is_on_this_machine(endpoint: str, is_it: bool) -> None:
    """It gets no credentials of the user's."""
    assert is_loopback(endpoint) is is_it


def test_no_proxy_stands_before_an_endpoint_of_this_machine(lab: GceLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment names for other hosts."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert lab.backend(lab.request()).whoami().place == PROJECT


@pytest.mark.parametrize("groups", [(), (DB,)])
def test_nothing_reaches_google(
    lab: GceLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: tuple[NodeGroup, ...]
) -> None:
    """With the emulator no socket is opened but to this machine, from first to last; operations, by list or by name,
    included."""
    asked: list[Any] = []
    connect = socket.socket.connect

    def connected(self: socket.socket, address: Any) -> None:
        asked.append(address)
        if isinstance(address, tuple) and not is_loopback(f"http://{address[0]}"):
            raise OSError(f"a test asked for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connected)
    lab.emulator.weather(operation_s=0.2, stock={"us-central1-a": {"n2-standard-2": 0}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/none/such")
        bench = Bench(lab, tmp_path / "journal.sqlite")
        engine = bench.engine(lab.request(*groups))
        assert engine.provision("default").zone == "us-central1-b"
        bench.give_back(engine)
        bench.close()
    others = [address for address in asked if not (isinstance(address, tuple) and is_loopback(f"http://{address[0]}"))]
    assert asked
    assert not others


_IMPORTS = """
import sys
import pytest_capacity.backends.gce
assert not {"google.auth", "requests"} & set(sys.modules), "the first face has loaded the SDK"
import pytest_capacity.backends.gce.backend
assert "google.auth" in sys.modules
assert not {"grpc", "google.cloud.compute_v1", "google.api_core"} & set(sys.modules)
"""


def test_what_is_imported() -> None:
    """Nothing of the SDK by the first face; by the second only what is used: no gRPC, no generated client."""
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_commands_by_hand(lab: GceLab) -> None:
    """gcloud's, in the order in which things go, aimed at the endpoint of the run."""
    at: dict[str, Any] = {"region": REGION, "zone": "us-central1-a", "state": "ready"}
    helds = [
        Held(kind="placement-policy", id="p", **at),
        Held(kind="reservation", id="r", **at),
        Held(kind="node", id="n1", **at),
        Held(kind="node", id="n2", **at),
    ]
    backend = GceBackend(lab.request(endpoint=None, emulated=False, settings={"project": "mine"}))
    assert list(backend.by_hand(helds)) == [
        "gcloud compute instances delete n1 n2 --zone us-central1-a --quiet --project mine",
        "gcloud compute reservations delete r --zone us-central1-a --quiet --project mine",
        "gcloud compute resource-policies delete p --region us-central1 --quiet --project mine",
    ]
    (command,) = GceBackend(lab.request(endpoint="http://127.0.0.1:1")).by_hand(helds[:1])
    assert command.startswith("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE=http://127.0.0.1:1/compute/v1/ gcloud ")
