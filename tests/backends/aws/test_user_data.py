"""The one user data that EC2 takes: the user's own beside the timer by which a node ends itself."""

from __future__ import annotations

import base64
import email
import gzip
import os
import re
import subprocess
import time
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from pytest_capacity.backends.aws import timer
from pytest_capacity.backends.aws.provider import OUR_BYTES
from pytest_capacity.backends.aws.settings import AwsSettings
from pytest_capacity.backends.aws.userdata import user_data
from pytest_capacity.config.userdata import form_of
from pytest_capacity.errors import Refused
from pytest_capacity.model import NodeGroup
from tests.backends.aws.account import Account, stranger
from tests.backends.aws.orders import IMAGE, NOW, REGION, group, order, request
from tests.emulated import Emulator

LINUX = "Linux/UNIX"
CLOUD_CONFIG = "#cloud-config\npackages: [chrony]\n"


def told(own: str | None) -> NodeGroup:
    """A group with that user data."""
    return group("db", "t3.large", reserve=False, user_data=own)


def parts(data: str) -> list[Message]:
    """The parts of a message, as cloud-init walks them."""
    whole = email.message_from_string(data)
    assert whole["MIME-Version"] == "1.0"
    return [part for part in whole.walk() if part.get_content_maintype() != "multipart"]


def content(part: Message) -> str:
    """What a part holds."""
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


@pytest.mark.parametrize(
    ("own", "type_"),
    [
        ("#!/bin/bash\necho hello\n", "text/x-shellscript"),
        ("\n#!/usr/bin/env python3\n", "text/x-shellscript"),
        (CLOUD_CONFIG, "text/cloud-config"),
        ("#cloud-config-archive\n- a\n", "text/cloud-config-archive"),
        ("#cloud-config-jsonp\n[]\n", "text/cloud-config-jsonp"),
        ("#cloud-boothook\necho\n", "text/cloud-boothook"),
        ("#include\nhttps://x.example/a\n", "text/x-include-url"),
        ("#include-once\nhttps://x.example/a\n", "text/x-include-once-url"),
        ("#part-handler\n", "text/part-handler"),
        ("## template: jinja\n#cloud-config\n{{ v1.region }}\n", "text/jinja2"),
        ("#!/bin/sh\n# grüße\n", "text/x-shellscript"),
        ("#!/bin/sh\r\necho\r\n", "text/x-shellscript"),
        ("#!/bin/sh\nFrom here\n>From there\n.\n", "text/x-shellscript"),
        ("#!/bin/sh\necho " + "x" * 3000, "text/x-shellscript"),
        ("#!/bin/sh\n\n\n", "text/x-shellscript"),
    ],
)
def test_both_arrive_as_they_were_written(own: str, type_: str) -> None:
    """The timer first, under a name that sorts first; the user's own typed by its first line, to the last byte."""
    first, second = parts(user_data(told(own), LINUX, NOW))
    assert (first.get_content_type(), first.get_filename()) == ("text/x-shellscript", "00-pytest-capacity-end")
    assert content(first) == timer.user_data(LINUX, NOW)
    assert (second.get_content_type(), content(second)) == (type_, own)


def test_a_message_keeps_its_parts() -> None:
    """User data that is MIME already, in several parts or one, goes in as it is."""
    two = user_data(told(CLOUD_CONFIG), LINUX, NOW + 1)
    timers = [content(part) for part in parts(user_data(told(two), LINUX, NOW))]
    assert timers == [timer.user_data(LINUX, NOW), timer.user_data(LINUX, NOW + 1), CLOUD_CONFIG]
    one = "MIME-Version: 1.0\nContent-Type: text/cloud-config\n\n" + CLOUD_CONFIG
    second = parts(user_data(told(one), LINUX, NOW))[1]
    assert (second.get_content_type(), content(second)) == ("text/cloud-config", CLOUD_CONFIG)


def test_without_user_data_nothing_changes() -> None:
    """And without a timer the user's own is handed over untouched, whatever it is."""
    for platform in (LINUX, "Windows"):
        assert user_data(told(None), platform, NOW) == timer.user_data(platform, NOW)
    assert user_data(told(None), LINUX, None) == ""
    assert user_data(told('{"ignition": {}}'), LINUX, None) == '{"ignition": {}}'


def test_the_same_order_gives_the_same_bytes() -> None:
    """A call repeated with its token must not differ; another text has another boundary."""
    assert user_data(told(CLOUD_CONFIG), LINUX, NOW) == user_data(told(CLOUD_CONFIG), LINUX, NOW)
    boundaries = {email.message_from_string(user_data(told(own), LINUX, NOW)).get_boundary() for own in ("#!a", "#!b")}
    assert len(boundaries) == 2


@pytest.mark.parametrize("platform", [LINUX, "Windows"])
def test_our_own_share_fits_into_what_is_kept_for_it(platform: str) -> None:
    """The configuration promises the user the rest of EC2's 16 KiB."""
    own = "<powershell>\n</powershell>\n<script>\n</script>" if platform == "Windows" else "#cloud-config-archive\n"
    assert len(user_data(told(own), platform, 4e9)) - len(own) <= OUR_BYTES
    long = "#!/bin/sh\n# " + "ü" * 5000
    size = len(long.encode())
    assert len(user_data(told(long), LINUX, 4e9)) <= size * 4 // 3 + size // 50 + OUR_BYTES


def test_a_windows_machine_runs_both_in_one_block() -> None:
    """EC2Launch takes one block a language: the timer comes first, at every boot; the user's own once."""
    own = "<powershell>\nWrite-Host hello\n</powershell>\n<script>\r\necho hello\r\n</script>\n"
    data = user_data(told(own), "Windows", NOW)
    assert (data.count("<powershell>"), data.count("<script>"), data.count("<persist>true</persist>")) == (1, 1, 1)
    shell = data[data.index("<powershell>") : data.index("</powershell>")]
    assert shell.index("shutdown.exe") < shell.index("Test-Path") < shell.index("Write-Host hello")
    batch = data[data.index("<script>") : data.index("</script>")]
    assert batch.index("if exist") < batch.index("echo hello")
    assert str(int(NOW)) in shell


def test_what_is_to_run_at_every_boot_does() -> None:
    """The user's word, once; tags that we do not know stay."""
    own = "<persist> TRUE </persist><powershell>Write-Host</powershell><powershellArguments>-x</powershellArguments>"
    data = user_data(told(own), "Windows with SQL Server Web", NOW)
    assert "Test-Path" not in data
    assert data.count("persist>") == 2
    assert "<powershellArguments>-x</powershellArguments>" in data
    once = user_data(told(own.replace("TRUE", "false")), "Windows", NOW)
    assert "Test-Path" in once
    assert once.count("<persist>true</persist>") == 1


def test_what_windows_does_not_read_is_refused() -> None:
    """Before anything is created for the group, with what to write."""
    with pytest.raises(Refused, match=r"group 'db' asks for Windows.*<powershell>.*self_terminate"):
        user_data(told("#!/bin/sh\n"), "Windows", NOW)


def test_it_is_in_the_launch_and_in_no_other_call(emulator: Emulator) -> None:
    """With a timer in parts, without one as it is; and EC2 hands it to the machine."""
    account = Account(emulator, request(told(CLOUD_CONFIG)))
    account.make(order(account.request, now=time.time()))
    given = _given(emulator)
    assert [part.get_content_type() for part in parts(given)] == ["text/x-shellscript", "text/cloud-config"]
    plain = AwsSettings(image={REGION: IMAGE}, self_terminate=False)
    other = Account(emulator, request(told(CLOUD_CONFIG), aws=plain, run="run-2"))
    other.make(order(other.request, now=time.time()))
    assert _given(emulator, "run-2") == CLOUD_CONFIG


def _given(emulator: Emulator, run: str = "run-1") -> str:
    ec2 = stranger(emulator)
    (launch,) = ec2.describe_instances(Filters=[{"Name": "tag:TestId", "Values": [run]}])["Reservations"]
    id_ = launch["Instances"][0]["InstanceId"]
    answer: dict[str, Any] = dict(ec2.describe_instance_attribute(InstanceId=id_, Attribute="userData"))
    return base64.b64decode(answer["UserData"]["Value"]).decode()


@pytest.mark.parametrize(
    ("own", "left"),
    [
        (CLOUD_CONFIG, 0),
        ("#!/bin/sh\n# grüße\nsleep 1\n", 0),
        ("#cloud-config\npower_state: {delay: 5}\n# shutdown -h +5\n", 0),
        (None, 0),
    ],
)
def test_the_timer_still_ends_the_machine(emulator: Emulator, own: str | None, left: int) -> None:
    """At the hard end and not before; what is no script of the user's is not taken for one."""
    account = Account(emulator, request(told(own)))
    account.make(order(account.request, now=time.time()))
    emulator.weather(clock={"advance_s": 5300})
    assert len(emulator.held("instance")) == 1
    emulator.weather(clock={"advance_s": 200})
    assert len(emulator.held("instance")) == left


@pytest.mark.parametrize("own", ["#!/bin/sh\nshutdown -P +10\n", "#!/bin/sh\n# ü\nshutdown -P +10\n"])
def test_the_users_own_end_may_come_earlier(emulator: Emulator, own: str) -> None:
    """The emulator reads every script of the message, in base64 too."""
    account = Account(emulator, request(told(own)))
    account.make(order(account.request, now=time.time()))
    emulator.weather(clock={"advance_s": 590})
    assert len(emulator.held("instance")) == 1
    emulator.weather(clock={"advance_s": 20})
    assert emulator.held("instance") == []


def test_the_timer_of_a_message_runs_on_a_real_shell(tmp_path: Path) -> None:
    """What a machine would take out of the message is a script that shuts it down."""
    for name, line in (("date", "echo 1000000"), ("shutdown", f'echo "$@" >>"{tmp_path}/asked"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    script = content(parts(user_data(told(CLOUD_CONFIG), LINUX, 1_000_090))[0])
    script = script.replace("/var/lib", str(tmp_path / "lib"))
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=30)
    assert (tmp_path / "asked").read_text() == "-P +2\n"


def test_what_nobody_reads_has_no_form() -> None:
    """A word in the middle of a text is no first line."""
    assert [form_of(text) for text in ("", "echo #!", '{"ignition": 1}', "[settings]", "#clod-config")] == [None] * 5
    assert form_of(gzip.compress(b"#!").decode("latin-1")) is None
    assert form_of("  <PowerShell>") == "windows"
    assert re.fullmatch("[a-z0-9-]+", form_of("#cloud-config") or "")
