"""Credentials that end: before the run may, while it goes on, and while it is being released."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.emulated import IMAGE, SECRET
from tests.safety.gate import Gate, gate_before
from tests.safety.runs import GRANTED, Going, Suite, creates, launches, provisioned_nothing, provisioned_once, until

#: The keys of this suite's profile: the first, those that come after them, and those of another user.
FIRST, SECOND, FOREIGN = "AKIAFIRST", "AKIASECOND", "AKIAFOREIGN"

#: How long the end of these runs waits for the release. Seconds.
PATIENCE: Final = 2

#: A test that says that it runs, and goes on until it is told to end.
HOLD: Final = """
import pathlib, time
def test_hold(capacity):
    pathlib.Path("ready").touch()
    end = time.monotonic() + 200
    while not pathlib.Path("go").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
"""


class Account:
    """A suite with a profile of its own, behind a gate."""

    def __init__(self, suite: Suite, gate: Gate) -> None:
        self.suite = suite
        self.gate = gate
        suite.write("test_suite.py", HOLD)
        suite.configure(
            aws={"image": {"us-east-1": IMAGE}, "profile": "ci"},
            prices={"i4i.large": 1.0, "c6i.xlarge": 0.25},
            release_timeout=PATIENCE,
            endpoint=gate.url,
        )
        self.sign_in(FIRST)

    def sign_in(self, key: str, expires: float | None = None) -> None:
        """Write the profile's keys, and until when they last."""
        lines = ["[ci]", f"aws_access_key_id = {key}", f"aws_secret_access_key = {SECRET}"]
        if expires is not None:
            moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(expires))
            lines.append(f"x_security_token_expires = {moment}")
        spare = self.suite.write("secrets.new", "\n".join(lines) + "\n")
        spare.rename(self.suite.tests / "secrets")

    def start(self, *arguments: str) -> Going:
        """Start the run."""
        unset = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
        return self.suite.start(*arguments, env={"AWS_SHARED_CREDENTIALS_FILE": "secrets", **unset}, endpoint=False)

    def until_ready(self) -> None:
        """Wait until the test has its nodes."""
        until((self.suite.tests / "ready").exists, GRANTED, "the test has its nodes")

    def go(self) -> None:
        """Let the test end."""
        (self.suite.tests / "go").touch()


@pytest.fixture
def account(suite: Suite) -> Iterator[Account]:
    """A suite behind a gate that lets its first keys through."""
    with gate_before(suite.emulator.url) as gate:
        yield Account(suite, gate)


def test_warning_before_they_end(account: Account) -> None:
    """Known to end before the run may: a warning that says when, before the first test; the run goes on."""
    account.sign_in(FIRST, time.time() + 600)
    account.go()
    ended = account.start().wait()
    assert ended.code == 0, ended
    head = ended.out.partition("test_suite.py")[0]
    assert "the credentials of account 123456789012 end at" in head, ended
    assert "--capacity-duration" in head
    provisioned_once(account.suite, ended)


def test_no_warning_where_they_last(account: Account) -> None:
    """Credentials that last longer than the run may are not spoken of."""
    account.sign_in(FIRST, time.time() + 86400)
    account.go()
    ended = account.start().wait()
    assert ended.code == 0, ended
    assert "the credentials of account" not in ended.out


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_error_before_they_end(account: Account, workers: str) -> None:
    """ini capacity_credentials = error: no test runs and nothing is created."""
    account.sign_in(FIRST, time.time() + 600)
    account.go()
    ended = account.start(workers, "-o", "capacity_credentials=error").wait()
    assert ended.code == 4, ended
    assert "capacity_credentials = error" in ended.err, ended
    assert " passed" not in ended.out
    provisioned_nothing(account.suite, ended)


def test_expired_from_the_start(account: Account) -> None:
    """Credentials that are over already: the tests that need capacity say so in the cloud's words, nothing is made."""
    account.gate.expired.add(FIRST)
    account.go()
    ended = account.start().wait()
    assert ended.code == 1, ended
    assert "ExpiredToken: The security token included in the request is expired" in ended.out
    provisioned_nothing(account.suite, ended)


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired"])
def test_expired_at_the_end(account: Account, code: str) -> None:
    """The run shouts what it holds, what that costs and what to do, and fails; with new keys the keeper releases."""
    suite = account.suite
    going = account.start()
    account.until_ready()
    account.gate.code = code
    account.gate.expired.add(FIRST)
    account.go()
    ended = going.wait()
    assert ended.code == 1, ended
    assert ended.count("passed") == 1, ended
    held = suite.emulator.held()
    assert len(held) == 5
    shout = next(line for line in ended.out.splitlines() if "THE CREDENTIALS DO NOT WORK ANY MORE" in line)
    assert code in shout
    assert all(one["id"] in shout for one in held), shout
    assert "for 2.25 USD an hour" in shout
    assert "bound to end by 20" in shout
    for command in ("terminate-instances", "cancel-capacity-reservation"):
        assert f"aws ec2 {command} --region us-east-1 --profile ci" in shout
        assert f"aws ec2 {command} --region us-east-1 --profile ci" in ended.out.rpartition("receipt: ")[2]
    assert "receipt: 5 things bearing run" in ended.out
    assert suite.journal.exists()
    assert suite.keepers(), "it stays at work"
    account.sign_in(SECOND)
    suite.nothing_left()
    assert SECOND in account.gate.seen
    assert len(launches(suite.emulator)) == 2


def test_expired_and_renewed_while_it_runs(account: Account) -> None:
    """Keys that end in the middle and are replaced in the file: nothing is said, nothing is left, exit code 0."""
    going = account.start()
    account.until_ready()
    account.gate.expired.add(FIRST)
    account.sign_in(SECOND)
    account.go()
    ended = going.wait()
    assert ended.code == 0, ended
    assert "THE CREDENTIALS" not in ended.out
    assert account.gate.seen[-1] == SECOND
    account.suite.nothing_left()
    assert len(creates(account.suite.emulator)) == 4


def test_known_end_passes_while_it_runs(account: Account) -> None:
    """When the known end is past and the keys are refused, the run says so while the test goes on."""
    expires = time.time() + 6
    account.sign_in(FIRST, expires)
    going = account.start("-n1")
    account.until_ready()
    account.gate.expired.add(FIRST)
    until(lambda: "THE CREDENTIALS DO NOT WORK ANY MORE" in going.written(), 2 * GRANTED, "the run shouts")
    assert time.time() >= expires - 1
    account.sign_in(SECOND)
    account.go()
    ended = going.wait()
    assert ended.code == 0, ended
    account.suite.nothing_left()


def test_keys_of_another_account(account: Account) -> None:
    """New keys of another account find nothing there; that is not taken for "all is gone"."""
    suite = account.suite
    account.gate.accounts[FOREIGN] = "999999999999"
    going = account.start()
    account.until_ready()
    account.gate.expired.add(FIRST)
    account.sign_in(FOREIGN)
    account.go()
    ended = going.wait()
    assert ended.code == 1, ended
    assert "belong to account 999999999999 now, and this run began in 123456789012" in ended.out
    assert len(suite.emulator.held()) == 5
    account.sign_in(SECOND)
    suite.nothing_left()


def test_pinned_account(account: Account) -> None:
    """aws.account: keys of any other are refused before the first create."""
    account.suite.configure(
        aws={"image": {"us-east-1": IMAGE}, "profile": "ci", "account": "111111111111"}, endpoint=account.gate.url
    )
    account.go()
    ended = account.start().wait()
    assert ended.code == 1, ended
    assert "belong to account 123456789012, but aws.account says 111111111111" in ended.out
    provisioned_nothing(account.suite, ended)


def test_keys_are_written_nowhere(account: Account) -> None:
    """Neither journal nor log nor output holds a key."""
    account.go()
    ended = account.start("-vv").wait()
    assert ended.code == 0, ended
    account.suite.nothing_left()
    files: list[Path] = [path for path in account.suite.state.rglob("*") if path.is_file()]
    assert len(files) > 1
    assert all(FIRST.encode() not in path.read_bytes() for path in files)
    assert FIRST not in ended.text
