from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import tests.emulated
from tests.emulated import ROOT, Emulator, rounds, start_emulator
from tests.emulator.asking import ZONE, refused, reserve
from tests.safety.runs import GRANTED, until

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect


def port_of(emulator: Emulator) -> int:
    return int(emulator.url.rpartition(":")[2])


def ask(emulator: Emulator, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(emulator), timeout=60)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    told = answer.status, answer.read().decode()
    connection.close()
    return told


def test_it_listens_on_loopback_only(emulator: Emulator) -> None:
    """One socket, bound to 127.0.0.1."""
    listening = [one for one in psutil.Process(emulator.process.pid).net_connections() if one.status == "LISTEN"]
    assert [(one.laddr.ip, one.laddr.port) for one in listening] == [("127.0.0.1", port_of(emulator))]


def test_it_asks_nobody_else(emulator: Emulator, connect: Connect) -> None:
    """After calls of every kind its only connections are its clients'."""
    ec2 = connect()
    ec2.describe_images(Filters=[{"Name": "name", "Values": ["emulated-*"]}])
    reserve(ec2)
    ends = psutil.Process(emulator.process.pid).net_connections()
    assert {one.laddr.port for one in ends} == {port_of(emulator)}


def test_other_names_for_the_port_are_refused(emulator: Emulator) -> None:
    """A Host header that is not loopback's, as a page of a rebound name would send, gets nothing."""
    for host, status in (("127.0.0.1:1", 200), ("localhost", 200), ("evil.example:80", 421), ("", 421)):
        assert ask(emulator, "GET", "/_world", {**emulator.headers, "Host": host})[0] == status


def test_what_is_no_call_is_answered_so(emulator: Emulator) -> None:
    """Other paths, unsigned calls, services that are not there, and weather that is not JSON."""
    assert ask(emulator, "GET", "/")[0] == 404
    status, words = ask(emulator, "POST", "/")
    assert (status, "AuthFailure" in words) == (401, True)
    status, words = ask(emulator, "POST", "/", sign(emulator, "s3"))
    assert (status, "ec2, resource-groups, servicequotas, ssm, sts" in words) == (404, True)
    status, words = ask(emulator, "POST", "/?Action=MakeTea", sign(emulator, "ec2", "/?Action=MakeTea"))
    assert (status, "InvalidAction" in words) == (400, True)
    assert world(emulator, emulator.headers, b"{") == 400


def sign(emulator: Emulator, service: str, path: str = "/", body: str = "") -> dict[str, str]:
    """The headers of a POST that botocore has signed with the emulator's secret."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    request = AWSRequest("POST", f"{emulator.url}{path}", headers, body)
    SigV4Auth(Credentials("x", emulator.secret), service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def world(emulator: Emulator, headers: dict[str, str], body: bytes = b'{"boot_s": 1}') -> int:
    """The status of a change of the weather."""
    return tests.emulated.ask(emulator.url, "/_world", body, headers)[0]


def test_the_world_is_for_those_who_know_the_secret(emulator: Emulator) -> None:
    """Without the secret, with a wrong one, as another type or from a page, the World is neither told nor changed."""
    good = emulator.headers
    assert ask(emulator, "GET", "/_world")[0] == ask(emulator, "GET", "/_world/ssh")[0] == 401
    assert world(emulator, {**good, "Authorization": "Bearer wrong"}) == 401
    assert world(emulator, {**good, "Content-Type": "text/plain"}) == 415
    assert world(emulator, {**good, "Origin": "https://evil.example"}) == 403
    assert world(emulator, {**good, "Origin": "null"}) == 403
    assert emulator.world()["weather"]["boot_s"] == 0
    assert world(emulator, good) == 200


def test_a_stranger_gets_the_refusal_of_the_cloud(emulator: Emulator) -> None:
    """A request that is signed with another secret is refused in the words of the service, and does nothing."""
    for service, operation, parameters, code in (
        ("ec2", "create_key_pair", {"KeyName": "k"}, "AuthFailure"),
        ("sts", "get_caller_identity", {}, "SignatureDoesNotMatch"),
        ("service-quotas", "list_service_quotas", {"ServiceCode": "ec2"}, "SignatureDoesNotMatch"),
    ):
        config = Config(retries={"mode": "standard", "total_max_attempts": 1})
        make: Any = boto3.client
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "guessed"}
        client = make(service, "us-east-1", endpoint_url=emulator.url, config=config, **keys)
        with pytest.raises(ClientError) as caught:
            getattr(client, operation)(**parameters)
        assert caught.value.response["Error"]["Code"] == code
    assert emulator.held() == []


def test_each_start_has_a_secret_of_its_own() -> None:
    """It lies in a file that only its user reads, in a directory that goes with the emulator, and an identity."""
    code = [sys.executable, "-m", "pytest_capacity.emulator"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AWS_PROFILE": "corp"}
    seen = []
    for _ in range(2):
        with subprocess.Popen(code, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            file = Path(ready["secret_file"])
            assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
            secret = file.read_text()
            headers = {"Authorization": f"Bearer {secret}"}
            told = json.loads(tests.emulated.ask(ready["url"], "/_world", None, headers)[1])
            assert told["emulator"] == ready["emulator"]
            seen += [secret, ready["emulator"]]
            process.terminate()
        assert not file.parent.exists()
    assert len(set(seen)) == 4


def test_a_region_that_is_not_there_is_refused(connect: Connect) -> None:
    """As EC2 does: the credentials are none of that region's."""
    with refused("AuthFailure", 401):
        connect("us-east-9").describe_instances()


def test_unknown_parameters_are_refused(emulator: Emulator) -> None:
    """A parameter that the API does not know is not ignored."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(emulator), timeout=60)
    form = "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=a&Filter.1.Colour=b"
    headers = sign(emulator, "ec2", body=form)
    connection.request("POST", "/", form, headers)
    answer = connection.getresponse()
    assert (answer.status, b"UnknownParameter" in answer.read()) == (400, True)
    connection.close()


def test_a_hundred_calls_go_side_by_side(emulator: Emulator, connect: Connect) -> None:
    """Calls wait for their delay and not for each other, and a hundred of them make a hundred things."""
    emulator.hold("CreateCapacityReservation")
    ec2 = connect(max_pool_connections=100)
    with ThreadPoolExecutor(100) as pool:
        making = pool.map(lambda n: reserve(ec2, ClientToken=f"t{n}"), range(100))
        until(lambda: len(emulator.under_way()) == 100, GRANTED, "all are under way")
        emulator.go_on()
        made = list(making)
    assert len({one["CapacityReservationId"] for one in made}) == len(emulator.held()) == 100
    assert rounds(emulator.calls()) == 1


def test_rounds_are_counted_by_what_overlaps() -> None:
    """Two side by side and one after them are two rounds."""
    spans = [(0.0, 1.0), (0.5, 1.5), (1.2, 2.0)]
    assert rounds([{"began": began, "ended": ended} for began, ended in spans]) == 2


def test_the_last_of_a_stock_goes_to_one(emulator: Emulator, connect: Connect) -> None:
    """Calls at the same moment share what there is: never more than the stock."""
    emulator.weather(stock={ZONE: {"*": 3}})
    ec2 = connect(max_pool_connections=20)

    def attempt(number: int) -> bool:
        try:
            reserve(ec2, ClientToken=f"t{number}")
        except ec2.exceptions.ClientError:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(attempt, range(20))) == 3
    assert len(emulator.held()) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told(number: signal.Signals) -> None:
    """At once and with 0, also with a connection open."""
    with start_emulator(measured=True) as emulator:
        connection = socket.create_connection(("127.0.0.1", port_of(emulator)))
        emulator.process.send_signal(number)
        assert emulator.process.wait(60) == 0
        connection.close()


def test_it_needs_nobody_at_its_standard_output() -> None:
    """After the one line the pipe is closed at its end, and a reader that went away does not matter."""
    with start_emulator(measured=True) as emulator:
        assert emulator.process.stdout is not None
        assert emulator.process.stdout.read() == b""
        emulator.process.stdout.close()
        assert emulator.world()["held"] == []


def test_it_starts_isolated_from_anywhere(tmp_path: Path) -> None:
    """With -I, from a directory with a module that shadows the standard library's."""
    (tmp_path / "queue.py").write_text("raise SystemExit('shadowed')\n")
    code = f"import sys; sys.path.append({str(ROOT)!r}); from pytest_capacity.emulator.__main__ import main; main([])"
    command = [sys.executable, "-I", "-c", code]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]})
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.wait(60)
    process.stdout.close()
    assert json.loads(line)["url"].startswith("http://127.0.0.1:")


def test_a_port_can_be_asked_for(emulator: Emulator) -> None:
    """One that is taken ends it with 2 and a word about it."""
    with pytest.raises(RuntimeError, match=r"ended with 2: pytest-capacity emulator: .*in use"):
        start_emulator(None, "--port", str(port_of(emulator)), measured=True)


def test_it_outlives_its_owner_only_for_a_while() -> None:
    """When the owner is gone and no call has come for a while it ends; a call puts that off."""
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with start_emulator(None, "--owner", str(owner.pid), "--patience", "10", measured=True) as emulator:
        owner.communicate(b"\n")
        gone = time.monotonic()
        time.sleep(1)
        emulator.world()
        assert emulator.process.wait(60) == 0
        assert time.monotonic() - gone > 10


def test_it_stays_while_its_owner_lives() -> None:
    """Patience is for the time after the owner's end."""
    with start_emulator(None, "--owner", str(os.getpid()), "--patience", "0", measured=True) as emulator:
        time.sleep(1.5)
        assert emulator.world()["held"] == []


def test_it_stays_for_each_of_its_owners() -> None:
    """One that is added by POST counts like the first; when the last is gone, its patience begins."""
    code = [sys.executable, "-c", "input()"]
    owners = [subprocess.Popen(code, stdin=subprocess.PIPE) for _ in range(3)]
    with start_emulator(None, "--owner", str(owners[0].pid), "--patience", "0", measured=True) as emulator:
        for owner in owners[1:]:
            emulator.weather(owner=owner.pid)
        for owner in (owners[0], owners[2]):
            owner.communicate(b"\n")
        with pytest.raises(subprocess.TimeoutExpired):
            emulator.process.wait(2.5)
        owners[1].communicate(b"\n")
        assert emulator.process.wait(60) == 0


def test_without_an_owner_it_stays_whoever_is_added() -> None:
    """It was started to run until it is told to end."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with start_emulator(None, "--patience", "0", measured=True) as emulator:
        emulator.weather(owner=gone.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            emulator.process.wait(2.5)


@pytest.mark.parametrize("owner", [0, -1, 2**31, 1.5, "1", True, None, [1]])
def test_an_owner_is_a_process(emulator: Emulator, owner: object) -> None:
    """Anything but the id of one is refused."""
    with pytest.raises(ValueError, match="owner"):
        emulator.weather(owner=owner)


def test_a_scenario_names_no_owner(tmp_path: Path) -> None:
    """A process is none of the weather: there is an option for it."""
    (tmp_path / "scenario.yaml").write_text("owner: 1\n")
    with pytest.raises(RuntimeError, match="--owner 1"):
        start_emulator(None, "--scenario", str(tmp_path / "scenario.yaml"), measured=True)
