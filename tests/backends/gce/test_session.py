"""Credentials, project, and whom the session talks to."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from pytest_capacity.backends.diagnosis import packaged_table
from pytest_capacity.backends.gce.backend import GceBackend
from pytest_capacity.backends.gce.listing import inventory, look
from pytest_capacity.backends.gce.session import ApiError, NoProject, Session
from pytest_capacity.backends.gce.settings import GceSettings
from pytest_capacity.config.near import is_loopback
from pytest_capacity.model import Held, NodeGroup, Offer, Topology, Unread
from pytest_capacity.testing import Bench
from tests.backends.gce.lab import DB, REGION, GceLab, request
from tests.emulated import ROOT, Emulator

PROJECT = "emulated-project"
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


def certificate(path: Path, *hosts: str) -> None:
    """Write a key and a certificate that it has signed itself, for ``hosts``."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))


@contextmanager
def answering(
    answers: dict[str, Any], authority: Path | None = None, seen: list[str] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server and proxy of this machine that has an answer for each path; its URL, and the paths that were asked for.

    An answer is a body, or a status and a body; of a list each is given once. As a proxy for TLS it is the host itself,
    with the key and certificate of ``authority``. ``seen`` gets what each request bears as Authorization.
    """
    asked: list[str] = []
    said: list[str] = [] if seen is None else seen

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urlsplit(self.path).path
            asked.append(path)
            said.append(self.headers.get("Authorization") or "")
            answer = answers[path]
            answer = answer.pop(0) if isinstance(answer, list) else answer
            status, answer = answer if isinstance(answer, tuple) else (200, answer)
            body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            if path.startswith("/computeMetadata") or path == "/":
                self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the names of http.server

        def do_CONNECT(self) -> None:
            assert authority is not None
            self.send_response(200)
            self.end_headers()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority)
            with context.wrap_socket(self.connection, server_side=True) as self.connection:
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                self.handle_one_request()
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_what_did_not_answer_is_unread(emulator: Emulator) -> None:
    """A zone that a list names as unreachable is not empty, in an inventory as in a look."""
    at = f"/compute/v1/projects/{PROJECT}/aggregated"
    items: dict[str, Any] = {"zones/us-east1-b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
    lists = {
        "instances": {"items": {**items, "zones/us-central1-a": {"warning": {"code": "UNREACHABLE"}}}},
        "reservations": {"items": items, "unreachables": ["projects/p/zones/us-central1-b"]},
        "resourcePolicies": {"items": {}},
        "disks": {"items": {}},
    }
    with answering({f"{at}/{name}": answer for name, answer in lists.items()}) as (url, _):
        wanted = request(emulator, DB, endpoint=url)
        session = Session(wanted, GceSettings())
        table = packaged_table("gce")
        found = list(inventory(session, table, "run-1", "tests", (REGION,)))
        assert found == [
            Unread(REGION, "node", "us-central1-a did not answer"),
            Unread(REGION, "reservation", "us-central1-b did not answer"),
        ]
        node = Held(kind="node", id="x", region=REGION, zone="us-central1-a", state="ready", facts={"number": "1"})
        elsewhere = Held(
            kind="node", id="x", region="us-east1", zone="us-east1-b", state="ready", facts={"number": "1"}
        )
        assert [held.state for held in look(session, "run-1", table, [node, elsewhere])] == ["ready", "gone"]


V1 = "/compute/v1/projects"
DENIED = (
    403,
    {"error": {"code": 403, "message": "no", "errors": [{"reason": "forbidden", "message": "no", "domain": "global"}]}},
)


def zone(letter: str, **more: Any) -> dict[str, Any]:
    """A zone as it is listed."""
    return {"name": f"{REGION}-{letter}", "region": f"https://x/compute/v1/regions/{REGION}", "status": "UP", **more}


def reads(**changes: Any) -> dict[str, Any]:
    """The answers to what is read of a region with two zones before a run."""
    image = f"{V1}/debian-cloud/global/images/family/debian-12"
    types = {
        f"zones/{REGION}-{letter}": {"machineTypes": [{"name": DB.instance_type, "zone": f"{REGION}-{letter}"}]}
        for letter in "abc"
    }
    answers: dict[str, Any] = {
        f"{V1}/{PROJECT}/zones": {"items": [zone("a"), zone("b")]},
        f"{V1}/{PROJECT}/aggregated/machineTypes": {"items": types},
        f"{V1}/{PROJECT}/global/networks/default": {"name": "default"},
        image: {"name": "debian", "selfLink": f"https://x/compute/v1/{image}"},
    }
    return {**answers, **{f"{V1}/{path}": answer for path, answer in changes.items()}}


def offers(emulator: Emulator, answers: dict[str, Any], **keys: Any) -> dict[str, Offer]:
    """What the zones of the region offer, by letter."""
    with answering(answers) as (url, _):
        backend = GceBackend(request(emulator, DB, endpoint=url, **keys))
        return {one.zone[-1]: one for one in backend.offers(REGION, Topology((DB,)))}


def test_zones_that_are_down_or_end_are_left_out(emulator: Emulator) -> None:
    """With the cloud's word for it."""
    zones = [
        zone("a", status="DOWN"),
        zone("b", deprecated={"state": "OBSOLETE"}),
        zone("c", deprecated={"state": "DEPRECATED"}),
    ]
    found = offers(emulator, reads(**{f"{PROJECT}/zones": {"items": zones}}))
    assert {letter: one.why for letter, one in found.items()} == {
        "a": "the zone is DOWN",
        "b": "the zone is OBSOLETE",
        "c": "",
    }


def test_a_region_that_is_down_is_none(emulator: Emulator) -> None:
    """It is not looked at, nor fallen back to."""
    items = [{"name": "us-east1", "status": "DOWN"}, {"name": REGION, "status": "UP"}]
    with answering({f"{V1}/{PROJECT}/regions": {"items": items}}) as (url, _):
        assert list(GceBackend(request(emulator, DB, endpoint=url)).regions()) == [REGION]


@pytest.mark.parametrize(
    "path", ["aggregated/machineTypes", "global/networks/default", "aggregated/reservations", "zones"]
)
def test_what_may_not_be_read_rules_nothing_out(emulator: Emulator, path: str) -> None:
    """Zones, types, networks and listed reservations."""
    answers = reads(**{f"{PROJECT}/aggregated/reservations": {"items": {}}, f"{PROJECT}/{path}": DENIED})
    keys = {"use_reservations": ("mine",)} if path.endswith("reservations") else {}
    found = offers(emulator, answers, **keys)
    assert [one.why for one in found.values()] == [""] * (3 if path == "zones" else 2)
    assert [dict(one.unused) for one in found.values()][:1] == [{"mine": "it could not be read"} if keys else {}]


def test_a_reservation_of_another_project_is_named_with_it(emulator: Emulator) -> None:
    """It is looked for there, and one of the same name of our own project is another one."""
    properties = {"machineType": DB.instance_type}
    theirs = {
        "name": "theirs",
        "zone": f"{REGION}-b",
        "status": "READY",
        "specificReservationRequired": True,
        "specificReservation": {"count": "2", "instanceProperties": properties},
    }
    listed = {"items": {f"zones/{REGION}-b": {"reservations": [theirs]}}}
    link = f"projects/other/zones/{REGION}-b/reservations/theirs"
    found = offers(emulator, reads(**{"other/aggregated/reservations": listed}), use_reservations=(link,))
    fact = f"use/db/{DB.instance_type}"
    assert found["b"].facts[fact] == "projects/other/reservations/theirs"
    assert fact not in found["a"].facts
    assert (found["a"].preferred, found["b"].preferred) == (False, True)


def test_a_warning_is_shown_once(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Though its operation is looked at again; while it runs nothing is shown."""
    at = f"{V1}/{PROJECT}"
    warning = {"code": "DISK_SIZE_LARGER_THAN_IMAGE_SIZE", "message": "resize it"}
    done = {"name": "op", "operationType": "insert", "status": "DONE", "warnings": [warning]}
    answers = {
        f"{at}/aggregated/instances": {"items": {}},
        f"{at}/zones/{REGION}-a/operations/op": [{**done, "status": "RUNNING"}, done, done],
    }
    facts = {"operation": "op", "operation_at": f"{REGION}-a"}
    node = Held(kind="node", id="x", region=REGION, zone=f"{REGION}-a", state="creating", facts=facts)
    with answering(answers) as (url, _):
        session = Session(request(emulator, DB, endpoint=url), GceSettings())
        shown = []
        for _number in range(3):
            look(session, "run-1", packaged_table("gce"), [node])
            shown.append(sum(record.name == "pytest_capacity.gce" for record in caplog.records))
    assert shown == [0, 1, 1]


@pytest.mark.parametrize(("facts", "state"), [({}, "unseen"), ({"number": "1"}, "gone")])
def test_what_was_listed_once_is_gone_when_it_is_not(lab: GceLab, facts: dict[str, str], state: str) -> None:
    """What no list has had yet may only be late."""
    node = Held(kind="node", id="x", region=REGION, zone=f"{REGION}-a", state="creating", facts=facts)
    (now,) = lab.backend(lab.request()).refresh([node])
    assert now.state == state


@pytest.mark.parametrize("kind", ["node", "reservation", "disk", "placement-policy"])
def test_what_is_not_there_is_gone(lab: GceLab, kind: str) -> None:
    """A release of it is no error; one of what does not bear our stamp makes no call."""
    backend = lab.backend(lab.request())
    thing = Held(kind=kind, id="x", region=REGION, zone=f"{REGION}-a", state="ready", subject="default/1/a/node/db")
    assert [one.state for one in backend.release([thing])] == ["gone"]
    calls = len(lab.calls())
    with pytest.raises(ValueError, match="do not bear our whole stamp"):
        backend.release([thing, replace(thing, id="theirs", subject="")])
    assert len(lab.calls()) == calls


def test_the_console_is_the_first_serial_port(emulator: Emulator) -> None:
    """Whole, as Compute Engine has kept it."""
    path = f"{V1}/{PROJECT}/zones/{REGION}-a/instances/x/serialPort"
    node = Held(kind="node", id="x", region=REGION, zone=f"{REGION}-a", state="ready")
    with answering({path: {"contents": "login: ", "next": "7"}}) as (url, _):
        assert GceBackend(request(emulator, DB, endpoint=url)).console(node) == "login: "


@pytest.mark.parametrize(("status", "state"), [("RUNNING", "creating"), ("DONE", "ready")])
def test_a_machine_is_ready_when_its_operation_is_over(emulator: Emulator, status: str, state: str) -> None:
    """Though it runs before: a bulk insert that falls short deletes it again."""
    at = f"/compute/v1/projects/{PROJECT}"
    link = f"https://www.googleapis.com{at}/zones/us-central1-a"
    machine = {"name": "x", "id": "1", "status": "RUNNING", "zone": link, "selfLink": f"{link}/instances/x"}
    answers = {
        f"{at}/aggregated/instances": {"items": {"zones/us-central1-a": {"instances": [machine]}}},
        f"{at}/zones/us-central1-a/operations/op": {"name": "op", "status": status},
    }
    facts = {"operation": "op", "operation_at": "us-central1-a"}
    node = Held(kind="node", id="x", region=REGION, zone="us-central1-a", state="creating", facts=facts)
    with answering(answers) as (url, _):
        session = Session(request(emulator, DB, endpoint=url), GceSettings())
        (now,) = look(session, "run-1", packaged_table("gce"), [node])
    assert (now.state, now.facts["operation"]) == (state, "op")


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
