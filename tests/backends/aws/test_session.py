"""Sessions and credentials, against a server that only looks at who signs."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.aws.backend import AwsBackend
from pytest_capacity.backends.aws.backend import open_aws as open
from pytest_capacity.backends.aws.profiles import MfaCodeNeededError, serve_without_terminal
from pytest_capacity.backends.aws.session import Cloud
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.diagnosis import remedy
from pytest_capacity.backends.times import format_time, parse_time
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Request
from tests.backends.aws.orders import REGION, group, order, request

EXPIRED = "<Response><Errors><Error><Code>ExpiredToken</Code><Message>over</Message></Error></Errors></Response>"
RESERVED = (
    "<CreateCapacityReservationResponse><capacityReservation><capacityReservationId>cr-1</capacityReservationId>"
    "<state>active</state></capacityReservation></CreateCapacityReservationResponse>"
)
CALLER = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account><Arn>arn:aws:iam::1:user/x</Arn>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)


class Gate(ThreadingHTTPServer):
    """Answers those whose key it has not let expire, and remembers who came with which token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Guard)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.expired: set[str] = set()
        self.came: list[tuple[str, str]] = []


class Guard(BaseHTTPRequestHandler):
    """One request at the `Gate`."""

    server: Gate

    def do_POST(self) -> None:
        """Judge by the key in the signature."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = dict(urllib.parse.parse_qsl(body))
        signed = re.search(r"Credential=([^/]+)/", self.headers["Authorization"])
        key = signed[1] if signed else ""
        self.server.came.append((key, form.get("ClientToken", "")))
        answer = CALLER if form["Action"] == "GetCallerIdentity" else RESERVED
        payload = (EXPIRED if key in self.server.expired else answer).encode()
        self.send_response(400 if key in self.server.expired else 200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # the base class calls it so
        """Quiet."""


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate at work."""
    with Gate() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credentials file, and nothing in the environment that would go before it."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return path


def write(path: Path, key: str, *lines: str) -> None:
    """The file of a user who has just logged in."""
    path.write_text("\n".join(["[work]", f"aws_access_key_id={key}", "aws_secret_access_key=s", *lines]))


def at(gate: Gate, *, emulated: bool = False) -> tuple[AwsBackend, Request]:
    """A backend of one reserved group that speaks to the gate."""
    settings = AwsSettings(image={REGION: "ami-1"}, profile=None if emulated else "work")
    wanted = request(group("db", "i4i.large"), aws=settings, endpoint=gate.url, emulated=emulated)
    return open(wanted), wanted


def test_a_credentials_file_is_read_again_when_ec2_calls_it_expired(gate: Gate, credentials: Path) -> None:
    """Who logs in again in another terminal saves the run; the call goes out once more, with its token."""
    write(credentials, "MORNING")
    backend, wanted = at(gate)
    piece = backend.plan(order(wanted))[0][0]
    backend.create(piece)
    write(credentials, "NOON")
    gate.expired.add("MORNING")
    assert backend.create(piece)[0].id == "cr-1"
    assert gate.came == [("MORNING", piece.token), ("MORNING", piece.token), ("NOON", piece.token)]


def test_credentials_that_stay_expired_are_refused_once(gate: Gate, credentials: Path) -> None:
    """The second refusal is the answer; there is no third call."""
    write(credentials, "MORNING")
    gate.expired.add("MORNING")
    backend, wanted = at(gate)
    with pytest.raises(ClientError) as caught:
        backend.create(backend.plan(order(wanted))[0][0])
    assert (backend.diagnose(caught.value).step, backend.diagnose(caught.value).kind) == ("stop", "auth")
    assert len(gate.came) == 2


def test_many_threads_open_one_new_session(gate: Gate, credentials: Path) -> None:
    """A round of calls that all find the credentials expired comes through together."""
    write(credentials, "MORNING")
    backend, wanted = at(gate)
    piece = backend.plan(order(wanted))[0][0]
    backend.create(piece)
    write(credentials, "NOON")
    gate.expired.add("MORNING")
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(backend.create(piece)[0].id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["cr-1"] * 8


def test_an_emulator_never_sees_real_credentials(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a proxy, or a profile that does not exist, stand in the way of an emulated run."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    backend, wanted = at(gate, emulated=True)
    assert backend.whoami().account == "123456789012"
    backend.create(backend.plan(order(wanted))[0][0])
    assert {key for key, _ in gate.came} == {"emulated"}


def test_an_emulated_run_without_an_endpoint_is_refused() -> None:
    """It would go to the real cloud."""
    with pytest.raises(ConfigError, match="--capacity-endpoint"):
        open_backend(request(group("db", "i4i.large"), endpoint=None))


def test_the_sdks_own_endpoint_counts(gate: Gate, credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_ENDPOINT_URL_EC2, where the configuration names none."""
    write(credentials, "MORNING")
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", gate.url)
    wanted = request(group("db", "i4i.large"), endpoint=None, emulated=False, aws=AwsSettings(profile="work"))
    backend = open(wanted)
    assert backend.create(backend.plan(order(wanted))[0][0])[0].id == "cr-1"


@pytest.mark.parametrize("key", ["aws_expiration", "x_security_token_expires"])
def test_the_end_of_a_files_credentials_is_known(gate: Gate, credentials: Path, key: str) -> None:
    """Login tools write it beside the keys; who we are says which profile it was."""
    write(credentials, "MORNING", f"{key}=2033-05-18T04:03:20+00:30")
    backend, _ = at(gate)
    identity = backend.whoami()
    assert identity.expires == datetime(2033, 5, 18, 3, 33, 20, tzinfo=UTC).timestamp()
    assert (identity.account, identity.profile, identity.who) == ("123456789012", "work", "arn:aws:iam::1:user/x")


def test_the_end_of_the_environments_credentials_is_known(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_CREDENTIAL_EXPIRATION, which is not renewed for a process that runs."""
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2033-05-18T03:33:20Z")
    backend = open(request(group("db", "i4i.large"), endpoint=gate.url, emulated=False))
    assert backend.whoami().expires == 2_000_000_000


def test_credentials_without_an_end_have_none(gate: Gate, credentials: Path) -> None:
    """Nothing is guessed."""
    write(credentials, "MORNING")
    backend, _ = at(gate)
    assert backend.whoami().expires is None


def test_one_client_serves_a_region(gate: Gate) -> None:
    """Built once, though many threads ask for it at the same moment."""
    cloud = Cloud(request(group("db", "i4i.large"), endpoint=gate.url))
    seen: list[object] = []
    threads = [
        threading.Thread(target=lambda: seen.append(cloud._client("ec2", REGION))) for _ in range(8)
    ]  # it is the claim
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("2033-05-18T03:33:20Z", 2e9), ("2033-05-18T03:33:20", 2e9), ("soon", None), ("", None)]
)
def test_times_are_read_as_utc(text: str, seconds: float | None) -> None:
    """And what is none is none."""
    assert parse_time(text) == seconds


def test_times_are_written_in_whole_seconds() -> None:
    """The form of the stamp."""
    assert format_time(2e9 + 0.9) == "2033-05-18T03:33:20Z"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY"])
def test_no_proxy_gets_what_is_for_this_machine(gate: Gate, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """An endpoint on loopback is spoken to directly: the proxy here is dead, and would see signed requests."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "GOOD")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    host, port = gate.server_address[:2]
    wanted = request(group("db", "i4i.large"), endpoint=f"http://{host!s}:{port}", emulated=False)
    assert Cloud(wanted).whoami().account == "123456789012"


@pytest.mark.parametrize(
    ("profile", "advice", "sources"),
    [
        ("credential_process = /nowhere/helper", "credential_process", ["credential_process"]),
        ("credential_process = /bin/false", "Name working credentials", ["credential_process"]),
        (
            "role_arn = arn:aws:iam::1:role/x\nsource_profile = gone",
            "Correct the profile",
            ["source_profile", "role_arn"],
        ),
        (
            "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = mine",
            "Correct the profile",
            ["source_profile", "role_arn"],
        ),
        (
            "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = loop",
            "Correct the profile",
            ["source_profile", "role_arn"],
        ),
        (
            "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base\nmfa_serial = arn:aws:iam::1:mfa/x",
            "MFA code: use the profile once in the AWS command line, whose session is then used (`aws sts "
            'get-caller-identity --profile mine`), or run `eval "$(aws configure export-credentials --profile mine',
            ["source_profile", "role_arn", "mfa_serial"],
        ),
        ("sso_session = none\nsso_account_id = 1\nsso_role_name = x", "Correct the profile", ["sso_session"]),
        ("region = us-east-1", "Name working credentials", ["nothing that gives credentials"]),
    ],
)
def test_a_profile_that_a_process_without_a_terminal_cannot_use(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, advice: str, sources: list[str]
) -> None:
    """It is credentials that are wrong, and the advice names the profile's setting: not a row, not a status page."""
    file = tmp_path / "config"
    base = "[profile base]\naws_access_key_id = GOOD\naws_secret_access_key = y\n"
    base += "[profile loop]\nrole_arn = arn:aws:iam::123456789012:role/y\nsource_profile = mine\n"
    file.write_text(f"[profile mine]\n{profile}\n{base}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    host, port = gate.server_address[:2]
    aws = AwsSettings(profile="mine")
    backend = open(request(group("db", "i4i.large"), aws=aws, endpoint=f"http://{host!s}:{port}", emulated=False))
    with pytest.raises((BotoCoreError, EOFError, FileNotFoundError)) as problem:
        backend.whoami()
    found = backend.diagnose(problem.value)
    assert found.kind == "auth"
    assert advice in remedy("aws", found)
    assert f"(profile 'mine' in {file}: {', '.join(sources)})" in found.words


ROLE = {"RoleArn": "arn:aws:iam::123456789012:role/x", "SerialNumber": "arn:aws:iam::123456789012:mfa/me"}


def role_session(home: Path, key: str, lasts: timedelta) -> None:
    """What the AWS command line keeps of a role that it has taken on."""
    name = hashlib.sha1(json.dumps(ROLE, sort_keys=True).encode()).hexdigest()
    held = {
        "AccessKeyId": key,
        "SecretAccessKey": "y",
        "SessionToken": "t",
        "Expiration": (datetime.now(UTC) + lasts).isoformat(),
    }
    folder = home / ".aws" / "cli" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"Credentials": held}))


def mfa_backend(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsBackend:
    """A backend whose profile wants a code."""
    (tmp_path / "config").write_text(
        f"[profile mine]\nrole_arn = {ROLE['RoleArn']}\nsource_profile = base\nmfa_serial = {ROLE['SerialNumber']}\n"
        "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = y\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    host, port = gate.server_address[:2]
    aws = AwsSettings(profile="mine")
    return open(request(group("db", "i4i.large"), aws=aws, endpoint=f"http://{host!s}:{port}", emulated=False))


def test_a_role_that_the_command_line_holds_is_used(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No code is asked for while its session lasts, and nothing of ours is written there."""
    role_session(tmp_path, "CACHED", timedelta(hours=1))
    backend = mfa_backend(gate, tmp_path, monkeypatch)
    before = sorted((path.name, path.read_text()) for path in (tmp_path / ".aws/cli/cache").iterdir())
    assert backend.whoami().account == "123456789012"
    assert [key for key, _ in gate.came] == ["CACHED"]
    assert sorted((path.name, path.read_text()) for path in (tmp_path / ".aws/cli/cache").iterdir()) == before


def test_a_role_whose_session_is_over_asks_for_the_command_line(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same backend goes on once the command line has taken it on again."""
    role_session(tmp_path, "OLD", timedelta(minutes=-1))
    backend = mfa_backend(gate, tmp_path, monkeypatch)
    with pytest.raises(MfaCodeNeededError, match=f"profile 'mine' wants an MFA code of {ROLE['SerialNumber']}"):
        backend.whoami()
    role_session(tmp_path, "NEW", timedelta(hours=1))
    assert backend.whoami().account == "123456789012"
    assert gate.came[-1][0] == "NEW"


def test_what_we_get_ourselves_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of the command line is read; a role that is taken on here stays in this process."""
    monkeypatch.setenv("HOME", str(tmp_path))
    role_session(tmp_path, "CACHED", timedelta(hours=1))
    session = Session()
    serve_without_terminal(session)
    cache = session.get_component("credential_provider").get_provider("assume-role").cache
    (held,) = (tmp_path / ".aws/cli/cache").iterdir()
    assert cache[held.stem]["Credentials"]["AccessKeyId"] == "CACHED"
    cache["ours"] = {"Credentials": {}}
    assert "ours" in cache
    assert cache["ours"] == {"Credentials": {}}
    assert "other" not in cache
    assert list((tmp_path / ".aws/cli/cache").iterdir()) == [held]


def test_an_emulated_run_reads_none_of_the_users_files(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that the SDK could not even parse, and a profile that is in none of them, are of no concern to it."""
    for name, variable in (("config", "AWS_CONFIG_FILE"), ("credentials", "AWS_SHARED_CREDENTIALS_FILE")):
        (tmp_path / name).write_text("this = is no section\n")
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("AWS_PROFILE", "corp")
    backend, _ = at(gate, emulated=True)
    assert backend.whoami().account == "123456789012"
    assert gate.came[0][0] == "emulated"
